"""The derived bounds of the conformance kit: as tight as they can be, and honest."""

import types

import numpy as np
import pytest
from by_day import partly
from honest import TapByTap

import decoding
from decoding import BatchNorm, Concat, Conv, Gate, Network, ReLU, Sum, reference
from decoding.interpolation import MODES, matrix
from decoding.testing import CHECKS, Call, bench, check_backend, explicit, operators, stages, strategies
from decoding.testing.bounds import error_bound, exact_unit, running_error
from decoding.testing.report import FAILED, NOT_JUDGED, PASSED, Mismatch
from decoding.testing.rounding import Arithmetic, NotJudged

pytestmark = pytest.mark.usefixtures("few_conditions")

HALF, SINGLE, DOUBLE = 2.0**-11, 2.0**-24, 2.0**-53


def backend(**operators):
    functions = {name: getattr(reference, name) for name in decoding.backend.OPERATORS}
    return types.SimpleNamespace(**{"name": "a backend", "eps": DOUBLE, **functions, **operators})


def statuses(backend, checks, **options):
    report = check_backend(backend, checks=checks, on_failure="return", **options)
    return {result.check: result.status for result in report.results}


# Operators.


def test_the_bound_of_a_correlation_is_gamma_times_the_absolute_correlation():
    call = Call(
        "correlate",
        (np.array([[[[0.1, -0.2]]]]), np.array([[[[3.0, 0.7]]]]), None),
        {"stride": (1, 1), "pad": (0,) * 4},
    )
    eps = 2.0**-24 + 2.0**-53
    gamma = 5 * eps / (1 - 5 * eps)  # two products, one sum, two operands read
    (bound,) = error_bound(call, Arithmetic(2.0**-24)).ravel()
    assert gamma * 0.44 <= bound <= gamma * 0.44 * (1 + 1e-9)


def test_errors_are_carried_through_a_layer():
    call = Call(
        "correlate",
        (np.array([[[[1.0, -2.0]]]]), np.array([[[[3.0, -5.0]]]]), None),
        {"stride": (1, 1), "pad": (0,) * 4},
    )
    (bound,) = running_error(call, Arithmetic(2.0**-53), (np.array([[[[0.5, 0.25]]]]),)).ravel()
    assert 3 * 0.5 + 5 * 0.25 <= bound <= 2.75 * (1 + 1e-12)


@pytest.mark.parametrize(("dtype", "tiny"), [(np.float64, -1022), (np.float32, -126), (np.float16, -14)])
def test_the_spacing_at_one_declares_the_same_format_as_the_unit_roundoff(dtype, tiny):
    spacing = float(np.finfo(dtype).eps)
    assert Arithmetic(spacing).range == Arithmetic(spacing / 2).range
    assert Arithmetic(spacing).range.tiny == 2.0**tiny


def test_answers_that_are_rounded_are_not_judged_where_the_bound_exceeds_the_rounding():
    inexact = {"eps": 2.0**-6, "exact": False}

    def nothing(x, filters, bias, **options):
        return 0 * reference.correlate(x, filters, bias, **options)

    wrong = backend(correlate=nothing, **inexact)
    x, filters = np.full((1, 1, 3, 4), 3.0), np.full((1, 1, 3, 3), 3.0)
    call = Call("correlate", (x, filters, None), {"stride": (1, 1), "pad": (0,) * 4})
    with pytest.raises(NotJudged):
        bench.Bench(wrong, 4).agrees(call)
    names = ["correlate_integers", "law_linear", "forward_integers"]
    report = check_backend(wrong, checks=names, on_failure="return", examples=20)
    assert {report.status(name) for name in names} <= {FAILED, NOT_JUDGED}


