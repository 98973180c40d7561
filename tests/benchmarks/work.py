"""What is measured: each piece of work as every side does it, in a process of its own.

A side is a function that prepares and returns the work itself, a note, and what to multiply its time by if it does a
part. ``python work.py NAME SIDE choose`` prints the batch size that is fastest, or None where there is none to choose;
``python work.py NAME SIDE FILE SIZE`` does the work twice to warm up, or once if that is long, writes the answers to the first 16 images or units
into FILE (all sides must agree) and says that it is ready; then, for each line it is sent, it does the work again and
answers with a line of JSON: seconds, and the peak memory so far.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from nets import TorchGradients, TorchGraph, mobilenet, squeezenet, vgg11

import decoding
from decoding import BatchNorm, Conv, MaxPool, Network, ReLU, Sum, fast, reference

MODES = ("nearest", "bilinear", "bicubic")
LEAST = 0.3  # seconds: shorter work is repeated
LONG = 3  # seconds: longer work is warm after once
DIGITS = 70_000
BICUBIC = 0.25  # PyTorch's kernel is another (a = −3/4), and so is its edge
CHOSEN: list[int] = []  # the batch size, where an earlier process found the fastest
THREADS = 2
RESNET_UNITS = 64


class Side(NamedTuple):
    """Work ready to be done; it returns what it found, to be compared with the other side's."""

    run: Callable[[], Any]
    note: str = ""
    scale: float = 1.0
    size: int | None = None  # of the batches, where the side chose it


