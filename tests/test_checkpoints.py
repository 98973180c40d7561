"""Checkpoints: a measurement that was stopped at any point and continued gives the same bits; a checkpoint of other work is refused."""

import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import decoding
from decoding import Conv, DataFormatError, InvalidValueError, MaxPool, Network, ReLU, checkpoints, fast, measure

IMAGES = np.random.default_rng(0).standard_normal((20, 1, 6, 7))


def network(seed=1):
    draw = np.random.default_rng(seed).standard_normal
    return Network([Conv(draw((3, 1, 2, 3)), draw(3)), ReLU(), MaxPool(2), Conv(draw((4, 3, 2, 2)))])


def everything(net, images, folder=None, **options):
    """One array of everything that takes a checkpoint, each in a file of its own."""

    def kept(name):
        return {**options, "checkpoint": None if folder is None else folder / name}

    size = {"batch_size": 3, "backend": fast}
    error = decoding.reconstruction_error(net, images, 2, **size, **kept("error"))
    matrix = decoding.response_matrix(net, images, 4, labels=np.arange(20) % 4, **size, **kept("matrix"))
    gains = decoding.linearize(net, images, **kept("gains"))
    found = [error.per_image, error.correlations, matrix.matrix, matrix.images, np.array(matrix.accuracy)]
    found += decoding.top_images(net, images, 3, None, **size, **kept("top"))
    found += [layer.gain for layer in gains.layers if layer.gain is not None]
    found += [decoding.patterns(net, images, 4, **size, **kept("patterns"))]
    found += [decoding.baselines.least_squares_filters(net, images, 1, **size, **kept("fit")).filters]
    stream = [images[i : i + 4] for i in range(0, 20, 4)]
    found += [decoding.autocovariance(stream, (3, 2), **kept("auto")).products]
    found += [decoding.covariance(stream, **kept("full")).products]
    return np.concatenate([np.ravel(each).astype(float) for each in found])


class Stop(Exception):
    pass


def stopping(number):
    """A progress that stops the measurement at its so-manyth batch, once."""
    left = [number]

    def progress(done, total):
        left[0] -= 1
        if not left[0]:
            raise Stop

    return progress


def test_everything_that_takes_a_checkpoint_goes_on_where_it_was_stopped(tmp_path):
    net = network()
    want, stops = everything(net, IMAGES), 0
    for _ in range(100):
        try:
            found = everything(net, IMAGES, tmp_path, progress=stopping(2)) if stops % 2 else None
            with ThreadPoolExecutor(2) as pool:
                found = (
                    everything(net, IMAGES, tmp_path, progress=stopping(3), executor=pool) if found is None else found
                )
            break
        except Stop:
            stops += 1
    assert stops > 8
    assert (found == want).all()
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("kind", ["array", "batches", "stream"])
def test_only_what_is_not_measured_yet_is_run(kind, number, tmp_path):
    class Counting:
        layer, state = 0, ("seen",)

        def __init__(self):
            self.seen, self.ran = [], 0

        def part(self, images, responses, start):
            self.ran += len(images)
            return start, len(images)

        def add(self, part):
            self.seen.append(part)

    def images():
        parts = [IMAGES[i : i + 3] for i in range(0, 20, 3)]
        return {"array": IMAGES, "batches": parts, "stream": iter(parts)}[kind]

    options, first, second, again = {"batch_size": 3, "checkpoint": tmp_path / "c"}, Counting(), Counting(), Counting()
    with pytest.raises(Stop):
        measure(network(), images(), [first], progress=stopping(number), **options)
    assert measure(network(), images(), [second], **options) == 20
    assert second.seen == [(0, 3), (3, 3), (6, 3), (9, 3), (12, 3), (15, 3), (18, 2)]
    assert second.ran == max(0, 20 - 3 * number)
    assert measure(network(), images(), [again], **options) == 20
    assert (again.seen, again.ran) == (second.seen, 0)


