"""What decoded pictures of a unit are compared with: pictures of the same unit that are found from its responses.

The response y to white stimuli s is approximated by ``a·s + sᵀ M s``, with ``a = Cov(y, s)`` and ``M = ½ Cov(y, s sᵀ)``. For Gaussian s
these are exactly the network's mean gradient and half its mean Hessian (Stein's identity). For crops of pictures, made white along
their principal components, they are the spike-triggered average and covariance (Schwartz, Pillow, Rust and Simoncelli, 2006).
"""

from dataclasses import dataclass

import numpy as np

# Stimuli are made white on so many principal components; the best of these numbers is shown.
DIRECTIONS = (30, 60, 120, 250)
TOP = 4  # the span of so many pictures is compared
BATCH = 500  # stimuli at a time


class Triggered:
    """The covariances of responses (N, K) with stimuli (N, D), and with their products; ``a + b`` is those of both."""

    def __init__(self, *sums):
        self.sums = sums

    @classmethod
    def of(cls, s, y):
        s, y = s.astype(np.float32), y.astype(np.float32)
        products = np.stack([(s.T * unit) @ s for unit in y.T])
        sums = [np.float64(len(s)), s.sum(axis=0), y.sum(axis=0), y.T @ s, s.T @ s, products]
        return cls(*(total.astype(float) for total in sums))

    def __add__(self, other):
        return Triggered(*(one + two for one, two in zip(self.sums, other.sums, strict=True)))

    @property
    def linear(self):
        """Cov(y, s), (K, D)."""
        n, s, y, ys, _, _ = self.sums
        return ys / n - np.multiply.outer(y / n, s / n)

    @property
    def quadratic(self):
        """½ Cov(y, s sᵀ), (K, D, D)."""
        n, _, y, _, ss, yss = self.sums
        return (yss / n - np.multiply.outer(y / n, ss / n)) / 2


@dataclass
class White:
    """Images as white numbers: ``image = mean + axes · s``, axes (P, D) in falling order of variance."""

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, mean, covariance):
        values, vectors = np.linalg.eigh(covariance)
        kept = np.flatnonzero(values > len(values) * np.finfo(float).eps * values[-1])[::-1]
        return cls(mean, vectors[:, kept] * np.sqrt(values[kept]))

    def scores(self, images, directions=None):
        """The white numbers s of images (N, …), along the first `directions` axes, or all."""
        axes = self.axes[:, :directions]
        return (images.reshape(len(images), -1) - self.mean.ravel()) @ (axes / (axes**2).sum(axis=0))


def strongest(matrix, count):
    """The eigenvalues of largest magnitude, and their eigenvectors as columns."""
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-np.abs(values), kind="stable")[:count]
    return values[order], vectors[:, order]


def spike_triggered(crops, responses, judged, answers, counts):
    """r of each unit by the number of its pictures, (counts, K), with the number of principal components that is best on average."""
    flat = crops.reshape(len(crops), -1)
    white = White.of(flat.mean(axis=0), np.cov(flat.T, bias=True))
    s, t = (white.scores(images, DIRECTIONS[-1]) for images in (crops, judged))
    found = Triggered.of(s, responses)
    ways = [_regressed(s[:, :d], responses, t[:, :d], answers, found, counts) for d in DIRECTIONS]
    return max(ways, key=np.mean)


def _regressed(s, responses, t, answers, found, counts):
    """r by the number of pictures of a sum of the average and squares, fitted to responses to s and judged on responses to t."""
    by = []
    for k, (a, m) in enumerate(zip(found.linear, found.quadratic, strict=True)):
        d = s.shape[1]
        _, vectors = strongest(m[:d, :d], counts[-1])
        features, judged = (np.column_stack([x @ a[:d], (x @ vectors) ** 2]) for x in (s, t))
        apart = features - features.mean(axis=0)
        gram, aim = apart.T @ apart, apart.T @ responses[:, k]
        weights = [np.linalg.lstsq(gram[: n + 1, : n + 1], aim[: n + 1], rcond=None)[0] for n in counts]
        by.append([np.corrcoef(judged[:, : len(w)] @ w, answers[:, k])[0, 1] for w in weights])
    return np.array(by).T


def gaussian(statistics, answer, count, tell):
    """Responses to Gaussian images of these statistics: the `White` form of the images, and the covariances of both halves."""
    pixels = int(np.prod(statistics.shape))
    cov = statistics.cov(np.eye(pixels).reshape(pixels, *statistics.shape)).reshape(pixels, pixels)
    white = White.of(np.zeros(statistics.shape) if statistics.mean is None else statistics.mean, cov)
    random, halves, step = np.random.default_rng(0), [None, None], min(BATCH, count // 2)
    for i, start in enumerate(range(0, count, step)):
        s = random.standard_normal((min(step, count - start), white.axes.shape[1]), np.float32)
        images = (s @ white.axes.T.astype(np.float32)).reshape(len(s), *statistics.shape) + white.mean
        part = Triggered.of(s, answer(images))
        halves[i % 2] = part if halves[i % 2] is None else halves[i % 2] + part
        tell(start + len(s), count)
    return white, halves


def mean_hessian(white, found, judged, answers, counts):
    """r of each unit by the number of the network's own pictures on Gaussian images, without any fit: (counts, K)."""
    ways = []
    for d in DIRECTIONS:
        t, by = white.scores(judged, d), []
        for k, (a, m) in enumerate(zip(found.linear, found.quadratic, strict=True)):
            values, vectors = strongest(m[: t.shape[1], : t.shape[1]], counts[-1])
            squares, line = values * (t @ vectors) ** 2, t @ a[: t.shape[1]]
            by.append([np.corrcoef(line + squares[:, :n].sum(axis=1), answers[:, k])[0, 1] for n in counts])
        ways.append(np.array(by).T)
    return max(ways, key=np.mean)


def inside(one, other):
    """The share of the span of one set of orthonormal columns that lies in the span of another."""
    return float(((one.T @ other) ** 2).sum() / one.shape[1])


def compared(units, white, halves):
    """For each unit, the shares of its decoded pictures in the network's own and of one half's in the other's; and the size of the former."""
    whole, rows = halves[0] + halves[1], []
    for k, unit in enumerate(units):
        # A filter w has the coordinates e in white numbers: w · image = e · s.
        ours = unit.filters[:TOP].reshape(TOP, -1) @ white.axes
        own, one, two = (strongest(found.quadratic[k], TOP)[1] for found in (whole, *halves))
        along = np.einsum("ni,ij,nj->n", ours, whole.quadratic[k], ours)
        rows.append([inside(ours.T, own), inside(one, two), float(np.mean(along / unit.eigenvalues[:TOP]))])
    return np.array(rows)
