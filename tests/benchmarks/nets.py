"""Today's networks with random weights, and their forward pass in PyTorch, as a good user writes it: calls of its functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from decoding import AvgPool, BatchNorm, Clip, Concat, Conv, MaxPool, Network, ReLU, Sum


class Shape:
    """A network in the making: each method adds a layer and returns its number."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.layers: list[Any] = []
        self.inputs: list[Any] = []
        self.widths = [3]

    def add(self, layer: Any, below: Any, channels: int) -> int:
        self.layers.append(layer)
        self.inputs.append(below)
        self.widths.append(channels)
        return len(self.layers)

    def conv(self, below: int, k: int, size: int, stride: int = 1, groups: int = 1, pad: int | None = None) -> int:
        c = self.widths[below] // groups
        bank = self.random.standard_normal((k, c, size, size), np.float32) * np.float32((2 / size / size / c) ** 0.5)
        pad = size // 2 if pad is None else pad
        layer = Conv(bank, self.random.random(k, np.float32), stride=stride, pad=pad, groups=groups)
        return self.add(layer, below, k)

    def norm(self, below: int) -> int:
        ones = np.ones(self.widths[below], np.float32)
        return self.add(BatchNorm(ones, mean=0 * ones, std=ones), below, self.widths[below])

    def same(self, layer: Any, below: int) -> int:
        return self.add(layer, below, self.widths[below])

    def whole(self) -> Network:
        return Network(self.layers, inputs=self.inputs)


def vgg11() -> Network:
    net, top = Shape(), 0
    for k in (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None):
        top = net.same(MaxPool(2), top) if k is None else net.same(ReLU(), net.conv(top, k, 3))
    top = net.same(ReLU(), net.conv(top, 4096, 7, pad=0))
    net.conv(net.same(ReLU(), net.conv(top, 4096, 1)), 1000, 1)
    return net.whole()


def squeezenet() -> Network:
    """SqueezeNet 1.1."""
    net = Shape()
    top = net.same(ReLU(), net.conv(0, 64, 3, 2, pad=0))
    for few in (None, 16, 16, None, 32, 32, None, 48, 48, 64, 64):
        if few is None:
            top = net.same(MaxPool(3, 2), top)
            continue
        low = net.same(ReLU(), net.conv(top, few, 1))
        sides = [net.same(ReLU(), net.conv(low, 4 * few, size)) for size in (1, 3)]
        top = net.add(Concat(), sides, 8 * few)
    top = net.same(ReLU(), net.conv(top, 1000, 1))
    net.same(AvgPool(13), top)
    return net.whole()


def mobilenet() -> Network:
    """MobileNetV2: depthwise filters of 3×3 between two of one pixel."""
    net = Shape()

    def block(below: int, k: int, size: int, stride: int = 1, groups: int = 1) -> int:
        return net.same(Clip(0, 6), net.norm(net.conv(below, k, size, stride, groups)))

    top = block(0, 32, 3, 2)
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for wider, k, count, stride in stages:
        for number in range(count):
            inside, step = wider * net.widths[top], 1 if number else stride
            here = block(top, inside, 1) if wider > 1 else top
            here = net.norm(net.conv(block(here, inside, 3, step, inside), k, 1))
            top = net.add(Sum(), [top, here], k) if number else here
    top = net.same(AvgPool(7), block(top, 1280, 1))
    net.conv(top, 1000, 1)
    return net.whole()


class TorchGraph:
    """A network's layers as calls of PyTorch, each response let go when its last reader has run."""

    def __init__(self, net: Network, threads: int, gradients: bool = False) -> None:
        import torch

        torch.set_num_threads(threads)
        if not gradients:
            torch.inference_mode().__enter__()
        self.torch, self.f, self.net = torch, torch.nn.functional, net
        self.weights = [self._weights(each) for each in net.layers]
        self.last = {i: number for number, below in enumerate(net.inputs, 1) for i in below}

    def _weights(self, layer: Any) -> Any:
        tensor = lambda array: self.torch.tensor(np.array(array, np.float32))  # noqa: E731
        if isinstance(layer, Conv):
            return tensor(layer.filters), tensor(layer.bias)
        if isinstance(layer, BatchNorm):
            return tensor(layer.mean), tensor(layer.std) ** 2 - layer.epsilon, tensor(layer.scale), tensor(layer.bias)
        return ()

    def __call__(self, x: Any) -> Any:
        live = {0: x}
        del x
        for number, (layer, below) in enumerate(zip(self.net.layers, self.net.inputs, strict=True), 1):
            live[number] = self._respond(layer, self.weights[number - 1], [live[i] for i in below])
            for i in {*below}:
                if self.last[i] == number:
                    del live[i]
        return live[len(self.net)]

    def _respond(self, layer: Any, weights: Any, xs: list[Any]) -> Any:
        x, f = xs[0], self.f
        if isinstance(layer, Conv):
            return f.conv2d(x, *weights, stride=layer.stride, padding=layer.pad[::2], groups=layer.groups)
        if isinstance(layer, BatchNorm):
            mean, variance, scale, bias = weights
            return f.batch_norm(x, mean, variance, scale, bias, eps=layer.epsilon)
        if isinstance(layer, MaxPool):
            return f.max_pool2d(x, layer.size, layer.stride, padding=layer.pad[::2])
        if isinstance(layer, AvgPool):
            return f.avg_pool2d(x, layer.size, layer.stride)
        if isinstance(layer, Clip):
            return f.hardtanh(x, 0, 6)
        if isinstance(layer, ReLU):
            return f.relu(x)
        return self.torch.cat(xs, 1) if isinstance(layer, Concat) else xs[0] + xs[1]


class TorchGradients(TorchGraph):
    """The same without biases and bends, and with windows summed: linear, so that units decode as its gradients."""

    def __init__(self, net: Network, threads: int) -> None:
        super().__init__(net, threads, gradients=True)
        field = net.receptive_field(len(net))
        self.unit = -(-max(-i for i in field.offset) // field.stride[0])  # the first that sees no pads
        self.first = [offset + self.unit * field.stride[0] for offset in field.offset]
        self.size = field.size

    def _respond(self, layer: Any, weights: Any, xs: list[Any]) -> Any:
        if isinstance(layer, Conv):
            return self.f.conv2d(xs[0], weights[0], stride=layer.stride, padding=layer.pad[::2], groups=layer.groups)
        if isinstance(layer, BatchNorm):
            return xs[0] * self.torch.tensor(np.array(layer.gain, np.float32))[:, None, None]
        if isinstance(layer, MaxPool):
            return self.f.avg_pool2d(xs[0], layer.size, layer.stride, layer.pad[::2], divisor_override=1)
        return xs[0] if isinstance(layer, ReLU) else xs[0] + xs[1]

    def decode_units(self, units: int, size: int) -> Any:
        """One pass up, and so many gradients at a time back down."""
        rows, columns = (slice(first, first + side) for first, side in zip(self.first, self.size, strict=True))
        x = self.torch.zeros(1, 3, rows.stop, columns.stop, requires_grad=True)
        responses = self(x)[0, :, self.unit, self.unit]
        parts = self.torch.eye(units, len(responses)).split(size)
        found = [self.torch.autograd.grad(responses, x, v, True, is_grads_batched=True)[0] for v in parts]
        return self.torch.cat(found)[:, 0, :, rows, columns]