def test_a_failure_of_a_batch_leaves_a_checkpoint_of_those_before(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)  # none is written on the way
    path, meter = tmp_path / "c", decoding.TopImagesMeter(network(), 4)
    images = [*(IMAGES[i : i + 1] for i in range(7)), np.full_like(IMAGES[:1], np.nan)]
    with pytest.raises(InvalidValueError, match="images from 7"):
        measure(network(), images, [meter], checkpoint=path)
    after = decoding.TopImagesMeter(network(), 4)
    kept = checkpoints.Checkpoint(path, {}, [after])
    kept.work = {}
    assert kept.resume() == (7, 7)
    assert (after.result().responses == meter.result().responses).all()


OTHERS = {
    "network": {"net": network(2)},
    "images": {"images": IMAGES[:19]},
    "values of images": {"images": IMAGES + (np.arange(20) == 19)[:, None, None, None]},
    "meter": {"layer": 2},
    "option of the meter": {"n": 3},
    "backend": {"backend": decoding.reference},
    "size of batches": {"batch_size": 4},
    "as a stream": {"images": list(IMAGES[:, np.newaxis])},
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_checkpoint_of_other_work_is_refused_and_left(case, tmp_path):
    path = tmp_path / "c"

    def run(net=None, images=IMAGES, layer=4, n=4, backend=fast, batch_size=3):
        options = {"n": n, "backend": backend, "batch_size": batch_size, "checkpoint": path}
        return decoding.top_images(net or network(), images, layer, None, **options)

    run()
    run()  # the same, made again
    before = path.read_bytes()
    with pytest.raises(InvalidValueError, match=r"is of other work, which differs in .*. Give another file"):
        run(**OTHERS[case])
    assert path.read_bytes() == before


def _sealed(header, content):
    header = {**header, "sha256": hashlib.sha256(content).hexdigest()}
    return checkpoints.MAGIC + json.dumps(header).encode() + b"\n" + content


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile",)


class Importing:
    def __reduce__(self):
        return decoding.backend._by_name, ("antigravity",)


def test_a_checkpoint_that_is_damaged_or_hostile_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c"

    def run():
        return decoding.top_images(network(), IMAGES, 4, None, batch_size=3, checkpoint=path)

    run()
    whole = path.read_bytes()
    line = whole[len(checkpoints.MAGIC) :].split(b"\n", 1)[0]
    header = json.loads(line)
    hostile = [pickle.dumps([{"done": each()}]) for each in (Hostile, Importing)]
    foreign = pickle.dumps([{"indices": 0}])
    cases = [
        whole[:-1],
        whole[: len(checkpoints.MAGIC)],
        whole[:9],
        b"",
        b"PK\3\4",
        whole + b"x",
        whole[:-9] + b"\0" + whole[-8:],
    ]
    cases += [_sealed(header, each) for each in (*hostile, foreign, b"", b"\x80\x05.")]
    cases += [_sealed({**header, "blocks": -1}, b""), checkpoints.MAGIC + b"[]\n"]
    for content in cases:
        path.write_bytes(content)
        with pytest.raises(DataFormatError, match=r"c' is|c': what"):
            run()
    assert os.listdir() == ["c"]  # nothing was run


def test_what_cannot_be_read_back_is_told_before_it_is_needed(tmp_path):
    class Holding(decoding.TopImagesMeter):
        state = ("held",)
        held = None

        def add(self, part):
            self.held = Hostile()

    class Local(Holding):
        def add(self, part):
            self.held = lambda: None

    with pytest.raises(DataFormatError, match=r"cannot be read back: .*system is not read"):
        measure(network(), IMAGES, [Holding(network(), 1)], checkpoint=tmp_path / "c")
    with pytest.raises(InvalidValueError, match="cannot be pickled"):
        measure(network(), IMAGES, [Local(network(), 1)], checkpoint=tmp_path / "c")


def test_a_folder_that_is_not_there_is_told_before_anything_is_measured(tmp_path):
    read = []
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        decoding.top_images(network(), (read.append(1) or x for x in [IMAGES]), 1, 0, checkpoint=tmp_path / "no" / "c")
    with pytest.raises(IsADirectoryError):
        decoding.top_images(network(), IMAGES, 1, 0, checkpoint=tmp_path)
    assert not read


def test_writing_takes_a_twentieth_of_the_time(tmp_path, monkeypatch):
    clock, saves = [0.0], []
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    kept = checkpoints.Checkpoint(tmp_path / "c", {}, [])
    dump = checkpoints._dumped
    monkeypatch.setattr(
        checkpoints,
        "_dumped",
        lambda meters: (clock.__setitem__(0, clock[0] + 1), saves.append(clock[0]), dump(meters))[2],
    )
    for block in range(1, 101):
        clock[0] += 1  # a block takes as long as a checkpoint
        kept.step(block, block)
    assert saves[0] == 2  # the first at once
    assert set(np.diff(saves)) == {21}


def test_fingerprints_are_of_what_is_held_in_any_process():
    code = "import numpy as np, decoding, test_checkpoints as t; from decoding import checkpoints, fast; net = t.network(); net.receptive_field(4); print(checkpoints.fingerprint(t.parts(net)))"
    env = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert found.strip() == checkpoints.fingerprint(parts(network()))


def parts(net):
    return [net, {"a", "b", "c"}, fast, decoding.TopImagesMeter(net, 4, backend=fast), np.float32(2), {"x": (1, None)}]


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1, True), ("1", b"1"), ([1, [2]], [1, 2]), (np.zeros(2), np.zeros(2, np.float32)), (np.zeros((2, 3)), np.zeros((3, 2))), ({"a": 1}, {"a": 2}), (fast, decoding.reference), (ReLU(), ReLU(leak=0.1)), (len, sum)],
)  # fmt: skip
def test_what_differs_has_other_fingerprints(one, other):
    assert checkpoints.fingerprint([one]) != checkpoints.fingerprint([other])


