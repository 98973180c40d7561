"""Layers in a row: responses, receptive fields, normalization, and a table that says what is there."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .arguments import Array, Pair, as_array, as_array4, as_count, check_finite, plural, printable
from .backend import Backend, precision, resolve
from .blocks import gather
from .errors import DecodingError, InvalidValueError, ShapeError, UnknownLayerError
from .layers import Conv, Layer, Shape, Unsupported

BATCH = 22 * 2**18  # numbers in the largest responses to a batch: enough for matrix products, not too many for caches


class ReceptiveField(NamedTuple):
    """What the units of a layer see of the image; pairs are (rows, columns), in pixels.

    Unit (i, j) sees the rows ``offset[0] + i · stride[0]`` to ``offset[0] + i · stride[0] + size[0] - 1``, and likewise
    the columns. The offset is negative where layers pad: the first units look past the edge.
    """

    size: Pair
    stride: Pair
    offset: Pair


class Network:
    """Layers in a row, and what they were trained with.

    Parameters
    ----------
    layers : sequence of layers
        From the image up. Layer numbers count from 1; layer 0 is the image.
    mean : array_like of shape (C, H, W), (C, 1, 1) or (C,), optional
        The mean of the training images, which `normalize` subtracts.
    classes : sequence of str, optional
        What the channels of the last layer stand for.
    input_shape : (C, H, W), optional
        The images the network was made for. Other sizes run as well, where the layers allow it.
    notes : sequence of str, optional
        What else `describe` should say, such as what could not be used of a file.

    Raises
    ------
    ShapeError
        If the layers do not chain, or `mean` or `input_shape` does not fit the first.
    InvalidValueError
        If something else than layers is given.

    Notes
    -----
    Paper: section 4. A network is frozen: its layers are a tuple and their weights read-only.

    Examples
    --------
    >>> net = Network([Conv([[[[1, 2]]]], name="pair"), Conv([[[[1, 1, 1]]]])], input_shape=(1, 1, 5))
    >>> print(net)
    layer  name    kind   output  filters     field  stride  offset  parameters
    0              image  1×1×5
    1      pair    Conv   1×1×4   1 of 1×1×2  1×2    1×1     0,0     3
    2      layer2  Conv   1×1×2   1 of 1×1×3  1×4    1×1     0,0     4
    """

    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        mean: npt.ArrayLike | None = None,
        classes: Sequence[str] | None = None,
        input_shape: Sequence[int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.layers: tuple[Layer, ...] = tuple(layers)
        for number, layer in enumerate(self.layers, 1):
            if not isinstance(layer, Layer):
                raise InvalidValueError(f"Network: layer {number} is not a layer but {type(layer).__name__}.")
        if not self.layers:
            raise ShapeError("Network: there are no layers.")
        self.names: tuple[str, ...] = tuple(
            layer.name or f"layer{number}" for number, layer in enumerate(self.layers, 1)
        )
        self.notes = tuple(notes)
        # Layers 1 to `runs` have no unsupported one among them.
        self.runs = next((i for i, layer in enumerate(self.layers) if isinstance(layer, Unsupported)), len(self.layers))
        if isinstance(classes, str):
            raise InvalidValueError(f"Network: classes must be a sequence of names, not the one name {classes!r}.")
        self.classes = None if classes is None else tuple(str(name) for name in classes)
        self.mean = None if mean is None else _mean(mean)
        self.input_shape: Shape | None = None
        if input_shape is not None:
            self.input_shape = _image_shape(input_shape)
        elif self.mean is not None and self.mean.shape[1:] != (1, 1):
            self.input_shape = _image_shape(self.mean.shape)
        self._channels: list[int | None] = [self._image_channels()]
        for number, layer in enumerate(self.layers, 1):
            with self.naming(number):
                self._channels.append(layer.channels(self._channels[-1]))
        if self.input_shape is not None:
            self.shapes(self.input_shape, self.runs)
        if self.mean is not None and self.mean.shape[0] != self._channels[0]:
            raise ShapeError(f"Network: mean {self.mean.shape} for images of {plural(self.channels(0), 'channel')}.")

    def _image_channels(self) -> int | None:
        for layer in self.layers[: self.runs]:
            if layer.in_channels is not None:
                return layer.in_channels
        return (
            self.input_shape[0] if self.input_shape is not None else None if self.mean is None else self.mean.shape[0]
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The floating-point precision of the weights."""
        dtypes = {array.dtype for layer in self.layers for array in layer.weights.values()}
        return np.result_type(*dtypes) if dtypes else np.dtype(np.float64)

    def index(self, layer: int | str) -> int:
        """The number of a layer given by number (0 is the image) or by name.

        Raises
        ------
        UnknownLayerError
            If there is none, or several have that name.
        """
        if isinstance(layer, str):
            found = [number for number, name in enumerate(self.names, 1) if name == layer]
            if len(found) == 1:
                return found[0]
            what = (
                f"layers {found} all have the name '{printable(layer)}'; give the number"
                if found
                else f"no layer is named '{printable(layer)}'"
            )
            raise UnknownLayerError(f"{what}. The names are {', '.join(map(_quoted, self.names))}.")
        if not isinstance(layer, (int, np.integer)) or isinstance(layer, bool) or not 0 <= layer <= len(self.layers):
            raise UnknownLayerError(
                f"there is no layer {layer!r}: layers count from 1 to {len(self.layers)}, and 0 is the image."
            )
        return int(layer)

    def channels(self, layer: int | str) -> int:
        """How many units `layer` has: its channels, K.

        Raises
        ------
        UnknownLayerError
            If there is no such layer.
        ShapeError
            If nothing in the network says how many channels its images have.
        UnsupportedLayerError
            If a layer that cannot be run lies in between.
        """
        channels = self._channels[self.index(layer)]
        if channels is None:
            self._check_runs(self.index(layer))
            raise ShapeError(
                "nothing in the network says how many channels its images have; give input_shape=(C, H, W)."
            )
        return channels

    def shapes(self, shape: Sequence[int], layer: int | str | None = None) -> list[Shape]:
        """(C, H, W) of the image and of every layer's output up to `layer`, for images of the given (C, H, W).

        Raises
        ------
        ShapeError
            If the channels differ from the network's, or a window does not fit; it names the layer.
        UnknownLayerError
            If there is no such layer.
        """
        top = len(self.layers) if layer is None else self.index(layer)
        self._check_runs(top)
        shapes = [_image_shape(shape)]
        if self._channels[0] not in (None, shape[0]):
            raise ShapeError(f"images of {plural(shape[0], 'channel')}, and the network takes {self._channels[0]}.")
        for number, each in enumerate(self.layers[:top], 1):
            with self.naming(number):
                shapes.append(each.shape(shapes[-1]))
        return shapes

    def batch_size(self, shape: Sequence[int], layer: int | str | None = None) -> int:
        """Images of the given (C, H, W) to run at a time, up to `layer`: 6 million numbers in the largest responses.

        An operator may need several times their memory to make them.

        Examples
        --------
        >>> from decoding import Conv, Network
        >>> Network([Conv(np.zeros((20, 1, 5, 5)))]).batch_size((1, 28, 28))      # 20×24×24 numbers each
        500
        """
        largest = max(math.prod(each) for each in self.shapes(shape, layer))
        return max(1, BATCH // largest)

    def normalize(self, images: npt.ArrayLike) -> Array:
        """Subtract the mean the network was trained with.

        Parameters
        ----------
        images : array_like of shape (N, C, H, W)
            In the units the network was trained on; for `lenet()`, grey levels 0 to 255.

        Returns
        -------
        ndarray of shape (N, C, H, W)
            Floats, in the precision of the weights for integer images. Without a mean, the images.

        Raises
        ------
        ShapeError
            If the mean does not fit the images.
        """
        images = as_array4(images, "normalize", "images", "(N, C, H, W)")
        dtype = images.dtype if images.dtype.kind == "f" else self.dtype
        if self.mean is None:
            return images.astype(dtype)
        if self.mean.shape[0] != images.shape[1] or self.mean.shape[1:] not in ((1, 1), images.shape[2:]):
            raise ShapeError(f"normalize: images {images.shape} do not fit the mean image {self.mean.shape}.")
        return np.subtract(images, self.mean, dtype=dtype, casting="same_kind")

    def forward(
        self,
        images: npt.ArrayLike,
        layer: int | str | None = None,
        *,
        backend: Any = None,
        batch_size: int | None = None,
    ) -> Array:
        """Responses of one layer.

        Parameters
        ----------
        images : array_like of shape (N, C, H, W)
            As the network was trained on them: see `normalize`.
        layer : int or str, optional
            Number or name; the last unless given.
        backend : object or module, optional
            The operators to use; `decoding.reference` unless given.
        batch_size : int, optional
            Images run at a time: memory is the result and one batch; with `decoding.fast` and threadpoolctl, a batch for
            each thread. `batch_size` of the network unless given.

        Returns
        -------
        ndarray of shape (N, K, H', W')

        Raises
        ------
        ShapeError
            If the images do not fit the network.
        InvalidValueError
            If images or weights are not finite, or responses overflow; it says where.
        UnknownLayerError
            If there is no such layer.

        See Also
        --------
        activations : The responses of all layers.
        decoding.decode : The way back.

        Notes
        -----
        Paper: section 3, ``z^L``.

        Examples
        --------
        >>> from decoding import Conv, Network, ReLU
        >>> net = Network([Conv([[[[1, 10]]]]), ReLU()])
        >>> net.forward([[[[1, 2, -3]]]], 1)
        array([[[[ 21., -28.]]]])
        """
        top = len(self.layers) if layer is None else self.index(layer)
        images, operators = as_array4(images, "forward", "images", "(N, C, H, W)"), resolve(backend)
        shape = self._checked(images, top)[-1]
        step = self.batch_size(images.shape[1:], top) if batch_size is None else as_count(batch_size, "batch_size")

        def responses(start: int, stop: int) -> Array:
            x = deque(self._run(images[start:stop], top, operators), maxlen=1).pop()
            check_finite(x, f"responses of layer {top} to images from {start}, {x.dtype}")
            return x

        return gather(operators, responses, len(images), step, np.empty((0, *shape), self.dtype))

    def activations(self, images: npt.ArrayLike, layer: int | str | None = None, *, backend: Any = None) -> list[Array]:
        """Responses of all layers, up to one.

        Parameters
        ----------
        images : array_like of shape (N, C, H, W)
        layer : int or str, optional
            Number or name of the layer to stop at; the last unless given.
        backend : object or module, optional

        Returns
        -------
        list of ndarrays
            ``[0]`` is the images, ``[l]`` the output of layer l, (N, K, H', W').

        Raises
        ------
        ShapeError, InvalidValueError, UnknownLayerError
            As `forward`.

        See Also
        --------
        stream : The same, one layer at a time.

        Examples
        --------
        >>> from decoding import Conv, Network, ReLU
        >>> [x.shape for x in Network([Conv([[[[1, 10]]]]), ReLU()]).activations([[[[1, 2, -3]]]])]
        [(1, 1, 1, 3), (1, 1, 1, 2), (1, 1, 1, 2)]
        """
        return list(self.stream(images, layer, backend=backend))

    def stream(self, images: npt.ArrayLike, layer: int | str | None = None, *, backend: Any = None) -> Iterator[Array]:
        """Responses of all layers, up to one, layer by layer: an iterator over what `activations` lists.

        For large images, of which two layers' responses fit in memory, and those of all layers do not.
        """
        top = len(self.layers) if layer is None else self.index(layer)
        images, operators = as_array4(images, "activations", "images", "(N, C, H, W)"), resolve(backend)
        self._checked(images, top)
        return self._run(images, top, operators)

    def receptive_field(self, layer: int | str) -> ReceptiveField:
        """What the units of `layer` see of the image.

        ``size += (window - 1) · jump``, ``offset -= pad · jump``, ``jump *= stride``, from layer to layer.

        Returns
        -------
        ReceptiveField
            (size, stride, offset), pairs (rows, columns) in pixels. A decoded filter has this size.

        Raises
        ------
        UnknownLayerError
            If there is no such layer.

        Notes
        -----
        Paper: section 3, "the size of the input plus the size of the filter", less one: 5, 14, 28 and 28 for LeNet.

        Examples
        --------
        >>> from decoding import Conv, MaxPool, Network
        >>> lenet = [Conv(np.zeros((20, 1, 5, 5))), MaxPool(2), Conv(np.zeros((50, 20, 5, 5)))]
        >>> Network(lenet).receptive_field(3)
        ReceptiveField(size=(14, 14), stride=(2, 2), offset=(0, 0))
        """
        self._check_runs(self.index(layer))
        return self._fields[self.index(layer)]

    @cached_property
    def _fields(self) -> list[ReceptiveField]:
        """The receptive fields of layers 0, 1, …, as far as the layers run."""
        size, jump, offset = [1, 1], [1, 1], [0, 0]
        fields = [ReceptiveField((1, 1), (1, 1), (0, 0))]
        for each in self.layers[: self.runs]:
            for axis in (0, 1):
                size[axis] += (each.size[axis] - 1) * jump[axis]
                offset[axis] -= each.pad[2 * axis] * jump[axis]
                jump[axis] *= each.stride[axis]
            fields.append(ReceptiveField((size[0], size[1]), (jump[0], jump[1]), (offset[0], offset[1])))
        return fields

    def describe(self) -> str:
        """A table: number, name, kind, output shape, filters, receptive field (size, stride, offset), parameters.

        Shapes are channels×rows×columns, and rows×columns; the output shape needs the size of the images, known from
        `input_shape` or the mean.
        """
        known = [] if self.input_shape is None else self.shapes(self.input_shape, self.runs)
        shapes = dict(enumerate(_times(shape) for shape in known))
        rows = [["layer", "name", "kind", "output", "filters", "field", "stride", "offset", "parameters"]]
        rows.append(["0", "", "image", shapes.get(0) or str(self._channels[0] or ""), "", "", "", "", ""])
        for number, layer in enumerate(self.layers, 1):
            output = shapes.get(number) or str(self._channels[number] or "")
            window = "" if layer.size == (1, 1) else _times(layer.size)
            if isinstance(layer, Conv):
                window = f"{len(layer.filters)} of {_times(layer.filters.shape[1:])}"
            field = ["", "", ""]
            if number <= self.runs:
                size, stride, offset = self._fields[number]
                field = [_times(size), _times(stride), f"{offset[0]},{offset[1]}"]
            name = printable(self.names[number - 1])
            rows.append([str(number), name, layer.kind, output, window, *field, str(layer.n_parameters or "")])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *self._remarks(), *self.notes])

    def _remarks(self) -> Iterator[str]:
        """What does not work."""
        for number, layer in enumerate(self.layers, 1):
            try:
                with self.naming(number):
                    layer.check()
            except DecodingError as error:
                yield str(error)

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        return f"<Network of {plural(len(self.layers), 'layer')}: {', '.join(map(printable, self.names))}>"

    def _checked(self, images: Array, top: int) -> list[Shape]:
        """The shapes up to layer `top`; refuses images that do not fit, and images or weights that are not finite."""
        shapes = self.shapes(images.shape[1:], top)
        self.check_weights(top)
        check_finite(images, "images")
        return shapes

    def check_weights(self, layer: int | str, above: int | str = 0) -> None:
        """Refuse weights that are not finite, and layers that are not supported, up to `layer` and above `above`.

        Raises
        ------
        InvalidValueError, UnsupportedLayerError
            It names the layer and says where.
        """
        top, bottom = self.index(layer), self.index(above)
        for number, each in enumerate(self.layers[bottom:top], bottom + 1):
            with self.naming(number):
                each.check()

    def _check_runs(self, top: int) -> None:
        """Refuse to go through a layer that is not supported, up to layer `top`."""
        if top > self.runs:
            with self.naming(self.runs + 1):
                self.layers[self.runs].check()

    def _run(self, x: Array, top: int, operators: Backend) -> Iterator[Array]:
        """The images as floats, then the responses of layers 1 to `top`."""
        x = x.astype(precision(operators, x.dtype if x.dtype.kind == "f" else self.dtype), copy=False)
        yield x
        for number, layer in enumerate(self.layers[:top], 1):
            # What overflows is told of at the end.
            with self.naming(number), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                x = np.asarray(layer.forward(x, operators))
            yield x

    @contextmanager
    def naming(self, number: int) -> Iterator[None]:
        """Completes an error of the family with the layer it came from; so is running out of memory."""
        layer = self.layers[number - 1]
        where = f"layer {number} {_quoted(self.names[number - 1])} ({layer.kind})"
        try:
            yield
        except DecodingError as error:
            raise type(error)(f"{where}: {error}") from error
        except MemoryError as error:
            raise InvalidValueError(f"{where}: there is not enough memory for it: {error}") from error


def _mean(mean: npt.ArrayLike) -> Array:
    mean = as_array(mean, "Network: mean")
    if mean.ndim == 1:
        mean = mean[:, np.newaxis, np.newaxis]
    if mean.ndim != 3 or not mean.size:
        raise ShapeError(f"Network: mean must be (C, H, W), (C, 1, 1) or (C,), not {mean.shape}.")
    check_finite(mean, "mean")
    mean = np.array(mean, mean.dtype if mean.dtype.kind == "f" else np.float64)
    mean.setflags(write=False)
    return mean


def _image_shape(shape: Sequence[int]) -> Shape:
    if np.shape(shape) != (3,) or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ShapeError(f"images must have the shape (C, H, W), each at least 1, not {shape!r}.")
    return int(shape[0]), int(shape[1]), int(shape[2])


def _quoted(name: str) -> str:
    return f"'{printable(name)}'"


def _times(numbers: Sequence[int]) -> str:
    return "×".join(map(str, numbers))