def digits(count: int) -> Any:
    """The bundled digits, over and over until there are so many, as uint8."""
    images = decoding.mnist()[0]
    return np.concatenate([images] * -(-count // len(images)))[:count]


def batches(net: Network, images: Any, size: int) -> Iterator[Any]:
    for start in range(0, len(images), size):
        yield net.normalize(images[start : start + size])


def vgg16() -> Network:
    """VGG-16's convolutions and pools, with random weights."""
    random, channels = np.random.default_rng(0), 3
    layers: list[Any] = []
    for stage, (convolutions, filters) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        if stage > 1:
            layers.append(MaxPool(2, name=f"pool{stage - 1}"))
        for number in range(1, convolutions + 1):
            bank = random.standard_normal((filters, channels, 3, 3), np.float32) * np.float32((2 / 9 / channels) ** 0.5)
            layers += [Conv(bank, pad=1, name=f"conv{stage}_{number}"), ReLU()]
            channels = filters
    return Network(layers)


def resnet50() -> Network:
    """ResNet-50's layers, its normalizations folded into the convolutions, with random weights: 16 bottlenecks."""
    random = np.random.default_rng(0)
    layers: list[Any] = []
    inputs: list[Any] = []
    widths = [3]

    def add(layer: Any, *below: int, channels: int) -> int:
        layers.append(layer)
        inputs.append(below)
        widths.append(channels)
        return len(layers)

    def conv(below: int, k: int, size: int, stride: int = 1, name: str | None = None) -> int:
        shape, scale = (k, widths[below], size, size), (1 / size / size / widths[below]) ** 0.5
        bank = random.standard_normal(shape, np.float32) * np.float32(scale)
        return add(Conv(bank, stride=stride, pad=size // 2, name=name), below, channels=k)

    def relu(below: int, name: str | None = None) -> int:
        return add(ReLU(name=name), below, channels=widths[below])

    top = relu(conv(0, 64, 7, 2, "conv1"))
    top = add(MaxPool(3, 2, pad=1), top, channels=64)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            inside, stride = 64 * 2**stage, 2 if stage and not block else 1
            branch = conv(relu(conv(relu(conv(top, inside, 1, stride)), inside, 3)), 4 * inside, 1)
            shortcut = top if block else conv(top, 4 * inside, 1, stride)
            meet = add(Sum(), branch, shortcut, channels=4 * inside)
            top = relu(meet, f"res{stage + 2}{'abcdef'[block]}")
    return Network(layers, inputs=inputs)


# decoding, with either backend


def forward(backend: Any, count: int) -> Side:
    net = decoding.lenet()
    images = net.normalize(digits(count))
    return Side(lambda: net.forward(images, backend=backend))


def one_filter(backend: Any) -> Side:
    net = decoding.lenet()
    return Side(lambda: decoding.decode_filter(net, 7, 3, backend=backend))


def multiplications(net: Network, top: int, unpool: str) -> tuple[float, float]:
    """That all units of a layer need: the way that is taken, and from the layer down, unit by unit."""
    from decoding.decoder import _best, _ways

    count = net.channels(top)
    ways = _ways(net, top, count, count, unpool, 4)
    return _best(ways, top).cost, ways[0].cost


def layer5(backend: Any, mode: str) -> Side:
    net = decoding.lenet()
    return Side(lambda: decoding.decode_layer(net, 5, unpool=mode, backend=backend))


def vgg(backend: Any, name: str) -> Side:
    net = vgg16()
    return Side(lambda: decoding.decode_layer(net, name, backend=backend))


def resnet_unit(backend: Any) -> Side:
    net = resnet50()
    return Side(lambda: decoding.decode_filter(net, "res5c", 3, backend=backend)[np.newaxis])


def resnet_units(backend: Any, together: bool, count: int = RESNET_UNITS) -> Side:
    """So many units of the third stage; one by one, 16 of them, and the time is scaled."""
    net = resnet50()
    if together:
        return Side(lambda: decoding.decode_layer(net, "res4f", units=range(count), backend=backend))
    some = 16
    return Side(
        lambda: np.stack([decoding.decode_filter(net, "res4f", k, backend=backend) for k in range(some)]),
        f"{some} units one by one, scaled",
        count / some,
    )


def gains(count: int, measured: bool) -> Side:
    """Measuring gains, and the forward pass alone."""
    net = decoding.resnet()
    images = net.normalize(digits(count))
    if not measured:
        return Side(lambda: net.forward(images, backend=fast)[..., 0, 0])
    return Side(
        lambda: decoding.linearize(net, images, backend=fast) and net.forward(images[:16], backend=fast)[..., 0, 0]
    )


def found_patterns(count: int, measured: bool) -> Side:
    """The patterns of the last sum of the second stage, and the forward pass alone."""
    net = decoding.resnet()
    images = net.normalize(digits(count))
    if not measured:
        return Side(lambda: net.forward(images, backend=fast)[..., 0, 0])

    def run() -> Any:
        decoding.patterns(net, images, "block2.1.sum", via="network", backend=fast)
        return net.forward(images[:16], backend=fast)[..., 0, 0]

    return Side(run)


def free_gains() -> Side:
    """ResNet-50's shape, a batch normalization before each rectifier."""
    net = normalized(resnet50())
    return Side(
        lambda: np.concatenate([layer.gain for layer in decoding.linearize(net) if isinstance(layer, ReLU)])[
            :, np.newaxis
        ]
    )


def basic_blocks(widths: tuple[int, ...], blocks: tuple[int, ...], stem: list[Any], name: str) -> Network:
    """A residual network of two convolutions a block, batch normalizations and random weights, up to the sum `name`."""
    random = np.random.default_rng(0)
    layers, inputs, channels = list(stem), [[i] for i in range(len(stem))], widths[0]

    def add(layer: Any, *below: int) -> int:
        layers.append(layer)
        inputs.append(list(below))
        return len(layers)

    def conv(below: int, read: int, k: int, size: int, stride: int = 1) -> int:
        bank = random.standard_normal((k, read, size, size), np.float32) * np.float32((2 / size / size / read) ** 0.5)
        ones = np.ones(k, np.float32)
        return add(BatchNorm(ones, mean=0 * ones, std=ones), add(Conv(bank, stride=stride, pad=size // 2), below))

    top = len(layers)
    for stage, (k, count) in enumerate(zip(widths, blocks, strict=True), 1):
        for block in range(count):
            stride = 2 if stage > 1 and not block else 1
            branch = conv(add(ReLU(), conv(top, channels, k, 3, stride)), k, k, 3)
            shortcut = top if (channels, stride) == (k, 1) else conv(top, channels, k, 1, stride)
            meet, channels = add(Sum(name=f"{stage}.{block}"), branch, shortcut), k
            if layers[meet - 1].name == name:
                return Network(layers, inputs=inputs)
            top = add(ReLU(), meet)
    raise ValueError(name)


def stem(k: int, size: int, stride: int, *pool: Any) -> list[Any]:
    bank = np.random.default_rng(1).standard_normal((k, 3, size, size), np.float32) / np.float32(size * 3**0.5)
    ones = np.ones(k, np.float32)
    return [Conv(bank, stride=stride, pad=size // 2), BatchNorm(ones, mean=0 * ones, std=ones), ReLU(), *pool]


def resnet20(name: str = "2.2") -> Network:
    """ResNet-20's shape up to the sum of a block, with gains and curvatures."""
    return decoding.quadratize(basic_blocks((16, 32, 64), (3, 3, 3), stem(16, 3, 1), name))


def resnet18(name: str = "3.1") -> Network:
    """ResNet-18's, calibrated on noise."""
    net = basic_blocks((64, 128, 256, 512), (2, 2, 2, 2), stem(64, 7, 2, MaxPool(3, 2, pad=1)), name)
    noise = np.random.default_rng(2).standard_normal((2, 3, 112, 112), np.float32)
    return decoding.quadratize(net, noise, backend=fast)


def pair(count: int, second: bool) -> Side:
    """The second order's responses of the last layer, and the forward pass alone."""
    net = decoding.resnet()
    images = net.normalize(digits(count))
    if not second:
        return Side(lambda: net.forward(images, backend=fast)[..., 0, 0])
    quadratic = decoding.quadratize(net)

    def run() -> Any:
        decoding.secondorder.respond(quadratic, images, len(net), backend=fast)
        return net.forward(images[:16], backend=fast)[..., 0, 0]

    return Side(run)


def calibrated(count: int) -> Side:
    """Calibration; `pair` has the forward pass of the same images."""
    net = decoding.resnet()
    images = net.normalize(digits(count))

    def run() -> Any:
        decoding.quadratize(net, images, backend=fast)
        return net.forward(images[:16], backend=fast)[..., 0, 0]

    return Side(run)


def product(net: Network, form: bool) -> Side:
    """A product with the form of a unit; the forward pass of its field and its decoding."""
    top = len(net)
    shape = net.channels(0), *net.receptive_field(top).size
    x = np.random.default_rng(3).standard_normal(shape, np.float32)
    if form:
        quadratic = decoding.quadratic_form(net, top, 3, backend=fast)
        return Side(lambda: 0 * (quadratic @ x.ravel())[:1, np.newaxis] + 1)

    def run() -> Any:
        net.forward(x[np.newaxis], top, backend=fast)
        return 0 * decoding.decode_filter(net, top, 3, unpool="sum", backend=fast)[:1, 0, :1] + 1

    return Side(run)


def eight_pictures(net: Network) -> Side:
    return Side(lambda: decoding.decode_quadratic(net, len(net), 3, backend=fast).eigenvalues[:, np.newaxis])


def normalized(net: Network) -> Network:
    """The same with a batch normalization after each convolution."""
    layers: list[Any] = []
    inputs: list[Any] = []
    place = {0: 0}
    for number, (layer, below) in enumerate(zip(net.layers, net.inputs, strict=True), 1):
        layers.append(layer)
        inputs.append([place[i] for i in below])
        if isinstance(layer, Conv):
            ones = np.ones(len(layer.filters), np.float32)
            layers.append(BatchNorm(ones, mean=0 * ones, std=ones))
            inputs.append([len(layers) - 1])
        place[number] = len(layers)
    return Network(layers, inputs=inputs)


def equation3(backend: Any, count: int) -> Side:
    from decoding.evaluation import ReconstructionMeter, measure

    net, images = decoding.lenet(), digits(count)
    size = net.batch_size(images.shape[1:])

    def run() -> Any:
        meters = [
            ReconstructionMeter(net, layer, unpool=mode, backend=backend) for layer in (3, 5, 7) for mode in MODES
        ]
        measure(net, batches(net, images, size), meters, backend=backend)
        return np.array([[meter.result().mean] for meter in meters])

    return Side(run, scale=DIGITS / count)


def best_images(backend: Any, count: int) -> Side:
    net, images = decoding.lenet(), digits(count)
    size = net.batch_size(images.shape[1:])

    def run() -> Any:
        return decoding.top_images(net, batches(net, images, size), 5, None, backend=backend).responses

    return Side(run, scale=DIGITS / count)


def matrix_product() -> Side:
    a, b = np.random.default_rng(0).random((2, 2048, 2048), np.float32)
    return Side(lambda: a @ b)


# PyTorch, as a good user of it would write the same


class Torch:
    """A network's layers as calls of PyTorch."""

    def __init__(self, net: Network) -> None:
        import torch

        torch.set_num_threads(THREADS)
        torch.inference_mode().__enter__()
        self.torch, self.f, self.net = torch, torch.nn.functional, net
        self.weights = [
            (torch.tensor(np.array(each.filters)), torch.tensor(np.array(each.bias))) if isinstance(each, Conv) else ()
            for each in net.layers
        ]
        self.mean = None if net.mean is None else torch.tensor(np.array(net.mean))

    def normalize(self, images: Any) -> Any:
        return self.torch.from_numpy(images).float() - self.mean

    def responses(self, x: Any, top: int | None = None) -> Iterator[Any]:
        for layer, weights in zip(self.net.layers[:top], self.weights, strict=False):
            if isinstance(layer, Conv):
                x = self.f.conv2d(x, *weights, padding=layer.pad[0])
            elif isinstance(layer, MaxPool):
                x = self.f.max_pool2d(x, layer.size)
            else:
                x = self.f.relu(x) if isinstance(layer, ReLU) else self.f.softmax(x, 1)
            yield x

    def decode(self, maps: Any, top: int, mode: str) -> Any:
        options = {} if mode == "nearest" else {"align_corners": False}
        for layer, weights in reversed(list(zip(self.net.layers[:top], self.weights, strict=False))):
            if isinstance(layer, Conv):
                maps = self.f.conv_transpose2d(maps, weights[0])
            elif isinstance(layer, MaxPool):
                maps = self.f.interpolate(maps, scale_factor=layer.size, mode=mode, **options)
        return maps

    def decode_units(self, top: int, units: int, mode: str, size: int) -> Any:
        """Units of a convolution: each begins as its filter."""
        filters = self.weights[top - 1][0][:units]
        return self.torch.cat([self.decode(part, top - 1, mode) for part in filters.split(size)])


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def repeated(run: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        run()


def fastest(run: Callable[[int], Any], sizes: tuple[int, ...]) -> int:
    """The batch size of those that took least time, each tried three times, or once if that is long; or the one found before.

    It is found by another process so that the peak of memory is of this batch size, and not of the largest one tried.
    """
    if CHOSEN:
        return CHOSEN[0]
    tries = 1 if seconds(lambda: run(sizes[0])) > LONG else 3
    return min(sizes, key=lambda size: min(seconds(lambda: run(size)) for _ in range(tries)))


SIZES = (50, 100, 200, 500, 1000)


def torch_forward(count: int) -> Side:
    rival = Torch(decoding.lenet())
    images = rival.normalize(digits(count))

    def run(size: int, count: int) -> Any:
        return rival.torch.cat([deque(rival.responses(part), 1).pop() for part in images[:count].split(size)])

    size = fastest(lambda size: run(size, 2000), SIZES)
    return Side(lambda: run(size, count), f"batches of {size}", size=size)


def torch_filter() -> Side:
    rival = Torch(decoding.lenet())

    def run() -> Any:
        maps = rival.torch.zeros(1, 10, 1, 1)
        maps[0, 3] = 1
        return rival.decode(maps, 7, "nearest")[0]

    return Side(run)


def torch_layer5(mode: str) -> Side:
    rival = Torch(decoding.lenet())
    size = fastest(lambda size: rival.decode_units(5, 500, mode, size), (25, 50, 100, 250, 500))
    return Side(lambda: rival.decode_units(5, 500, mode, size), f"{size} units at a time", size=size)


def torch_vgg(name: str) -> Side:
    net = vgg16()
    rival, top = Torch(net), net.index(name)
    size = fastest(lambda size: rival.decode_units(top, 16, "nearest", size), (4, 8, 16))
    note = f"16 units, {size} at a time, scaled"
    return Side(lambda: rival.decode_units(top, 16, "nearest", size), note, net.channels(top) / 16, size)


class TorchSubstitution:
    """`fast`, with PyTorch's transposed convolution in its place; the weights are taken over once."""

    def __init__(self, net: Network) -> None:
        self.torch = Torch(net)
        self.weights = {
            id(layer.dense): weights[0] for layer, weights in zip(net, self.torch.weights, strict=True) if weights
        }

    def __getattr__(self, operator: str) -> Any:
        return getattr(fast, operator)

    def substitute(self, maps: Any, filters: Any, *, stride: Any) -> Any:
        known = self.weights.get(id(filters))  # those of a pool are ones, made on the way
        filters = self.torch.torch.tensor(np.array(filters, maps.dtype)) if known is None else known
        return self.torch.f.conv_transpose2d(self.torch.torch.tensor(maps), filters, stride=stride).numpy()


def torch_resnet_unit() -> Side:
    net = resnet50()
    rival = TorchSubstitution(net)
    return Side(
        lambda: decoding.decode_filter(net, "res5c", 3, backend=rival)[np.newaxis], "PyTorch's operator, the same walk"
    )


def torch_equation3(count: int) -> Side:
    net, images = decoding.lenet(), digits(count)
    rival = Torch(net)
    torch = rival.torch

    def full_range(x: Any) -> Any:
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        return (x - low) / (high - low)

    def run(size: int, count: int) -> Any:
        banks = {
            (layer, mode): rival.decode_units(layer, net.channels(layer), mode, 100)
            for layer in (3, 5, 7)
            for mode in MODES
        }
        errors: dict[Any, list[Any]] = {key: [] for key in banks}
        for start in range(0, count, size):
            x = rival.normalize(images[start : start + size])
            for number, responses in enumerate(rival.responses(x, 7), 1):
                if number not in (3, 5, 7):
                    continue
                want, stride = full_range(responses), net.receptive_field(number).stride
                for mode in MODES:
                    got = full_range(rival.f.conv2d(x, banks[number, mode], stride=stride))
                    errors[number, mode].append((want - got).square_().mean((1, 2, 3)))
        return np.array([[float(torch.cat(each).mean())] for each in errors.values()])

    size = fastest(lambda size: run(size, 2000), SIZES)
    return Side(lambda: run(size, count), f"batches of {size}", size=size)


def torch_best_images(count: int) -> Side:
    net, images = decoding.lenet(), digits(count)
    rival = Torch(net)

    def run(size: int, count: int) -> Any:
        scores = []
        for start in range(0, count, size):
            *_, responses = rival.responses(rival.normalize(images[start : start + size]), 5)
            scores.append(responses.amax((2, 3)))
        return rival.torch.cat(scores).topk(4, dim=0).values.T

    size = fastest(lambda size: run(size, 2000), SIZES)
    return Side(lambda: run(size, count), f"batches of {size}", size=size)


def photographs(net: Network, count: int, side: int) -> Any:
    """Noise of that size; digits for the bundled network."""
    if net.channels(0) == 1:
        return net.normalize(digits(count))
    return np.random.default_rng(4).standard_normal((count, 3, side, side), np.float32)


def responses(make: Callable[[], Network], count: int, side: int, torch: bool) -> Side:
    """The forward pass of a network that branches."""
    net = make()
    images = photographs(net, count, side)
    if not torch:
        return Side(lambda: net.forward(images, backend=fast).reshape(count, -1))
    rival = TorchGraph(net, THREADS)

    def run(size: int, some: int) -> Any:
        parts = rival.torch.from_numpy(images[:some]).split(size)
        return rival.torch.cat([rival(part) for part in parts]).flatten(1).numpy()

    sizes = tuple(size for size in (4, 16, 50, 200, 500) if size <= count)
    size = fastest(lambda size: run(size, min(count, 1000)), sizes)
    return Side(lambda: run(size, count), f"batches of {size}", size=size)


def plain18(name: str = "4.1") -> Network:
    return basic_blocks((64, 128, 256, 512), (2, 2, 2, 2), stem(64, 7, 2, MaxPool(3, 2, pad=1)), name)


def plain20() -> Network:
    return basic_blocks((16, 32, 64), (3, 3, 3), stem(16, 3, 1), "3.2")


def bank18(name: str) -> Side:
    """All units of a sum of ResNet-18's shape."""
    net = plain18(name)
    return Side(lambda: decoding.decode_layer(net, name, unpool="sum", backend=fast))


def torch_bank18(name: str, units: int = 16) -> Side:
    """So many of them by PyTorch's transposed convolutions, from the top down."""
    net = plain18(name)
    rival = TorchSubstitution(net)
    impulses = np.eye(units, net.channels(name), dtype=np.float32)[:, :, np.newaxis, np.newaxis]

    def run(size: int) -> Any:
        parts = np.split(impulses, range(size, units, size))
        return np.concatenate([decoding.decode(net, name, part, unpool="sum", backend=rival) for part in parts])

    size = fastest(run, (4, 16))
    note = f"transposed convolutions, {units} units, {size} at a time, scaled"
    return Side(lambda: run(size), note, net.channels(name) / units, size)


def gradients18(name: str, units: int = 16) -> Side:
    """So many of them as gradients of the linear network."""
    net = plain18(name)
    rival = TorchGradients(net, THREADS)
    size = fastest(lambda size: rival.decode_units(units, size), (4, 16))
    note = f"gradients, {units} units, {size} at a time, scaled"
    return Side(lambda: rival.decode_units(units, size).numpy(), note, net.channels(name) / units, size)


def on_workers(count: int, processes: bool) -> Side:
    """Equation 3 on as many processes as there are threads; on threads, as `decoding.fast` has them anyway."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    net = decoding.lenet()
    images = net.normalize(digits(count))
    executor = ProcessPoolExecutor(THREADS, mp_context=get_context("spawn")) if processes else None
    return Side(
        lambda: decoding.reconstruction_error(net, images, 5, backend=fast, executor=executor).per_image[:, np.newaxis]
    )


def forwards(make: Callable[[], Network], count: int, side: int) -> dict[str, Any]:
    return {
        "fast": lambda: responses(make, count, side, False),
        "torch": lambda: responses(make, count, side, True),
    }


class Work(NamedTuple):
    title: str
    goal: float
    sides: dict[str, Callable[[], Side]]
    slow: bool = False
    # How far the answers may be apart, relative to the largest number of each image or unit.
    alike: float | tuple[float, ...] = 1e-4
    limit: str = ""  # why its goal is not met, where it is not; docs/benchmarks.rst says more


def both(ours: Callable[..., Side], rival: Callable[..., Side], *args: Any, slow: bool = False) -> dict[str, Any]:
    sides = {"fast": lambda: ours(fast, *args), "torch": lambda: rival(*args)}
    return sides if slow else {**sides, "reference": lambda: ours(reference, *args)}


def part(work: Callable[[Any, int], Side], rival: Callable[[int], Side], count: int = 2000) -> dict[str, Any]:
    """All the digits; the reference does some of them, and its time is scaled."""
    note = f"{count:,} digits, scaled"
    return {
        "fast": lambda: work(fast, DIGITS),
        "torch": lambda: rival(DIGITS),
        "reference": lambda: work(reference, count)._replace(note=note),
    }


ELSEWHERE = "met on a processor with AVX-512"
SMALL = "products of 16 to 64 filters are too small"
WORK = {
    "forward": Work(
        "LeNet forward, 10,000 digits", 1.6, {**both(forward, torch_forward, 10_000), "sgemm": matrix_product}
    ),
    "filter": Work(
        "``decode_filter``, LeNet layer 7, warm",
        1.0,
        both(one_filter, torch_filter),
        limit="a graph is checked, and errors name their layer",
    ),
    **{
        f"layer5-{mode}": Work(
            f"``decode_layer``, LeNet layer 5, {mode}",
            goal,
            both(layer5, torch_layer5, mode),
            alike=BICUBIC if mode == "bicubic" else 1e-4,
            limit=ELSEWHERE,
        )
        for mode, goal in zip(MODES, (15, 2.5, 2.5), strict=True)
    },
    "conv3_3": Work(
        "``decode_layer``, VGG-16 conv3_3, nearest",
        15,
        {**both(vgg, torch_vgg, "conv3_3"), "sgemm": matrix_product},
        limit="9 times fewer multiplications, near the limit of the machine",
    ),
    "conv4_3": Work(
        "``decode_layer``, VGG-16 conv4_3, nearest",
        15,
        {**both(vgg, torch_vgg, "conv4_3", slow=True), "sgemm": matrix_product},
        True,
        limit="7 times fewer multiplications, near the limit of the machine",
    ),
    "conv5_3": Work(
        "``decode_layer``, VGG-16 conv5_3, nearest",
        15,
        {**both(vgg, torch_vgg, "conv5_3", slow=True), "sgemm": matrix_product},
        True,
        limit="8 times fewer multiplications, near the limit of the machine",
    ),
    "resnet50-unit": Work(
        "``decode_filter``, ResNet-50's last layer, a field of 483×483",
        1.0,
        {"fast": lambda: resnet_unit(fast), "torch": torch_resnet_unit},
        True,
    ),
    "resnet50-units": Work(
        f"``decode_layer``, {RESNET_UNITS} units of ResNet-50's third stage: one by one ÷ together",
        1.0,
        {"fast": lambda: resnet_units(fast, True), "one by one": lambda: resnet_units(fast, False)},
        True,
    ),
    "forward-resnet18": Work(
        "forward, ResNet-18's shape, 16 images of 224×224",
        1.0,
        forwards(plain18, 16, 224),
        True,
        limit="each cell is copied nine times for 3×3 windows",
    ),
    "forward-squeezenet": Work("the same, SqueezeNet 1.1's", 1.0, forwards(squeezenet, 16, 224), True),
    "forward-vgg11": Work("the same, VGG-11's", 1.0, forwards(vgg11, 16, 224), True),
    "forward-mobilenet": Work(
        "the same, MobileNetV2's (depthwise 3×3)",
        0.5,
        forwards(mobilenet, 16, 224),
        True,
        limit="18 passes over memory where compiled code needs one",
    ),
    "forward-resnet20": Work(
        "forward, ResNet-20's shape, 1,000 images of 32×32", 1.5, forwards(plain20, 1000, 32), True, limit=SMALL
    ),
    "forward-resnet": Work(
        "forward, ``resnet()``, 10,000 digits", 1.5, forwards(decoding.resnet, 10_000, 28), True, limit=SMALL
    ),
    **{
        f"resnet18-{name}": Work(
            f'``decode_layer``, ResNet-18\'s shape, all units of {name}, ``unpool="sum"``',
            5.0,
            {
                "fast": partial(bank18, name),
                "torch": partial(torch_bank18, name),
                "gradients": partial(gradients18, name),
            },
            True,
            limit=f"{fewer} times fewer multiplications",
        )
        for name, fewer in (("2.1", 1.46), ("3.1", 1.17), ("4.1", 1.05))
    },
    "processes": Work(
        "``reconstruction_error``, LeNet layer 5, 10,000 digits: on processes ÷ on threads",
        1.2,
        {"fast": lambda: on_workers(10_000, True), "threads": lambda: on_workers(10_000, False)},
        True,
    ),
    "gains": Work(
        "``linearize(net, images)``, ``resnet()``, 2,000 digits ÷ their forward pass",
        1.3,
        {"fast": lambda: gains(2000, True), "forward": lambda: gains(2000, False)},
        True,
        limit="five maps are read for each rectifier",
    ),
    "patterns": Work(
        "``patterns`` of the second stage, ``resnet()``, 2,000 digits ÷ their forward pass",
        2.0,
        {"fast": lambda: found_patterns(2000, True), "forward": lambda: found_patterns(2000, False)},
        True,
    ),
    "second-pair": Work(
        "``respond`` (the second order), ``resnet()``, 2,000 digits ÷ forward",
        2.5,
        {"fast": lambda: pair(2000, True), "forward": lambda: pair(2000, False)},
    ),
    "second-calibration": Work(
        "``quadratize(net, images)``, ``resnet()``, 2,000 digits ÷ forward",
        6,
        {"fast": lambda: calibrated(2000), "forward": lambda: pair(2000, False)},
        True,
    ),
    "second-product-20": Work(
        "a product with the form, ResNet-20's shape, 2.2 ÷ (forward + decoding) of the field",
        1.0,
        {"fast": lambda: product(resnet20(), True), "forward": lambda: product(resnet20(), False)},
    ),
    "second-product-18": Work(
        "the same, ResNet-18's shape, 3.1",
        1.0,
        {"fast": lambda: product(resnet18(), True), "forward": lambda: product(resnet18(), False)},
        True,
    ),
    "second-20": Work(
        "``decode_quadratic``, 8 pictures, ResNet-20's shape, 2.2: seconds",
        1.0,
        {"fast": lambda: eight_pictures(resnet20())},
    ),
    "second-18": Work(
        "``decode_quadratic``, 8 pictures, ResNet-18's shape, 3.1: seconds",
        10.0,
        {"fast": lambda: eight_pictures(resnet18())},
        True,
    ),
    "free-gains": Work("``linearize(net)`` of ResNet-50's shape: seconds", 1.0, {"fast": free_gains}),
    "equation3": Work(
        "Equation 3, layers 3, 5, 7 × three interpolations, 70,000 digits",
        1.5,
        part(equation3, torch_equation3),
        True,
        (1e-3, 1e-3, BICUBIC) * 3,
        ELSEWHERE,
    ),
    "top_images": Work(
        "``top_images``, LeNet layer 5, all 500 units, 70,000 digits", 1.5, part(best_images, torch_best_images), True
    ),
}


def main(name: str, side: str, answers: str, size: str = "None") -> None:
    if answers == "choose":
        print(WORK[name].sides[side]().size)
        return
    CHOSEN.extend([] if size == "None" else [int(size)])
    run, note, scale, _ = WORK[name].sides[side]()
    start = time.perf_counter()
    found = run()
    first = time.perf_counter() - start
    np.save(answers, np.asarray(found[:16]).astype(np.float64))
    ready = {"result": getattr(found, "nbytes", 0) / 2**20, "note": note}
    del found  # or the peak would count two answers
    # The first time is longer than the others.
    repeat = 1 if first > LONG else max(1, round(LEAST / seconds(run)))
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        took = seconds(lambda: repeated(run, repeat)) / repeat * scale
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**ready, "seconds": took, "peak": peak}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
