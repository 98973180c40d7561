"""Golden vectors: cases with their answers, for implementations in other languages.

The expectations come from the plain loops (`decoding.testing.loops`), and each comes with the elementwise `bound` that
an honest program keeps to, so that a reader needs ``|got - output| <= bound``, and NaN where `output` is NaN, and no
tolerance of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array
from ..errors import DataFormatError, InvalidValueError
from ..files import replacing
from ..interpolation import MODES
from ..layers import AvgPool, Conv, Layer, MaxPool, Pool, ReLU, Softmax
from ..network import Network
from . import loops, stages
from .bounds import Arithmetic, NotJudged, error_bound, exact_unit
from .calls import Call, in_shape

VERSION = 2
FORMATS = ("json", "npz", "npy", "mat")
WORDS = ("refused", "unsupported")  # in the place of an answer
PRECISIONS = {"double": 2.0**-53, "single": 2.0**-24, "half": 2.0**-11}
NO_BOUND = 1e300  # nothing can be said in this precision

FLAGS = {
    "AlignedCorners": "bilinear interpolation that aligns the corners of map and image, not the centres of the windows",
    "Batch": "images of a batch that are mixed up, or only the first one computed",
    "Bias": "a bias that is dropped, doubled, subtracted, or given to the wrong filter",
    "BiasDecoded": "biases, rectifiers or softmax used on the way down",
    "Broadcast": "one channel, map or bias silently used for many",
    "Channels": "channels taken in the wrong order, or not all of them",
    "ClampedEdge": "an edge that repeats its last cell where it must mirror",
    "CountedPadding": "an average that divides by the whole window where it reaches past the edge",
    "DroppedNaN": "not-a-number that is lost on the way: a maximum, a rectifier or a sum that skips it",
    "EmptyBatch": "no images, and yet an answer for one, or none in the wrong shape",
    "Filters": "filters taken in the wrong order",
    "FlippedColumns": "filters turned left to right",
    "FlippedRows": "filters turned top to bottom",
    "Gain": "unpooling that multiplies, or spreads zeros",
    "Gaps": "unpooling that writes between windows, where the pool saw nothing",
    "KeysA": "a bicubic kernel with another a than -1/2",
    "Leak": "the slope below zero ignored",
    "MirroredPads": "top and bottom, or left and right, exchanged",
    "OneStep": "layers that are right alone and wrong in a row",
    "Overflow": "exponentials that overflow or vanish",
    "Overlap": "overlapping copies that overwrite instead of adding up",
    "PadValue": "a max pool padded with zeros where it must be minus infinity",
    "Precision": "less precision than was declared",
    "Remainder": "what is left over by blocks of 4, 8 or 16: the last cells, channels or filters, not computed or mixed up",
    "RoundedUp": "output sizes rounded up where the windows do not divide the map",
    "SwappedPads": "pads of rows and of columns exchanged",
    "SwappedSizes": "sizes of rows and of columns exchanged",
    "SwappedStrides": "strides of rows and of columns exchanged",
    "Ties": "ties of the nearest cell that go to the earlier one",
    "TooLarge": "a window that does not fit, and yet an answer",
    "Transposed": "rows and columns of the filters exchanged",
    "Units": "units counted from 1",
    "UnknownMode": "an unknown interpolation taken for another one",
    "UsualShape": "a way of its own for a shape that many networks have, such as filters of 3×3 or 5×5, that is wrong",
    "WrongAxis": "a softmax along another axis than the channels",
    "ZeroStart": "a maximum that starts at zero",
}


class Case(NamedTuple):
    """One case: an operator's call, or a pass through a network.

    `arrays` are inputs by name; `net` is there for ``forward`` and ``decode_filter``.
    """

    id: str
    flags: tuple[str, ...]
    comment: str
    operator: str
    arrays: dict[str, Array | None]
    parameters: dict[str, Any]
    net: Network | None = None
    valid: bool = True
    source: str = "our choice"


class Answer(NamedTuple):
    """What a case expects: `stages` are the (output, bound) on the way, of whole passes."""

    output: Array
    bound: Array
    stages: list[tuple[Array, Array]]


def cases() -> list[Case]:
    """The cases, always the same."""
    return [
        *(*_correlations(), *_pools(), *_pointwise(), *_substitutions(), *_unpoolings(), *_networks()),
        *(*_usual_shapes(), *_usual_networks(), *_refusals()),
    ]


def answer(case: Case, precision: str = "double") -> Answer:
    """What the plain loops make of a valid case, and how far from it is honest in `precision`."""
    arithmetic = Arithmetic(PRECISIONS[precision])
    if case.net is None:
        call = Call(case.operator, tuple(case.arrays.values()), case.parameters)
        output = np.asarray(call.on(loops))
        return Answer(output, _short(_bound(call, output, arithmetic)), [])
    if case.operator == "forward":
        steps, start = stages.forward(case.net, len(case.net.layers)), case.arrays["x"]
    else:
        layer, k = case.parameters["layer"], case.parameters["k"]
        steps, start = (
            stages.decode(case.net, layer, case.parameters["mode"]),
            np.zeros((1, case.net.channels(layer), 1, 1)),
        )
        start[0, k] = 1
    assert start is not None
    should = stages.expectations(steps, start, arithmetic)
    passed, lost = [], False
    for _, values in steps.answers(start, loops):
        bound = np.full(values.shape, NO_BOUND)
        try:
            judged = None if lost else next(should)
        except NotJudged:
            judged, lost = None, True
        if judged is not None:
            bound = judged.bound if judged.unit is None else np.zeros_like(judged.bound)
        passed.append((values, _short(bound)))
    return Answer(*passed[-1], passed)


def _bound(call: Call, output: Array, arithmetic: Arithmetic) -> Array:
    """NaN counts as zero: what it is not in has the same bound as without it."""
    arrays = (None if array is None else np.where(np.isnan(array), 0, array) for array in call.arrays)
    call = call._replace(arrays=tuple(arrays))
    if exact_unit(call, arithmetic) is not None:
        return np.zeros(output.shape)
    try:
        return error_bound(call, arithmetic)
    except NotJudged:
        return np.full(output.shape, NO_BOUND)


def _short(bound: Array) -> Array:
    """Two digits, rounded up: the last ones would depend on the machine."""
    digits = [0.0 if value == 0 else float(f"{1.06 * value:.1e}") for value in bound.ravel().tolist()]
    return np.array(digits).reshape(bound.shape)


# Writing.


def export(folder: str | Path, *, format: str = "npz", precision: str = "double") -> int:
    """Write all cases and their answers; returns how many.

    ``manifest.json`` describes them; the arrays are in it (json), or in ``<id>.npz``, ``<id>.mat`` or
    ``<id>/<array>.npy``, the latter with a ``cases.txt`` for programs without a reader of JSON. The manifest is written
    last: without one, there are no vectors.

    Raises
    ------
    InvalidValueError
        If there is no such format or precision, or the folder is not empty: results of an earlier run would be judged as
        if they were new, and nothing of anybody's is deleted.
    """
    if format not in FORMATS or precision not in PRECISIONS:
        raise InvalidValueError(
            f"export: {format!r}, {precision!r}: formats are {', '.join(FORMATS)}, precisions {', '.join(PRECISIONS)}."
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(path.name for path in folder.iterdir())
    if there:
        raise InvalidValueError(
            f"export: {folder} must be empty or new, as results of an earlier run would be judged as if they were new. It "
            f"holds {', '.join(there[:3])}{' …' if there[3:] else ''}. Remove the folder, or take another."
        )
    everything = cases()
    write: Callable[..., None] = {"json": lambda *_: None, "npz": _write_npz, "mat": _write_mat, "npy": _write_npy}[
        format
    ]
    for case in everything:
        write(folder, case.id, _arrays(case, precision))
    if format == "npy":
        (folder / "cases.txt").write_bytes("".join(f"{_line(case)}\n" for case in everything).encode())
    with replacing(folder / "manifest.json") as file:
        file.write(manifest(format, precision).encode())
    return len(everything)


def manifest(format: str = "json", precision: str = "double") -> str:
    """The description of all cases, as JSON; in the format ``"json"``, with their arrays."""
    rows = []
    for case in cases():
        row = {
            "id": case.id,
            "operator": case.operator,
            "parameters": case.parameters,
            "comment": case.comment,
            "flags": case.flags,
            "source": case.source,
            "valid": case.valid,
        }
        if case.net is not None:
            row["layers"] = [{"kind": kind, **options} for kind, options, _ in map(_layer, case.net.layers)]
        arrays = _arrays(case, precision)
        row["shapes"] = {key: value.shape for key, value in arrays.items()}
        row["arrays"] = {key: _to_json(value) for key, value in arrays.items()} if format == "json" else list(arrays)
        rows.append(json.dumps(row, allow_nan=False))
    head = json.dumps(
        {
            "schema": "filter-decoding vectors",
            "version": VERSION,
            "format": format,
            "precision": precision,
            "flags": FLAGS,
        },
        indent=1,
    )
    return head[:-2] + ',\n "cases": [\n' + ",\n".join(rows) + "\n]}\n"


def _arrays(case: Case, precision: str) -> dict[str, Array]:
    arrays = {key: value for key, value in case.arrays.items() if value is not None}
    for number, layer in enumerate(case.net.layers if case.net else (), 1):
        arrays |= {f"layer{number}_{key}": value for key, value in _layer(layer)[2].items()}
    if case.valid:
        should = answer(case, precision)
        for number, (value, bound) in enumerate(should.stages, 1):
            arrays |= {f"stage{number}": value, f"stage{number}_bound": bound}
        arrays |= {"output": should.output, "bound": should.bound}
    return {key: np.asarray(value, np.float64) for key, value in arrays.items()}


def _layer(layer: Layer) -> tuple[str, dict[str, Any], dict[str, Array]]:
    """(kind, options, arrays); groups and dilation are expanded, as they are before they reach an operator."""
    if isinstance(layer, Conv):
        return "Conv", {"stride": layer.stride, "pad": layer.pad}, {"filters": layer.dense, "bias": layer.bias}
    if isinstance(layer, Pool):
        return layer.kind, {"size": layer.size, "stride": layer.stride, "pad": layer.pad}, {}
    return layer.kind, {"leak": layer.leak} if isinstance(layer, ReLU) else {}, {}


def _line(case: Case) -> str:
    """``id operator valid|refused key=value … layer1=Conv:stride=1,2:pad=0,0,0,0 …``"""

    def text(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    words = [case.id, case.operator, "valid" if case.valid else "refused"]
    words += [f"{key}={text(value)}" for key, value in case.parameters.items()]
    for number, layer in enumerate(case.net.layers if case.net else (), 1):
        kind, options, _ = _layer(layer)
        words.append(":".join([f"layer{number}={kind}", *(f"{key}={text(value)}" for key, value in options.items())]))
    return " ".join(words)


def _write_npz(folder: Path, name: str, arrays: dict[str, Array]) -> None:
    np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]


def _write_mat(folder: Path, name: str, arrays: dict[str, Array]) -> None:
    from scipy.io import savemat

    savemat(folder / f"{name}.mat", arrays)


def _write_npy(folder: Path, name: str, arrays: dict[str, Array]) -> None:
    (folder / name).mkdir()
    for key, value in arrays.items():
        np.save(folder / name / f"{key}.npy", np.ascontiguousarray(value))


# Judging.


class Verdict(NamedTuple):
    """One case's outcome: ``"passed"``, ``"FAILED"``, ``"unsupported"``, or ``"not judged"``, its bound saying nothing."""

    id: str
    status: str
    flags: tuple[str, ...] = ()
    detail: str = ""

    def __str__(self) -> str:
        if self.status != "FAILED":
            return f"{self.id}: {self.status}"
        hunts = "".join(f"\n    {flag}: {FLAGS.get(flag, 'a flag this version does not know')}" for flag in self.flags)
        return f"{self.id}: FAILED [{', '.join(self.flags)}]: {self.detail}{hunts}"


