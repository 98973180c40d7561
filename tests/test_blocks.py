"""Work cut into blocks: the results of all blocks together, the threads that compute them, and the threads BLAS may use meanwhile."""

import contextlib
import threading
import time
import weakref

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import decoding
from decoding import Conv, InvalidValueError, Network, blocks, fast, reference

BLAS = ThreadpoolController().select(user_api="blas")


def blas_threads():
    return {each.num_threads for each in BLAS.lib_controllers}


@pytest.fixture
def two_threads():
    with threadpool_limits(2, "blas"):
        yield


def rows(start, stop):
    return np.arange(start, stop)[:, np.newaxis] * [1, 10]


@pytest.mark.parametrize("backend", [fast, reference, object()], ids=["fast", "reference", "another"])
@pytest.mark.parametrize("step", [1, 2, 7, 8])
def test_blocks_are_put_together_in_their_order(backend, step, two_threads):
    def compute(start, stop):
        assert 0 < stop - start <= step
        time.sleep(0.002 * (start % 3))  # so that later blocks are done earlier
        return rows(start, stop)

    found = blocks.gather(backend, compute, 7, step, np.empty((0, 2)))
    assert (found == rows(0, 7)).all()
    assert found.dtype == rows(0, 7).dtype


def test_no_rows_are_what_was_given_for_them():
    empty = np.empty((0, 2), np.float32)
    assert blocks.gather(fast, rows, 0, 3, empty) is empty


def where(backend, count=8):
    """The threads that compute blocks, and how many BLAS has meanwhile."""
    found, together, here = [], threading.Barrier(2, timeout=5), threading.get_ident()

    def compute(start, stop):
        if threading.get_ident() != here:
            together.wait()  # two are at work at once, or this fails
        found.append((threading.get_ident(), blas_threads()))
        return rows(start, stop)

    blocks.gather(backend, compute, count, 1, np.empty(0))
    return {thread for thread, _ in found}, set().union(*(threads for _, threads in found))


def test_fast_computes_as_many_blocks_at_a_time_as_blas_has_threads(two_threads):
    assert blas_threads() == {2}
    threads, within = where(fast)
    assert len(threads) == 2
    assert threading.get_ident() not in threads
    assert within == {1}
    assert blas_threads() == {2}


def test_one_thread_is_enough_where_blas_has_one_there_is_one_block_or_another_backend(two_threads, monkeypatch):
    here = {threading.get_ident()}
    assert where(reference) == (here, {2})
    assert where(fast, count=1) == (here, {2})
    with threadpool_limits(1, "blas"):
        assert where(fast) == (here, {1})
    monkeypatch.setattr(blocks, "_blas", lambda: None)  # threadpoolctl is not installed
    assert where(fast) == (here, {2})


def test_the_first_error_is_raised_and_blas_has_its_threads_again(two_threads):
    def compute(start, stop):
        if start in (2, 4):
            raise InvalidValueError(f"block {start}")
        return rows(start, stop)

    with pytest.raises(InvalidValueError, match="block 2"):
        blocks.gather(fast, compute, 8, 2, np.empty(0))
    assert blas_threads() == {2}


def test_another_thread_than_the_one_that_set_blas_is_served_as_well(two_threads):
    found = []
    caller = threading.Thread(target=lambda: found.append((threading.get_ident(), *where(fast))))
    caller.start()
    caller.join()
    ((ident, threads, within),) = found
    assert within == {1} or threads == {ident}  # held to one thread, or no threads of our own
    assert blas_threads() == {2}


def test_blas_is_set_and_set_back_by_one_caller_at_a_time(monkeypatch):
    class Library:
        num_threads = 2

    class Controller:
        lib_controllers = [Library()]  # noqa: RUF012

        @contextlib.contextmanager
        def limit(self, *, limits):
            for number in (limits, 2):
                assert blocks._SETTING.locked()
                self.lib_controllers[0].num_threads = number
                if number == limits:
                    yield

    monkeypatch.setattr(blocks, "_blas", Controller)
    taken = []
    blocks.in_order(fast, lambda block: (block, Library.num_threads), range(3), taken.append)
    assert len(taken) == 3
    assert Controller.lib_controllers[0].num_threads == 2


def test_a_caller_who_finds_one_thread_sets_nothing(monkeypatch):
    class Controller:
        lib_controllers = ()

        def limit(self, *, limits):
            raise AssertionError("it would be set back to one later")

    monkeypatch.setattr(blocks, "_blas", Controller)
    # Another caller has set it by the time this one may: what was read before says nothing.
    monkeypatch.setattr(blocks, "_blas_threads", lambda: 1 if blocks._SETTING.locked() else 2)
    taken = []
    blocks.in_order(fast, lambda block: block, range(3), taken.append)
    assert taken == [0, 1, 2]


