"""JAX as a backend, in single precision, through its compiler.

python -m decoding.testing check with_jax:Single
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

PRECISION = lax.Precision.HIGHEST  # accelerators round operands to bfloat16 otherwise: then input_eps = 2.0**-8


class Single:
    name, eps, groups = "JAX, float32", 2.0**-24, True

    def read(self, array):
        return jnp.asarray(np.asarray(array), jnp.float32)

    def correlate(self, x, filters, bias, *, stride, pad, groups=1):
        filters = self.read(filters)
        if bias is not None and np.shape(bias) != (len(filters),):
            raise ValueError(f"{len(filters)} filters, biases {np.shape(bias)}")
        height, width = np.shape(x)[2] + pad[0] + pad[1], np.shape(x)[3] + pad[2] + pad[3]
        if height < filters.shape[2] or width < filters.shape[3]:
            raise ValueError(f"filters {filters.shape} do not fit maps {np.shape(x)}")
        y = lax.conv_general_dilated(
            self.read(x), filters, stride, (pad[:2], pad[2:]), feature_group_count=groups, precision=PRECISION
        )
        return y if bias is None else y + self.read(bias)[:, None, None]

    def substitute(self, maps, filters, *, stride, groups=1):
        filters = self.read(filters)
        if np.shape(maps)[1] != len(filters):
            raise ValueError(f"{np.shape(maps)[1]} maps, {len(filters)} filters")
        # Turned, and within each group filters and channels exchanged.
        split = jnp.flip(filters, (2, 3)).reshape(groups, -1, *filters.shape[1:]).swapaxes(1, 2)
        turned = split.reshape(-1, *split.shape[2:])
        edges = [(side - 1, side - 1) for side in filters.shape[2:]]
        return lax.conv_general_dilated(
            self.read(maps),
            turned,
            (1, 1),
            edges,
            lhs_dilation=stride,
            feature_group_count=groups,
            precision=PRECISION,
        )

    def max_pool(self, x, *, size, stride, pad):
        return self.pooled(self.read(x), -jnp.inf, lax.max, size, stride, pad)

    def avg_pool(self, x, *, size, stride, pad):
        x = self.read(x)
        counts = self.pooled(jnp.ones((1, 1, *x.shape[2:])), 0.0, lax.add, size, stride, pad)
        return self.pooled(x, 0.0, lax.add, size, stride, pad) / counts

    def pooled(self, x, start, combine, size, stride, pad):
        if x.shape[2] + sum(pad[:2]) < size[0] or x.shape[3] + sum(pad[2:]) < size[1]:
            raise ValueError(f"windows of {size} do not fit maps {x.shape}")
        if max(pad[:2]) >= size[0] or max(pad[2:]) >= size[1]:
            raise ValueError(f"with pads of {pad} windows of {size} lie outside the maps")
        pads = ((0, 0), (0, 0), pad[:2], pad[2:])
        return lax.reduce_window(x, jnp.float32(start), combine, (1, 1, *size), (1, 1, *stride), pads)

    def relu(self, x, *, leak):
        return jax.nn.leaky_relu(self.read(x), leak)

    def softmax(self, x):
        return jax.nn.softmax(self.read(x), axis=1)

    def unpool(self, maps, *, size, stride, mode):
        maps = self.read(maps)
        down, across = (self.read(weights(n, z, s, mode)) for n, z, s in zip(maps.shape[2:], size, stride, strict=True))
        return jnp.einsum("pi,ncij,qj->ncpq", down, maps, across, precision=PRECISION)


def weights(n, size, stride, mode):
    """The matrix of one axis; `jax.image.resize` treats the edge in another way."""
    pixels = np.arange((n - 1) * stride + size)
    u, windows = (pixels - (size - 1) / 2) / stride, (pixels % stride < size)[:, None]  # nothing between them
    if mode == "nearest":
        return windows * np.eye(n)[np.clip(np.floor(u + 0.5).astype(int), 0, n - 1)]
    cells = np.arange(int(u[0]) - 3, int(u[-1]) + 4)  # all that a kernel reaches, beyond the edges too
    t = np.abs(u[:, None] - cells)
    near, far = ((3 * t - 5) * t * t + 2) / 2, (((5 - t) * t - 8) * t + 4) / 2
    kernel = {"bilinear": np.maximum(1 - t, 0), "bicubic": np.where(t < 1, near, np.where(t < 2, far, 0))}[mode]
    folded = np.minimum(cells % (2 * n), 2 * n - 1 - cells % (2 * n))
    return windows * (kernel @ np.eye(n)[folded])
