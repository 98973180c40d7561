"""Checks of arguments, and conversions from their short forms, that all modules share."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import InvalidValueError, ShapeError

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[int, int, int, int]

# Two sums of some thousand terms that should be equal differ by at most this much, in units of the last place.
ROUNDINGS = 64
LARGEST = 2**40  # the largest count or size that is accepted


def as_pair(value: Any, what: str) -> Pair:
    """(rows, columns), both at least 1, from one int or two."""
    rows, columns = _integers(value, what, 2, "(rows, columns)")
    if min(rows, columns) < 1:
        raise ShapeError(f"{what} must be at least 1, and is {described(value)}.")
    return rows, columns


def as_pads(value: Any, what: str = "pad") -> Pads:
    """(top, bottom, left, right), none negative, from one int or four."""
    top, bottom, left, right = _integers(value, what, 4, "(top, bottom, left, right)")
    if min(top, bottom, left, right) < 0:
        raise ShapeError(f"{what} must not be negative, and is {described(value)}.")
    return top, bottom, left, right


def as_count(value: Any, what: str) -> int:
    """An integer that is at least 1, and not absurdly large (`LARGEST`)."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= LARGEST:
        raise InvalidValueError(f"{what} must be an integer, at least 1, not {described(value)}.")
    return int(value)


def as_number(value: Any, what: str, wanted: str, least: float = -math.inf) -> float:
    """A finite number, at least `least`; `wanted` says in the message what was expected."""
    most = sys.float_info.max
    if not isinstance(value, (int, float, np.integer, np.floating)) or not max(least, -most) <= value <= most:
        raise InvalidValueError(f"{what} must be {wanted}, not {described(value)}.")
    return float(value)