def test_blocks_that_are_done_are_let_go(two_threads):
    alive, most = set(), 0

    def some():
        nonlocal most
        for number in range(9):
            block = np.zeros(3)
            weakref.finalize(block, alive.discard, number)
            alive.add(number)
            most = max(most, len(alive))
            yield block
            del block

    blocks.in_order(fast, lambda block: block.shape, some(), lambda part: None)
    assert most <= 4  # two at work, one that waits, and the next one


def test_threads_treat_divisions_by_zero_as_their_caller_does(two_threads):
    zeros = np.zeros(1)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        blocks.in_order(fast, lambda block: 1 / zeros, range(3), lambda part: None)
    with np.errstate(divide="ignore"):
        blocks.in_order(fast, lambda block: 1 / zeros, range(3), lambda part: None)


def test_blocks_are_of_one_size_and_enough_for_all_threads(two_threads):
    seen = []
    blocks.gather(fast, lambda start, stop: seen.append(stop - start) or rows(start, stop), 500, 200, np.empty(0))
    assert sorted(seen) == [125] * 4
    seen.clear()
    blocks.gather(reference, lambda start, stop: seen.append(stop - start) or rows(start, stop), 500, 200, np.empty(0))
    assert sorted(seen) == [166, 167, 167]


def test_of_two_callers_at_once_none_leaves_blas_with_one_thread(two_threads):
    def call():
        for _ in range(50):
            blocks.gather(fast, rows, 7, 2, np.empty(0))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for each in callers:
        each.start()
    for each in callers:
        each.join()
    assert blas_threads() == {2}


def test_networks_of_integers_run_and_decode_in_blocks_as_in_one(two_threads, monkeypatch):
    net = decoding.characters().net
    bank = decoding.decode_layer(net, 4, unpool="bilinear", backend=fast)
    images = bank.repeat(5, axis=0)
    assert (net.forward(images, batch_size=3, backend=fast) == net.forward(images)).all()
    monkeypatch.setattr(decoding.decoder, "BLOCK_BYTES", 1)
    assert (decoding.decode_layer(net, 4, unpool="bilinear", backend=fast) == bank).all()


def test_an_error_in_a_block_names_the_images(two_threads):
    images = np.zeros((5, 1, 1, 2))
    images[3] = 1e200
    with pytest.raises(InvalidValueError, match="images from 3"):
        Network([Conv([[[[1e200, 1]]]])]).forward(images, batch_size=1, backend=fast)


def test_of_an_iterable_no_more_is_read_than_is_worked_on(two_threads):
    read, taken, ahead = [], [], []

    def some():
        for block in range(9):
            read.append(block)
            yield block

    def take(part):
        taken.append(part)
        ahead.append(len(read) - len(taken))

    blocks.in_order(fast, lambda block: block, some(), take)
    assert taken == read == list(range(9))
    assert max(ahead) <= 2


def test_images_are_measured_in_threads_as_in_one(two_threads):
    net = decoding.characters().net
    images = np.random.default_rng(0).integers(-2, 3, (40, 1, 14, 14)).astype(float)

    def found(backend, images, **options):
        top = decoding.TopImagesMeter(net, 2, backend=backend)
        error = decoding.ReconstructionMeter(net, 4, normalize=None, backend=backend)
        fit = decoding.baselines.LeastSquaresMeter(net, 1)
        seen = []
        progress = lambda done, total: seen.append(done)  # noqa: E731
        decoding.measure(net, images, [top, error, fit], backend=backend, progress=progress, **options)
        return [*top.result(), error.result().per_image, fit.equations.gram, fit.equations.moments, np.array(seen)]

    whole = found(reference, images, batch_size=7)
    for parts in (found(fast, images, batch_size=7), found(fast, [images[i : i + 7] for i in range(0, 40, 7)])):
        assert all((a == b).all() for a, b in zip(parts, whole, strict=True))


@pytest.mark.parametrize("count", [1, 7, 8, 15, 21, 40])
def test_batches_are_equal_and_even_in_number_so_that_threads_end_together(count, monkeypatch):
    net = Network([Conv(np.ones((1, 1, 1, 1)))], input_shape=(1, 1, 1))
    monkeypatch.setattr(decoding.network, "BATCH", 7 * net.alive((1, 1, 1), [1]))  # seven images at a time
    seen = [0]
    meter = decoding.TopImagesMeter(net, 1)
    decoding.measure(net, np.ones((count, 1, 1, 1)), [meter], progress=lambda done, total: seen.append(done))
    sizes = np.diff(seen)
    assert (sizes.sum(), sizes.max() <= 7, np.ptp(sizes) <= 1) == (count, True, True)
    assert len(sizes) == {1: 1, 7: 1, 8: 2, 15: 4, 21: 4, 40: 6}[count]