def verify(folder: str | Path, results: str | Path | None = None) -> list[Verdict]:
    """Judge what another program made of the vectors in `folder`.

    For each case it writes, into the same folder or into `results`, the array ``<id>.got.npy``, ``<id>/got.npy``, the
    variable ``got`` of ``<id>.got.mat``, or an entry of ``results.json``; where it refuses, the text ``refused`` (an empty
    file ``<id>.refused`` or ``<id>/refused``), and where it cannot, ``unsupported``. Of whole passes it may also write
    ``got1``, ``got2``, …, the stages (``<id>.got1.npy`` and so on; an entry of ``results.json`` is then an object with
    ``got``, ``got1``, …); the first that differs is then named. Where the output has NaN, a program may refuse too. A
    result that cannot be read, that is there twice, or holds no real numbers, is a failure of its case; so is one for a
    case, or a stage, that the vectors do not have.

    Raises
    ------
    DataFormatError
        If `folder` holds no vectors of this version, or damaged ones.
    """
    folder = Path(folder)
    results = folder if results is None else Path(results)
    try:
        described = json.loads((folder / "manifest.json").read_text())
        if described["version"] != VERSION:
            raise DataFormatError(
                f"verify: {folder} holds vectors of version {described['version']}, and this reads {VERSION}."
            )
        rows = [(row, _stored(folder, row, described["format"])) for row in described["cases"]]
    except (DataFormatError, ImportError):
        raise
    except Exception as error:  # numpy, zipfile and scipy raise whatever they meet in a damaged file
        raise DataFormatError(f"verify: {folder} holds no vectors that can be read: {error}") from error
    verdicts, written = [], _written(results)
    named = _named(results, written)
    for row, arrays in rows:
        try:
            verdicts.append(_verdict(row, arrays, results, written, named.get(row["id"], set())))
        except Exception as error:  # the same
            flags = tuple(row["flags"])
            verdicts.append(Verdict(row["id"], "FAILED", flags, f"the result cannot be read: {error}"))
    known = {row["id"] for row, _ in rows}
    return verdicts + [
        Verdict(name, "FAILED", (), "the vectors have no such case") for name in sorted(set(named) - known)
    ]


