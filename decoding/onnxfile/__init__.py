"""ONNX files, read as networks. Only the modules of this package know ONNX.

A file may come from a stranger. Its messages are counted before protobuf parses them, and tensors are compared with the bytes
that are there before they are read (`wire`). Constants that the file computes are computed by one-line functions, whose results
are bounded beforehand (`folding`). `graph` goes through the nodes, and `names` finds their names. `operators` says what each
operator on maps becomes, `quantized` and `runtime` do so for quantized operators and for those of onnxruntime. All of them call
`..builder`, which adds the layers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..boundary import public
from ..builder import for_channels
from ..errors import DecodingError, InvalidValueError, WeightsFormatError
from ..files import File, folder_of, reading, shown
from ..network import Network
from .graph import Reader, WrongArgument
from .wire import MOST_FILE, Store, parsed

__all__ = ["load_onnx"]


@public
def load_onnx(
    path: File,
    *,
    input_shape: Sequence[int] | None = None,
    mean: npt.ArrayLike | None = None,
    std: npt.ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    dtype: npt.DTypeLike | None = None,
    image: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Network:
    """Read a network from an ONNX file.

    Parameters
    ----------
    path : path or open file
        An ``.onnx`` file. Weights in a second file beside it are read from there; that needs a path, or an open file with a name.
    input_shape : (C, H, W), optional
        The size of the images, in this order even if the file has the channels last. It is needed if the file leaves the size open.
    mean, std : float, or array_like of shape (C,), (C, 1, 1) or (C, H, W), optional
        The mean and deviation by which images were normalized, in the units of the images given to `normalize`. No file says them.
    classes : sequence of str, optional
        What the channels of the last layer stand for.
    dtype : float32 or float64, optional
        The precision to keep the weights in; unless given, that of the file (float16 becomes float32).
    image : str, optional
        Which of several inputs is the image.
    progress : callable, optional
        Called with the number of nodes read so far, and the number of all.

    Returns
    -------
    Network
        Its layers have the names that PyTorch's feature extractors use, if the file tells them (``layer4.1.conv2``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    WeightsFormatError
        If the file is damaged, or is no ONNX file; the message says what it seems to be, and what to do. Also if it needs
        `input_shape`.
    ShapeError
        If `mean` or `std` does not fit the images.
    InvalidValueError
        If onnx is not installed, or `dtype` is no floating-point type.

    See Also
    --------
    from_torch : For a module in memory, which keeps its batch norms.
    load : For a file of any format.

    Notes
    -----
    Our choice: an operator that is not known becomes an unsupported layer under its own name, and only what depends on it cannot
    be run. Nothing in a file is executed, and no file is opened except this one and regular files beside it that it names.
    """
    try:
        precision = None if dtype is None else np.dtype(dtype)
    except TypeError:
        precision = np.dtype(object)
    if precision is not None and precision.kind != "f":
        raise InvalidValueError(f"load_onnx: dtype must be a floating-point type, not {dtype!r}.")
    onnx = _import()
    name = shown(path)
    _refuse_others(path)
    with reading(path, "load_onnx: path") as file:
        if file.seek(0, io.SEEK_END) > MOST_FILE:
            raise WeightsFormatError(f"{name}: it has more than {MOST_FILE} bytes, the most that the format allows.")
        file.seek(0)
        content = file.read()
    try:
        model = parsed(onnx, content)
        size = len(content)
        del content
        store = Store(onnx, folder_of(path), size, precision)
        net = Reader(model, store, input_shape, image, progress).network(mean is None and std is None)
    except WrongArgument as error:
        raise InvalidValueError(f"{name}: {error}") from error
    except DecodingError as error:
        raise WeightsFormatError(f"{name}: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise WeightsFormatError(
            f"{name}: reading it takes more memory or depth than there is: {type(error).__name__}."
        ) from error
    channels = net.channels(0)
    return net.replace(mean=for_channels(mean, channels), std=for_channels(std, channels), classes=classes)


def _import() -> Any:
    try:
        import onnx
        import onnx.external_data_helper
        import onnx.numpy_helper
    except ImportError:
        raise InvalidValueError('load_onnx: this needs onnx: pip install "filter-decoding[onnx]".') from None
    version = tuple(int(n) for n in re.findall(r"\d+", onnx.__version__)[:2])
    if version < (1, 21):
        raise InvalidValueError(
            f"load_onnx: onnx {onnx.__version__} follows links out of a file's folder, which is not safe; 1.21 is the first that does not. "
            'pip install "filter-decoding[onnx]".'
        )
    return onnx


def _refuse_others(path: File) -> None:
    """Refuse a file that is plainly of another kind, and say what to do with it."""
    from ..loading import FOREIGN, format_of

    kind = format_of(path, "load_onnx: path")
    if kind == "ONNX":
        return
    what = (
        "it is a MatConvNet network. Use decoding.load_matconvnet."
        if kind == "MatConvNet"
        else FOREIGN.get(kind, f"it is {kind}.")
    )
    raise WeightsFormatError(f"{shown(path)}: this is no ONNX file: {what}")
