"""Measurements on any executor: the same bits as without one, a limited number of batches at a time, and errors that say what went wrong."""

import multiprocessing
import os
import pickle
import random
import sys
import threading
import time
import unittest.mock
from collections import OrderedDict
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

import decoding
import decoding.decoder
from decoding import (
    Conv,
    DecodingError,
    ExecutorError,
    InvalidValueError,
    MaxPool,
    Network,
    ReLU,
    ShapeError,
    Sum,
    blocks,
    executing,
    fast,
    measure,
    reference,
)


class Apart(Executor):
    """Workers that know of nothing but what is pickled, and finish in any order."""

    num_workers = 3

    def __init__(self, forgetful=False):
        self.random, self.forgetful = random.Random(0), forgetful

    def submit(self, call, /, *arguments):
        content, future = pickle.dumps((call, arguments)), Future()

        def finish():
            if not future.set_running_or_notify_cancel():
                return
            if self.forgetful:
                with executing._KEEPING:
                    executing._WORKS.clear()
            call, arguments = pickle.loads(content)
            try:
                future.set_result(pickle.loads(pickle.dumps(call(*arguments))))
            except Exception as error:
                future.set_exception(error)

        threading.Timer(self.random.random() / 100, finish).start()
        return future


class InTurn(Executor):
    """Three workers with a memory each, that take turns, one task at a time; it counts the tasks and those that bring the work."""

    num_workers = 3

    def __init__(self, forgetful=False):
        self.memories, self.forgetful = [OrderedDict() for _ in range(self.num_workers)], forgetful
        self.submitted, self.payloads = 0, 0

    def submit(self, call, /, *arguments):
        memory = OrderedDict() if self.forgetful else self.memories[self.submitted % self.num_workers]
        self.submitted += 1
        self.payloads += any(isinstance(each, bytes) and len(each) > 500 for each in arguments)
        future = Future()
        with unittest.mock.patch.object(executing, "_WORKS", memory):
            call, arguments = pickle.loads(pickle.dumps((call, arguments)))
            future.set_result(pickle.loads(pickle.dumps(call(*arguments))))
        return future


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture(params=["threads", "apart", "forgetful", "processes"])
def executor(request):
    makers = {"apart": Apart, "forgetful": lambda: Apart(forgetful=True)}
    return makers[request.param]() if request.param in makers else request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def net():
    """Branches, pools and rectifiers, of real numbers: sums in another order would be rounded otherwise."""
    draw = np.random.default_rng(0).standard_normal
    layers = [
        Conv(draw((5, 2, 3, 2)), draw(5)),
        ReLU(),
        MaxPool(2),
        Conv(draw((5, 5, 1, 1))),
        Sum(),
        Conv(draw((7, 5, 2, 3))),
    ]
    return Network(layers, inputs=[0, 1, 2, 3, (3, 4), 5])


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).standard_normal((23, 2, 11, 13))


def everything(net, images, backend=fast, **options):
    """One array of everything that takes an executor."""
    measured = {"backend": backend, "batch_size": 3, **options}
    error = decoding.reconstruction_error(net, images, 5, **measured)
    matrix = decoding.response_matrix(net, images, 6, labels=np.arange(23) % 7, **measured)
    top = decoding.top_images(net, images, 3, None, **measured)
    gains = decoding.linearize(net, images, backend=backend, **options)
    found = [error.per_image, error.correlations, matrix.matrix, matrix.images, np.array(matrix.accuracy), *top]
    found += [layer.gain for layer in gains.layers if layer.gain is not None]
    found += [
        decoding.patterns(net, images, 5, **measured),
        decoding.patterns(net, images, 5, via="network", **measured),
    ]
    found += [decoding.baselines.least_squares_filters(net, images, 1, **measured).filters]
    stream = [images[i : i + 2] for i in range(0, 22, 2)]
    found += [
        decoding.autocovariance(stream, (3, 2), **options).products,
        decoding.covariance(stream, **options).products,
    ]
    found += [decoding.decode_layer(net, 6, unpool="bilinear", backend=backend, **options)]
    found += list(decoding.iterate_layer(net, 6, 2, backend=backend, **options))
    return np.concatenate([np.ravel(each).astype(float) for each in found])