def test_what_is_exact_is_told_by_the_grid_of_the_sums():
    def unit(*values, eps):
        x = np.array([[[values]]], float)
        return exact_unit(
            Call("correlate", (x, np.ones((1, 1, 1, len(values))), None), {"stride": (1, 1), "pad": (0,) * 4}),
            Arithmetic(eps),
        )

    assert unit(1024, 1024, eps=2.0**-11) == 1
    assert unit(1024, 1025, eps=2.0**-11) is None
    assert unit(1024, -1025, eps=2.0**-11) is None  # the order could be another
    assert unit(1024, 1025, eps=2.0**-24) == 1
    assert unit(0.5, 0.25, eps=2.0**-11) == 0.25
    assert unit(0.1, eps=2.0**-53) is None


def test_sums_that_could_overflow_are_not_judged():
    x = np.full((1, 1, 1, 2), 40000.0)
    call = Call("correlate", (x, np.ones((1, 1, 1, 2)), None), {"stride": (1, 1), "pad": (0,) * 4})
    with pytest.raises(NotJudged, match="overflow"):
        error_bound(call, Arithmetic(2.0**-11))


def test_a_response_that_is_normalized_carries_its_error_into_the_roundings():
    net = Network([BatchNorm([0.3], [0.0]), Conv([[[[0.7, 0.9]]]])], input_shape=(1, 3, 4))
    first, last = stages.expectations(stages.decode(net, 2, "nearest"), np.ones((1, 1, 1, 1)), Arithmetic(HALF))
    gamma = Arithmetic(HALF).growth(3)
    assert (last.bound >= 0.3 * (first.bound + gamma * (first.want + first.bound))).all()


# What the walks multiply and add by themselves.


def same(bound, derived):
    """Equal, but for the order in which the bound itself was added up."""
    return ((derived <= bound * (1 + 1e-12)) & (bound <= derived * (1 + 1e-12))).all()


def two(join, *more):
    """A network whose two convolutions meet."""
    layers = [Conv([[[[0.3]]]]), Conv([[[[-0.7]]]], [0.1]), join, *more]
    return Network(layers, inputs=[0, 0, (1, 2), *range(3, 3 + len(more))], input_shape=(1, 2, 3))


@pytest.mark.parametrize("eps", [HALF, SINGLE])
def test_a_sum_of_branches_is_rounded_once_for_each_term_but_one(eps):
    precision, x = Arithmetic(eps), np.array([[[[0.1, 0.2, 0.3], [1.0, 5.0, 7.0]]]])
    for terms in (2, 3):
        net = Network(
            [Conv([[[[0.3]]]]), Conv([[[[-0.7]]]], [0.1]), Sum()],
            inputs=[0, 0, (1, 2, 1)[:terms]],
            input_shape=(1, 2, 3),
        )
        first, second, last = stages.expectations(stages.forward(net, 3), x, precision)
        parts = (first, second, first)[:terms]
        sizes = sum(np.abs(part.want) + part.bound for part in parts)
        assert same(last.bound, sum(part.bound for part in parts) + precision.growth(terms - 1) * sizes)
        (decoded,) = list(stages.expectations(stages.decode(net, 3, "nearest"), np.ones((1, 1, 1, 1)), precision))[-1:]
        weights = (0.3, 0.7, 0.3)[:terms] if terms == 2 else (0.6, 0.7)
        assert decoded.bound[0, 0, 0, 0] >= precision.growth(4) * sum(weights) * (1 - 1e-12)


def test_a_sum_of_what_comes_down_counts_the_sizes_of_its_parts():
    precision, one = Arithmetic(HALF), np.ones((1, 1, 1, 1))
    (alone,) = stages.expectations(
        stages.decode(Network([Conv([[[[0.3]]]])], input_shape=(1, 2, 3)), 1, "nearest"), one, precision
    )
    (other,) = stages.expectations(
        stages.decode(Network([Conv([[[[-0.7]]]])], input_shape=(1, 2, 3)), 1, "nearest"), one, precision
    )
    *_, both = stages.expectations(stages.decode(two(Sum()), 3, "nearest"), one, precision)
    sizes = 0.3 + 0.7 + alone.bound + other.bound
    assert same(both.bound, alone.bound + other.bound + precision.growth(1) * sizes)
    assert both.name == "layer 2 (Conv) and layer 1 (Conv)"