def as_choice(value: Any, choices: Sequence[str | None], what: str) -> Any:
    """The value, if it is one of the choices."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        raise InvalidValueError(f"{what} must be {' or '.join(map(repr, choices))}, not {described(value)}.")
    return value


def as_sequence(value: Any, what: str, wanted: str) -> list[Any]:
    """The items of a sequence, which a text is not; `wanted` says in the message what the items should be."""
    try:
        if isinstance(value, (str, bytes, dict)):
            raise TypeError
        return list(value)
    except TypeError:
        raise InvalidValueError(f"{what} must be a sequence of {wanted}, not {described(value)}.") from None


def _integers(value: Any, what: str, count: int, several: str) -> list[int]:
    try:
        several_given = isinstance(value, (tuple, list)) or np.ndim(value) == 1
        numbers = [operator.index(v) for v in (value if several_given else [value])]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, count) or max(numbers) > LARGEST:
        raise ShapeError(f"{what} must be one integer, or {several}; it is {described(value)}.")
    return numbers * (count // len(numbers))


def as_array(value: Any, what: str) -> Array:
    """The value as an array of real numbers, in its own precision and the machine's byte order; if it is none, an error that names `what`."""
    _refuse_masked(value, what)
    try:
        array = np.asarray([np.asarray(v) for v in value] if _are_pictures(value) else value)
    except MemoryError:
        raise
    except ValueError as error:
        raise ShapeError(
            f"{what} is ragged, its items differ in shape: {str(error).rstrip('. ')}. It must be one array.{_picture_hint(value)}"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidValueError(
            f"{what}: {described(value)} cannot be made into an array: {reason}{_tensor_hint(value)}"
        ) from None
    if array.dtype.kind not in "buif":
        found = described(value) if array.dtype.kind == "O" and not array.ndim else str(array.dtype)
        if array.dtype.kind == "O" and array.size and array.ndim:
            found = f"objects such as {described(array.flat[0])}"
        raise InvalidValueError(f"{what} must hold real numbers, not {found}.{_tensor_hint(value)}")
    native = array.dtype.newbyteorder("=")  # files may have the other order, which few backends can read
    return array.astype(native, copy=False)


def _refuse_masked(value: Any, what: str) -> None:
    """Refuse arrays with masked values, also in lists: the mask would be lost, and the values below it would be used."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise InvalidValueError(
                f"{what} has masked values, {int(np.ma.getmaskarray(value).sum())} of {value.size}: fill them, x.filled(0), "
                "or leave them out."
            )
    elif isinstance(value, (list, tuple)) and value and not isinstance(value[0], (int, float)):
        for item in value:
            _refuse_masked(item, what)


def _tensor_hint(value: Any) -> str:
    """How to make an array of a tensor or a sparse matrix, as the end of a message; empty for everything else."""
    value = value[0] if isinstance(value, (list, tuple)) and value else value
    if hasattr(value, "requires_grad"):
        if getattr(value, "is_meta", False):
            return " It has no values: it lies on the device 'meta'."
        steps = ".detach()" if value.requires_grad else ""
        steps += ".to_dense()" if str(getattr(value, "layout", "torch.strided")) != "torch.strided" else ""
        steps += ".float()" if str(value.dtype) not in ("torch.float32", "torch.float64", "torch.float16") else ""
        return f" Give x{steps}.cpu().numpy()."
    if hasattr(value, "toarray"):
        return " It is sparse: give x.toarray()."
    return ""


def _are_pictures(value: Any) -> bool:
    """Whether it is a list of Pillow's images, from which NumPy before 1.25 cannot make an array."""
    return isinstance(value, (list, tuple)) and bool(value) and all(hasattr(item, "getbands") for item in value)


def _picture_hint(value: Any) -> str:
    """How to bring Pillow's pictures to one mode and size, as the end of a message; empty for everything else."""
    pictures = isinstance(value, (list, tuple)) and value and hasattr(value[0], "getbands")
    return " First bring all pictures to one mode and size: picture.convert('L').resize((W, H))." if pictures else ""


def refuse_pair(value: Any, what: str) -> None:
    """Refuse what looks like a pair of images and labels, as loaders and `mnist` return them."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        axes = [len(shape) if isinstance(shape := getattr(item, "shape", None), tuple) else -1 for item in value]
        if axes[0] >= 3 and axes[1] in (0, 1):
            raise ShapeError(
                f"{what}: this seems to be a pair of images and labels. Give the images alone: pair[0]; from a loader's batches, "
                "(images for images, labels in batches)."
            )


def has_axes(value: Any) -> bool:
    """Whether it is an array, or a list that may be one."""
    return isinstance(value, (list, tuple)) or bool(getattr(value, "shape", ()))


def described(value: Any, most: int = 80) -> str:
    """A value in a few words, for messages: an array by its shape, a long text cut."""
    kind = type(value)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        dtype = str(getattr(value, "dtype", ""))
        return f"{'an array' if kind is np.ndarray else kind.__name__} {tuple(shape)}{f' of {dtype}' if dtype else ''}"
    if isinstance(value, ModuleType):  # its repr would show a path
        return f"the module {value.__name__}"
    if isinstance(value, (list, tuple)) and len(value) > 4:
        return f"a {kind.__name__} of {len(value)}"
    try:
        text = repr(value)
    except Exception:
        return f"an object of {kind.__name__}"
    return printable(text, most) if len(text) <= most or isinstance(value, (str, bytes)) else kind.__name__


def as_array4(value: Any, function: str, what: str, axes: str) -> Array:
    """The value as an array of real numbers with four axes; otherwise an error that names `function` and `what`."""
    array = as_array(value, f"{function}: {what}")
    if array.ndim != 4:
        hint = " For a single one, write x[np.newaxis]." if array.ndim == 3 else ""
        if array.ndim == 3 and axes[1] == "N":
            hint = " For a single one, write x[np.newaxis]; for several of one channel, x[:, np.newaxis]."
        raise ShapeError(f"{function}: {what} must have the four axes {axes}, not the shape {array.shape}.{hint}")
    if 0 in array.shape[1:]:
        raise ShapeError(
            f"{function}: {what} has an empty axis: {array.shape}. Only the first, {axes[1]}, may be empty."
        )
    return array


def correlate_arguments(
    x: Any, filters: Any, bias: Any, stride: Any, pad: Any, groups: Any
) -> tuple[Array, Array, Array | None, Pair, Pads]:
    """The arguments of `correlate` as arrays and tuples, checked against each other."""
    x = as_array4(x, "correlate", "x", "(N, C, H, W)")
    filters = as_array4(filters, "correlate", "filters", "(K, C, h, w)")
    _check_groups("correlate", filters, groups)
    if x.shape[1] != filters.shape[1] * groups:
        several = "" if groups == 1 else f" in {groups} groups"
        raise ShapeError(
            f"correlate: x has {plural(x.shape[1], 'channel')} but the filters want {filters.shape[1] * groups}: x {x.shape}, filters {filters.shape}{several}. "
            "Maps are (N, C, H, W) and filters (K, C / groups, h, w), with the same C."
        )
    pads, steps = as_pads(pad, "correlate: pad"), as_pair(stride, "correlate: stride")
    _check_window("correlate", x, filters.shape[2:], pads)
    if bias is not None:
        bias = as_array(bias, "correlate: bias")
        if bias.shape != (len(filters),):
            raise ShapeError(
                f"correlate: bias {bias.shape} for {plural(len(filters), 'filter')}: it must have the shape ({len(filters)},)."
            )
    return x, filters, bias, steps, pads


def pool_arguments(function: str, x: Any, size: Any, stride: Any, pad: Any) -> tuple[Array, Pair, Pair, Pads]:
    """The arguments of `max_pool` and `avg_pool` as an array and tuples, checked against each other."""
    x = as_array4(x, function, "x", "(N, C, H, W)")
    window, steps, pads = as_pool(function, size, stride, pad)
    _check_window(function, x, window, pads)
    return x, window, steps, pads


def as_pool(what: str, size: Any, stride: Any, pad: Any) -> tuple[Pair, Pair, Pads]:
    """The window, step and pads of a pool. The step is the window unless given; no window may lie wholly in the pads."""
    window = as_pair(size, f"{what}: size")
    steps = window if stride is None else as_pair(stride, f"{what}: stride")
    pads = as_pads(pad, f"{what}: pad")
    if max(pads[:2]) >= window[0] or max(pads[2:]) >= window[1]:
        raise ShapeError(
            f"{what}: pad {pads} must be less than the window, {window[0]}×{window[1]}, or a window could be empty."
        )
    return window, steps, pads


def substitute_arguments(maps: Any, filters: Any, stride: Any, groups: Any) -> tuple[Array, Array, Pair]:
    """The arguments of `substitute` as arrays and a pair, checked against each other."""
    maps = as_array4(maps, "substitute", "maps", "(N, C, H, W)")
    filters = as_array4(filters, "substitute", "filters", "(K, C, h, w)")
    _check_groups("substitute", filters, groups)
    if maps.shape[1] != filters.shape[0]:
        raise ShapeError(
            f"substitute: {plural(maps.shape[1], 'map')} for {plural(filters.shape[0], 'filter')}: maps {maps.shape}, "
            f"filters {filters.shape}. Each filter takes the place of the responses of its own map."
        )
    return maps, filters, as_pair(stride, "substitute: stride")


def _check_groups(function: str, filters: Array, groups: Any) -> None:
    if as_count(groups, f"{function}: groups") > 1 and len(filters) % groups:
        raise ShapeError(
            f"{function}: {plural(len(filters), 'filter')} cannot be split into {groups} groups: filters {filters.shape}."
        )


def unpool_arguments(maps: Any, size: Any, stride: Any) -> tuple[Array, Pair, Pair]:
    """The arguments of `unpool` as an array and pairs."""
    maps = as_array4(maps, "unpool", "maps", "(N, C, H, W)")
    window = as_pair(size, "unpool: size")
    return maps, window, window if stride is None else as_pair(stride, "unpool: stride")


def _check_window(function: str, x: Array, size: Any, pads: Pads) -> None:
    rows, columns = x.shape[2] + pads[0] + pads[1], x.shape[3] + pads[2] + pads[3]
    if rows < size[0] or columns < size[1]:
        raise ShapeError(
            f"{function}: a window of {size[0]}×{size[1]} does not fit in a (padded) map of {rows}×{columns}. "
            "Give a larger map, or more padding."
        )


def check_finite(array: Array, what: str) -> None:
    """Refuse NaN and infinity, saying how many there are and where the first is."""
    # If the sum is finite, so is every entry. If it is not, it may only have overflowed: then look at each entry.
    if array.dtype.kind != "f":
        return
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):
            return
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), array.shape))
        raise InvalidValueError(
            f"{what}: {int(bad.sum())} of {array.size} values are not finite; the first, {array[first]}, is at {first}."
        )


def is_constant(least: Any, most: Any, eps: float) -> Any:
    """Whether values from `least` to `most` differ by rounding alone; `eps` is the unit roundoff of their precision."""
    return most - least <= ROUNDINGS * eps * np.maximum(np.abs(least), np.abs(most))


def scaled_down(array: Array, axis: Any) -> Array:
    """The array divided by powers of two, so that no magnitude along `axis` is above 1.

    Dividing by a power of two rounds nothing, except numbers so small that they do not matter. Afterwards no square
    overflows, and no square that matters underflows.
    """
    largest = np.abs(array).max(axis=axis, keepdims=True)
    return np.asarray(np.ldexp(array, -np.frexp(largest)[1]))


def crossed(numbers: Sequence[int]) -> str:
    """Sizes as they are printed: ``3×5×5``."""
    return "×".join(map(str, numbers))


def listed(values: Sequence[Any]) -> str:
    """Values as they are printed in a sentence: ``3, 4 and 5``."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``1 channel``, ``3 channels``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def brief(result: Any, fields: Any) -> str:
    """How a result prints: small arrays as they are, larger ones by their shape."""

    def shown(value: Any) -> str:
        if isinstance(value, np.ndarray) and (value.size > 12 or value.ndim > 2):
            return f"<{value.dtype} {value.shape}>"
        text = repr(value)
        return text if len(text) <= 160 else f"{text[:160]}…"

    return f"{type(result).__name__}({', '.join(f'{name}={shown(getattr(result, name))}' for name in fields)})"


def cut(values: Any, most: int = 12) -> str:
    """The first values, and how many more there are."""
    shown = ", ".join(map(str, values[:most]))
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown


def printable(text: str, most: int = 40) -> str:
    """A text from a file, made safe to print: on one line, unprintable characters escaped, cut after `most` characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:most])
    return shown + "…" * (len(text) > most)
