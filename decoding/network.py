"""A graph of layers: responses, receptive fields, normalization, and a table that says what is there."""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from . import notebook, walks
from .arguments import (
    LARGEST,
    Array,
    Pads,
    Pair,
    as_array,
    as_count,
    as_sequence,
    check_finite,
    crossed,
    cut,
    described,
    has_axes,
    listed,
    plural,
    printable,
    refuse_pair,
)
from .backend import lacks_operator, precision, resolve
from .blocks import gather
from .boundary import public
from .errors import DecodingError, InvalidValueError, ShapeError, UnknownLayerError
from .folder import FolderOfImages
from .layers import Concat, Conv, Layer, Shape, UnsupportedLayer, check_factors
from .layers.base import kept

# How many numbers of a batch are kept between two layers: enough for large matrix products, not too many for caches.
BATCH = 22 * 2**18


class ReceptiveField(NamedTuple):
    """What the units of a layer see of the image; pairs are (rows, columns), in pixels.

    Unit (i, j) sees the rows ``offset[0] + i · stride[0]`` to ``offset[0] + i · stride[0] + size[0] - 1``, and likewise
    the columns. The offset is negative where layers pad: the first units look past the edge.
    """

    size: Pair
    stride: Pair
    offset: Pair


class Network:
    """A graph of layers, listed so that each comes after those that it reads; and how its images were normalized.

    Parameters
    ----------
    layers : sequence of layers
        From the image up. Layer numbers count from 1; layer 0 is the image.
    inputs : sequence, optional
        For each layer the numbers of the layers it reads, all before it: a tuple, or one int. Several only for a layer that
        joins (`Sum`, `Concat`, `Gate`). Unless given, each layer reads the one before it: the network is a chain.
    mean : array_like of shape (C, H, W), (C, 1, 1) or (C,), optional
        The mean of the training images, which `normalize` subtracts.
    std : array_like of shape (C, H, W), (C, 1, 1) or (C,), optional
        What `normalize` divides by, after that.
    classes : sequence of str, optional
        What the channels of the last layer stand for.
    input_shape : (C, H, W), optional
        The images the network was made for. Other sizes run as well, where the layers allow it.
    notes : sequence of str, optional
        What else `describe` should say, such as what in a file could not be used.
    moments : mapping, optional
        For some layers, by number (0 is the image), the mean and the standard deviation of their responses, (K,) each;
        `decoding.quadratize` puts them here.
    aliases : mapping of str to str, optional
        Further names, each with the name of the layer that it stands for, such as that of a batch norm that was folded into
        a convolution.

    Raises
    ------
    ShapeError
        If layers do not fit those they read, `inputs` does not describe such a graph, or `mean`, `std` or `input_shape` does not fit.
    InvalidValueError
        If `layers` holds anything but layers.

    Notes
    -----
    Paper: section 4, for chains; branches are our choice. A network is frozen: its layers are a tuple and their weights
    read-only. Networks are equal if layers, inputs, normalization, classes, input shape and moments are; notes and aliases do
    not count.

    Examples
    --------
    >>> net = Network([Conv([[[[1, 2]]]], name="pair"), Conv([[[[1, 1, 1]]]])], input_shape=(1, 1, 5))
    >>> print(net)
    layer  name    kind   output  filters     field  stride  offset  parameters
    0              image  1×1×5
    1      pair    Conv   1×1×4   1 of 1×1×2  1×2    1×1     0,0     3
    2      layer2  Conv   1×1×2   1 of 1×1×3  1×4    1×1     0,0     4

    A shortcut past a convolution:

    >>> from decoding import Sum
    >>> net = Network([Conv([[[[1, 2, 3]]]], pad=(0, 0, 1, 1)), Sum()], inputs=[0, (1, 0)])
    >>> net.forward([[[[1, 0, 0]]]])
    array([[[[3., 1., 0.]]]])
    """

    @public
    def __init__(
        self,
        layers: Iterable[Layer],
        *,
        inputs: Iterable[int | Sequence[int]] | None = None,
        mean: npt.ArrayLike | None = None,
        std: npt.ArrayLike | None = None,
        classes: Sequence[str] | None = None,
        input_shape: Sequence[int] | None = None,
        notes: Sequence[str] = (),
        moments: Mapping[int, tuple[npt.ArrayLike, npt.ArrayLike]] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.layers: tuple[Layer, ...] = _layers(layers)
        self.names: tuple[str, ...] = tuple(
            layer.name or f"layer{number}" for number, layer in enumerate(self.layers, 1)
        )
        self.inputs: tuple[tuple[int, ...], ...] = self._inputs(inputs)
        # The layers that decoding follows: for a gate, only the first of the two that it reads.
        self.paths = tuple(i[: layer.follows] for i, layer in zip(self.inputs, self.layers, strict=True))
        self.notes = _texts(notes, "notes")
        self.aliases = dict(aliases or {})
        self.classes = None if classes is None else _texts(classes, "classes")
        self.mean = None if mean is None else _statistic(mean, "mean")
        self.std = None if std is None else _statistic(std, "std")
        if self.std is not None and not (self.std > 0).all():
            raise InvalidValueError(f"Network: std must be positive, and its least value is {self.std.min()}.")
        if input_shape is None and self.mean is not None and self.mean.shape[1:] != (1, 1):
            input_shape = self.mean.shape
        self.input_shape: Shape | None = None if input_shape is None else _image_shape(input_shape)
        self._channels: list[int | None] = [self._image_channels()]
        for number, (layer, below) in enumerate(zip(self.layers, self.inputs, strict=True), 1):
            with self._blame(number):
                self._channels.append(layer.channels(*(self._channels[i] for i in below)))
                check_factors(layer, self._channels[-1])
        self.moments = MappingProxyType({i: self._moment(i, *pair) for i, pair in dict(moments or {}).items()})
        self.fields_within(0)  # refuses joins of units that are not equally far apart
        if self.input_shape is not None:
            self._shapes(self.input_shape, [n for n in range(1, len(self.layers) + 1) if self.blocked(n) is None])
        for what, array in (("mean", self.mean), ("std", self.std)):
            if array is not None and array.shape[0] != self._channels[0]:
                raise ShapeError(f"Network: {what} {array.shape} for images of {plural(self.channels(0), 'channel')}.")
        self._complete = True

    def _inputs(self, given: Iterable[int | Sequence[int]] | None) -> tuple[tuple[int, ...], ...]:
        """For each layer the numbers of those it reads, checked."""
        if given is None:
            return tuple((number,) for number in range(len(self.layers)))
        try:
            if isinstance(given, (str, bytes, Mapping, Set)):
                raise TypeError
            rows = [below if np.ndim(below) else (below,) for below in given]
        except (TypeError, ValueError):
            raise ShapeError(
                f"Network: inputs must hold, for each layer, the numbers of the layers it reads, not {given!r:.200}."
            ) from None
        if len(rows) != len(self.layers):
            raise ShapeError(
                f"Network: inputs must have one entry for each layer; it has {len(rows)}, and layers has {len(self.layers)}."
            )
        return tuple(self._row(number, row) for number, row in enumerate(rows, 1))

    def _row(self, number: int, row: Any) -> tuple[int, ...]:
        layer = self.layers[number - 1]
        where = f"Network: layer {number} {_quoted(self.names[number - 1])} ({layer.kind})"
        try:
            below = tuple(operator.index(i) for i in row if not isinstance(i, (bool, np.bool_)))
        except TypeError:
            below = ()
        if not len(row) or len(below) != len(row):
            raise ShapeError(f"{where} reads {row!r:.200}: give the numbers of the layers it reads; 0 is the image.")
        if min(below) < 0 or max(below) >= number:
            raise ShapeError(
                f"{where} reads {cut(below)}: a layer reads layers before it, 0 to {number - 1}, so that there is no cycle. "
                "Put the layers in an order in which each comes after those it reads."
            )
        if len(below) > 1 and not layer.joins:
            raise ShapeError(
                f"{where} reads {len(below)} layers, {cut(below)}, and takes one. Sum, Concat and Gate join several."
            )
        return below

    def _image_channels(self) -> int | None:
        """The image's channels: what the first layer that has a fixed number says; else `input_shape`, the mean, or the deviation."""
        keeping = {0}
        for number, (layer, below) in enumerate(zip(self.layers, self.inputs, strict=True), 1):
            if isinstance(layer, (UnsupportedLayer, Concat)) or not keeping.intersection(below[: layer.follows]):
                continue
            if layer.in_channels is not None:
                return layer.in_channels
            if layer.channels(*(None for _ in below)) is None:
                keeping.add(number)
        known = [self.input_shape, *(None if a is None else a.shape for a in (self.mean, self.std))]
        return next((shape[0] for shape in known if shape is not None), None)

    def _moment(self, number: int, mean: npt.ArrayLike, std: npt.ArrayLike) -> tuple[Array, Array]:
        pair = kept(as_array(mean, "Network: moments")), kept(as_array(std, "Network: moments"))
        if pair[0].shape != pair[1].shape or pair[0].shape != (self.channels(number),):
            raise ShapeError(
                f"Network: moments {pair[0].shape} and {pair[1].shape} of layer {number}, which has {plural(self.channels(number), 'channel')}."
            )
        return pair

    def fields(self) -> dict[str, Any]:
        """The arguments that make this network again, by name."""
        names = ("layers", "inputs", "mean", "std", "classes", "input_shape", "notes", "aliases")
        return {name: getattr(self, name) for name in names} | {"moments": dict(self.moments)}

    @public
    def replace(self, **changed: Any) -> Network:
        """The same network with other values for some arguments of its constructor.

        Examples
        --------
        >>> Network([Conv([[[[1]]]])]).replace(classes=["bright"]).classes
        ('bright',)
        """
        unknown = [name for name in changed if name not in self.fields()]
        if unknown:
            raise InvalidValueError(
                f"Network.replace: there is no argument {', '.join(unknown)}; there are {', '.join(self.fields())}."
            )
        return Network(**{**self.fields(), **changed})

    @public
    def trim(self, layer: int | str) -> Network:
        """The network up to `layer`, with only the layers that it needs; they are numbered anew, and keep their names.

        Examples
        --------
        >>> from decoding import Sum
        >>> net = Network([Conv([[[[1]]]]), Conv([[[[2]]]]), Sum()], inputs=[0, 0, (1, 2)])
        >>> len(net.trim(2))
        1
        """
        top = self.index(layer)
        if not top:
            raise UnknownLayerError("Network.trim: layer 0 is the image; a network has at least one layer.")
        order = walks.under(self, [top], self.inputs)
        number = {0: 0} | {old: new for new, old in enumerate(order, 1)}
        return self.replace(
            layers=[self._named(old) for old in order],
            inputs=[tuple(number[i] for i in self.inputs[old - 1]) for old in order],
            classes=self.classes if top == len(self.layers) else None,
            moments={number[old]: pair for old, pair in self.moments.items() if old in number},
        )

    def _named(self, number: int) -> Layer:
        """The layer with the name that it has in this network, if it can have one."""
        layer, name = self.layers[number - 1], self.names[number - 1]
        return layer if layer.name == name or "name" not in layer.fields() else layer.replace(name=name)

    def __reduce__(self) -> Any:
        return _make, (self.fields(),)

    def __setattr__(self, key: str, value: Any) -> None:
        if "_complete" in vars(self):
            raise AttributeError(f"a network cannot be changed; make another with replace({key}=…)")
        super().__setattr__(key, value)

    def __delattr__(self, key: str) -> None:
        raise AttributeError(f"a network cannot be changed; make another with replace({key}=…)")

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, layer: int | str) -> Layer:
        return self.layer(layer)

    @public
    def layer(self, layer: int | str) -> Layer:
        """The layer of that number, from 1, or name.

        Raises
        ------
        UnknownLayerError
            If there is no such layer. Layer 0 is the image, and is no layer object.
        """
        number = self.index(layer)
        if not number:
            raise UnknownLayerError(f"layer 0 is the image; the layers count from 1 to {len(self.layers)}.")
        return self.layers[number - 1]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        same = all(
            getattr(self, name) == getattr(other, name) for name in ("inputs", "layers", "classes", "input_shape")
        )
        arrays = [(getattr(self, name), getattr(other, name)) for name in ("mean", "std")]
        known = self.moments.keys() == other.moments.keys()
        return (
            same
            and known
            and all(np.array_equal(a, b) if a is not None and b is not None else a is b for a, b in arrays)
            and all(np.array_equal(pair, other.moments[number]) for number, pair in self.moments.items())
        )

    def __hash__(self) -> int:
        return hash((self.names, self.inputs))

    @property
    def is_chain(self) -> bool:
        """Whether each layer reads the one before."""
        return self.inputs == tuple((number,) for number in range(len(self.layers)))

    @property
    def runs(self) -> int:
        """How many layers, counted from the first, can be run before one needs an unsupported layer."""
        return next((n - 1 for n in range(1, len(self.layers) + 1) if self.blocked(n) is not None), len(self.layers))

    def blocked(self, layer: int | str) -> int | None:
        """The number of the first unsupported layer that `layer` needs, which may be `layer` itself; None if it needs none.

        Raises
        ------
        UnknownLayerError
            If there is no such layer.
        """
        return self._blocked[self.index(layer)]

    @cached_property
    def _blocked(self) -> list[int | None]:
        found: list[int | None] = [None]
        for number, (layer, below) in enumerate(zip(self.layers, self.inputs, strict=True), 1):
            ways = [found[i] for i in below if found[i] is not None]
            found.append(min(ways, default=number if isinstance(layer, UnsupportedLayer) else None))  # type: ignore[type-var]
        return found

    @cached_property
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
            if not found and layer in self.aliases and self.aliases[layer] != layer:
                return self.index(self.aliases[layer])
            if len(found) == 1:
                return found[0]
            what = (
                f"layers {cut(found)} all have the name '{printable(layer)}'; give the number"
                if found
                else f"no layer is named '{printable(layer)}'"
            )
            raise UnknownLayerError(f"{what}. The names are {cut(list(map(_quoted, self.names)))}.")
        if not isinstance(layer, (int, np.integer)) or isinstance(layer, bool):
            order = " Are the arguments in another order? Images come before the layer: (net, images, layer, k)."
            raise UnknownLayerError(
                f"there is no layer {described(layer)}: a layer is given by its number, 1 to {len(self.layers)}, 0 being the image, "
                f"or by its name.{order if has_axes(layer) else ''}"
            )
        if not 0 <= layer <= len(self.layers):
            raise UnknownLayerError(
                f"there is no layer {layer!r:.40}: layers count from 1 to {len(self.layers)}, and 0 is the image."
            )
        return int(layer)

    @public
    def channels(self, layer: int | str) -> int:
        """How many units `layer` has: its channels, K.

        Raises
        ------
        UnknownLayerError
            If there is no such layer.
        ShapeError
            If nothing in the network determines how many channels its images have.
        UnsupportedLayerError
            If a layer that cannot be run lies in between.
        """
        channels = self._channels[self.index(layer)]
        if channels is None:
            self.check_runs(layer)
            raise ShapeError(
                "nothing in the network says how many channels its images have; give input_shape=(C, H, W)."
            )
        return channels

    def widths(self, layers: Sequence[int]) -> list[Any]:
        """The channels of several layers; None where nothing determines them."""
        return [self._channels[i] for i in layers]

    @public
    def shapes(self, shape: Sequence[int], layer: int | str | None = None) -> list[Shape | None]:
        """(C, H, W) of the image and of every layer's output up to `layer`, for images of the given (C, H, W).

        None stands for layers that `layer` does not need or, if no `layer` is given, that cannot be run.

        Raises
        ------
        ShapeError
            If the channels differ from the network's, or a window does not fit; it names the layer.
        UnknownLayerError
            If there is no such layer.
        UnsupportedLayerError
            If a layer that cannot be run stands in the way of `layer`, or of the last.
        """
        top = len(self.layers) if layer is None else self.index(layer)
        self.check_runs(top)
        runs = range(1, top + 1) if layer is None else walks.under(self, [top], self.inputs)
        found = self._shapes(_image_shape(shape), [number for number in runs if self._blocked[number] is None])
        return [found.get(number) for number in range(top + 1)]

    def _shapes(self, shape: Shape, numbers: Iterable[int]) -> dict[int, Shape]:
        """The shapes of the image and of these layers, which must include all that they read."""
        if self._channels[0] not in (None, shape[0]):
            raise ShapeError(f"images of {plural(shape[0], 'channel')}, and the network takes {self._channels[0]}.")
        found = {0: shape}
        for number in numbers:
            with self._blame(number):
                found[number] = self.layers[number - 1].shape(*(found[i] for i in self.inputs[number - 1]))
        return found

    @public
    def batch_size(self, shape: Sequence[int], layer: int | str | Sequence[int | str] | None = None) -> int:
        """How many images of shape (C, H, W) to run at a time, up to one `layer` or up to several.

        With this number, some 6 million numbers are kept between two layers: the responses that layers above still have to
        read, which in a chain are those of one layer. An operator may need several times that memory while it runs.

        Examples
        --------
        >>> from decoding import Conv, Network
        >>> Network([Conv(np.zeros((20, 1, 5, 5)))]).batch_size((1, 28, 28))      # 20×24×24 numbers each
        500
        """
        several = layer if isinstance(layer, Sequence) and not isinstance(layer, str) else [layer]
        tops = [len(self.layers) if top is None else self.index(top) for top in several]
        return max(1, BATCH // self.alive(shape, tops))

    def alive(self, shape: Sequence[int], tops: Sequence[int]) -> int:
        """The most numbers that are kept between two layers on the way to `tops`, for one image of shape (C, H, W)."""
        for top in tops:
            self.check_runs(top)
        order = walks.under(self, tops, self.inputs)
        numbers = {n: math.prod(sides) for n, sides in self._shapes(_image_shape(shape), order).items()}
        last = {i: number for number in order for i in self.inputs[number - 1]}
        alive = most = numbers[0]
        for number in order:
            alive += numbers[number] - sum(numbers[i] for i in set(self.inputs[number - 1]) if last[i] == number)
            most = max(most, alive)
            alive -= 0 if number in last else numbers[number]  # read by none
        return most

    @cached_property
    def decodable(self) -> set[tuple[int, int]]:
        """Pairs (layer, lower layer) of which is known that the first can be decoded down to the second."""
        return set()

    @cached_property
    def ends(self) -> list[int]:
        """The numbers of the layers that run and that no other layer that runs reads."""
        runs = [number for number in range(1, len(self.layers) + 1) if self._blocked[number] is None]
        read = {i for number in runs for i in self.inputs[number - 1]}
        return [number for number in runs if number not in read]

    def as_images(self, images: npt.ArrayLike, function: str, *, raw: bool = False) -> Array:
        """The images as an array (N, C, H, W); if their axes or channels do not fit the network, an error that says what to do.

        Raises
        ------
        ShapeError
            If the axes or channels do not fit the network.
        InvalidValueError
            If they do not hold real numbers; or if they hold integers and the network has a mean or a deviation, unless `raw`.
        """
        refuse_pair(images, f"{function}: images")
        array = as_array(images, f"{function}: images")
        if array.ndim != 4:
            wanted = f"{function}: images must have the four axes (N, C, H, W), not the shape {array.shape}."
            raise ShapeError(f"{wanted}{self._axes_hint(array.shape)}")
        if 0 in array.shape[1:]:
            raise ShapeError(f"{function}: images have an empty axis: {array.shape}. Only the first, N, may be empty.")
        if self._channels[0] not in (None, array.shape[1]):
            raise ShapeError(
                f"{function}: images {array.shape} of {plural(array.shape[1], 'channel')}, and the network takes {self._channels[0]}."
                f"{self._axes_hint(array.shape)}"
            )
        if not raw and array.dtype.kind in "biu" and (self.mean is not None or self.std is not None):
            what = "mean" if self.mean is not None else "standard deviation"
            raise InvalidValueError(
                f"{function}: images are {array.dtype}, as they were measured, and the network was trained on normalized images "
                f"(it has a {what}): give net.normalize(images). Images that are normalized already must be floats."
            )
        return array

    def _axes_hint(self, shape: tuple[int, ...]) -> str:
        """How to bring images of this shape to the order of axes (N, C, H, W)."""
        channels = self._channels[0]
        if len(shape) == 4 and shape[3] == channels:
            return " The channels come before rows and columns: images.transpose(0, 3, 1, 2)."
        if len(shape) == 3 and channels in (1, None) and shape[0] != 1:
            return " Grey images (N, H, W) have one channel: images[:, np.newaxis]. For a single image (C, H, W), images[np.newaxis]."
        if len(shape) == 3 and shape[2] == channels and shape[0] != channels:
            return " For a single image (H, W, C), images.transpose(2, 0, 1)[np.newaxis]."
        if len(shape) == 3:
            return " For a single image (C, H, W), images[np.newaxis]."
        return " For a single grey image (H, W), images[np.newaxis, np.newaxis]." if len(shape) == 2 else ""

    @overload
    def normalize(self, images: FolderOfImages) -> FolderOfImages: ...
    @overload
    def normalize(self, images: npt.ArrayLike) -> Array: ...
    @public
    def normalize(self, images: Any) -> Any:
        """Subtract the mean the network was trained with, and divide by its standard deviation, if it has them.

        ``(images − mean) / std``.

        Parameters
        ----------
        images : array_like of shape (N, C, H, W), or what `images_in` returns
            In the units the network was trained on; for `lenet()`, grey levels 0 to 255.

        Returns
        -------
        ndarray of shape (N, C, H, W), or a sequence like the one given
            Floats; integer images become floats of the weights' precision. A network without mean and deviation changes nothing else.

        Raises
        ------
        ShapeError
            If the mean or the deviation does not fit the images.
        """
        if isinstance(images, FolderOfImages):
            return images.map(self.normalize)
        images = self.as_images(images, "normalize", raw=True)
        dtype = images.dtype if images.dtype.kind == "f" else self.dtype
        for what, array in (("mean image", self.mean), ("standard deviation", self.std)):
            if array is not None and (
                array.shape[0] != images.shape[1] or array.shape[1:] not in ((1, 1), images.shape[2:])
            ):
                raise ShapeError(f"normalize: images {images.shape} do not fit the {what} {array.shape}.")
        result = images.astype(dtype)
        if self.mean is not None:
            np.subtract(images, self.mean, out=result, dtype=dtype, casting="same_kind")
        if self.std is not None:
            np.divide(result, self.std, out=result, casting="same_kind")
        return result

    @public
    def per_pixel(self, filters: npt.ArrayLike) -> Array:
        """Decoded filters in the image's own units: divided by the standard deviation that `normalize` divides by.

        Decoded filters live in the space that `forward` takes, that of normalized images.

        Parameters
        ----------
        filters : array_like of shape (K, C, H, W) or (C, H, W)

        Returns
        -------
        ndarray of the same shape
            The filters themselves where the network has no deviation.

        Raises
        ------
        ShapeError
            If the channels are not the image's, or the deviation differs from pixel to pixel, since a decoded filter may stand anywhere.
        """
        array = as_array(filters, "per_pixel: filters")
        if array.ndim not in (3, 4) or array.shape[-3] != self.channels(0):
            raise ShapeError(
                f"per_pixel: filters {array.shape} must be (K, C, H, W) or (C, H, W), of {plural(self.channels(0), 'channel')}."
            )
        if self.std is None:
            return array
        if self.std.shape[1:] != (1, 1):
            raise ShapeError(
                f"per_pixel: the deviation {self.std.shape} differs from pixel to pixel, and a decoded filter has no fixed place in the image."
            )
        return np.asarray(array / self.std.astype(array.dtype if array.dtype.kind == "f" else self.std.dtype))

    @public
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
            How many images to run at a time. Memory holds the result and one batch; with `decoding.fast` and threadpoolctl,
            one batch for each thread. Unless given, what `Network.batch_size` finds.

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
        images, operators = self.as_images(images, "forward"), resolve(backend)
        shape = self._checked(images, [top])[top]
        step = self.batch_size(images.shape[1:], top) if batch_size is None else as_count(batch_size, "batch_size")

        def responses(start: int, stop: int) -> Array:
            x = deque(self.walk(images[start:stop], [top], backend=operators), maxlen=1).pop()[1]
            check_finite(x, f"responses of layer {top} to images from {start}, {x.dtype}")
            return x

        return gather(operators, responses, len(images), step, np.empty((0, *shape), self.dtype))

    @public
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
            ``[0]`` is the images, ``[l]`` the output of layer l, (N, K, H', W'); None for a layer that cannot be run and
            that `layer` does not need.

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

    @public
    def stream(self, images: npt.ArrayLike, layer: int | str | None = None, *, backend: Any = None) -> Iterator[Array]:
        """Responses of all layers, up to one, layer by layer: an iterator over what `activations` lists.

        For large images: memory holds only the responses that are still needed, not those of all layers.
        """
        top = len(self.layers) if layer is None else self.index(layer)
        self.check_runs(top)
        found = self.walk(images, [n for n in range(top + 1) if self._blocked[n] is None], backend=backend)

        def every() -> Iterator[Any]:
            done = 0
            for number, responses in found:
                yield from [None] * (number - done)
                done = number + 1
                yield responses

        return every()

    @public
    def walk(
        self, images: npt.ArrayLike, layers: Sequence[int | str], *, backend: Any = None
    ) -> Iterator[tuple[int, Array]]:
        """Responses of `layers` and of all layers that they need: an iterator over (number, responses), the image first.

        Responses are dropped as soon as the last layer that reads them has run.

        Raises
        ------
        ShapeError, InvalidValueError, UnknownLayerError
            As `forward`.
        """
        tops = [self.index(layer) for layer in as_sequence(layers, "layers", "numbers or names")]
        images, operators = self.as_images(images, "walk"), resolve(backend)
        self._checked(images, tops)
        dtype = precision(operators, images.dtype if images.dtype.kind == "f" else self.dtype)
        return walks.forward(self, images.astype(dtype, copy=False), tops, operators)

    @public
    def receptive_field(self, layer: int | str, *, within: int | str = 0) -> ReceptiveField:
        """What the units of `layer` see of the image, or of another layer: the union over all paths.

        ``size += (window - 1) · jump``, ``offset -= pad · jump``, ``jump *= stride``, from layer to layer; where branches
        meet, from the least offset to the last pixel.

        Parameters
        ----------
        layer : int or str
            Number (from 1) or name.
        within : int or str
            The layer whose cells are counted; the image unless given.

        Returns
        -------
        ReceptiveField
            (size, stride, offset), pairs (rows, columns) in pixels. A decoded filter has this size.

        Raises
        ------
        UnknownLayerError
            If there is no such layer, or no path leads from it down to the layer `within`.
        UnsupportedLayerError
            If a layer that is not supported stands in the way.

        Notes
        -----
        Paper: section 3, "the size of the input plus the size of the filter", less one: 5, 14, 28 and 28 for LeNet.

        Examples
        --------
        >>> from decoding import Conv, MaxPool, Network
        >>> lenet = [Conv(np.zeros((20, 1, 5, 5))), MaxPool(2), Conv(np.zeros((50, 20, 5, 5)))]
        >>> Network(lenet).receptive_field(3)
        ReceptiveField(size=(14, 14), stride=(2, 2), offset=(0, 0))
        >>> Network(lenet).receptive_field(3, within=2).size
        (5, 5)
        """
        top, base = self.index(layer), self.index(within)
        for number in walks.under(self, [top], self.paths, base):
            if isinstance(self.layers[number - 1], UnsupportedLayer):
                with self._blame(number):
                    self.layers[number - 1].check()
        found = self.fields_within(base)[top]
        if found is None:
            self._check_phases(top, base)
            raise UnknownLayerError(f"layer {top} {_quoted(self.names[top - 1])} sees nothing of layer {base}.")
        return found

    def fields_within(self, base: int) -> list[ReceptiveField | None]:
        """The receptive fields of all layers in cells of layer `base`, over all paths; None where they see nothing of it."""
        if base not in self._known_fields:
            self._known_fields[base] = self._fields(base)
        return self._known_fields[base]

    @cached_property
    def _known_fields(self) -> dict[int, list[ReceptiveField | None]]:
        return {}

    def _fields(self, base: int) -> list[ReceptiveField | None]:
        fields: list[ReceptiveField | None] = [None] * base + [ReceptiveField((1, 1), (1, 1), (0, 0))]
        mixed: set[int] = set()  # layers above one whose units see the image in different ways (`Layer.phases`)
        for number in range(base + 1, len(self.layers) + 1):
            layer, below = self.layers[number - 1], self.paths[number - 1]
            seen = [field for i in below if (field := fields[i]) is not None]
            if mixed.intersection(below) or (layer.phases and seen):
                mixed.add(number)
            if isinstance(layer, UnsupportedLayer) or not seen or number in mixed:
                fields.append(None)
                continue
            if len({field.stride for field in seen}) > 1:
                strides = listed([f"{crossed(f.stride)} (layer {i})" for i in below if (f := fields[i]) is not None])
                with self._blame(number):
                    raise ShapeError(
                        f"it joins layers whose units are not equally far apart in the image: strides of {strides}."
                    )
            size, stride, offset = [0, 0], seen[0].stride, [0, 0]
            for axis in (0, 1):
                first = min(field.offset[axis] for field in seen)
                size[axis] = max(field.offset[axis] + field.size[axis] for field in seen) - first
                size[axis] += (layer.size[axis] - 1) * stride[axis]
                offset[axis] = first - layer.pad[2 * axis] * stride[axis]
            jump = stride[0] * layer.stride[0], stride[1] * layer.stride[1]
            fields.append(ReceptiveField((size[0], size[1]), jump, (offset[0], offset[1])))
        return fields

    def grid(self, layer: int | str, shape: Sequence[int]) -> tuple[Pads, Pair]:
        """Where the units of `layer` look in images of shape (C, H, W).

        Returns
        -------
        pads : (top, bottom, left, right)
            Rows and columns of zeros that the image needs around it; negative where the first units leave some of the image out.
        size : (rows, columns)
            How many units there are: as many as windows of the receptive field's size, at its stride, fit in the padded
            image.

        Raises
        ------
        UnknownLayerError
            If there is no such layer.
        ShapeError
            If the images do not fit the network.
        """
        top = self.index(layer)
        shapes = self.shapes(shape, top)[top]
        assert shapes is not None
        size, stride, offset = self.receptive_field(layer)
        ends = [offset[axis] + (n - 1) * stride[axis] + size[axis] for axis, n in enumerate(shapes[1:])]
        after = [max(0, ends[axis] - shape[1 + axis]) for axis in (0, 1)]
        return (-offset[0], after[0], -offset[1], after[1]), shapes[1:]

    def describe(self) -> str:
        """A table: number, name, kind, output shape, filters, receptive field (size, stride, offset), parameters.

        Shapes are channels×rows×columns, or rows×columns. Output shapes are given if the size of the images is known, from
        `input_shape` or the mean. If the network is no chain, a column says which layers each reads; if layers have gains, a
        column gives their range.
        """
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        return "\n".join([*lines, *self._below()])

    def _repr_html_(self) -> str:
        """The table of `describe`, for a notebook."""
        head, *rows = self._cells()
        return notebook.table(head, rows, after=self._below())

    def _below(self) -> list[str]:
        """What follows the table of layers."""
        return [*self._normalization(), *self._remarks(), *(printable(note, 400) for note in self.notes)]

    def _cells(self) -> list[list[str]]:
        """The table of `describe`, its head first."""
        runs = [number for number in range(1, len(self.layers) + 1) if self._blocked[number] is None]
        shapes = {} if self.input_shape is None else self._shapes(self.input_shape, runs)
        rows = [
            {"layer": "layer", "name": "name", "kind": "kind", "reads": "reads", "output": "output", "filters": "filters",
             "field": "field", "stride": "stride", "offset": "offset", "gain": "gain", "curvature": "curvature",
             "parameters": "parameters"},
            {"layer": "0", "kind": "image", "output": self._output(0, shapes)},
        ]  # fmt: skip
        for number, layer in enumerate(self.layers, 1):
            row = {"layer": str(number), "name": printable(self.names[number - 1]), "kind": layer.kind}
            row |= {"reads": cut(self.inputs[number - 1], 4), "output": self._output(number, shapes)}
            row["filters"] = "" if layer.size == (1, 1) else crossed(layer.size)
            if isinstance(layer, Conv):
                row["filters"] = f"{len(layer.filters)} of {crossed(layer.filters.shape[1:])}"
            field = self.fields_within(0)[number]
            if field is not None and self._blocked[number] is None:
                row |= {"field": crossed(field.size), "stride": crossed(field.stride)}
                row["offset"] = f"{field.offset[0]},{field.offset[1]}"
            if "gain" in layer.fields():
                row |= {"gain": _range(layer.gain), "curvature": _range(layer.curvature)}
            row["parameters"] = str(layer.n_parameters or "")
            rows.append(row)
        optional = {"gain", "curvature"} | ({"reads"} if self.is_chain else set())
        columns = [c for c in rows[0] if c not in optional or (c != "reads" and any(row.get(c) for row in rows[1:]))]
        return [[row.get(column, "") for column in columns] for row in rows]

    def _normalization(self) -> Iterator[str]:
        """What `normalize` does, where it divides."""
        if self.std is not None:
            shown = [
                "0"
                if array is None
                else _range(array)
                if array.size > 16
                else listed([f"{n:.4g}" for n in array.ravel()])
                for array in (self.mean, self.std)
            ]
            yield f"normalize subtracts {shown[0]} and divides by {shown[1]}. Decoded filters are in the units of normalized images."

    def _output(self, number: int, shapes: dict[int, Shape]) -> str:
        return crossed(shapes[number]) if number in shapes else str(self._channels[number] or "")

    def _remarks(self) -> Iterator[str]:
        """For each layer that does not run, a line that says why."""
        for number, layer in enumerate(self.layers, 1):
            try:
                with self._blame(number):
                    layer.check()
            except DecodingError as error:
                yield str(error)

    def __str__(self) -> str:
        return self.describe()

    def __repr__(self) -> str:
        return f"<Network of {plural(len(self.layers), 'layer')}: {cut([printable(name) for name in self.names])}>"

    def _checked(self, images: Array, tops: Sequence[int]) -> dict[int, Shape]:
        """The shapes of all that `tops` need; refuses images that do not fit, and images or weights that are not finite."""
        order = walks.under(self, tops, self.inputs)
        for top in tops:
            self.check_runs(top)
        shapes = self._shapes(_image_shape(images.shape[1:]), order)
        for number in order:
            with self._blame(number):
                self.layers[number - 1].check()
        check_finite(images, "images")
        return shapes

    def check_weights(self, layer: int | str, above: int | str = 0) -> None:
        """Refuse weights that are not finite, and layers that cannot be decoded, on the paths from `layer` down to `above`.

        Raises
        ------
        InvalidValueError, UnsupportedLayerError
            It names the layer and says where.
        """
        top, bottom = self.index(layer), self.index(above)
        seen = self.fields_within(bottom)
        self._check_phases(top, bottom)
        for number in walks.under(self, [top], self.paths, bottom):
            found = self.layers[number - 1]
            if seen[number] is not None or isinstance(found, UnsupportedLayer):
                with self._blame(number):
                    found.check_decoding()
                    found.check_widths(*self.widths(self.inputs[number - 1]))

    def _check_phases(self, top: int, base: int) -> None:
        """Refuse to decode through a layer above which units see the image in different ways (`Layer.phases`)."""
        for number in walks.under(self, [top], self.paths, base):
            layer = self.layers[number - 1]
            if layer.phases and any(self.fields_within(base)[i] is not None for i in self.paths[number - 1]):
                with self._blame(number):
                    layer.check_decoding()

    def check_runs(self, layer: int | str) -> None:
        """Refuse a layer that needs one that is not supported."""
        number = self.blocked(layer)
        if number is not None:
            with self._blame(number):
                self.layers[number - 1].check()

    @contextmanager
    def _blame(self, number: int) -> Iterator[None]:
        """Says in an error which layer it came from; running out of memory, or a backend without an operator, becomes one."""
        try:
            yield
        except DecodingError as error:
            said = error.args[0] if error.args and isinstance(error.args[0], str) else error
            said = f"{said}{self._advice(number)}"
            error.args = (f"{self._where(number)}: {said}", *error.args[1:])
            error.function = None  # so far an operator's name; the public function will put in its own
            if (where := self._where(number)) not in str(error):  # an error class with a `__str__` of its own
                vars(error).setdefault("__notes__", []).append(where)
            raise
        except AttributeError as error:
            if not lacks_operator(error):
                raise
            raise InvalidValueError(
                f"{self._where(number)}: the backend has no {error.name}: {described(error.obj)}."
            ) from None
        except MemoryError as error:
            raise InvalidValueError(f"{self._where(number)}: there is not enough memory for it: {error}") from error

    def _advice(self, number: int) -> str:
        """If the first layers are not supported and all others need them: how to run and decode those others."""
        top = next((k for k, layer in enumerate(self.layers) if not isinstance(layer, UnsupportedLayer)), 0)
        if number > top or min((i for below in self.inputs[top:] for i in below), default=0) < top:
            return ""
        inputs = "" if self.is_chain else f", inputs=[[i - {top} for i in below] for below in net.inputs[{top}:]]"
        return f" What lies above layer {top} can, as a network of its own: Network(net.layers[{top}:]{inputs})."

    def _where(self, number: int) -> str:
        return f"layer {number} {_quoted(self.names[number - 1])} ({self.layers[number - 1].kind})"


def as_network(net: Any, function: str) -> Network:
    """The network, if it is one; otherwise an error that says how to get one."""
    if isinstance(net, Network):
        return net
    hint = ""
    if isinstance(net, (str, bytes)) or hasattr(net, "__fspath__"):
        hint = " A file is read by decoding.load(path)."
    elif isinstance(net, (list, tuple)):
        hint = " Layers make one: decoding.Network(layers)."
    elif hasattr(net, "state_dict"):
        hint = " It is a torch module: decoding.from_torch(module, input_shape) reads it."
    kind = type(net)
    what = (
        described(net)
        if net is None or isinstance(net, (str, bytes, int, float))
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    raise InvalidValueError(f"{function}: net must be a decoding.Network, not {what.removeprefix('builtins.')}.{hint}")


def _make(fields: dict[str, Any]) -> Network:
    return Network(**fields)


def _layers(layers: Any) -> tuple[Layer, ...]:
    if isinstance(layers, Network):
        raise InvalidValueError("Network: layers must be a sequence of layers, not Network.")
    found = tuple(as_sequence(layers, "Network: layers", "layers"))
    for number, layer in enumerate(found, 1):
        if not isinstance(layer, Layer):
            raise InvalidValueError(f"Network: layer {number} is not a layer but {type(layer).__name__}.")
    if not found:
        raise ShapeError("Network: there are no layers.")
    return found


def _texts(values: Any, what: str) -> tuple[str, ...]:
    """A sequence of texts; numbers, as classes often are, become texts."""
    found = as_sequence(values, f"Network: {what}", "names")
    for name in found:
        if not isinstance(name, (str, int, np.integer)) or isinstance(name, bool):
            raise InvalidValueError(f"Network: {what} must be texts, and one is {described(name)}.")
    return tuple(map(str, found))


def _statistic(value: npt.ArrayLike, what: str) -> Array:
    array = as_array(value, f"Network: {what}")
    if array.ndim == 1:
        array = array[:, np.newaxis, np.newaxis]
    if array.ndim != 3 or not array.size:
        raise ShapeError(f"Network: {what} must be (C, H, W), (C, 1, 1) or (C,), not {array.shape}.")
    check_finite(array, what)
    array = np.array(array, array.dtype if array.dtype.kind == "f" else np.float64)
    array.setflags(write=False)
    return array


def _image_shape(shape: Sequence[int]) -> Shape:
    sides = list(shape) if has_axes(shape) and len(shape) == 3 else []
    if len(sides) != 3 or not all(isinstance(n, (int, np.integer)) and 0 < n <= LARGEST for n in sides):
        raise ShapeError(f"images must have the shape (C, H, W), each at least 1, not {described(shape)}.")
    return int(shape[0]), int(shape[1]), int(shape[2])


def _quoted(name: str) -> str:
    return f"'{printable(name)}'"


def _range(factor: Any) -> str:
    """The least and the greatest of a layer's gains."""
    if factor is None:
        return ""
    least, most = (f"{end(factor):.3g}" for end in (np.min, np.max))
    return least if least == most else f"{least} to {most}"