def _written(results: Path) -> dict[str, Any]:
    path = results / "results.json"
    if not path.exists():
        return {}
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataFormatError(f"verify: {path} cannot be read: {error}") from error
    if not isinstance(written, dict):
        raise DataFormatError(f"verify: {path} must hold one object, an entry for each id.")
    return written


def _named(results: Path, written: dict[str, Any]) -> dict[str, set[str]]:
    """What there is for each id: ``got``, ``got1``, …, or a word."""
    found = [path.stem.rpartition(".")[::2] for end in ("npy", "mat") for path in results.glob(f"*.got*.{end}")]
    found += [(path.stem, word) for word in WORDS for path in results.glob(f"*.{word}")]
    found += [(path.parent.name, path.stem) for file in ("got*.npy", *WORDS) for path in results.glob(f"*/{file}")]
    found += [
        (name, key) for name, entry in written.items() for key in (entry if isinstance(entry, dict) else ("got",))
    ]
    named: dict[str, set[str]] = {}
    for name, key in found:
        named.setdefault(name, set()).add(key)
    return named


def _numbers(value: Any) -> Array:
    """Real numbers, in double precision."""
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise ValueError(f"it holds {array.dtype}, which are no real numbers")
    return array.astype(np.float64)


def _stored(folder: Path, row: dict[str, Any], format: str) -> dict[str, Array]:
    """The arrays of a case, in their shapes: MATLAB knows no vectors, and JSON no empty maps."""
    name, keys, shapes = row["id"], row["arrays"], row["shapes"]
    if format == "json":
        found = {key: np.array(_from_json(value), float) for key, value in keys.items()}
    elif format == "npz":
        with (folder / f"{name}.npz").open("rb") as raw, np.load(raw) as file:
            found = {key: file[key] for key in keys}
    elif format == "mat":
        from scipy.io import loadmat

        variables = loadmat(folder / f"{name}.mat")
        found = {key: variables[key] for key in keys}
    else:
        found = {key: np.load(folder / name / f"{key}.npy") for key in keys}
    return {key: _numbers(value).reshape(shapes[key]) for key, value in found.items()}


def _verdict(
    row: dict[str, Any], arrays: dict[str, Array], results: Path, written: dict[str, Any], named: set[str]
) -> Verdict:
    name, flags = row["id"], tuple(row["flags"])
    steps = [number for number in range(1, len(row.get("layers", ())) + 1) if f"stage{number}" in arrays]
    other = named - {"got", *WORDS, *(f"got{number}" for number in steps)}
    if other:
        return Verdict(name, "FAILED", flags, f"the case has no {', '.join(sorted(other))}")
    got = _got(results, name, "got", written)
    word = got if isinstance(got, str) else "nothing was written" if got is None else "an answer was written"
    if word == "unsupported":
        return Verdict(name, "unsupported")
    if word == "refused" and (not row["valid"] or np.isnan(arrays["output"]).any()):
        return Verdict(name, "passed")
    if not row["valid"]:
        return Verdict(name, "FAILED", flags, f"it must be refused, and {word}")
    if not isinstance(got, np.ndarray):
        return Verdict(name, "FAILED", flags, f"{word}, where an answer is due")
    for number in steps:
        stage = _got(results, name, f"got{number}", written)
        if isinstance(stage, np.ndarray):
            wrong = _wrong(stage, arrays[f"stage{number}"], arrays[f"stage{number}_bound"])
            if wrong:
                return Verdict(name, "FAILED", flags, f"stage {number} is the first that differs: {wrong}")
    wrong = _wrong(got, arrays["output"], arrays["bound"])
    if wrong:
        return Verdict(name, "FAILED", flags, wrong)
    return Verdict(name, "not judged" if (arrays["bound"] >= NO_BOUND).any() else "passed")


def _wrong(got: Array, want: Array, bound: Array) -> str:
    """What is wrong; nothing if nothing is."""
    got = in_shape(got, want)
    got = got.reshape(got.shape + (1,) * (want.ndim - got.ndim))  # MATLAB drops trailing ones
    if got.shape != want.shape:
        return f"the shape is {got.shape} instead of {want.shape}"
    with np.errstate(all="ignore"):
        off = np.abs(got - want)
    bad = ~((off <= bound) | (np.isnan(got) & np.isnan(want)))
    if not bad.any():
        return ""
    worst = tuple(
        int(i) for i in np.unravel_index(int(np.where(bad, np.nan_to_num(off, nan=np.inf), -1).argmax()), off.shape)
    )
    return (
        f"{int(bad.sum())} of {bad.size} values are wrong; the worst is at {worst}: "
        f"{float(got[worst])!r} instead of {float(want[worst])!r}, bound {bound[worst]:.3g}"
    )