def test_a_bank_where_branches_meet_counts_the_sizes_of_its_parts():
    precision, one = Arithmetic(HALF), np.ones((1, 1, 1, 1))
    first, second, both = stages.expectations(stages.decode_bottom_up(two(Sum()), 3), one, precision)
    assert same(first.bound, precision.growth(1) * 0.3)  # a weight that is read
    sizes = 1.0 + first.bound + second.bound
    assert same(both.bound, first.bound + second.bound + precision.growth(1) * sizes)


@pytest.mark.parametrize("way", [stages.decode, stages.decode_bottom_up])
def test_a_gain_is_one_product(way):
    precision = Arithmetic(HALF)
    net = Network([Conv([[[[1.0]]]]), ReLU(gain=-0.3)], input_shape=(1, 2, 3))
    options = ("nearest",) if way is stages.decode else ()
    judged = list(stages.expectations(way(net, 2, *options), np.ones((1, 1, 1, 1)), precision))
    scaled = judged[0 if way is stages.decode else 1]
    below = 0 if way is stages.decode else judged[0].bound
    assert same(scaled.bound, 0.3 * below + precision.growth(3) * 0.3 * (1 + below) + precision.range.tiny)
    assert scaled.unit is None
    for gain, grid in ((0.5, 0.5), (-3.0, 1.0)):
        exact = net.replace(layers=[net.layers[0], ReLU(gain=gain)])
        stage = list(stages.expectations(way(exact, 2, *options), np.ones((1, 1, 1, 1)), precision))[-1]
        assert stage.unit == grid


def test_a_gate_carries_the_errors_of_both_its_factors():
    precision, x = Arithmetic(HALF), np.array([[[[0.1, 0.2, 0.3], [1.0, 5.0, 7.0]]]])
    first, second, gated = stages.expectations(stages.forward(two(Gate()), 3), x, precision)
    a, b = np.abs(first.want), np.abs(second.want)
    carried = a * second.bound + b * first.bound + first.bound * second.bound
    own = precision.growth(1) * (a + first.bound) * (b + second.bound) + precision.range.tiny
    assert same(gated.bound, carried + own)


def test_what_is_cut_or_put_together_is_not_rounded():
    first, second, both = stages.expectations(
        stages.forward(two(Concat()), 3), np.full((1, 1, 2, 3), 0.3), Arithmetic(HALF)
    )
    assert (both.bound == np.concatenate([first.bound, second.bound], axis=1)).all()


@pytest.mark.parametrize("net", [net for net in explicit.linear() if not net.is_chain][:8])
def test_branches_of_small_integers_must_be_exact(net):
    top, precision = len(net), Arithmetic(SINGLE)
    passes = [
        (stages.forward(net, 3), operators.varied(1, *net.input_shape, most=1)),
        (stages.decode(net, top, "nearest"), np.eye(net.channels(top))[:, :, None, None]),
    ]
    for steps, start in passes:
        assert None not in {stage.unit for stage in stages.expectations(steps, start, precision)}


@pytest.mark.parametrize("wrong", [1 + 2.0**-18, 1 - 2.0**-18])
def test_a_gain_or_a_sum_that_is_off_by_more_than_its_roundings_is_refused(wrong):
    desk, net = bench.Bench(backend(eps=SINGLE), 1), two(Sum(), ReLU(gain=0.3))
    steps = stages.decode(net, 4, "nearest")
    desk.agrees_on_pass(steps, np.ones((1, 1, 1, 1)), "")
    *_, last = stages.expectations(steps, np.ones((1, 1, 1, 1)), desk.precision)
    with pytest.raises(Mismatch):
        desk.compare(last.want * wrong, last, "")