@pytest.mark.parametrize("backend", [reference, fast], ids=["reference", "fast"])
def test_whatever_the_executor_the_results_are_the_serial_ones_bit_for_bit(executor, backend, net, images, monkeypatch):
    monkeypatch.setattr(decoding.decoder, "BLOCK_BYTES", 1)  # one unit at a time
    assert (everything(net, images, backend, executor=executor) == everything(net, images, backend)).all()


def test_units_are_pictured_to_the_second_order_as_serially(executor, net, images):
    square = decoding.quadratize(net, images)
    serial = decoding.decode_quadratic(square, 5, [4, 0, 2], n=3, backend=fast)
    found = decoding.decode_quadratic(square, 5, [4, 0, 2], n=3, backend=fast, executor=executor)
    for one, other in zip(found, serial, strict=True):
        for name in ("linear", "linear_pattern", "eigenvalues", "filters", "patterns", "explained"):
            assert (getattr(one, name) == getattr(other, name)).all()
    assert decoding.decode_quadratic(square, 5, [], n=3, executor=executor) == []


@pytest.mark.parametrize("count", [1, 2])
def test_blas_has_as_many_threads_in_a_worker_as_it_would_have_here(count, executor, net):
    """Sums are rounded by how many there are; of several blocks on `fast`, each has one."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    images = np.zeros((2, 2, 11, 13))
    with threadpoolctl.threadpool_limits(count):
        if blocks._blas_threads() != count:
            pytest.skip("BLAS has one thread here, or does as one thread alone tells it")
        for backend, size, want in ((fast, 1, 1), (fast, 2, count), (reference, 1, count)):
            meter = Threads()
            measure(net, images, [meter], backend=backend, batch_size=size, executor=executor)
            assert set(meter.found) == {want}


class Threads:
    layer = 0

    def __init__(self):
        self.found = []

    def part(self, images, responses, start):
        return blocks._blas_threads()

    def add(self, part):
        self.found.append(part)


def test_callers_who_want_as_many_threads_share_them_and_others_wait():
    pytest.importorskip("threadpoolctl")
    before, seen = blocks._blas_threads(), []

    def call(count):
        for _ in range(20):
            with blocks.blas_threads(count):
                seen.append((count, blocks._blas_threads()))

    callers = [threading.Thread(target=call, args=(count,)) for count in (1, 1, 2)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert all(count == found for count, found in seen)
    assert len(seen) == 60
    assert blocks._blas_threads() == before


def test_of_a_stream_no_more_is_read_than_two_batches_for_each_worker(net):
    engine, read, ahead = Apart(), [], []

    def stream():
        for i in range(30):
            read.append(i)
            yield np.full((1, 2, 11, 13), float(i))

    measure(net, stream(), [Values()], executor=engine, progress=lambda done, total: ahead.append(len(read) - done))
    assert len(ahead) == 30
    assert max(ahead) <= executing.AHEAD * engine.num_workers


def test_the_network_travels_once_for_each_worker(net, images):
    engine = InTurn()
    measure(net, images, [decoding.TopImagesMeter(net, 6)], batch_size=1, executor=engine)
    assert engine.payloads == engine.num_workers
    assert engine.submitted == 1 + len(images)  # and one to see whether the workers have the package
    forgetful = InTurn(forgetful=True)
    measure(net, images, [decoding.TopImagesMeter(net, 6)], batch_size=1, executor=forgetful)
    assert forgetful.payloads == len(images)  # each worker asks for it


def test_a_backend_that_does_not_say_it_may_be_run_in_several_threads_is_run_in_one_at_a_time(threads, net, images):
    class Counting:
        now = most = 0

        def __getattr__(self, name):
            return getattr(reference, name)

        def correlate(self, *arguments, **options):
            self.now += 1
            self.most = max(self.most, self.now)
            time.sleep(0.001)
            found = reference.correlate(*arguments, **options)
            self.now -= 1
            return found

    backend = Counting()
    measure(net, images, [decoding.TopImagesMeter(net, 6)], batch_size=1, backend=backend, executor=threads)
    assert backend.most == 1


class Numbered:
    """A sequence of batches that says how many images each holds, and who read it: each image is full of that process's number."""

    sizes = [2, 1, 3, 1]  # noqa: RUF012

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return np.full((self.sizes[i], 1, 2, 2 + i), float(os.getpid()))