def _got(results: Path, name: str, key: str, written: dict[str, Any]) -> Array | str | None:
    """An array, ``"refused"``, ``"unsupported"``, or None for nothing."""
    paths = [results / name / f"{key}.npy", results / f"{name}.{key}.npy", results / f"{name}.{key}.mat"]
    if key == "got":
        paths += [path for word in WORDS for path in (results / name / word, results / f"{name}.{word}")]
    entry = written.get(name)
    if isinstance(entry, dict):
        entry = entry.get(key)
    elif key != "got":
        entry = None
    found = [path for path in paths if path.exists()]
    if len(found) + (entry is not None) > 1:
        where = [*(str(path.relative_to(results)) for path in found), *["results.json"] * (entry is not None)]
        raise ValueError(f"there is more than one: {', '.join(where)}")
    if not found:
        return entry if entry is None or isinstance(entry, str) else _numbers(_from_json(entry))
    (path,) = found
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return _numbers(np.load(file))
    if path.suffix == ".mat":
        from scipy.io import loadmat

        variables = loadmat(path)
        if key not in variables:
            raise ValueError(f"{path.name} holds no variable {key}")
        return _numbers(variables[key])
    return path.name.rpartition(".")[2]


def _to_json(array: Array) -> Any:
    """Nested lists; NaN, which JSON has not, is null."""
    return np.where(np.isnan(array), None, array).tolist()  # type: ignore[call-overload]


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(each) for each in value]
    return math.nan if value is None else value


# The cases. Fillings are asymmetric and the same on every machine.


