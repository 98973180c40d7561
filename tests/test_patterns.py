"""Image statistics and patterns: by hand, as laws, by mutants, and errors."""

import inspect
import io
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decoding
from decoding import (
    Conv,
    DataFormatError,
    InvalidValueError,
    MaxPool,
    Network,
    PatternMeter,
    ReLU,
    ShapeError,
    UnknownLayerError,
    autocovariance,
    covariance,
    decode_layer,
    decoded_responses,
    linearize,
    load_statistics,
    measure,
    natural,
    pattern,
    patterns,
)
from decoding import activation_patterns as room

EPS = np.finfo(float).eps


def integers(seed, *shape):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(float)


def images(seed, *shape):
    """Neighbours alike, and channels."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    return 1 + noise + np.roll(noise, 1, 3) + np.roll(noise, 1, 1) / 2


def makers():
    return {
        "natural": lambda: natural((3, 4), contrast=2, channels=2),
        "autocovariance": lambda: autocovariance(images(0, 5, 2, 7, 9), (3, 4)),
        "covariance": lambda: covariance(images(1, 40, 2, 3, 4)),
        "scaled": lambda: autocovariance(images(0, 5, 2, 7, 9), (3, 4)).scaled(3),
    }


@pytest.fixture(params=makers())
def statistics(request):
    return makers()[request.param]()


def dense(apply, shape):
    """The matrix of a linear map, a column for each entry of what it takes."""
    size = int(np.prod(shape))
    return apply(np.eye(size).reshape(size, *shape)).reshape(size, -1).T


# What all statistics are


def test_a_covariance_is_symmetric_and_root_times_its_transpose(statistics):
    cov, root = dense(statistics.cov, statistics.shape), dense(statistics.root, statistics.root_shape)
    scale = np.abs(cov).max()
    assert np.abs(cov - cov.T).max() <= 64 * EPS * scale
    assert np.abs(root @ root.T - cov).max() <= 2**10 * EPS * scale
    assert np.abs(dense(statistics.root_t, statistics.shape) - root.T).max() <= 64 * EPS * scale
    assert np.linalg.eigvalsh(cov)[0] >= -(2**10) * EPS * scale
    assert abs(np.trace(cov) - statistics.energy) <= 2**10 * EPS * statistics.energy


def test_scaling_squares_the_energy_and_keeps_the_mean(statistics):
    twice = statistics.scaled(2)
    assert twice.energy == 4 * statistics.energy
    assert (twice.cov(np.ones(twice.shape)) == 4 * statistics.cov(np.ones(twice.shape))).all()
    assert (twice.root_t(np.ones(twice.shape)) == 2 * statistics.root_t(np.ones(twice.shape))).all()
    assert twice.mean is statistics.mean is None or (twice.mean == statistics.mean).all()
    assert statistics.scaled(2).scaled(0.5).energy == statistics.energy


def test_what_is_saved_is_read_back(statistics, tmp_path):
    statistics.save(tmp_path / "some.npz")
    read = load_statistics(tmp_path / "some.npz")
    v = integers(0, 3, *statistics.shape)
    assert (type(read), read.shape, read.energy) == (type(statistics), statistics.shape, statistics.energy)
    assert (read.cov(v) == statistics.cov(v)).all()
    assert read.mean is statistics.mean is None or (read.mean == statistics.mean).all()


SIZES = st.tuples(st.integers(1, 4), st.integers(1, 5))


@settings(max_examples=15)
@given(
    size=SIZES,
    smaller=st.none() | SIZES,
    again=st.none() | SIZES,
    contrast=st.sampled_from([1, 3]),
    kind=st.sampled_from(["natural", "autocovariance", "independent"]),
)
def test_statistics_are_those_that_were_saved_and_those_that_were_added(size, smaller, again, contrast, kind):
    data = images(0, 5, 2, 7, 9)
    made = {
        "natural": lambda data: natural(size, channels=2),
        "autocovariance": lambda data: autocovariance(data, size),
        "independent": lambda data: room.Independent([1, 2], [3, 4], size),
    }[kind]

    def cut(found):
        for each in (smaller, again):
            found = found if each is None else found.within(np.minimum(each, found.shape[1:]))
        return found.scaled(contrast)

    found, file = cut(made(data)), io.BytesIO()
    found.save(file)
    file.seek(0)
    alike(load_statistics(file), found)
    if kind == "autocovariance":
        parts = cut(made(data[:2])) + cut(made(data[2:]))
        assert parts.shape == found.shape
        v = integers(0, 2, *found.shape)
        assert np.abs(parts.cov(v) - found.cov(v)).max() <= 2**12 * EPS * found.energy * np.abs(v).sum()


def alike(read, saved):
    """To the bit."""
    v, y = integers(0, 2, *saved.shape), integers(1, 2, *saved.root_shape)
    assert (type(read), read.shape, read.root_shape) == (type(saved), saved.shape, saved.root_shape)
    assert (read.energy, read.contrast) == (saved.energy, saved.contrast)
    assert read.mean is saved.mean is None or (read.mean == saved.mean).all()
    assert (read.cov(v) == saved.cov(v)).all()
    assert (read.root(y) == saved.root(y)).all()
    assert (read.root_t(v) == saved.root_t(v)).all()


def test_statistics_made_of_other_sizes_are_not_added():
    data = images(0, 5, 2, 7, 9)
    with pytest.raises(ShapeError, match="both must be the same, and made of one size"):
        autocovariance(data, 3).within(2) + autocovariance(data, 4).within(2)


def test_one_image_several_and_stacks_are_taken(statistics):
    v = integers(0, 2, 3, *statistics.shape)
    whole = statistics.cov(v)
    assert whole.shape == v.shape
    assert np.abs(statistics.cov(v[1, 2]) - whole[1, 2]).max() <= 2**10 * EPS * np.abs(whole).max()
    with pytest.raises(ShapeError, match=r"cov: v \(2, 5\) must end in"):
        statistics.cov(np.ones((2, 5)))
    with pytest.raises(InvalidValueError, match="not finite"):
        statistics.cov(np.full(statistics.shape, np.nan))


# Each of them


def test_natural_scenes_have_the_stated_deviation_and_colours():
    cov = dense(natural((5, 3), contrast=0.5).cov, (3, 5, 3))
    assert np.abs(np.diag(cov) - 0.25).max() <= 64 * EPS
    cov = cov.reshape(3, 15, 3, 15)
    assert np.abs(cov[0, :, 1] - 0.9 * cov[0, :, 0]).max() <= 64 * EPS
    row = cov[0, 0, 0, :3]
    assert row[0] > row[1] > row[2] > 0  # neighbours are alike, the nearer the more


def test_the_power_of_natural_scenes_falls_with_the_square_of_frequency():
    power = natural(32, channels=1).spectrum[:, :, 0, 0].real
    f = np.hypot(np.fft.fftfreq(64)[:, np.newaxis], np.fft.rfftfreq(64))
    ratio = power * (f**2 + 1 / 32**2)
    assert np.ptp(ratio) <= 64 * EPS * ratio.max()


def test_the_autocovariance_by_hand():
    # 1 −1 1 −1 …: pixels an odd number of places apart are each other's negative.
    found = autocovariance([[[[1, -1, 1, -1, 1, -1, 1, -1]]]], (1, 4))
    want = np.array([[1, -1, 1, -1], [-1, 1, -1, 1], [1, -1, 1, -1], [-1, 1, -1, 1]])
    assert np.abs(dense(found.cov, (1, 1, 4)) - want).max() <= 64 * EPS
    assert found.mean.tolist() == [[[0, 0, 0, 0]]]


def test_frequencies_of_negative_power_have_none():
    rows = [[3, -1, 4, -1, -5], [9, 2, -6, 5, 3]]
    level = sum(map(sum, rows)) / 10
    lags = {d: [a * b for row in rows for a, b in zip(row, row[d:], strict=False)] for d in (0, 1, 2, 3)}
    r = [sum(lags[d]) / len(lags[d]) - level**2 for d in (0, 1, 2, 3)]
    power = np.fft.fft([r[0], r[1], r[2], r[3], r[2], r[1]]).real
    assert power.min() < -1
    want = np.fft.ifft(np.maximum(power, 0)).real
    found = autocovariance(np.reshape(rows, (2, 1, 1, 5)), (1, 3))
    assert np.abs(dense(found.cov, (1, 1, 3))[0] - want[:3]).max() <= 64 * EPS * want[0]


def test_the_autocovariance_of_cyclic_images_is_that_of_all_their_crops():
    shifts = shifted(0)
    crops = np.lib.stride_tricks.sliding_window_view(shifts, (3, 4), axis=(2, 3))
    crops = np.moveaxis(crops, 1, 3).reshape(-1, 2, 3, 4)
    whole = covariance(crops)
    found = autocovariance(shifts, (3, 4))
    assert np.abs(dense(found.cov, found.shape) - dense(whole.cov, whole.shape)).max() <= 2**12 * EPS * found.energy
    assert np.abs(found.mean - whole.mean).max() <= 64 * EPS


def shifted(seed):
    """All cyclic shifts of one image: statistics that are the same everywhere."""
    image = images(seed, 1, 2, 6, 8)
    return np.concatenate([np.roll(image, (i, j), (2, 3)) for i in range(6) for j in range(8)])


def test_the_covariance_by_hand():
    found = covariance([[[[0, 1]]], [[[2, 5]]]])
    assert dense(found.cov, (1, 1, 2)).tolist() == [[1, 2], [2, 4]]
    assert found.mean.tolist() == [[[1, 3]]]
    assert (found.energy, found.root_shape) == (5, (1,))


def test_measured_statistics_merge_and_read_a_stream_once():
    many = integers(0, 9, 2, 5, 6)
    for make in (lambda x: autocovariance(x, (3, 4)), covariance):
        whole, parts = make(many), [make(part) for part in (many[:2], many[2:5], many[5:])]
        merged, streamed = sum(parts[1:], start=parts[0]), make(iter([many[:2], many[2:]]))
        for other in (merged, streamed):
            assert (
                np.abs(other.cov(np.ones(whole.shape)) - whole.cov(np.ones(whole.shape))).max()
                <= 2**10 * EPS * whole.energy
            )
            assert (other.mean == whole.mean).all()
        with pytest.raises(TypeError):
            whole + 1
        with pytest.raises(ShapeError, match="cannot be added"):
            whole + whole.scaled(2)
    different = [integers(1, 2, 2, 5, 6), integers(2, 1, 2, 9, 4)]
    assert autocovariance(different, (2, 3)).pixels == 2 * 30 + 36


def test_larger_stationary_statistics_serve_smaller_filters():
    large, small = natural((6, 8), channels=2), natural((6, 8), channels=2).within((3, 4))
    v = integers(0, 2, 3, 4)
    inside = np.zeros((2, 6, 8))
    inside[:, :3, :4] = v
    assert np.abs(small.cov(v) - large.cov(inside)[:, :3, :4]).max() <= 64 * EPS * np.abs(small.cov(v)).max()
    assert (pattern(v, large) == small.cov(v)).all()
    assert small.energy == large.energy / 4


# Patterns


def test_the_pattern_of_a_linear_unit_shows_what_goes_with_what_it_weighs():
    net = Network([Conv([[[[1, 0]]]])])
    for via in ("decoded", "network"):
        assert patterns(net, [[[[0, 0]]], [[[2, 4]]]], 1, via=via).tolist() == [[[[1, 2]]]]


def test_patterns_of_a_linear_network_are_its_filters_under_the_autocovariance_of_cyclic_images():
    random = np.random.default_rng(0)
    net = Network([Conv(random.standard_normal((3, 2, 2, 3)), [1, 2, 3]), Conv(random.standard_normal((4, 3, 2, 2)))])
    data = shifted(1)
    want = pattern(decode_layer(net, 2), autocovariance(data, net.receptive_field(2).size))
    for via in ("decoded", "network"):
        assert np.abs(patterns(net, data, 2, via=via) - want).max() <= 2**12 * EPS * np.abs(want).max()


def nets():
    return {
        "strided and padded": Network(
            [Conv(integers(0, 3, 2, 2, 3), stride=(2, 1), pad=(1, 0, 2, 1)), ReLU(gain=0.5), Conv(integers(1, 4, 3, 2, 2), stride=(1, 3))]
        ),
        "begins further in": Network([decoding.Select([1, 0], start=(1, 2)), Conv(integers(2, 3, 2, 2, 3))], input_shape=(2, 9, 10)),
        "pooled": Network([Conv(integers(3, 3, 2, 2, 2)), MaxPool(2), Conv(integers(4, 2, 3, 2, 2))]),
    }  # fmt: skip


@pytest.mark.parametrize("name", nets())
@pytest.mark.parametrize("via", ["decoded", "network"])
def test_patterns_are_the_covariance_of_crops_and_responses(name, via):
    net, data = nets()[name], integers(5, 4, 2, 9, 10)
    top = len(net)
    field, y = net.receptive_field(top), net.forward(data)
    y = decoded_responses(net, data, top) if via == "decoded" else y
    wide = np.pad(data, ((0, 0), (0, 0), (9, 9), (9, 9)))
    crops = [
        wide[n, :, 9 + r : 9 + r + field.size[0], 9 + c : 9 + c + field.size[1]]
        for n in range(4)
        for r in (field.offset[0] + i * field.stride[0] for i in range(y.shape[2]))
        for c in (field.offset[1] + j * field.stride[1] for j in range(y.shape[3]))
    ]
    responses = np.moveaxis(y, 1, 3).reshape(len(crops), -1)
    want = np.einsum("pk,pcij->kcij", responses - responses.mean(axis=0), np.array(crops)) / len(crops)
    for units in (None, [1, 0]):
        got = patterns(net, data, top, via=via, units=units)
        assert np.abs(got - (want if units is None else want[units])).max() <= 2**12 * EPS * np.abs(want).max()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), via=st.sampled_from(["decoded", "network"]))
def test_windows_and_transforms_agree(seed, via):
    net = nets()["strided and padded"]
    data = np.random.default_rng(seed).standard_normal((3, 2, 11, 13))
    parts = {}
    for pays in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(room, "_fourier_pays", lambda *sizes, pays=pays: pays)
            parts[pays] = patterns(net, data, 3, via=via)
    assert np.abs(parts[True] - parts[False]).max() <= 2**12 * EPS * np.abs(parts[False]).max()


def test_patterns_measured_in_parts_merge_to_the_whole():
    net, data = nets()["pooled"], integers(0, 6, 2, 8, 8)
    whole = patterns(net, data, 3)
    meters = [PatternMeter(net, 3) for _ in range(2)]
    measure(net, data[:2], meters[:1])
    measure(net, data[2:], meters[1:])
    meters[0].add(meters[1].sums)
    assert (meters[0].result() == whole).all()  # sums of small integers are exact
    assert (patterns(net, iter([data[:5], data[5:]]), 3) == whole).all()


def test_patterns_follow_the_gains():
    net = nets()["strided and padded"]
    data = integers(1, 5, 2, 9, 10)
    linear = linearize(net, data)
    assert (patterns(linear, data, 3, via="network") == patterns(net, data, 3, via="network")).all()
    filters = decode_layer(linear, 3)
    want = patterns(Network([Conv(filters, stride=(2, 3), pad=(1, 0, 2, 1))]), data, 1)
    got = patterns(linear, data, 3)
    assert np.abs(got - want).max() <= 2**10 * EPS * np.abs(got).max()


def test_on_lenet_patterns_are_closer_to_the_networks_own_than_filters_are(lenet):
    digits = lenet.normalize(decoding.mnist()[0][:400])
    own = patterns(lenet, digits, 7, via="network", backend=decoding.fast)
    filters = decode_layer(lenet, 7, unpool="bicubic", backend=decoding.fast)
    decoded = patterns(lenet, digits, 7, unpool="bicubic", backend=decoding.fast)
    full = pattern(filters, covariance(digits))

    def cosine(a, b):
        return np.einsum("kcij,kcij->k", a, b) / np.sqrt(
            np.square(a).sum(axis=(1, 2, 3)) * np.square(b).sum(axis=(1, 2, 3))
        )

    assert cosine(decoded, full).min() >= 1 - 2**-20  # one unit, one place: the same two ways
    assert np.median(cosine(decoded, own)) > np.median(cosine(filters, own)) + 0.1


# Errors


def test_statistics_refuse_what_they_cannot_serve():
    for statistics, message in (
        (natural(4), "statistics of 4×4 pixels are smaller than 5×3"),
        (covariance(images(0, 9, 3, 4, 4)), "bound to its places, 4×4 pixels, and cannot serve 5×3"),
    ):
        with pytest.raises(ShapeError, match=message):
            pattern(np.ones((2, 3, 5, 3)), statistics)
    with pytest.raises(ShapeError, match=r"filters \(2, 1, 3, 3\) for statistics of \(3, 4, 4\)"):
        pattern(np.ones((2, 1, 3, 3)), natural(4))
    with pytest.raises(ShapeError):
        pattern(np.ones((3, 3)), natural(4))
    with pytest.raises(InvalidValueError, match="not finite"):
        pattern(np.full((3, 4, 4), np.inf), natural(4))


def test_makers_refuse_what_says_nothing():
    for make in (lambda x: autocovariance(x, 3), covariance):
        with pytest.raises(InvalidValueError, match="no images"):
            make(np.ones((0, 1, 4, 4)))
        with pytest.raises(InvalidValueError, match="not finite"):
            make(np.full((2, 1, 4, 4), np.nan))
        with pytest.raises(InvalidValueError, match="equal, so nothing varies"):
            make(np.ones((2, 1, 4, 4)))
        with pytest.raises(ShapeError):
            make(np.ones((4, 4)))
        # Nor where rounding hides it, channel by channel; little that varies beside much that does not is enough.
        for count, level in ((3, 0.1), (7, 0.1), (10, 1 / 3), (11, 1e-9)):
            still = np.full((count, 2, 9, 9), level) * np.reshape([1, -1e6], (2, 1, 1))
            with pytest.raises(InvalidValueError, match="equal, so nothing varies"):
                make(still)
        little = np.full((11, 2, 9, 9), -3e5)
        little[:, 0] = 0.02 * integers(0, 11, 9, 9)
        assert make(little).energy > 0
    with pytest.raises(InvalidValueError, match="one image does not vary"):
        covariance(integers(0, 1, 1, 4, 4))
    with pytest.raises(InvalidValueError, match="have 7500 numbers, and at most 6000 are taken"):
        covariance(np.zeros((2, 3, 50, 50)))
    with pytest.raises(ShapeError, match="smaller than the size, 5×4"):
        autocovariance(integers(0, 2, 1, 4, 4), (5, 4))
    with pytest.raises(ShapeError, match="cannot be added"):
        covariance([integers(0, 2, 1, 4, 4), integers(0, 2, 1, 4, 5)])
    for bad in (0, -1, np.nan, "much"):
        with pytest.raises(InvalidValueError, match="contrast must be a positive number"):
            natural(4, contrast=bad)


NO_STATISTICS = {
    "text": lambda whole: b"nothing",
    "empty": lambda whole: b"",
    "cut off": lambda whole: whole[: len(whole) // 2],
    "a byte changed": lambda whole: whole[: len(whole) // 2] + bytes([whole[len(whole) // 2] ^ 255]) + whole[len(whole) // 2 + 1 :],
    "a directory alone": lambda whole: whole[whole.index(b"PK\x01\x02") :],
    "one array": lambda whole: archive(np.save, np.ones(3)),
    "another kind": lambda whole: archive(np.savez, kind="Else", contrast=1),
    "other sides": lambda whole: archive(np.savez, **{**held(whole), "pairs": np.ones((2, 2))}),
    "not finite": lambda whole: archive(np.savez, **{**held(whole), "total": np.full(2, np.nan)}),
    "larger than it was made of": lambda whole: archive(np.savez, **{**held(whole), "within": [9, 9]}),
    "no contrast": lambda whole: archive(np.savez, **{**held(whole), "contrast": 0}),
}  # fmt: skip


def archive(write, *arrays, **named):
    file = io.BytesIO()
    write(file, *arrays, **named)
    return file.getvalue()


def held(whole):
    return dict(np.load(io.BytesIO(whole)))


@pytest.mark.parametrize("what", NO_STATISTICS)
def test_a_file_that_holds_no_statistics_is_refused(what):
    file = io.BytesIO()
    autocovariance(images(0, 5, 2, 7, 9), (3, 4)).save(file)
    with pytest.raises(DataFormatError, match="holds no statistics"):
        load_statistics(io.BytesIO(NO_STATISTICS[what](file.getvalue())))
    if what in ("text", "empty", "cut off", "one array", "another kind"):
        with pytest.raises(DataFormatError, match="holds no unit"):
            decoding.QuadraticUnit.load(io.BytesIO(NO_STATISTICS[what](file.getvalue())))


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path):
    for load in (load_statistics, decoding.QuadraticUnit.load):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "none.npz")


def test_patterns_refuse_images_that_say_nothing():
    net, flat = nets()["strided and padded"], np.broadcast_to(np.reshape([0.1, -2], (2, 1, 1)), (3, 2, 8, 8))
    whole = Network([Conv(integers(0, 3, 2, 4, 4))])
    for via in ("decoded", "network"):
        for data in (flat, iter([flat[:1], flat[1:]])):
            with pytest.raises(InvalidValueError, match="in each channel all pixels of the images are equal"):
                patterns(net, data, 3, via=via)
        with pytest.raises(InvalidValueError, match="look at one place of one image"):
            patterns(whole, images(0, 1, 2, 4, 4), 1, via=via)
        assert patterns(whole, images(0, 1, 2, 4, 5), 1, via=via).any()  # two places
        steps = np.repeat(np.arange(2.0), 32).reshape(2, 1, 4, 8) + np.zeros(
            (1, 2, 1, 1)
        )  # each image is flat, and they differ
        assert patterns(whole, iter([steps[:1], steps[1:]]), 1, via=via).any()


def test_patterns_refuse_what_does_not_fit():
    net, data = nets()["pooled"], integers(0, 2, 2, 8, 8)
    with pytest.raises(InvalidValueError, match="via must be 'decoded' or 'network', not 'decode'"):
        patterns(net, data, 3, via="decode")
    for via in ("decoded", "network"):
        with pytest.raises(UnknownLayerError, match="has no unit 2"):
            patterns(net, data, 3, via=via, units=[0, 2])
        with pytest.raises(InvalidValueError, match="units must be a sequence of numbers"):
            patterns(net, data, 3, via=via, units=1)
        with pytest.raises(InvalidValueError, match=r"unpool must be 'nearest' or .*, not 'zz'"):
            patterns(net, data, 3, via=via, unpool="zz")
    with pytest.raises(InvalidValueError, match="via must be"):
        patterns(net, data, 3, via=["decoded"])
    with pytest.raises(ShapeError):
        patterns(net, data[:, :1], 3)
    with pytest.raises(InvalidValueError, match="no images"):
        patterns(net, data[:0], 3)
    with pytest.raises(InvalidValueError, match="no images yet"):
        PatternMeter(net, 3).result()


# Mutants


def mutant(old, new):
    """The room with one piece of its text in place of another."""
    source = inspect.getsource(room)
    assert source.count(old) == 1, old
    wrong = types.ModuleType("decoding.patterns_mutant")
    wrong.__package__ = "decoding"
    sys.modules[wrong.__name__] = wrong
    exec(compile(source.replace(old, new), wrong.__name__, "exec"), wrong.__dict__)
    return wrong


def covariances():
    for net in ("strided and padded", "begins further in"):
        for via in ("decoded", "network"):
            test_patterns_are_the_covariance_of_crops_and_responses(net, via)


def roots():
    for make in makers().values():
        test_a_covariance_is_symmetric_and_root_times_its_transpose(make())


def saved():
    test = test_statistics_are_those_that_were_saved_and_those_that_were_added.hypothesis.inner_test
    for kind in ("natural", "autocovariance"):
        test(size=(4, 5), smaller=(2, 3), again=None, contrast=1, kind=kind)


@pytest.mark.parametrize(
    ("old", "new", "dies"),
    {
        "the mean of crops left in": (
            "both / cells - np.multiply.outer(responses / cells, crops / cells)", "both / cells", covariances,
        ),
        "the stride left out": ("grid, size, stride, BLOCK)", "grid, size, (stride[0], 1), BLOCK)", covariances),
        "rows and columns of the stride swapped": ("grid, size, stride, BLOCK)", "grid, size, stride[::-1], BLOCK)", covariances),
        "first channel and second swapped": ("rfft2(covariance), (0, 1), (3, 2)", "rfft2(covariance), (0, 1), (2, 3)", test_the_autocovariance_of_cyclic_images_is_that_of_all_their_crops),
        "the level left in": ("- np.multiply.outer(level, level)[:, :, np.newaxis, np.newaxis]", "", test_the_autocovariance_of_cyclic_images_is_that_of_all_their_crops),
        "divided by all pixels": ("self.products / np.maximum(self.pairs, 1)", "self.products / self.pixels", test_the_autocovariance_of_cyclic_images_is_that_of_all_their_crops),
        "negative powers kept": ("apply(np.maximum(values, 0))", "apply(np.abs(values))", test_frequencies_of_negative_power_have_none),
        "the root not taken": ("_function(self.spectrum, np.sqrt)", "_function(self.spectrum, lambda value: value)", roots),
        "no colours": ("np.full((c, c), COLOUR)", "0 * np.full((c, c), COLOUR)", test_natural_scenes_have_the_stated_deviation_and_colours),
        "amplitude in place of power": ("power = 1 / (f**2 + 1 / max(self._size) ** 2)", "power = 1 / np.sqrt(f**2 + 1 / max(self._size) ** 2)", test_the_power_of_natural_scenes_falls_with_the_square_of_frequency),
        "what is saved is the size that statistics were cut to": ('"rows": self._size[0],', '"rows": self.shape[1],', saved),
        "what is read has the size that statistics were made of": ("if size is None or tuple", "if True or tuple", saved),
        "what is added has the size that statistics were made of": (", shape=self.shape)", ")", saved),
        "images that are flat but for rounding": ("if found._is_still:\n        raise InvalidValueError(\"auto", "if not found._trace > 0:\n        raise InvalidValueError(\"auto", test_makers_refuse_what_says_nothing),
        "all channels taken together": ("square - (self.total / self.pixels) ** 2 <= STILL**2 * square).all()", "square - (self.total / self.pixels) ** 2).sum() <= STILL**2 * square.sum()", test_makers_refuse_what_says_nothing),
        "flat images of each batch alone": ("np.minimum(old.least, part.least)", "part.least", test_patterns_refuse_images_that_say_nothing),
        "flat images taken": ("if np.all(least == most):", "if False:", test_patterns_refuse_images_that_say_nothing),
        "one window taken": ("if cells < 2:", "if False:", test_patterns_refuse_images_that_say_nothing),
        "the contrast not squared": ("self.shape, self.shape) * self.contrast**2", "self.shape, self.shape) * self.contrast", roots),
    }.values(),
)  # fmt: skip
def test_mutants_die(old, new, dies, monkeypatch):
    wrong = mutant(old, new)
    for name in ("natural", "autocovariance", "covariance", "pattern", "patterns", "PatternMeter", "load_statistics"):
        monkeypatch.setitem(globals(), name, getattr(wrong, name))
    with pytest.raises((AssertionError, decoding.DecodingError, ValueError, pytest.fail.Exception)):
        dies()