CHILD = """
import sys, time
import numpy as np
import decoding, test_checkpoints as t

class Slow(decoding.GainMeter):
    def part(self, *given):
        time.sleep(0.001)
        return super().part(*given)

images = np.random.default_rng(0).standard_normal((300, 1, 6, 7))
meters = [Slow(t.network(), 2), decoding.ReconstructionMeter(t.network(), 2), decoding.TopImagesMeter(t.network(), 4)]
print("begin", flush=True)
decoding.measure(t.network(), images, meters, batch_size=1, checkpoint=sys.argv[1] or None)
np.save(sys.argv[2], np.concatenate([meters[0].result(), meters[1].result().per_image, meters[2].result().responses.ravel()]))
"""


def child(checkpoint, out):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])}
    process = subprocess.Popen([sys.executable, "-c", CHILD, checkpoint, out], env=env, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"begin"
    return process


@pytest.mark.parametrize("kills", [pytest.param(kills, marks=pytest.mark.slow) for kills in (3, 20)])
def test_killed_at_any_moment_it_ends_with_the_same_bits(kills, tmp_path):
    chance, path, done = random.Random(kills), tmp_path / "c", []
    with child("", str(tmp_path / "want.npy")) as process:
        begin = time.monotonic()
        assert process.wait() == 0
        whole = time.monotonic() - begin
    for _ in range(kills):
        with child(str(path), str(tmp_path / "found.npy")) as process:
            time.sleep(chance.random() * 2 * whole / kills)
            process.kill()
        done.append(json.loads(path.read_bytes().split(b"\n")[1])["blocks"] if path.exists() else 0)
    with child(str(path), str(tmp_path / "found.npy")) as process:
        assert process.wait() == 0
    assert done == sorted(done)
    assert done[-1] > 0
    assert (np.load(tmp_path / "found.npy") == np.load(tmp_path / "want.npy")).all()
