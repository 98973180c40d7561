"""What every layer is: how it maps responses up (`forward`) and back down (`decode`), and the gain that it decodes with.

A layer knows nothing of where branches meet, of pads on the way down, or of gains. All three are the same for every layer,
so the walks through the network (`decoding.walks`) take care of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..arguments import (
    Array,
    Pads,
    Pair,
    as_array,
    check_finite,
    crossed,
    cut,
    described,
    listed,
    plural,
    printable,
)
from ..errors import InvalidValueError, ShapeError, UnsupportedLayerError

Shape = tuple[int, int, int]  # (C, H, W)
L = TypeVar("L", bound="Layer")


class _Closing(type):
    """Freezes a layer when its constructor has returned; until then its attributes can be set."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        layer = super().__call__(*args, **options)
        vars(layer)["_closed"] = True
        return layer


class Layer(metaclass=_Closing):
    """The base of all layers: it changes neither size nor channels, and decodes as the identity times its gain.

    To write a layer of your own, inherit from this class and write the methods that differ: `forward`, and where that is not
    the identity, `linear` and `decode`. With `decode_bank` as well, whole layers can be decoded from the image up. `decode` must
    be written for a layer that has a window or a stride, reads several layers, or changes the number of channels. An
    activation inherits from `Elementwise` instead. The constructor sets each of its arguments as an attribute of the same
    name, and may hand others on as ``**options``; `fields`, `replace`, printing, comparing and pickling then work by
    themselves. Once constructed, a layer cannot be changed. Its arrays are read-only copies of those that were given.

    Parameters
    ----------
    gain : float or array_like of shape (K,), optional
        What decoding multiplies each channel by; 1 unless given. The forward pass ignores it.
    curvature : float or array_like of shape (K,), optional
        The weight of the layer's quadratic part, used by the second order (see `decoding.quadratize`); 0 unless given.
    name : str, optional

    Attributes
    ----------
    size, stride : (rows, columns)
        The window, and the step between windows.
    pad : (top, bottom, left, right)
    in_channels : int or None
        Channels of the maps below; None where any number will do.
    joins : bool
        Whether it may read several layers.
    follows : int or None
        How many of the layers that it reads are followed by decoding, counted from the first; None for all of them.
    needs_gain : bool
        Whether it cannot be decoded without a gain.
    phases : bool
        Whether units of one channel above it see the image in different ways, depending on their place, so that no one
        filter describes the channel.
    """

    name: str | None = None
    gain: Any = None
    curvature: Any = None
    size: Pair = (1, 1)
    stride: Pair = (1, 1)
    pad: Pads = (0, 0, 0, 0)
    in_channels: int | None = None
    joins: bool = False
    follows: int | None = None
    needs_gain: bool = False
    phases: bool = False

    def __init__(self, *, gain: Any = None, curvature: Any = None, name: str | None = None) -> None:
        self._set(gain=_factor(gain, f"{self.kind}: gain"), curvature=_factor(curvature, f"{self.kind}: curvature"))
        self._set(name=name)

    def _set(self, **fields: Any) -> None:
        name = fields.get("name")
        if name is not None and not isinstance(name, str):
            raise InvalidValueError(f"{self.kind}: name must be a text, not {described(name)}.")
        vars(self).update(fields)

    def __setattr__(self, key: str, value: Any) -> None:
        if "_closed" in vars(self):
            raise AttributeError(f"a layer cannot be changed; make another with replace({key}=…)")
        if isinstance(value, np.ndarray):
            value = value.copy()
            value.setflags(write=False)
        super().__setattr__(key, value)

    def __delattr__(self, key: str) -> None:
        raise AttributeError(f"a layer cannot be changed; make another with replace({key}=…)")

    @classmethod
    @cache
    def _parameters(cls) -> tuple[str, ...]:
        """The names of the constructor's arguments, and of those it hands on to the class it inherits from."""
        names: list[str] = []
        for kind in cls.__mro__:
            if "__init__" not in vars(kind):
                continue
            _, *parameters = inspect.signature(vars(kind)["__init__"]).parameters.values()
            named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
            names += [p.name for p in named if p.name not in names]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return tuple(names)

    def fields(self) -> dict[str, Any]:
        """The arguments that make this layer again, by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def replace(self: L, **changed: Any) -> L:
        """The same layer with other values for some arguments of its constructor.

        Examples
        --------
        >>> from decoding import ReLU
        >>> ReLU(leak=0.5).replace(gain=0.75)
        ReLU(leak=0.5, gain=0.75)
        """
        unknown = [name for name in changed if name not in self._parameters()]
        if unknown:
            known = ", ".join(self._parameters())
            raise InvalidValueError(
                f"{self.kind}.replace: there is no argument {', '.join(unknown)}; there are {known}."
            )
        return type(self)(**{**self.fields(), **changed})

    def unpadded(self: L) -> L:
        """The same layer without pads, for windows that lie inside; it shares its weights."""
        if not any(self.pad):
            return self
        other = object.__new__(type(self))
        vars(other).update(vars(self), pad=(0, 0, 0, 0))
        return other

    def __reduce__(self) -> Any:
        return _make, (type(self), self.fields())

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(map(_same, self.fields().values(), other.fields().values()))

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        shown = (
            f"{name}={value.shape if isinstance(value, np.ndarray) else _short(value)}"
            for name, value in self.fields().items()
            if value is not None
        )
        return f"{self.kind}({', '.join(shown)})"

    @property
    def kind(self) -> str:
        """What the layer is called in tables: the name of its class."""
        return type(self).__name__

    @property
    def weights(self) -> dict[str, Array]:
        """The arrays that came from training, by name."""
        return {}

    @property
    def n_parameters(self) -> int:
        """Numbers learned in training."""
        return sum(array.size for array in self.weights.values())

    def decodes_bottom_up(self, unpool: str) -> bool:
        """Whether `decode_bank` does what `decode` does; a class that overrides `decode` alone has made the two differ."""
        last = next(kind for kind in type(self).__mro__ if {"decode", "decode_bank"} & vars(kind).keys())
        return "decode_bank" in vars(last)

    @cached_property
    def _checked(self) -> bool:
        for what, array in self.weights.items():
            check_finite(array, what)
        return True

    def check(self) -> None:
        """Refuse weights that are not finite."""
        self._checked  # noqa: B018  # read-only arrays need to be checked only once

    def check_decoding(self) -> None:
        """Refuse a layer that can be run, but not decoded."""
        self.check()
        if self.needs_gain and self.gain is None:
            measured = "linearize the network with images, or take " if callable(getattr(self, "factor", None)) else ""
            raise UnsupportedLayerError(
                "it has no decoding of its own: what it multiplies by depends on the image. Give it a gain: "
                f"{measured}replace(gain=1)."
            )
        self._check_identity()

    def _check_identity(self) -> None:
        """Refuse a class that has a window or a stride, or reads several layers, but inherits `Layer.decode`."""
        if type(self).decode is not Layer.decode:
            return
        changes = [f"{what} {crossed(pair)}" for what in ("size", "stride") if (pair := getattr(self, what)) != (1, 1)]
        changes += ["joins"] if self.joins and self.follows != 1 else []
        changes += ["decode_bank"] if type(self).decode_bank is not Layer.decode_bank else []
        if changes:
            raise UnsupportedLayerError(f"it sets {listed(changes)}, and has no decode of its own. {self._wanted}")

    @property
    def _wanted(self) -> str:
        return (
            "The one that it inherits passes each response on unchanged, to a single layer with the same number of channels: "
            "write decode(self, maps, widths, unpool, backend)."
        )

    def check_widths(self, *widths: int | None) -> None:
        """Refuse a class that changes the number of channels, but inherits `Layer.decode`."""
        if type(self).decode is Layer.decode and widths[0] is not None and self.channels(*widths) != widths[0]:
            raise UnsupportedLayerError(
                f"it makes {plural(self.channels(*widths) or 0, 'channel')} of {widths[0]}, and has no decode of its own. {self._wanted}"
            )

    @property
    def is_overlooked(self) -> bool:
        """Whether decoding takes it for the identity times its gain, although only `forward` says what it does."""
        own = [getattr(type(self), what) is not getattr(Layer, what) for what in ("decode", "linear")]
        return type(self).forward is not Layer.forward and not any(own) and not self.phases

    def channels(self, *widths: int | None) -> int | None:
        """The number of channels of the output, given those of the inputs; None where nothing below determines it."""
        return widths[0]

    def shape(self, *shapes: Shape) -> Shape:
        """(C, H, W) of the output for an input of (C, H, W): ``(in + pads - size) // stride + 1``."""
        _, height, width = shapes[0]
        top, bottom, left, right = self.pad
        padded = height + top + bottom, width + left + right
        if padded[0] < self.size[0] or padded[1] < self.size[1]:
            raise ShapeError(
                f"its window of {self.size[0]}×{self.size[1]} does not fit in a (padded) map of {padded[0]}×{padded[1]}. Give larger images."
            )
        channels = self.channels(*(shape[0] for shape in shapes))
        assert channels is not None
        return (
            channels,
            (padded[0] - self.size[0]) // self.stride[0] + 1,
            (padded[1] - self.size[1]) // self.stride[1] + 1,
        )

    def forward(self, *xs: Array, backend: Any) -> Any:
        """Responses of this layer to the responses of the layers that it reads, each (N, C, H, W)."""
        return xs[0]

    def linear(self, *xs: Array, backend: Any) -> Any:
        """The linear map whose transpose is `decode`: `forward` without constants, before the gain."""
        return xs[0]

    def decode(self, maps: Array, widths: Sequence[int], unpool: str, backend: Any) -> Sequence[Any]:
        """Carry responses of this layer, (N, K, H, W), down to the layers below: one array for each that decoding follows.

        `widths` are the numbers of channels of those layers.
        """
        return (maps,)

    def decode_bank(self, *banks: Array, jump: Pair, backend: Any) -> Any:
        """The decoded filters of this layer, (K, C0, H, W), from those of the layers below, all brought to one place and size.

        `jump` is the product of the strides below: the step in the image from one unit of the layers below to the next.
        """
        return banks[0]


