"""Measuring: one run of the network over the images, in which any number of meters take part.

A *meter* is an object that measures something batch by batch. `measure` gives each meter the responses of its layer, so that
several measurements share one forward pass, and runs only the layers that meters read. The meters are in
`decoding.evaluation`, `decoding.gains`, `decoding.patterns` and `decoding.baselines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from . import walks
from .arguments import Array, Pads, as_array, as_count, as_sequence, check_finite, described, plural, refuse_pair
from .backend import resolve
from .blocks import cut, in_order
from .boundary import public
from .errors import DecodingError, ExecutorError, InvalidValueError, ShapeError
from .layers import BatchNorm, Sum
from .network import BATCH, Network, as_network

if TYPE_CHECKING:
    from concurrent.futures import Executor

Images: TypeAlias = npt.ArrayLike | Iterable[npt.ArrayLike]
Progress: TypeAlias = Callable[[int, "int | None"], object]


class Meter(Protocol):
    """What `measure` gives the responses of a layer to, batch after batch.

    Attributes
    ----------
    layer : int
        The number of the layer that it reads; 0 for one that reads the images alone.
    layers : tuple of int, optional
        The numbers of several layers that it reads together, in place of `layer`; `part` is given a tuple of their responses.
    checks : sequence of int, optional
        The numbers of those of its layers whose responses `part` itself refuses where they are not finite.
    state : sequence of str, optional
        The names of the attributes that `add` changes, for checkpoints; unless given, all except networks and backends.
    """

    layer: int

    def part(self, images: Array, responses: Any, start: int) -> Any:
        """Compute what a batch adds to the measurement, its *part*.

        The batch is images (N, C, H, W), the first of which has the number `start`, and the responses of `layer` to them,
        (N, K, H', W'). Batches may be computed at the same time, in threads or by copies of the meter in other processes, so
        this method must not change the meter.
        """

    def add(self, part: Any) -> None:
        """Add the part of a batch to the measurement; batches come in order."""


@public
def measure(
    net: Network,
    images: Images,
    meters: Sequence[Meter],
    *,
    backend: Any = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> int:
    """Run the network once over the images, and give every meter the responses of its layer.

    Parameters
    ----------
    net : Network
    images : array_like of shape (N, C, H, W), or an iterable of such batches
        As `Network.forward` takes them. Batches of an iterable are in memory one at a time; with `decoding.fast` and
        threadpoolctl, one for each thread and one more; with an executor, two for each worker. A sequence of batches with an
        attribute `sizes` (how many images each batch holds, or one int for all) is read by the workers themselves; what
        `images_in` returns is such a sequence.
    meters : sequence of meters
        `ReconstructionMeter`, `TopImagesMeter`, or any object with a `layer` number, ``part(images, responses, start)``, which
        computes what a batch adds, and ``add(part)``, which adds it.
    backend : object or module, optional
        The operators to use for the network's responses; `decoding.reference` unless given. With `decoding.fast`, batches
        are computed in threads, and so is ``part`` of each meter.
    batch_size : int, optional
        How many images to run at a time; unless given, at most what `Network.batch_size` finds, in batches of about one size.
    progress : callable, optional
        Called as ``progress(done, total)`` after each batch, in images; total is None for an iterable.
    executor : concurrent.futures.Executor, optional
        Its workers do the measuring: threads, processes, or a cluster (:doc:`large-work`). Results are the same bit for bit.
    checkpoint : path, optional
        A file in which the state of the meters is saved now and then. If it exists, the measurement goes on from it.

    Returns
    -------
    int
        How many images there were.

    Raises
    ------
    ShapeError
        If the images do not fit the network.
    InvalidValueError
        If there are no images or no meters; if images, weights or responses are not finite (the message says where); if the
        executor is not one, or is shut down; if network, meters, backend or images cannot be pickled for it; or if the
        checkpoint belongs to other work.
    ExecutorError
        If the executor fails. The error's `done` says how many images have been measured.
    DataFormatError
        If the checkpoint is damaged.
    OSError
        If the checkpoint cannot be written.

    See Also
    --------
    reconstruction_error, top_images : One measurement each.

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
            raise InvalidValueError(f"measure: {described(meter)} is no meter: a meter must have layer, part and add.")
    if not meters:
        raise InvalidValueError("measure: there are no meters, so there is nothing to measure.")
    size = None if batch_size is None else as_count(batch_size, "batch_size")
    job = _Measuring(net, meters, resolve(backend), size)
    return run(job, images, meters, progress=progress, executor=executor, checkpoint=checkpoint)