def test_layers_that_compute_by_themselves_are_not_judged_on_the_way_up():
    net = Network([BatchNorm([0.3], [0.0], mean=[0.0], std=[1.0])], input_shape=(1, 2, 3))
    with pytest.raises(NotJudged, match="BatchNorm computes by itself"):
        list(stages.expectations(stages.forward(net, 1), np.ones((1, 1, 2, 3)), Arithmetic(HALF)))


# Unpooling.


def unpooling(weights):
    """A backend that unpools with other weights."""

    def unpool(maps, *, size, stride, mode):
        down, across = (weights(n, z, s, mode) for n, z, s in zip(np.shape(maps)[2:], size, stride, strict=True))
        return down @ np.asarray(maps, float) @ across.T

    return unpool


@pytest.mark.parametrize("eps", [HALF, SINGLE, DOUBLE])
@pytest.mark.parametrize(("mode", "reach"), [("bilinear", 1), ("bicubic", 2)])
def test_cells_out_of_the_kernels_reach_have_no_share_in_the_bound(mode, reach, eps):
    x = np.zeros((1, 1, 1, 12))
    x[..., 5] = 1
    call = Call("unpool", (x,), {"size": (1, 3), "stride": (1, 3), "mode": mode})
    bound, far = running_error(call, Arithmetic(eps)), np.abs((np.arange(36) - 1) / 3 - 5) > reach + 0.1
    assert (bound[0, 0, 0, far] <= 30 * Arithmetic(eps).range.tiny).all()
    assert (bound[0, 0, 0, ~far] > eps / 2).all()


@pytest.mark.parametrize("eps", [HALF, SINGLE, DOUBLE])
@pytest.mark.parametrize(("mode", "leak"), [("bilinear", 8), ("bicubic", 64)])
def test_a_kernel_that_never_ends_is_refused(mode, leak, eps):
    def weights(n, size, stride, mode):
        right = matrix(n, size, stride, mode)
        return right if mode == "nearest" or stride % 3 else np.where(right == 0, leak * eps, right)

    wrong = backend(eps=eps, unpool=unpooling(weights))
    call = Call(
        "unpool", (np.arange(1.0, 13.0).reshape(1, 1, 1, 12),), {"size": (1, 3), "stride": (1, 3), "mode": mode}
    )
    with pytest.raises(Mismatch):
        bench.Bench(wrong, 1).agrees(call)


@pytest.mark.parametrize("mode", MODES[1:])
def test_the_bound_of_a_pixel_does_not_grow_with_the_map(mode):
    def first(n):
        call = Call("unpool", (np.ones((1, 1, n, n + 1)),), {"size": (3, 3), "stride": (3, 3), "mode": mode})
        return error_bound(call, Arithmetic(SINGLE))[0, 0, 4, 4]

    assert first(30) == pytest.approx(first(6), rel=1e-9)


class Lerp(TapByTap):
    """Interpolates with polynomials in the fraction of a place, made of cells."""

    def unpool(self, maps, *, size, stride, mode):
        if mode not in MODES[1:]:
            return super().unpool(maps, size=size, stride=stride, mode=mode)
        x, before = self.read(maps), np.shape(maps)
        for axis in (3, 2):
            u = self.places(x.shape[axis], size[axis - 2], stride[axis - 2])
            first, shape = np.floor(u).astype(int), [-1 if each == axis else 1 for each in range(4)]
            a, b, c, d = (np.take(x, mirrored(first + k, x.shape[axis]), axis=axis) for k in (-1, 0, 1, 2))
            s = (u - first.astype(self.dtype)).reshape(shape)
            if mode == "bilinear":
                x = b + s * (c - b)
            else:
                half, two, three, four, five = map(self.dtype, (0.5, 2, 3, 4, 5))
                x = b + half * s * (c - a + s * (two * a - five * b + four * c - d + s * (three * (b - c) + d - a)))
        down, across = (np.arange((n - 1) * s + z) % s < z for n, z, s in zip(before[2:], size, stride, strict=True))
        return x * (down[:, None] & across)

    def places(self, n, size, stride):
        return (np.arange((n - 1) * stride + size, dtype=self.dtype) - self.dtype((size - 1) / 2)) / self.dtype(stride)


