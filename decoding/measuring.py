"""The engine of measuring: one run of the network over the images, which every meter looks on at.

`measure` shows each meter the responses of its layer, so that several layers, interpolations and rankings share one
forward pass, and runs nothing that no meter reads. What is measured so is in `decoding.evaluation` and
`decoding.baselines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from .arguments import Array, Pads, as_array, as_count, as_sequence, check_finite, described, refuse_pair
from .backend import resolve
from .blocks import in_order
from .boundary import public
from .errors import InvalidValueError
from .network import Network, as_network

Images: TypeAlias = npt.ArrayLike | Iterable[npt.ArrayLike]
Progress: TypeAlias = Callable[[int, "int | None"], object]


class Meter(Protocol):
    """What `measure` drives: it is shown the responses of the layer that it reads, batch after batch.

    Attributes
    ----------
    layer : int
        The number of the layer that it reads; 0 for one that reads the images alone.
    layers : tuple of int, optional
        The numbers of several that it reads together, in place of `layer`; `part` is given a tuple of their responses.
    """

    layer: int

    def part(self, images: Array, responses: Any, start: int) -> Any:
        """What a batch adds: images (N, C, H, W) from number `start` on, and the responses of `layer`, (N, K, H', W').

        Batches may be computed at the same time, in other threads: the meter stays as it is.
        """

    def add(self, part: Any) -> None:
        """Take in what a batch adds; batches come in their order."""


@public
def measure(
    net: Network,
    images: Images,
    meters: Sequence[Meter],
    *,
    backend: Any = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Run the network once over the images, and show every meter the responses of its layer.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them. Of an iterable, one batch is in memory at a time; with `decoding.fast` and
        threadpoolctl, one for each thread and one more.
    meters : sequence of meters
        `ReconstructionMeter`, `TopImagesMeter`, or any object with a `layer` number,
        ``part(images, responses, start)`` (what a batch adds) and ``add(part)``.
    backend : object or module, optional
        The operators to use for the network's responses; `decoding.reference` unless given. With `decoding.fast`, batches
        are computed at the same time, ``part`` of each meter included, in threads.
    batch_size : int, optional
        Images run at a time; `Network.batch_size` unless given.
    progress : callable, optional
        Called as ``progress(done, total)`` after each batch, in images; total is None for an iterable.

    Returns
    -------
    int
        How many images there were.

    Raises
    ------
    ShapeError
        If the images do not fit the network.
    InvalidValueError
        If there are no images or meters, or images, weights or responses are not finite; it says where.

    See Also
    --------
    reconstruction_error, top_images : For one meter.

    Examples
    --------
    >>> from decoding import Conv, MaxPool, Network, TopImagesMeter
    >>> net = Network([Conv([[[[1, 2]]], [[[0, 1]]]]), MaxPool((1, 2))])
    >>> meters = [TopImagesMeter(net, 1), TopImagesMeter(net, 2)]
    >>> measure(net, [[[[0, 1, 0]]], [[[1, 1, 1]]]], meters)
    2
    >>> meters[1].result().indices[:, 0].tolist()
    [1, 0]
    """
    as_network(net, "measure")
    meters = as_sequence(meters, "measure: meters", "meters")
    for meter in meters:
        if not all(hasattr(meter, name) for name in ("layer", "part", "add")):
            raise InvalidValueError(f"measure: {described(meter)} is no meter: it must have layer, part and add.")
    if not meters:
        raise InvalidValueError("measure: there are no meters, so there is nothing to measure.")
    reads = [getattr(meter, "layers", (meter.layer,)) for meter in meters]
    tops = sorted({number for numbers in reads for number in numbers})
    given, total = batches(images, net)
    done = 0

    def compute(batch: tuple[int, Array]) -> tuple[int, dict[int, Any]]:
        start, images = batch
        check_finite(images, f"measure: images from {start}")
        parts: dict[int, Any] = {}
        held: dict[int, Array] = {}
        for number, responses in net.walk(images, tops, backend=backend):
            images = responses if number == 0 else images
            check_finite(responses, f"measure: responses of layer {number} to images from {start}")
            held[number] = responses
            for i, (meter, numbers) in enumerate(zip(meters, reads, strict=True)):
                if max(numbers) == number:
                    read = tuple(held[n] for n in numbers) if hasattr(meter, "layers") else responses
                    parts[i] = meter.part(images, read, start)
            del responses
            held = {n: x for n, x in held.items() if any(n in numbers and max(numbers) > number for numbers in reads)}
        return len(images), parts

    def collect(found: tuple[int, dict[int, Any]]) -> None:
        nonlocal done
        count, parts = found
        for i, meter in enumerate(meters):
            meter.add(parts[i])
        done += count
        if progress is not None:
            progress(done, total)

    in_order(resolve(backend), compute, _split(net, given, tops, batch_size), collect)
    if not done:
        raise InvalidValueError("measure: there are no images.")
    return done


def batches(images: Any, net: Network | None = None, function: str = "measure") -> tuple[Iterable[Any], int | None]:
    """What is given as images, as batches; and how many images there are in all, where that is known beforehand."""
    refuse_pair(images, "images")
    if isinstance(images, (list, tuple)):
        if images:
            refuse_pair(images[0], "images")
        one = len(images) > 0 and as_array(images[0], "images").ndim != 4
    else:
        one = hasattr(images, "__array__") or hasattr(images, "shape")
    if one:
        array = as_array(images, "images") if net is None else net.as_images(images, function)
        return [array], len(array)
    if not isinstance(images, Iterable) or isinstance(images, (str, bytes)):
        raise InvalidValueError(f"images must be an array (N, C, H, W) or batches of that, not {described(images)}.")
    return images, None


def _split(
    net: Network, parts: Iterable[Any], tops: Sequence[int], batch_size: int | None
) -> Iterator[tuple[int, Array]]:
    """Batches, each with the number of its first image."""
    done = 0
    for part in parts:
        array = net.as_images(part, "measure")
        step = net.batch_size(array.shape[1:], tops) if batch_size is None else as_count(batch_size, "batch_size")
        for start in range(0, len(array), step):
            yield done + start, array[start : start + step]
        done += len(array)


def within(images: Array, pads: Pads) -> tuple[Array, Pads]:
    """The images from where the first units begin, and the zeros they need around them; pads as `Network.grid` gives them."""
    images = images[:, :, max(0, -pads[0]) :, max(0, -pads[2]) :]
    return images, (max(0, pads[0]), pads[1], max(0, pads[2]), pads[3])
