"""Measurements on a dask cluster that the tests start: the same bits as without it, whatever happens to the workers."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import decoding
from decoding import ExecutorError, InvalidValueError, fast, measure

distributed = pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # its own threads and sockets warn


@pytest.fixture
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster) as client:
        yield client


class Slowly(decoding.TopImagesMeter):
    """So that there is time for things to happen."""

    def part(self, images, responses, start):
        time.sleep(0.02)
        return super().part(images, responses, start)


class Failing(decoding.TopImagesMeter):
    def part(self, images, responses, start):
        return 1 / 0 if start == 40 else super().part(images, responses, start)


IMAGES = np.random.default_rng(0).standard_normal((400, 1, 28, 28)).astype(np.float32)


def run(client, meter, happens=None, **options):
    """Measures; when ten batches are done, something happens to the number of a worker's process."""
    pids = list(client.run(os.getpid).values())
    others = []

    def progress(done, total):
        if done == 40 and happens is not None:
            others.append(threading.Thread(target=happens, args=(pids[0],)))
            others[-1].start()

    try:
        net = decoding.lenet()
        with client.get_executor() as executor:
            options = {"backend": fast, "batch_size": 4, "progress": progress, **options}
            return measure(net, IMAGES, [meter], executor=executor, **options)
    finally:
        for each in others:
            each.join()


def serial():
    return decoding.top_images(decoding.lenet(), IMAGES, 5, None, backend=fast, batch_size=4)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def stop_for_a_while(pid):
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("happens", [None, kill, stop_for_a_while])
def test_the_serial_bits_whatever_happens_to_a_worker(happens, client):
    meter = Slowly(decoding.lenet(), 5)
    assert run(client, meter, happens) == 400
    assert all((one == other).all() for one, other in zip(meter.result(), serial(), strict=True))


def test_an_exception_in_a_worker_is_raised_here(client):
    with pytest.raises(ZeroDivisionError) as caught:
        run(client, Failing(decoding.lenet(), 5))
    assert caught.value.__notes__ == ["in the batch of images from 40"]


def test_when_the_cluster_is_gone_what_was_measured_is_not_lost(cluster, client, tmp_path):
    path, meter = tmp_path / "checkpoint", Slowly(decoding.lenet(), 5)
    with pytest.raises(ExecutorError, match="images had been measured, and the checkpoint holds them") as caught:
        run(client, meter, lambda pid: cluster.close(), checkpoint=path)
    assert 40 <= caught.value.done < 400
    again, begin = Slowly(decoding.lenet(), 5), []
    measure(
        decoding.lenet(),
        IMAGES,
        [again],
        backend=fast,
        batch_size=4,
        checkpoint=path,
        progress=lambda done, _: begin.append(done),
    )
    assert begin[0] == caught.value.done + 4
    assert all((one == other).all() for one, other in zip(again.result(), serial(), strict=True))


def test_units_are_decoded_and_pictured_there(client):
    net = decoding.resnet()
    square = decoding.quadratize(net)
    with client.get_executor() as executor:
        bank = decoding.decode_layer(net, "block2.0.sum", units=range(5), backend=fast, executor=executor)
        units = decoding.decode_quadratic(square, "block1.1.sum", [0, 3], n=3, backend=fast, executor=executor)
    assert (bank == decoding.decode_layer(net, "block2.0.sum", units=range(5), backend=fast)).all()
    for one, other in zip(
        units, decoding.decode_quadratic(square, "block1.1.sum", [0, 3], n=3, backend=fast), strict=True
    ):
        assert (one.filters == other.filters).all()


def test_a_client_is_no_executor_and_has_one(client):
    with pytest.raises(InvalidValueError, match=r"client.get_executor\(\)"):
        measure(decoding.lenet(), IMAGES, [Slowly(decoding.lenet(), 5)], executor=client)
    executor = client.get_executor()
    executor.shutdown()
    with pytest.raises(InvalidValueError, match="ClientExecutor, is shut down"):
        measure(decoding.lenet(), IMAGES, [Slowly(decoding.lenet(), 5)], executor=executor)