class Values:
    layer = 0

    def __init__(self):
        self.found = []

    def part(self, images, responses, start):
        return start, images.shape, images[0, 0, 0, 0]

    def add(self, part):
        self.found.append(part)


ONE = Network([Conv([[[[1.0]]]])])


def test_a_sequence_that_says_its_sizes_is_read_where_it_is_measured(processes, threads):
    here, there, done = Values(), Values(), []
    assert measure(ONE, Numbered(), [here], executor=threads) == 7
    assert measure(ONE, Numbered(), [there], executor=processes, progress=lambda *now: done.append(now)) == 7
    want = [(0, (2, 1, 2, 2)), (2, (1, 1, 2, 3)), (3, (3, 1, 2, 4)), (6, (1, 1, 2, 5))]
    assert [part[:2] for part in here.found] == [part[:2] for part in there.found] == want
    assert {part[2] for part in here.found} == {os.getpid()}
    assert os.getpid() not in {part[2] for part in there.found}
    assert done == [(2, 7), (3, 7), (6, 7), (7, 7)]


def test_a_sequence_that_does_not_hold_what_it_says_is_an_error():
    class Wrong(Numbered):
        sizes = 2

    with pytest.raises(ShapeError, match="item 0 of the images holds 3, and sizes says 2"):
        measure(
            ONE,
            type("Wrong", (Numbered,), {"sizes": 2, "__getitem__": lambda self, i: np.zeros((3, 1, 2, 2))})(),
            [Values()],
        )


class Failing(Values):
    """Goes wrong at image 6."""

    how = staticmethod(lambda: 1 / 0)

    def part(self, images, responses, start):
        return self.how() if start == 6 else start


def _leave():
    os._exit(3)


class Odd(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one, two):
        super().__init__("an odd one")


def _odd():
    raise Odd(1, 2)


class Leaving(Failing):
    how = staticmethod(_leave)


class Oddly(Failing):
    how = staticmethod(_odd)


class Returning(Failing):
    how = staticmethod(lambda: lambda: None)


STREAM = np.zeros((12, 1, 1, 1)) + np.arange(12.0)[:, None, None, None]


def test_what_a_meter_raises_is_raised_here_with_the_batch_and_what_came_before_is_kept(executor):
    meter = Failing()
    with pytest.raises(ZeroDivisionError) as caught:
        measure(ONE, STREAM, [meter], batch_size=2, executor=executor)
    assert caught.value.__notes__ == ["in the batch of images from 6"]
    assert "in a worker" in str(caught.value.__cause__)
    assert "how()" in str(caught.value.__cause__)  # the line where it happened
    assert meter.found == [0, 2, 4]


@pytest.mark.parametrize("parts", ["list", "stream"])
def test_an_image_of_another_size_is_told_by_its_number(parts, executor):
    images = [np.ones((1, 2, 11, 13))] * 12
    images[8] = np.ones((1, 2, 1, 1))
    net = Network([Conv(np.ones((1, 2, 3, 3)))])
    meter = Values()
    meter.layer = 1
    for engine in (executor, None):
        with pytest.raises(ShapeError, match=r"measure: images from 8: layer 1"):
            measure(net, images if parts == "list" else iter(images), [meter], executor=engine, batch_size=1)
    assert len(meter.found) == 16  # eight of each


def test_values_that_are_not_finite_are_told_as_serially(executor):
    images = STREAM.copy()
    images[7] = np.nan
    texts = []
    for engine in (executor, None):
        with pytest.raises(InvalidValueError) as caught:
            measure(ONE, images, [Values()], executor=engine, batch_size=2)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert "images from 6" in texts[0]


def test_an_error_while_images_are_read_comes_after_what_was_read_is_measured(executor):
    def stream():
        yield STREAM[:4]
        raise KeyError("the disk")

    meter = Values()
    with pytest.raises(KeyError, match="the disk") as caught:
        measure(ONE, stream(), [meter], executor=executor, batch_size=2)
    assert caught.value.__notes__ == ["in the batch of images from 4"]
    assert [part[0] for part in meter.found] == [0, 2]