class Normalizing(Lerp):
    """Weights from written-out powers, at places that are multiplied by a reciprocal; divided by their sum."""

    def unpool(self, maps, **options):
        return TapByTap.unpool(self, maps, **options)

    def places(self, n, size, stride):
        p, half = np.arange((n - 1) * stride + size, dtype=self.dtype), self.dtype(0.5)
        return (p + half - self.dtype(size / 2)) * (self.dtype(1) / self.dtype(stride))

    def kernel(self, n, size, stride, mode):
        if mode not in MODES[1:]:
            return super().kernel(n, size, stride, mode)
        u, a, one = self.places(n, size, stride), self.dtype(-0.5), self.dtype(1)
        first, table = np.floor(u).astype(int), np.zeros(((n - 1) * stride + size, n), self.dtype)
        s = u - first.astype(self.dtype)
        taps = {0: one - s, 1: s}
        if mode == "bicubic":
            far = {-1: one + s, 2: self.dtype(2) - s}
            two, three, four, five, eight = map(self.dtype, (2, 3, 4, 5, 8))
            near = {k: (a + two) * t**3 - (a + three) * t**2 + one for k, t in ((0, s), (1, one - s))}
            taps = near | {k: a * t**3 - five * a * t**2 + eight * a * t - four * a for k, t in far.items()}
        total = sum(taps.values())
        for k, weight in taps.items():
            np.add.at(table, (np.arange(len(u)), mirrored(first + k, n)), weight / total)
        return table


class AtOnce(TapByTap):
    """Not one axis after the other: the products of the weights first, all cells in one sum."""

    def unpool(self, maps, *, size, stride, mode):
        maps = self.read(maps)
        down, across = (
            self.read(self.weights(n, z, s, mode)) for n, z, s in zip(maps.shape[2:], size, stride, strict=True)
        )
        cells = self.taps(*maps.shape[2:])
        return sum(maps[:, :, i, j, None, None] * (down[:, i, None] * across[:, j]) for i, j in cells)


def mirrored(cells, n):
    return np.minimum(cells % (2 * n), (-1 - cells) % (2 * n))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("kind", [Lerp, Normalizing, AtOnce])
def test_unpooling_may_be_computed_in_other_ways(kind, dtype):
    checks = [name for name in CHECKS if name.startswith(("unpool", "law_gain", "decode_filter_bi"))]
    assert set(statuses(kind(dtype), checks, examples=30, seed=1).values()) == {PASSED}


# Softmax.


def by_logarithms(self, x):
    z = self.read(x) - self.read(x).max(axis=1, keepdims=True)
    return np.exp(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))


def by_powers_of_two(self, x):
    z = (self.read(x) - self.read(x).max(axis=1, keepdims=True)) * self.dtype(np.log2(np.e))
    return np.exp2(z) * (self.dtype(1) / np.exp2(z).sum(axis=1, keepdims=True))


def by_differences(self, x):
    x = self.read(x)
    with np.errstate(over="ignore"):
        return self.dtype(1) / sum(np.exp(x[:, c, None] - x) for c in range(x.shape[1]))


@pytest.mark.parametrize("dtype", partly([np.float32, np.float64, np.float16], day=lambda i: i == 0))
@pytest.mark.parametrize("formula", [by_logarithms, by_powers_of_two, by_differences])
def test_softmax_may_be_computed_in_other_ways(formula, dtype):
    kind = type("Other", (TapByTap,), {"softmax": formula})
    assert set(statuses(kind(dtype), ["softmax", "forward_reals"], seed=1).values()) == {PASSED}


