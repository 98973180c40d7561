"""PyTorch's operators as a backend, in double or single precision.

    python -m decoding.testing check with_torch:Double --expected with_torch.expected
    python -m decoding.testing check with_torch:Single --expected with_torch.expected

Unpooling is PyTorch's own `interpolate` where a pool's size is its stride. Its bicubic kernel has a = -3/4, ours
a = -1/2: the check must refuse it, and `with_torch.expected` says so.

The calls are small, and PyTorch's threads mostly wait for each other: OMP_NUM_THREADS=1 before the command makes it several times
as fast on a machine that has other work.
"""

import numpy as np
import torch
import torch.nn.functional as F


class Double:
    name, eps, dtype, groups = "PyTorch, float64", 2.0**-53, np.float64, True

    def tensor(self, array):
        # A copy: PyTorch takes no negative strides.
        return torch.tensor(np.array(array, self.dtype))

    def padded(self, x, pad, value=0.0):
        top, bottom, left, right = pad
        return F.pad(self.tensor(x), (left, right, top, bottom), value=value)

    @staticmethod
    def refuse_pads(size, pad):
        if max(pad[:2]) >= size[0] or max(pad[2:]) >= size[1]:
            raise ValueError(f"with pads of {pad} windows of {size} lie outside the maps")

    def correlate(self, x, filters, bias, *, stride, pad, groups=1):
        bias = None if bias is None else self.tensor(bias)
        return F.conv2d(self.padded(x, pad), self.tensor(filters), bias, stride, groups=groups).numpy()

    def max_pool(self, x, *, size, stride, pad):
        self.refuse_pads(size, pad)
        return F.max_pool2d(self.padded(x, pad, -torch.inf), size, stride).numpy()

    def avg_pool(self, x, *, size, stride, pad):
        self.refuse_pads(size, pad)

        def total(x):
            return F.avg_pool2d(self.padded(x, pad), size, stride, divisor_override=1)

        return (total(x) / total(np.ones((1, 1, *np.shape(x)[2:])))).numpy()

    def relu(self, x, *, leak):
        return F.leaky_relu(self.tensor(x), leak).numpy()

    def softmax(self, x):
        return torch.softmax(self.tensor(x), dim=1).numpy()

    def substitute(self, maps, filters, *, stride, groups=1):
        return F.conv_transpose2d(self.tensor(maps), self.tensor(filters), stride=stride, groups=groups).numpy()

    def unpool(self, maps, *, size, stride, mode):
        if mode not in ("nearest", "bilinear", "bicubic"):
            raise ValueError(f"no mode {mode!r}")
        maps = self.tensor(maps)
        if size == stride:
            corners = {} if mode == "nearest" else {"align_corners": False}
            return F.interpolate(maps, scale_factor=size, mode=mode, **corners).numpy()
        if mode == "bicubic":
            raise NotImplementedError("interpolate knows no pool whose size is not its stride")
        down, across = (self.weights(n, z, s, mode) for n, z, s in zip(maps.shape[2:], size, stride, strict=True))
        return (down @ maps @ across.T).numpy()

    def weights(self, n, size, stride, mode):
        pixels = np.arange((n - 1) * stride + size)
        u = self.tensor(pixels - (size - 1) / 2) / stride
        if mode == "nearest":
            u = torch.floor(u + 0.5)
        else:  # the map and its mirror image, repeated every 2n cells
            u = (u + 0.5) % (2 * n)
            u = torch.minimum(u, 2 * n - u) - 0.5
        u = u.clamp(0, n - 1)
        windows = self.tensor(pixels % stride < size)  # nothing between them
        return (1 - (u[:, None] - self.tensor(np.arange(n))).abs()).clamp(min=0) * windows[:, None]


class Single(Double):
    name, eps, dtype = "PyTorch, float32", 2.0**-24, np.float32