class Job(Protocol):
    """What is done with each batch of images: all of a measurement that is sent to workers.

    Attributes
    ----------
    function : str
        The name that errors begin with.
    backend : Backend
        The backend, which says whether it may be run in several threads.
    """

    function: str

    @property
    def backend(self) -> Any: ...

    def as_images(self, images: Any) -> Array:
        """Some of the images as an array (N, C, H, W), checked."""

    def step(self, shape: Sequence[int]) -> int:
        """How many images of shape (C, H, W) make a batch."""

    def parts(self, images: Array, start: int) -> Sequence[Any]:
        """What a batch adds to each meter."""

    def named(self) -> dict[str, Any]:
        """What the job holds, by the names that errors use."""


class _Measuring:
    """Runs the network over a batch, and gives every meter its responses."""

    function = "measure"

    def __init__(self, net: Network, meters: Sequence[Any], backend: Any, size: int | None) -> None:
        self.net, self.meters, self.backend, self.size = net, meters, backend, size
        self.reads = [tuple(getattr(meter, "layers", (meter.layer,))) for meter in meters]
        self.tops = sorted({number for numbers in self.reads for number in numbers})
        self.unchecked = _passed_on(net, self.tops) | _checked_by(meters, self.reads)

    def as_images(self, images: Any) -> Array:
        return self.net.as_images(images, "measure")

    def step(self, shape: Sequence[int]) -> int:
        return self.net.batch_size(shape, self.tops) if self.size is None else self.size

    def parts(self, images: Array, start: int) -> list[Any]:
        check_finite(images, f"measure: images from {start}")
        try:
            return self._parts(images, start)
        except InvalidValueError:
            for number, responses in self.net.walk(images, self.tops, backend=self.backend):
                self._check(number, responses, start)  # an error names the first layer that is not finite
            raise

    def _check(self, number: int, responses: Array, start: int) -> None:
        check_finite(responses, f"measure: responses of layer {number} to images from {start}")

    def _parts(self, images: Array, start: int) -> list[Any]:
        parts: dict[int, Any] = {}
        held: dict[int, Array] = {}
        for number, responses in self.net.walk(images, self.tops, backend=self.backend):
            images = responses if number == 0 else images
            if number not in self.unchecked:
                self._check(number, responses, start)
            held[number] = responses
            for i, (meter, numbers) in enumerate(zip(self.meters, self.reads, strict=True)):
                if max(numbers) == number:
                    read = tuple(held[n] for n in numbers) if hasattr(meter, "layers") else responses
                    parts[i] = meter.part(images, read, start)
            del responses
            held = {
                n: x for n, x in held.items() if any(n in numbers and max(numbers) > number for numbers in self.reads)
            }
        return [parts[i] for i in range(len(self.meters))]

    def named(self) -> dict[str, Any]:
        meters = {f"meter {i} ({type(meter).__name__})": meter for i, meter in enumerate(self.meters)}
        return {"the network": self.net, "the backend": self.backend, **meters}


def _passed_on(net: Network, tops: Sequence[int]) -> set[int]:
    """Layers that only batch normalizations and sums read: what these find is not finite either, so it need be checked only there."""
    edges = [(i, type(net.layers[n - 1])) for n in walks.under(net, tops, net.inputs) for i in net.inputs[n - 1]]
    return {i for i, _ in edges} - {i for i, kind in edges if kind not in (BatchNorm, Sum)} - {*tops}


def _checked_by(meters: Sequence[Any], reads: Sequence[Sequence[int]]) -> set[int]:
    """Layers that are read only by meters which check them."""
    pairs = [
        (n, n in getattr(meter, "checks", ())) for meter, numbers in zip(meters, reads, strict=True) for n in numbers
    ]
    return {n for n, _ in pairs} - {n for n, checked in pairs if not checked}


