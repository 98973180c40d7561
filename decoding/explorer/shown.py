"""The images on the page: which are chosen, their labels, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import Array, as_sequence, plural
from ..errors import ShapeError
from ..network import Network, ReceptiveField
from .meters import BestMeter
from .sheets import photo, shrunk
from .writing import write_data

CHOSEN = 6  # how many of the images that drive a unit most, and of those that drive it least, are shown
SIDE = 112  # the most pixels along a side of an image
BINS = 16
GROUPS = 10  # the most labels that a histogram shows
FILE = 200  # how many images are written to one file


class Shown:
    """The images of the page, in normalized batches, and their labels; it is false if there are none."""

    def __init__(self, net: Network, batches: list[Array], labels: Sequence[Any] | None) -> None:
        self.net, self.batches = net, batches
        self.count = sum(map(len, batches))
        self.starts = np.cumsum([0, *map(len, batches)])
        self.labels = None if labels is None else _labels(labels, self.count, net.classes)
        self.names = list(dict.fromkeys(sorted(set(self.labels), key=_order))) if self.labels else []
        self.groups = self._groups()
        self.used: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self.count)

    def some(self, start: int, stop: int) -> list[Array]:
        """The images from number `start` to `stop`, in batches."""
        parts = [
            batch[max(0, start - at) : max(0, stop - at)] for at, batch in zip(self.starts, self.batches, strict=False)
        ]
        return [part for part in parts if len(part)]

    def _groups(self) -> Any:
        """For each image the number of its label; None unless several images share a label."""
        if not self.labels or not 1 < len(self.names) <= self.count // 2:
            return None
        number = {name: i for i, name in enumerate(self.names)}
        return np.array([number[label] for label in self.labels])

    def chosen(self, meter: BestMeter, seen: ReceptiveField) -> dict[str, Any]:
        """For each unit of a layer, the images that drive it most and least, and a histogram of its responses."""
        best, where = meter.best, meter.where
        order = np.argsort(-best, axis=0, kind="stable")
        some = min(CHOSEN, (len(best) + 1) // 2)
        ends = {"most": order[:some], "least": order[::-1][: min(some, len(best) - some)]}
        found: dict[str, Any] = {
            what: [[self._image(i, best, where, seen, k) for i in rows[:, k].tolist()] for k in range(best.shape[1])]
            for what, rows in ends.items()
        }
        return found | {"spread": [self._spread(best[:, k]) for k in range(best.shape[1])]}

    def _image(self, i: int, best: Array, where: Array, seen: ReceptiveField, k: int) -> list[Any]:
        """The image's number on the page, the response, and the first row and column that the unit sees of it."""
        number = self.used.setdefault(i, len(self.used))
        corner = [int(where[i, k, a]) * seen.stride[a] + seen.offset[a] for a in (0, 1)]
        return [number, float(f"{best[i, k]:.4g}"), *corner]

    def _spread(self, values: Array) -> dict[str, Any]:
        """A histogram of the responses from the least to the largest, one for each label or one for all."""
        low, high = float(values.min()), float(values.max())
        bins = np.minimum(((values - low) / ((high - low) or 1) * BINS).astype(int), BINS - 1)
        found: dict[str, Any] = {"low": float(f"{low:.4g}"), "high": float(f"{high:.4g}")}
        if self.groups is None:
            return found | {"counts": [np.bincount(bins, minlength=BINS).tolist()]}
        means = np.bincount(self.groups, values) / np.bincount(self.groups)
        kept = np.sort(np.argsort(-means, kind="stable")[:GROUPS])
        counts = [np.bincount(bins[self.groups == g], minlength=BINS).tolist() for g in kept]
        return found | {"labels": kept.tolist(), "counts": counts, "means": [float(f"{means[g]:.4g}") for g in kept]}

    def write(self, place: Path) -> None:
        """Write the images that were chosen, some in each file."""
        pictures = [self._picture(i) for i in self.used]
        for start in range(0, len(pictures), FILE):
            write_data(place, f"images-{start // FILE}", pictures[start : start + FILE])

    def _picture(self, i: int) -> dict[str, Any]:
        batch = int(np.searchsorted(self.starts, i, side="right")) - 1
        image = self.batches[batch][i - self.starts[batch]]
        size = image.shape[1:]
        pixels = shrunk(self._undone(image), SIDE)
        low, high = self._range
        scaled = np.rint(255 * np.clip((pixels - low) / ((high - low) or 1), 0, 1)).astype(np.uint8)
        found: dict[str, Any] = {"src": photo(np.moveaxis(scaled, 0, 2)), "size": list(size), "index": i}
        return found if self.labels is None else found | {"label": self.labels[i]}

    def _undone(self, image: Array) -> Array:
        """The image before it was normalized, in one channel or three."""
        pixels = image.astype(np.float32)
        for array, apply in ((self.net.std, np.multiply), (self.net.mean, np.add)):
            if array is not None and array.shape[1:] in ((1, 1), pixels.shape[1:]):
                pixels = apply(pixels, array.astype(np.float32))
        return pixels if len(pixels) in (1, 3) else pixels.mean(axis=0, keepdims=True)

    @cached_property
    def _range(self) -> tuple[float, float]:
        """The values drawn black and white: 0 and 255 or 0 and 1 if the first images lie in that range, else their own extremes."""
        first = [self._undone(image) for batch in self.batches[:50] for image in batch[:200]]
        low, high = float(min(map(np.min, first))), float(max(map(np.max, first)))
        slack = 1e-3 * (high - low)
        whole = next((top for top in (1.0, 255.0) if -slack <= low and high <= top + slack), None)
        return (low, high) if whole is None else (0.0, whole)

    def summary(self) -> dict[str, Any] | None:
        if not self:
            return None
        return {"count": self.count, "files": FILE, "labels": self.names if self.groups is not None else []}


def _labels(labels: Sequence[Any], count: int, classes: Sequence[str] | None) -> list[str]:
    """A text for each image: its label, or the name of its class if labels are the numbers of classes."""
    given = as_sequence(labels, "explore: labels", "one for each image")
    if len(given) != count:
        raise ShapeError(
            f"explore: {plural(len(given), 'label')} for {plural(count, 'image')}: there must be one for each."
        )
    numbers = all(isinstance(label, (int, np.integer)) and not isinstance(label, bool) for label in given)
    if numbers and classes and all(0 <= label < len(classes) for label in given):
        return [str(classes[label]) for label in given]
    return [str(label) for label in given]


def _order(label: str) -> tuple[int, float, str]:
    """A key that sorts labels: numbers by size, before other texts."""
    return (0, float(label), label) if label.isdecimal() else (1, 0.0, label)