def test_a_logarithm_of_the_sum_that_holds_the_largest_response_is_refused():
    def unshifted(x):
        largest = np.max(x, axis=1, keepdims=True)
        return np.exp(x - (largest + np.log(np.exp(x - largest).sum(axis=1, keepdims=True))))

    assert statuses(backend(softmax=unshifted), ["softmax"])["softmax"] == FAILED


# Operands that are rounded on the way in.


class Rounded(TapByTap):
    """Whatever is a sum of products is one of matrices whose operands are rounded to so many bits; sums in single."""

    def __init__(self, bits):
        super().__init__(np.float32)
        self.input_eps, self.name = 2.0**-bits, f"operands of {bits} bits"

    def rounded(self, array):
        mantissa, exponent = np.frexp(self.read(array))
        return np.ldexp(np.rint(mantissa / self.input_eps) * self.dtype(self.input_eps), exponent).astype(self.dtype)

    def correlate(self, x, filters, bias, **options):
        return super().correlate(self.rounded(x), self.rounded(filters), bias, **options)

    def substitute(self, maps, filters, **options):
        return super().substitute(self.rounded(maps), self.rounded(filters), **options)

    def avg_pool(self, x, *, size, stride, pad):
        inside = np.ones((1, 1, *np.shape(x)[2:])), np.ones((1, 1, *size)), None
        cells = super().correlate(*inside, stride=stride, pad=pad)
        return super().avg_pool(self.rounded(x), size=size, stride=stride, pad=pad) * cells * self.rounded(1 / cells)

    def unpool(self, maps, *, size, stride, mode):
        down, across = (
            self.rounded(self.weights(n, z, s, mode)) for n, z, s in zip(np.shape(maps)[2:], size, stride, strict=True)
        )
        return down @ self.rounded(self.rounded(maps) @ across.T)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [11, 8], ids=["TF32", "bfloat16"])
def test_operands_of_every_product_may_be_rounded_where_that_is_declared(bits):
    linear = [name for name in CHECKS if name.startswith(("unpool", "decode", "avg_pool", "law", "forward"))]
    assert set(statuses(Rounded(bits), linear, examples=20 if bits == 11 else 5).values()) == {PASSED}
    reals = [
        name
        for name in CHECKS
        if name.startswith(("unpool", "decode", "avg_pool")) and name.endswith(("reals", *MODES))
    ]
    assert set(statuses(undeclared(bits), reals).values()) == {FAILED}


@pytest.mark.slow
@pytest.mark.parametrize("bits", [11, 8], ids=["TF32", "bfloat16"])
def test_rounded_operands_that_are_not_declared_are_refused_under_all_conditions(bits):
    assert set(statuses(undeclared(bits), ["avg_pool_conditions", "unpool_conditions"]).values()) == {FAILED}


def undeclared(bits):
    backend = Rounded(bits)
    backend.input_eps, backend.rounded = 0.0, Rounded(bits).rounded
    return backend


def test_what_is_no_product_has_operands_that_are_not_rounded():
    def rounding(operator):
        return lambda x, **options: getattr(reference, operator)(Rounded(11).rounded(x), **options)

    wrong = {operator: rounding(operator) for operator in ("max_pool", "relu", "softmax")}
    checks = ["max_pool_reals", "relu_reals", "softmax"]
    assert set(statuses(backend(eps=SINGLE, input_eps=HALF, **wrong), checks).values()) == {FAILED}


# Bounds that say nothing.


def test_an_operator_is_judged_where_zeros_would_not_pass():
    def bound(*filter):
        x = np.array([[[[0.1, 0.2, 0.3]]]])
        options = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
        return error_bound(Call("correlate", (x, np.array([[[filter]]]), None), options), Arithmetic(DOUBLE))

    with pytest.raises(NotJudged, match="zeros would pass"):
        bound(1.0, 1.0, -1.0)  # 5.6e-17, which is what rounding leaves
    assert bound(1.0, 1.0, 1.0) < 1e-15
    assert bound(0.0, 0.0, 0.0).shape == (1, 1, 1, 1)  # zeros are right