def test_a_worker_that_dies_is_an_error_of_the_family_and_what_was_measured_is_kept():
    meter = Leaving()
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(
            ExecutorError, match=r"ProcessPoolExecutor, failed: BrokenProcessPool: .* 6 images had been measured"
        ) as caught,
    ):
        measure(ONE, STREAM, [meter], batch_size=2, executor=pool)
    assert isinstance(caught.value.__cause__, BrokenProcessPool)
    assert (caught.value.done, caught.value.meters, meter.found) == (6, [meter], [0, 2, 4])
    assert measure(ONE, STREAM[caught.value.done :], [Values()]) == 6


class Locked(Values):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Own(ReLU):
    def __init__(self, lock=None):
        super().__init__()
        self._set(lock=lock)


class Backend:
    def __init__(self):
        self.lock = threading.Lock()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(reference, name)


class Elsewhere(Apart):
    """Workers that fail as these do."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def submit(self, call, /, *arguments):
        future = Future()
        future.set_exception(self.error)
        return future


class Older(Apart):
    def submit(self, call, /, *arguments):
        future = Future()
        future.set_result("0.0.9")
        return future


def _shut(make):
    pool = make()
    pool.shutdown()
    return pool


def _measuring(executor, meter=None, net=ONE, images=STREAM, **options):
    return measure(net, images, [meter or Values()], executor=executor, **options)


BAD = {
    "a class": (lambda: _measuring(ThreadPoolExecutor), InvalidValueError, "executor is the class ThreadPoolExecutor; give an instance, ThreadPoolExecutor"),
    "a number": (lambda: _measuring(4), InvalidValueError, "executor must be a concurrent.futures.Executor, such as ProcessPoolExecutor\\(\\), not 4"),
    "a client": (lambda: _measuring(type("Client", (), {"get_executor": None})()), InvalidValueError, "client.get_executor"),
    "threads shut down": (lambda: _measuring(_shut(ThreadPoolExecutor)), InvalidValueError, "ThreadPoolExecutor, is shut down"),
    "processes shut down": (lambda: _measuring(_shut(ProcessPoolExecutor)), InvalidValueError, "ProcessPoolExecutor, is shut down"),
    "a meter": (lambda: _measuring(Apart(), Locked()), InvalidValueError, r"meter 0 \(Locked\) cannot be sent to another process, since it does not pickle: TypeError: .*lock.*ThreadPoolExecutor"),
    "a backend": (lambda: _measuring(Apart(), backend=Backend()), InvalidValueError, "the backend cannot be sent to another process"),
    "a layer": (lambda: _measuring(Apart(), net=Network([Conv([[[[1.0]]]]), Own(threading.Lock())])), InvalidValueError, r"layer 2 \(Own\) cannot be sent to another process"),
    "images": (lambda: _measuring(Apart(), images=type("Local", (Numbered,), {})()), InvalidValueError, "the sequence of images cannot be sent to another process"),
    "no package": (lambda: _measuring(Elsewhere(ModuleNotFoundError("No module named 'decoding'", name="decoding"))), ExecutorError, "the workers of Elsewhere lack the package decoding: install it there"),
    "no package, wrapped": (lambda: _measuring(Elsewhere(RuntimeError("deserializing: No module named 'decoding'"))), ExecutorError, "lack the package decoding"),
    "another version": (lambda: _measuring(Older()), ExecutorError, "the workers of Older have decoding 0.0.9, but here it is"),
    "an engine that fails": (lambda: _measuring(Elsewhere(OSError("the cluster is gone"))), ExecutorError, "the executor, Elsewhere, failed: OSError: the cluster is gone. 0 images"),
    "an error that does not unpickle": (lambda: _measuring(Apart(), Oddly(), batch_size=2), ExecutorError, "a worker of Apart failed: .*Odd: an odd one"),
    "decode_layer": (lambda: decoding.decode_layer(ONE, 1, executor=4), InvalidValueError, "decode_layer: executor must be"),
    "iterate_layer": (lambda: decoding.iterate_layer(ONE, 1, 1, executor=4), InvalidValueError, "iterate_layer: executor must be"),
    "autocovariance": (lambda: decoding.autocovariance(STREAM, 1, executor=4), InvalidValueError, "autocovariance: executor must be"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told_at_once_and_by_name(case):
    call, error, text = BAD[case]
    with pytest.raises(error, match=text) as caught:
        call()
    assert isinstance(caught.value, DecodingError)
    assert "images from" not in str(caught.value)


def test_what_a_meter_makes_must_pickle_to_travel_back():
    with pytest.raises((AttributeError, pickle.PicklingError)) as caught:
        _measuring(Apart(), Returning(), batch_size=2)
    assert caught.value.__notes__ == ["in the batch of images from 6"]
    assert _measuring(ThreadPoolExecutor(1), Returning(), batch_size=2) == 12


def test_when_one_batch_fails_those_that_wait_are_taken_back(net):
    class Held(Executor):
        """Nothing is ever computed but what is asked for first."""

        _max_workers, futures = 2, ()

        def submit(self, call, /, *arguments):
            future = Future()
            if not self.futures:
                future.set_result(call(*arguments))
            elif len(self.futures) == 1:
                future.set_exception(OSError("gone"))
            self.futures = (*self.futures, future)
            return future

    engine = Held()
    with pytest.raises(ExecutorError):
        _measuring(engine, batch_size=1)
    assert [future.cancelled() for future in engine.futures] == [False, False, True, True, True]


def test_parts_of_a_bank_that_nobody_takes_are_taken_back(threads, net):
    parts = decoding.iterate_layer(net, 6, 1, executor=threads)
    first = next(parts)
    parts.close()
    assert (first == decoding.decode_layer(net, 6)[:1]).all()


def test_works_that_were_done_are_let_go():
    for i in range(5):
        measure(ONE, STREAM[:1] + i, [Values()], executor=Apart())
    assert len(executing._WORKS) <= executing.KEPT


def test_without_an_executor_no_engine_is_imported():
    import subprocess

    code = "import sys, decoding; decoding.measure(decoding.characters().net, decoding.decode_layer(decoding.characters().net, 2), [decoding.TopImagesMeter(decoding.characters().net, 1)]); print('decoding.executing' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["serial", "threads", "processes"])
def test_memory_is_bounded_over_a_million_images(engine, request):
    """A stream that is made as it is read: what grows is what a result holds of each image, and nothing else."""
    import tracemalloc

    executor = None if engine == "serial" else request.getfixturevalue(engine)
    draw = np.random.default_rng(0).standard_normal
    net = Network([Conv(draw((4, 1, 3, 3)).astype(np.float32)), ReLU(), MaxPool(2)])
    batch, seen = draw((1000, 1, 8, 8)).astype(np.float32), []

    def progress(done, total):
        if done in (10**5, 10**6):
            seen.append(tracemalloc.get_traced_memory())
            tracemalloc.reset_peak()

    def run(meters):
        seen.clear()
        stream = (batch + np.float32(i % 7) for i in range(1000))
        assert measure(net, stream, meters, backend=fast, progress=progress, executor=executor) == 10**6
        (_, before), (_, after) = seen
        return after - before

    tracemalloc.start()
    try:
        fixed = [decoding.TopImagesMeter(net, 3), decoding.GainMeter(net, 2), decoding.PatternMeter(net, 3)]
        assert run(fixed) < 4 * 10**6  # a dozen batches under way; one number for each image would be 7 · 10⁶
        assert (
            run([decoding.ReconstructionMeter(net, 3, backend=fast)]) < 24 * 10**6
        )  # two numbers for each image are 16
    finally:
        tracemalloc.stop()


def test_results_come_in_order_or_as_they_end(threads):
    told = threading.Event()

    def work(block):
        return block if block else told.wait(60) and block  # the first ends when another was told

    options = {"threads": None, "alone": False, "function": "test", "named": {}}
    found = []
    for block in executing.results(threads, work, range(5), in_order=False, **options):
        found.append(block)
        told.set()
    assert found[0] != 0
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert list(executing.results(threads, work, range(5), **options)) == [0, 1, 2, 3, 4]