# The number of the first image of a block; and its images, or which items of a sequence they are.
Block: TypeAlias = tuple[int, Any]


def run(
    job: Job,
    images: Images,
    meters: Sequence[Any],
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    checkpoint: Any = None,
) -> int:
    """Do the job with every batch of the images; the meters add, batch after batch, what it returns.

    Returns
    -------
    int
        How many images there were.

    Raises
    ------
    InvalidValueError
        If there are no images. Errors of the job itself are raised with the number of the first image of their batch.
    """
    if executor is not None:
        from .executing import check_executor

        check_executor(executor, job.function)
    given, total = batches(images)
    sequence = images if _reads_itself(images) else None
    kept, blocks, done = None, 0, 0
    if checkpoint is not None:
        from .checkpoints import Checkpoint, of_images

        layout = [getattr(job, "size", None), BATCH]
        work = {**job.named(), "the size of batches": layout, "the images": of_images(images)}
        kept = Checkpoint(checkpoint, work, meters)
        blocks, done = kept.resume()
    whole = True

    def collect(found: list[tuple[int, Sequence[Any]]]) -> None:
        nonlocal blocks, done, whole
        whole, before = False, done
        for count, parts in found:
            for meter, part in zip(meters, parts, strict=True):
                meter.add(part)
            done += count
        blocks, whole = blocks + 1, True
        if progress is not None:
            for count, _ in found:
                progress(before := before + count, total)
        if kept is not None:
            kept.step(blocks, done)

    todo = _numbered(job, sequence) if sequence is not None else _split(job, given)
    named = {**job.named(), "the sequence of images": sequence}
    try:
        in_order(
            job.backend,
            _Reading(job, sequence),
            islice(todo, blocks, None),
            collect,
            executor=executor,
            function=job.function,
            named=named,
        )
    except BaseException as error:
        if kept is not None and whole:
            kept.save(blocks, done)
        _tell(error, done, meters, checkpoint)
        raise
    if not done:
        raise InvalidValueError(f"{job.function}: there are no images.")
    if kept is not None:
        kept.save(blocks, done)
    return done


def _tell(error: BaseException, done: int, meters: Sequence[Any], checkpoint: Any) -> None:
    """Make an error say from which image on it happened, and an executor's error how much has been measured."""
    if isinstance(error, ExecutorError):
        error.done, error.meters = done, meters
        kept = "the meters hold them" if checkpoint is None else "the checkpoint holds them"
        error.args = (f"{error.args[0]} {plural(done, 'image')} had been measured, and {kept}.",)
    elif not isinstance(error, DecodingError):
        vars(error).setdefault("__notes__", []).append(f"in the batch of images from {done}")
    elif (done or _of_worker(error)) and "images from" not in str(error):
        own = f"{error.function}: " if error.function else ""
        said = str(error.args[0] if error.args else "").removeprefix(own)
        error.args = (f"images from {done}: {said}", *error.args[1:])


def _of_worker(error: BaseException) -> bool:
    return type(error.__cause__).__name__ == "Traceback"


class _Reading:
    """What is sent to workers: the job, and the sequence they read blocks from; None if blocks are arrays already."""

    def __init__(self, job: Job, sequence: Any) -> None:
        self.job, self.sequence = job, sequence

    def __call__(self, block: Block) -> list[tuple[int, Sequence[Any]]]:
        start, items = block
        found = []
        for array in [items] if self.sequence is None else self._read(items):
            step = self.job.step(array.shape[1:])
            for some in (array[i : i + step] for i in range(0, len(array), step)):
                found.append((len(some), self.job.parts(some, start)))
                start += len(some)
        return found

    def _read(self, items: range) -> Iterator[Array]:
        """The items as arrays; neighbouring items of one shape are put together in one array."""
        waiting: list[Array] = []
        for i in items:
            array = self.job.as_images(self.sequence[i])
            if len(array) != (promised := _size(self.sequence, i)):
                raise ShapeError(f"item {i} of the images holds {len(array)}, and sizes says {promised}.")
            if waiting and (array.shape[1:], array.dtype) != (waiting[0].shape[1:], waiting[0].dtype):
                yield np.concatenate(waiting)
                waiting = []
            waiting.append(array)
        yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)