def differences(count):
    """A network that takes differences of neighbours: responses stay small, and errors double."""
    return Network([Conv([[[[1.0, -1.0]]]]) for _ in range(count)], input_shape=(1, 1, count + 3))


def squares(count):
    return (np.arange(count) ** 2.0 + 0.1).reshape(1, 1, 1, count)


def test_a_network_is_judged_down_to_the_stage_where_zeros_would_pass():
    judged = stages.expectations(stages.forward(differences(4), 4), squares(7), Arithmetic(HALF))
    assert next(judged).name == "layer 1 (Conv)"
    with pytest.raises(NotJudged, match="zeros would pass"):
        list(judged)
    *_, last = stages.expectations(stages.forward(differences(2), 2), squares(5), Arithmetic(DOUBLE))
    assert (last.bound < 1e-12).all()


def test_a_network_that_must_be_exact_is_judged_whatever_its_bound():
    start = (np.arange(9) % 2.0).reshape(1, 1, 1, 9)
    *_, last = stages.expectations(stages.forward(differences(6), 6), start, Arithmetic(2.0**-8))
    assert last.unit == 1
    with pytest.raises(NotJudged):
        list(stages.expectations(stages.forward(differences(6), 6), start, Arithmetic(2.0**-8, exact=False)))


def test_a_scale_is_judged_by_the_same_rule():
    net = Network([BatchNorm([0.3], [0.0]), Conv([[[[0.7, -0.9]]]])], input_shape=(1, 3, 4))
    with pytest.raises(NotJudged, match="zeros would pass"):
        list(stages.expectations(stages.decode(net, 2, "nearest"), np.ones((1, 1, 1, 1)), Arithmetic(0.09)))


@pytest.mark.parametrize("eps", [HALF, 2.0**-8])
def test_no_network_that_is_drawn_lets_zeros_pass(eps):
    desk = bench.Bench(backend(eps=eps), 60)

    def says_something(net):
        start = np.eye(net.channels(len(net.layers)))[:, :, np.newaxis, np.newaxis]
        for stage in stages.expectations(stages.decode(net, len(net.layers), "bicubic"), start, desk.precision):
            if stage.unit is None and stage.want.any() and (np.abs(stage.want) <= stage.bound).all():
                raise Mismatch(f"zeros pass at {stage.name}")

    desk.forall(strategies.networks("reals"), says_something)
    assert 2 * len(desk.skipped) < desk.ran


def zeros(operator):
    function = getattr(reference, operator)
    return lambda *arrays, **options: 0 * function(*arrays, **options)


@pytest.mark.parametrize("eps", partly([HALF, 2.0**-3, 2.0**-8, 2.0**-6, 2.0**-4], day=lambda i: i == 1))
def test_zeros_pass_no_check_of_reals(eps):
    checks = [name for name in CHECKS if name.endswith("reals") or name == "softmax"]
    nothing = backend(eps=eps, groups=True, **{operator: zeros(operator) for operator in decoding.backend.OPERATORS})
    assert set(statuses(nothing, checks, examples=30).values()) <= {FAILED, NOT_JUDGED}


def test_averages_whose_sums_could_overflow_are_not_judged():
    x = np.full((1, 1, 2, 2), 2.0**14)  # an average that half precision holds, of a sum that it does not
    call = Call("avg_pool", (x,), {"size": (2, 2), "stride": (2, 2), "pad": (0, 0, 0, 0)})
    with pytest.raises(NotJudged, match="overflow"):
        error_bound(call, Arithmetic(2.0**-11))
    assert (error_bound(Call("max_pool", *call[1:]), Arithmetic(2.0**-11)) < 16).all()
    assert (error_bound(call, Arithmetic(2.0**-24)) < 1).all()