def kept(array: Array) -> Array:
    """A read-only copy, of floats."""
    array = np.array(array, array.dtype if array.dtype.kind == "f" else np.float64, order="C")
    array.setflags(write=False)
    return array


def _factor(value: npt.ArrayLike | None, what: str) -> Any:
    """None, a finite number, or a read-only array of one for each channel."""
    if value is None:
        return None
    array = as_array(value, what)
    if array.ndim > 1 or not array.size:
        raise ShapeError(f"{what} must be a number, or have the shape (K,), one value per channel, not {array.shape}.")
    check_finite(array, what)
    if array.dtype.kind == "b":
        raise InvalidValueError(f"{what} must be numbers, not {array.dtype}.")
    return kept(array) if array.ndim else float(array)


def check_factors(layer: Layer, channels: int | None) -> None:
    """Refuse a gain or a curvature whose number of values is not the number of channels."""
    for what in ("gain", "curvature"):
        size = np.size(getattr(layer, what))
        if channels is not None and np.ndim(getattr(layer, what)) and size != channels:
            raise ShapeError(f"its {what} has {plural(size, 'value')}, and there are {plural(channels, 'channel')}.")


def _short(value: Any) -> str:
    """A value as it is printed: texts from files on one line, long lists cut."""
    if isinstance(value, str):
        return f"'{printable(value)}'"
    return f"[{cut(value)}]" if isinstance(value, list) and len(value) > 12 else repr(value)


def _make(kind: type[L], fields: dict[str, Any]) -> L:
    return kind(**fields)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype
        return both and np.array_equal(a, b, equal_nan=True)
    return bool(a == b)