def batches(images: Any, net: Network | None = None, function: str = "measure") -> tuple[Iterable[Any], int | None]:
    """What was given as images, as batches; and how many images there are in all, or None if that is not known beforehand."""
    refuse_pair(images, "images")
    if isinstance(images, (list, tuple)):
        if images:
            refuse_pair(images[0], "images")
        one = len(images) > 0 and as_array(images[0], "images").ndim != 4
    else:
        one = (hasattr(images, "__array__") or hasattr(images, "shape")) and not _reads_itself(images)
    if one:
        array = as_array(images, "images") if net is None else net.as_images(images, function)
        return [array], len(array) if array.ndim else 0
    if _reads_itself(images):
        count, sizes = len(images), images.sizes
        return (images[i] for i in range(count)), int(count * sizes if _is_one(sizes) else sum(sizes))
    if not isinstance(images, Iterable) or isinstance(images, (str, bytes)):
        raise InvalidValueError(f"images must be an array (N, C, H, W) or batches of that, not {described(images)}.")
    return images, None


def _reads_itself(images: Any) -> bool:
    """Whether it is a sequence of batches that says how many images each has, so that workers can read it themselves."""
    return hasattr(images, "sizes") and hasattr(images, "__len__") and hasattr(images, "__getitem__")


def _size(sequence: Any, i: int) -> int:
    sizes = sequence.sizes
    return int(sizes if _is_one(sizes) else sizes[i])


def _is_one(sizes: Any) -> bool:
    """Whether `sizes` is one number, the same for all items of a sequence."""
    return isinstance(sizes, (int, np.integer))


def _numbered(job: Job, sequence: Any) -> Iterator[Block]:
    """Blocks of a sequence: which items make a batch, with the number of their first image."""
    count, start = len(sequence), 0
    several = count > 0 and _is_one(sequence.sizes)
    some = max(1, job.step(job.as_images(sequence[0]).shape[1:]) // sequence.sizes) if several else 1
    for i, j in pairwise(_edges(job, count, some)):
        yield start, range(i, j)
        start += sum(_size(sequence, item) for item in range(i, j))


def _split(job: Job, parts: Iterable[Any]) -> Iterator[Block]:
    """Blocks that are arrays: batches, each with the number of its first image."""
    done = 0
    for part in parts:
        array = job.as_images(part)
        for start, stop in pairwise(_edges(job, len(array), job.step(array.shape[1:]))):
            yield done + start, array[start:stop]
        done += len(array)


def _edges(job: Job, count: int, step: int) -> list[int]:
    """Where batches of at most `step` images, or items, begin and end.

    Unless the caller has given their size, they are cut for two threads, however many threads or workers there are: the order
    of sums may not depend on these.
    """
    return cut(count, step, 2) if getattr(job, "size", None) is None else [*range(0, count, step), count]


def within(images: Array, pads: Pads) -> tuple[Array, Pads]:
    """Crop the images to where the first units begin, and say how many zeros they need around them; pads are `Network.grid`'s."""
    images = images[:, :, max(0, -pads[0]) :, max(0, -pads[2]) :]
    return images, (max(0, pads[0]), pads[1], max(0, pads[2]), pads[3])


def windows(
    images: Array, grid: Sequence[int], size: Sequence[int], stride: Sequence[int], most: int
) -> Iterator[tuple[int, slice, Array]]:
    """What units see, row by row of their grid, at most `most` numbers at a time: the row, which images, and views of their crops.

    The crops have the shape (images, columns, C, h, w). That of the first unit lies in the upper left corner of the images.
    """
    (rows, columns), (h, w), (down, across) = grid, size, stride
    step = max(1, most // (columns * images.shape[1] * h * w))
    for row in range(rows):
        strip = images[:, :, row * down :, : (columns - 1) * across + w][:, :, :h]
        views = np.lib.stride_tricks.sliding_window_view(strip, w, axis=3)[:, :, :, ::across]
        for start in range(0, len(images), step):
            some = slice(start, start + step)
            yield row, some, views[some].transpose(0, 3, 1, 2, 4)