def _whole(*shape: int, step: int = 3, limit: int = 4) -> Array:
    """Small whole numbers of both signs that no flip or exchange of axes leaves as they are."""
    i = np.arange(int(np.prod(shape)))
    return ((i * step + i * i // 5 + 1) % (2 * limit + 1) - limit).astype(np.float64).reshape(shape)


def _real(*shape: int, step: int = 37) -> Array:
    """Numbers that are no binary fractions."""
    i = np.arange(int(np.prod(shape)))
    return np.asarray(((i * step + i * i) % 101 - 45) / 7.0).reshape(shape)


def _nonzero(*shape: int) -> Array:
    """No zeros, which a program may skip: what they meet is not lost."""
    return np.abs(_whole(*shape)) + 1


def _spoilt(array: Array, *places: tuple[Any, ...]) -> Array:
    """With NaN in these places."""
    for place in places:
        array[place] = np.nan
    return array


def _scattered(array: Array) -> Array:
    """For windows of 2×2 in steps of 1×2: NaN in each of the four cells of a window, and in all of them."""
    return _spoilt(
        array, (0, 0, 0, 0), (0, 0, 1, 3), (0, 0, 2, 5), (0, 1, 1, 2), (0, 1, 2, slice(4, 6)), (0, 1, 3, slice(4, 6))
    )


def _row(*values: float) -> Array:
    return np.array([[values]], float).reshape(1, 1, 1, -1)


def _case(
    id: str,
    flags: str,
    comment: str,
    operator: str,
    *arrays: Array | None,
    net: Network | None = None,
    valid: bool = True,
    source: str = "our choice",
    **parameters: Any,
) -> Case:
    names = {
        "correlate": ("x", "filters", "bias"),
        "substitute": ("maps", "filters"),
        "unpool": ("maps",),
        "decode_filter": (),
    }
    named = dict(zip(names.get(operator, ("x",)), arrays, strict=True))
    return Case(id, tuple(flags.split()), comment, operator, named, parameters, net, valid, source)


def _correlations() -> Iterator[Case]:
    def case(
        id: str,
        flags: str,
        comment: str,
        x: Array,
        f: Array,
        bias: Array | None = None,
        stride: Any = (1, 1),
        pad: Any = (0, 0, 0, 0),
    ) -> Case:
        bias = np.zeros(len(f)) if bias is None else bias
        return _case(
            f"correlate-{id}",
            flags,
            comment,
            "correlate",
            x,
            f,
            bias,
            stride=stride,
            pad=pad,
            source="section 2, the ⋆ operator",
        )

    one = np.ones((1, 1, 1, 1))
    yield case("columns", "FlippedColumns", "1 2 3 4 with the filter 1 10: 21 32 43", _row(1, 2, 3, 4), _row(1, 10))
    yield case(
        "rows",
        "FlippedRows",
        "the same, upright",
        _row(1, 2, 3, 4).reshape(1, 1, 4, 1),
        _row(1, 10).reshape(1, 1, 2, 1),
    )
    yield case(
        "square",
        "Transposed FlippedRows FlippedColumns",
        "one impulse and a filter of 2×2",
        np.array([[[[0.0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]]]),
        np.array([[[[1.0, 2], [3, 4]]]]),
    )
    yield case(
        "channels",
        "Channels",
        "three channels, each with its own weight",
        _whole(1, 3, 2, 3),
        np.array([1.0, 10, 100]).reshape(1, 3, 1, 1),
    )
    yield case(
        "filters",
        "Filters",
        "three filters of one weight",
        _whole(1, 1, 2, 3),
        np.array([1.0, 10, 100]).reshape(3, 1, 1, 1),
    )
    yield case(
        "bias",
        "Bias",
        "the bias of each filter is added once",
        _whole(1, 1, 2, 3),
        np.ones((2, 1, 1, 1)),
        np.array([10.0, -20]),
    )
    yield case("batch", "Batch", "three images", _whole(3, 2, 3, 4), _whole(2, 2, 2, 1, step=2))
    yield case("none", "EmptyBatch", "no images", np.zeros((0, 2, 3, 4)), _whole(3, 2, 2, 1))
    yield case(
        "strides", "SwappedStrides", "two rows and three columns at a time", _whole(1, 1, 5, 7), one, stride=(2, 3)
    )
    yield case(
        "stride-rows", "SwappedStrides", "three rows and one column at a time", _whole(1, 1, 7, 3), one, stride=(3, 1)
    )
    yield case(
        "stride-left-over",
        "RoundedUp",
        "the last columns fill no window",
        _whole(1, 1, 2, 6),
        _row(1, 2, 3),
        stride=(1, 2),
    )
    yield case(
        "pad-top",
        "MirroredPads",
        "two rows of zeros above",
        _whole(1, 1, 2, 3),
        np.array([1.0, 10]).reshape(1, 1, 2, 1),
        pad=(2, 0, 0, 0),
    )
    yield case(
        "pad-bottom",
        "MirroredPads SwappedPads",
        "three rows of zeros below",
        _whole(1, 1, 2, 3),
        np.array([1.0, 10]).reshape(1, 1, 2, 1),
        pad=(0, 3, 0, 0),
    )
    yield case(
        "pad-left",
        "MirroredPads SwappedPads",
        "two columns of zeros on the left",
        _whole(1, 1, 2, 3),
        _row(1, 10),
        pad=(0, 0, 2, 0),
    )
    yield case(
        "pad-right",
        "MirroredPads SwappedPads",
        "one column of zeros on the right",
        _whole(1, 1, 2, 3),
        _row(1, 10),
        pad=(0, 0, 0, 1),
    )
    yield case(
        "pads",
        "SwappedPads MirroredPads",
        "four different pads",
        _whole(1, 2, 3, 4),
        _whole(2, 2, 2, 3, step=2),
        pad=(1, 2, 3, 0),
    )
    yield case(
        "pixel", "FlippedRows FlippedColumns", "the filter just fits", _whole(1, 2, 3, 2), _whole(3, 2, 3, 2, step=2)
    )
    yield case(
        "all",
        "SwappedStrides SwappedPads Bias Channels",
        "everything at once",
        _whole(2, 3, 7, 5),
        _whole(5, 3, 3, 2, step=5, limit=3),
        _whole(5),
        (2, 1),
        (1, 0, 0, 2),
    )
    yield case(
        "reals",
        "Precision",
        "numbers that have to be rounded",
        _real(2, 3, 5, 4),
        _real(2, 3, 2, 3, step=23),
        _real(2),
        (1, 2),
        (0, 1, 1, 0),
    )
    yield case("large", "Precision", "the same on another scale", 2.0**20 * _real(1, 2, 3, 4), _real(3, 2, 2, 1), None)
    yield case(
        "remainder",
        "Remainder",
        "17 channels, 9 filters, 19 columns that become 17",
        _whole(1, 17, 3, 19),
        _whole(9, 17, 2, 3, step=5, limit=3),
        _whole(9),
    )
    yield case(
        "nan",
        "DroppedNaN Batch",
        "the second image has a channel of NaN",
        _spoilt(_whole(2, 3, 3, 4), (1, 2)),
        _nonzero(2, 3, 2, 2),
        _whole(2),
    )


def _pools() -> Iterator[Case]:
    for operator, source in (
        ("max_pool", "section 4, non-overlapping 2×2 regions"),
        ("avg_pool", "our choice: MatConvNet's divisor"),
    ):

        def case(
            id: str,
            flags: str,
            comment: str,
            x: Array,
            size: Any,
            stride: Any,
            pad: Any = (0, 0, 0, 0),
            operator: str = operator,
            source: str = source,
        ) -> Case:
            return _case(
                f"{operator}-{id}", flags, comment, operator, x, size=size, stride=stride, pad=pad, source=source
            )

        yield case("tiles", "Batch Channels", "2×2 regions of several maps", _whole(2, 3, 4, 6, step=2), (2, 2), (2, 2))
        yield case(
            "left-over", "RoundedUp", "the last row and column fill no window", _whole(1, 1, 5, 3), (2, 2), (2, 2)
        )
        yield case("sizes", "SwappedSizes", "windows of 1×4", _whole(1, 1, 4, 8), (1, 4), (1, 4))
        yield case(
            "strides",
            "SwappedStrides",
            "windows that overlap in rows and leave gaps in columns",
            _whole(1, 2, 5, 7),
            (2, 2),
            (1, 3),
        )
        yield case(
            "pads",
            "MirroredPads SwappedPads",
            "pads above and on the right",
            _whole(1, 1, 3, 4),
            (2, 2),
            (2, 2),
            (1, 0, 0, 1),
        )
        padding = "PadValue" if operator == "max_pool" else "CountedPadding"
        yield case(
            "pad-top",
            f"MirroredPads {padding}",
            "the first row of windows reaches into two rows of pad above",
            -np.abs(_whole(1, 1, 4, 5)) - 1,
            (3, 2),
            (2, 2),
            (2, 0, 0, 0),
        )
        yield case(
            "pad-bottom",
            f"MirroredPads {padding}",
            "the last row of windows reaches into the pad below",
            -np.abs(_whole(1, 1, 3, 4)) - 1,
            (2, 2),
            (2, 2),
            (0, 1, 0, 0),
        )
        yield case(
            "pad-right",
            f"MirroredPads {padding}",
            "the last column of windows reaches into the pad on the right",
            -np.abs(_whole(1, 1, 4, 5)) - 1,
            (2, 2),
            (2, 2),
            (0, 0, 0, 1),
        )
        yield case(
            "pad-left",
            f"MirroredPads {padding}",
            "the first column of windows reaches into two columns of pad on the left",
            -np.abs(_whole(1, 1, 4, 5)) - 1,
            (2, 3),
            (2, 2),
            (0, 0, 2, 0),
        )
        yield case(
            "all",
            "MirroredPads SwappedPads SwappedSizes SwappedStrides",
            "everything at once",
            _whole(2, 2, 6, 9, step=5),
            (4, 3),
            (3, 2),
            (2, 3, 1, 2),
        )
        yield case(
            "remainder",
            "Remainder",
            "17 channels, 35 columns that become 17, the last one in no window",
            _whole(1, 17, 3, 35),
            (2, 2),
            (1, 2),
        )
        whole_map = operator == "avg_pool"  # sums that are carried along from window to window spread NaN over the map
        yield case(
            "nan",
            "DroppedNaN",
            "a map of NaN, and one without"
            if whole_map
            else "NaN in each cell of a window, in all of them, and in none",
            _spoilt(_whole(1, 2, 3, 8), (0, 1)) if whole_map else _scattered(_whole(1, 2, 4, 8)),
            (2, 2),
            (1, 2),
        )
    yield _case(
        "max_pool-negative",
        "ZeroStart",
        "all responses below zero",
        "max_pool",
        -np.abs(_whole(1, 2, 2, 4)) - 1,
        size=(2, 2),
        stride=(2, 2),
        pad=(0, 0, 0, 0),
    )
    yield _case(
        "max_pool-negative-pad",
        "PadValue",
        "all responses below zero, padded",
        "max_pool",
        -np.abs(_whole(1, 1, 3, 2)) - 1,
        size=(2, 2),
        stride=(2, 2),
        pad=(1, 0, 0, 1),
    )
    yield _case(
        "avg_pool-pad",
        "CountedPadding",
        "the first window has one cell inside",
        "avg_pool",
        _row(1, 3, 5, 7),
        size=(1, 2),
        stride=(1, 2),
        pad=(0, 0, 1, 0),
    )
    yield _case(
        "avg_pool-reals",
        "Precision",
        "windows of three",
        "avg_pool",
        _real(1, 2, 4, 5),
        size=(1, 3),
        stride=(1, 2),
        pad=(0, 0, 0, 0),
    )


def _pointwise() -> Iterator[Case]:
    yield _case(
        "relu-plain", "Leak", "no leak", "relu", _whole(2, 2, 1, 3), leak=0.0, source="section 4, layer 6 of LeNet"
    )
    yield _case("relu-leak", "Leak", "a quarter of what is negative", "relu", _row(-4, 3, -8, 0), leak=0.25)
    yield _case(
        "relu-steep", "Leak", "twice what is negative: not the larger of the two", "relu", _row(-4, 3, 5), leak=2.0
    )
    yield _case("relu-folded", "Leak", "a slope below zero", "relu", _row(-4, 3, -8, 0), leak=-0.5)
    yield _case(
        "relu-reals", "Precision Leak", "a leak that is no binary fraction", "relu", _real(1, 2, 2, 3), leak=0.1
    )
    yield _case("relu-remainder", "Remainder", "17 channels of 19 columns", "relu", _whole(1, 17, 1, 19), leak=0.25)
    for id, leak in (("nan", 0.0), ("nan-leak", 0.25)):
        yield _case(
            f"relu-{id}",
            "DroppedNaN",
            "NaN stays NaN, its neighbours stay",
            "relu",
            _row(-4, np.nan, 3, np.nan),
            leak=leak,
        )
    source = "section 4, layer 8 of LeNet"
    yield _case(
        "softmax-equal",
        "Overflow",
        "two equal responses of 1000",
        "softmax",
        np.full((1, 2, 1, 1), 1000.0),
        source=source,
    )
    yield _case(
        "softmax-far",
        "Overflow",
        "responses of −1000 and 1000",
        "softmax",
        np.array([-1000.0, 1000, 999]).reshape(1, 3, 1, 1),
        source=source,
    )
    yield _case(
        "softmax-axis",
        "WrongAxis Batch",
        "several channels, rows, columns and images",
        "softmax",
        _whole(2, 3, 2, 4),
        source=source,
    )
    yield _case(
        "softmax-remainder",
        "Remainder",
        "17 channels of 19 columns",
        "softmax",
        _whole(1, 17, 1, 19),
        source=source,
    )
    spoilt = _spoilt(_whole(1, 3, 2, 2), (0, 1, 1, 0))
    yield _case("softmax-nan", "DroppedNaN", "NaN in all channels of one place", "softmax", spoilt, source=source)


def _substitutions() -> Iterator[Case]:
    def case(id: str, flags: str, comment: str, z: Array, f: Array, stride: Any = (1, 1)) -> Case:
        return _case(
            f"substitute-{id}", flags, comment, "substitute", z, f, stride=stride, source="equations 1 and 2, subst"
        )

    impulse = np.zeros((1, 2, 3, 4))
    impulse[0, 1, 2, 1] = 1
    yield case("columns", "FlippedColumns", "an impulse becomes the filter", _row(1), _row(1, 2, 3))
    yield case("rows", "FlippedRows", "an impulse becomes the filter", _row(1), _row(1, 2, 3).reshape(1, 1, 3, 1))
    yield case(
        "impulse",
        "FlippedRows FlippedColumns Filters",
        "the filter of the impulse's own map, in its place",
        impulse,
        _whole(2, 3, 2, 3),
    )
    yield case(
        "overlap",
        "Overlap",
        "overlapping copies add up: 1 12 20, 3 34 40",
        _row(1, 10),
        np.array([[[[1.0, 2], [3, 4]]]]),
    )
    yield case("overlap-twice", "Overlap", "three copies over each other", _row(1, 1, 1, 1), _row(1, 10, 100))
    yield case(
        "strides",
        "SwappedStrides",
        "copies that touch in rows and leave gaps in columns",
        _whole(1, 1, 2, 3),
        np.array([[[[1.0], [10]]]]),
        (2, 3),
    )
    yield case(
        "gaps",
        "SwappedStrides",
        "copies that leave gaps in rows and overlap in columns",
        _whole(1, 1, 3, 2),
        np.array([[[[1.0, 10], [100, 1000]]]]),
        (3, 1),
    )
    yield case(
        "filters",
        "Filters",
        "three maps, three filters",
        _whole(1, 3, 2, 2),
        np.array([1.0, 10, 100]).reshape(3, 1, 1, 1),
    )
    yield case(
        "channels",
        "Channels",
        "one map, three channels",
        _whole(1, 1, 2, 2),
        np.array([1.0, 10, 100]).reshape(1, 3, 1, 1),
    )
    yield case("batch", "Batch", "three at once", _whole(3, 2, 2, 3), _whole(2, 1, 2, 2, step=2))
    yield case("none", "EmptyBatch", "none at all", np.zeros((0, 2, 2, 3)), _whole(2, 1, 2, 2))
    yield case(
        "all",
        "SwappedStrides Overlap Channels",
        "everything at once",
        _whole(2, 3, 4, 3),
        _whole(3, 2, 3, 5, step=5, limit=3),
        (2, 1),
    )
    yield case(
        "reals", "Precision", "numbers that have to be rounded", _real(1, 3, 3, 4), _real(3, 2, 2, 3, step=23), (1, 2)
    )
    yield case(
        "remainder",
        "Remainder",
        "9 maps of 17 columns, 17 channels of 19",
        _whole(1, 9, 2, 17),
        _whole(9, 17, 2, 3, step=5, limit=3),
    )
    yield case(
        "nan",
        "DroppedNaN Batch",
        "the second image has a map of NaN",
        _spoilt(_whole(2, 3, 2, 3), (1, 2)),
        _nonzero(3, 2, 2, 2),
    )


def _unpoolings() -> Iterator[Case]:
    def case(id: str, flags: str, comment: str, z: Array, mode: str, size: Any = (2, 2), stride: Any = None) -> Case:
        return _case(
            f"unpool-{mode}-{id}",
            flags,
            comment,
            "unpool",
            z,
            size=size,
            stride=stride or size,
            mode=mode,
            source="section 3, unpool; kernel and edge our choice",
        )

    for mode in MODES:
        yield case("constant", "Gain", "a constant map stays as it is", np.full((1, 1, 2, 3), 3.0), mode)
        yield case("sizes", "SwappedSizes", "two rows and four columns for each cell", _whole(1, 2, 3, 2), mode, (2, 4))
        yield case("batch", "Batch Channels", "several maps at once", _whole(2, 3, 2, 3), mode)
        yield case("pixel", "Gain ClampedEdge", "a map of one pixel", _row(7), mode)
        yield case(
            "overlapping",
            "SwappedSizes SwappedStrides",
            "windows of 3×2 in steps of 2×1",
            _whole(1, 1, 3, 4),
            mode,
            (3, 2),
            (2, 1),
        )
        yield case("remainder", "Remainder", "17 columns that become 34", _whole(1, 2, 3, 17), mode)
        yield case("nan", "DroppedNaN", "a map of NaN between two others", _spoilt(_whole(1, 3, 2, 3), (0, 1)), mode)
    yield case("ties", "Ties", "half way between two cells, the later one", _row(1, 5, 9), "nearest", (1, 3), (1, 2))
    for mode in MODES:
        yield case("gaps", "Gaps", "windows of 1 in steps of 4", _row(1, 5, 9), mode, (1, 1), (1, 4))
        yield case("gaps-both", "Gaps", "windows of 2×1 in steps of 3×2", _whole(1, 2, 3, 4), mode, (2, 1), (3, 2))
    yield case("centres", "AlignedCorners", "1 2 4 5 of 1 5", _row(1, 5), "bilinear", (1, 2))
    yield case(
        "wide", "ClampedEdge", "3 1 3 5 3 of 1 5: past 1 comes 1, then 5", _row(1, 5), "bilinear", (1, 4), (1, 1)
    )
    yield case(
        "thirds",
        "Precision AlignedCorners",
        "weights that are no binary fractions",
        _real(1, 1, 3, 4),
        "bilinear",
        (3, 3),
    )
    yield case(
        "kernel",
        "KeysA",
        "weights −9 111 29 −3, of 128, away from the edge",
        _row(0, 0, 0, 128, 0, 0, 0, 0),
        "bicubic",
        (1, 2),
    )
    yield case("edge", "ClampedEdge", "… 1 0 | 0 1 …", _row(128, 0, 0, 0, 0, 256), "bicubic", (1, 2))
    yield case(
        "thirds", "Precision KeysA", "weights that are no binary fractions", _real(1, 1, 3, 4), "bicubic", (3, 3)
    )


def _networks() -> Iterator[Case]:
    small = Network(
        [
            Conv(_whole(3, 1, 2, 3, limit=2), _whole(3), pad=(1, 0, 0, 1)),
            MaxPool(2),
            Conv(_whole(2, 3, 2, 1, step=2, limit=2), np.array([1.0, -2])),
            ReLU(leak=0.25),
        ],
        input_shape=(1, 7, 9),
    )
    tour = Network(
        [
            Conv(_whole(4, 1, 2, 2, limit=2), np.array([1.0, -1, 2, 0]), dilation=(1, 2), groups=2, stride=(1, 2)),
            AvgPool((2, 1), (1, 1)),
            ReLU(),
            Conv(_whole(2, 4, 1, 3, step=5, limit=2), np.array([3.0, -4]), pad=(0, 1, 1, 0)),
        ],
        input_shape=(2, 5, 11),
    )
    reals = Network(
        [Conv(_real(2, 1, 3, 2), _real(2)), MaxPool((2, 2)), Conv(_real(3, 2, 1, 2, step=23)), ReLU(), Softmax()],
        input_shape=(1, 6, 7),
    )
    paper = "section 3, filter_decoding(L, k, CNN)"
    yield _case(
        "forward-small",
        "OneStep",
        "a padded convolution, a pool, a convolution, a leaky rectifier",
        "forward",
        _whole(2, 1, 7, 9),
        net=small,
        source="section 3, z^L",
    )
    yield _case(
        "forward-tour",
        "OneStep",
        "groups, dilation, strides, an overlapping average pool",
        "forward",
        _whole(1, 2, 5, 11),
        net=tour,
        source="section 3, z^L",
    )
    yield _case(
        "forward-reals",
        "Precision OneStep",
        "up to a softmax",
        "forward",
        _real(1, 1, 6, 7) / 50,
        net=reals,
        source="section 3, z^L",
    )
    for mode in MODES:
        yield _case(
            f"decode-small-{mode}",
            "BiasDecoded Units OneStep",
            "the second unit of the top layer",
            "decode_filter",
            net=small,
            source=paper,
            layer=4,
            k=1,
            mode=mode,
        )
        yield _case(
            f"decode-tour-{mode}",
            "BiasDecoded OneStep",
            "an overlapping pool, strides, dilation",
            "decode_filter",
            net=tour,
            source=paper,
            layer=4,
            k=0,
            mode=mode,
        )
        yield _case(
            f"decode-reals-{mode}",
            "Precision OneStep",
            "a softmax decodes as the identity",
            "decode_filter",
            net=reals,
            source=paper,
            layer=5,
            k=2,
            mode=mode,
        )
    yield _case(
        "decode-first",
        "Units",
        "layer 1 decodes to its own filters",
        "decode_filter",
        net=small,
        source=paper,
        layer=1,
        k=2,
        mode="nearest",
    )
    yield _case(
        "decode-pool",
        "Gain OneStep",
        "a unit of a pool",
        "decode_filter",
        net=small,
        source=paper,
        layer=2,
        k=0,
        mode="bilinear",
    )


def _usual_shapes() -> Iterator[Case]:
    """Shapes of the networks that people use: programs have a way of their own for each."""

    def case(operator: str, id: str, comment: str, *arrays: Array | None, **parameters: Any) -> Case:
        return _case(f"{operator}-usual-{id}", "UsualShape", comment, operator, *arrays, **parameters)

    for id, comment, maps, side, step, pad in (
        ("3x3", "3×3", (5, 6), 3, 1, 0),
        ("3x3-pad", "3×3, the map keeps its size", (5, 6), 3, 1, 1),
        ("3x3-step", "3×3 in steps of 2", (6, 9), 3, 2, 1),
        ("1x1-step", "1×1 in steps of 2", (5, 8), 1, 2, 0),
        ("4x4", "4×4, the whole map, as layer 5 of LeNet", (4, 4), 4, 1, 0),
        ("5x5", "5×5, as layers 1 and 3 of LeNet", (7, 8), 5, 1, 0),
        ("5x5-pad", "5×5, the map keeps its size", (4, 6), 5, 1, 2),
        ("7x7-step", "7×7 in steps of 2", (8, 11), 7, 2, 3),
        ("11x11-step", "11×11 in steps of 4", (15, 19), 11, 4, 0),
    ):
        bank, bias = _whole(3, 2, side, side, step=5, limit=2), _whole(3)
        yield case(
            "correlate", id, comment, _whole(1, 2, *maps), bank, bias, stride=(step, step), pad=(pad, pad, pad, pad)
        )
    for operator in ("max_pool", "avg_pool"):
        for id, comment, maps, side, step, pads in (
            ("2x2", "2×2 in steps of 2, on sides that are odd", (5, 7), 2, 2, (0, 0, 0, 0)),
            ("3x3", "3×3 in steps of 2", (8, 11), 3, 2, (0, 0, 0, 0)),
            ("3x3-pad", "3×3 in steps of 2, padded all around", (7, 10), 3, 2, (1, 1, 1, 1)),
            ("3x3-pad-end", "3×3 in steps of 2, padded below and on the right", (6, 8), 3, 2, (0, 1, 0, 1)),
            ("7x7", "7×7, the whole map", (7, 7), 7, 1, (0, 0, 0, 0)),
        ):
            x = _whole(1, 2, *maps, step=5)
            yield case(operator, id, comment, x, size=(side, side), stride=(step, step), pad=pads)
    for id, comment, maps, side, step in (
        ("3x3", "3×3", (3, 4), 3, 1),
        ("4x4", "4×4", (2, 3), 4, 1),
        ("5x5", "5×5", (3, 4), 5, 1),
        ("7x7-step", "7×7 in steps of 2", (2, 3), 7, 2),
        ("11x11-step", "11×11 in steps of 4", (2, 3), 11, 4),
        ("jump-4", "3×3 in steps of 4, as above two pools", (2, 3), 3, 4),
        ("jump-8", "3×3 in steps of 8, as above three pools", (2, 3), 3, 8),
        ("jump-16", "3×3 in steps of 16, as above four pools", (2, 3), 3, 16),
        ("bottom-up", "a filter of 3×3 takes the decoded filters of 10×10 below, in steps of 4", (3, 3), 10, 4),
    ):
        bank = _whole(3, 2, side, side, step=5, limit=2)
        yield case("substitute", id, comment, _whole(1, 3, *maps), bank, stride=(step, step))
    for mode in MODES:
        size, stride = (3, 3), (2, 2)
        yield case(
            "unpool", f"{mode}-3x3", "3×3 in steps of 2", _whole(1, 2, 3, 4), size=size, stride=stride, mode=mode
        )


def _usual_networks() -> Iterator[Case]:
    def sparse(*shape: int) -> Array:
        return np.trunc(_whole(*shape, step=5) / 4)  # sums stay small

    def bank(*shape: int) -> Array:
        return _whole(*shape, step=5, limit=1)

    lenet = Network(
        [
            *(Conv(sparse(2, 1, 5, 5), _whole(2)), MaxPool(2), Conv(sparse(3, 2, 5, 5), _whole(3)), MaxPool(2)),
            *(Conv(sparse(3, 3, 4, 4), _whole(3)), ReLU(), Conv(bank(2, 3, 1, 1), _whole(2))),
        ],
        input_shape=(1, 28, 32),
    )
    vgg = Network(
        [
            *(Conv(bank(3, 2, 3, 3), _whole(3), pad=1), ReLU(), Conv(bank(3, 3, 3, 3), _whole(3), pad=1), ReLU()),
            *(MaxPool(2), Conv(bank(2, 3, 3, 3), _whole(2), pad=1)),
        ],
        input_shape=(2, 6, 8),
    )
    for id, comment, net in (("lenet", "as LeNet", lenet), ("vgg", "3×3 and again 3×3, as VGG", vgg)):
        assert net.input_shape is not None
        flags, top = "UsualShape OneStep", len(net.layers)
        x = _whole(1, *net.input_shape, limit=1)
        yield _case(f"forward-usual-{id}", flags, comment, "forward", x, net=net, source="section 3, z^L")
        for mode in MODES:
            yield _case(
                f"decode-usual-{id}-{mode}",
                flags,
                comment,
                "decode_filter",
                net=net,
                source="section 3, filter_decoding(L, k, CNN)",
                layer=top,
                k=1,
                mode=mode,
            )


def _refusals() -> Iterator[Case]:
    def refused(id: str, flags: str, comment: str, operator: str, *arrays: Array, **parameters: Any) -> Case:
        return _case(f"refused-{id}", flags, comment, operator, *arrays, valid=False, **parameters)

    plain = {"stride": (1, 1), "pad": (0, 0, 0, 0)}
    yield refused(
        "one-channel",
        "Broadcast",
        "one channel for filters of three",
        "correlate",
        _whole(1, 1, 3, 4),
        _whole(2, 3, 2, 2),
        np.zeros(2),
        **plain,
    )
    yield refused(
        "channels",
        "Broadcast Channels",
        "three channels for filters of one",
        "correlate",
        _whole(1, 3, 3, 4),
        _whole(2, 1, 2, 2),
        np.zeros(2),
        **plain,
    )
    yield refused(
        "bias",
        "Broadcast Bias",
        "one bias for two filters",
        "correlate",
        _whole(1, 1, 3, 4),
        _whole(2, 1, 2, 2),
        np.zeros(1),
        **plain,
    )
    yield refused(
        "filter-rows",
        "TooLarge",
        "a filter one row higher than the map",
        "correlate",
        _whole(1, 1, 3, 4),
        _whole(2, 1, 4, 2),
        np.zeros(2),
        **plain,
    )
    yield refused(
        "filter-columns",
        "TooLarge",
        "a filter one column wider than the map",
        "correlate",
        _whole(1, 1, 3, 4),
        _whole(2, 1, 2, 5),
        np.zeros(2),
        **plain,
    )
    yield refused(
        "maps",
        "Broadcast",
        "one map for two filters",
        "substitute",
        _whole(1, 1, 3, 4),
        _whole(2, 1, 2, 2),
        stride=(1, 1),
    )
    yield refused(
        "max-window",
        "TooLarge",
        "a window larger than the map",
        "max_pool",
        _whole(1, 1, 3, 4),
        size=(4, 2),
        stride=(1, 1),
        pad=(0, 0, 0, 0),
    )
    yield refused(
        "avg-window",
        "TooLarge",
        "a window larger than the map",
        "avg_pool",
        _whole(1, 1, 3, 4),
        size=(2, 5),
        stride=(1, 1),
        pad=(0, 0, 0, 0),
    )
    yield refused(
        "mode",
        "UnknownMode",
        "an interpolation that is none of the three",
        "unpool",
        _whole(1, 1, 3, 4),
        size=(2, 2),
        stride=(2, 2),
        mode="cubic",
    )
