"""Golden vectors: cases with their answers, for implementations in other languages.

The expectations come from the plain loops (`decoding.testing.loops`), and each comes with the elementwise `bound` that
an honest program keeps to, so that a reader needs ``|got - output| <= bound``, and NaN where `output` is NaN, and no
tolerance of its own.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arguments import Array
from ..errors import DataFormatError, InvalidValueError
from ..files import replacing
from ..layers import Conv
from ..network import Network
from . import loops, stages
from .bounds import error_bound, exact_unit
from .calls import Call, in_shape
from .cases import FLAGS, Case, cases
from .rounding import Arithmetic, NotJudged

__all__ = [
    "FLAGS",
    "FORMATS",
    "PRECISIONS",
    "VERSION",
    "Answer",
    "Case",
    "Verdict",
    "answer",
    "cases",
    "export",
    "manifest",
    "verify",
]

VERSION = 3
SCHEMA = "filter-decoding vectors"
FORMATS = ("json", "npz", "npy", "mat")
WORDS = ("refused", "unsupported")  # in the place of an answer
PRECISIONS = {"double": 2.0**-53, "single": 2.0**-24, "half": 2.0**-11}
NO_BOUND = 1e300  # nothing can be said in this precision
OPTIONS = {  # of a layer, by its kind
    "Conv": ("stride", "pad", "dilation", "groups"),
    "MaxPool": ("size", "stride", "pad"),
    "AvgPool": ("size", "stride", "pad"),
    "ReLU": ("leak",),
}


class Answer(NamedTuple):
    """What a case expects: `stages` are the (output, bound) on the way, of whole passes."""

    output: Array
    bound: Array
    stages: list[tuple[Array, Array]]


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
        layer, k, mode = (case.parameters[key] for key in ("layer", "k", "mode"))
        steps, start = stages.decode(case.net, layer, mode), np.zeros((1, case.net.channels(layer), 1, 1))
        start[0, k] = 1
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
    write: Callable[..., None] = {"json": lambda *_: None, "npz": _write_npz, "mat": _write_mat, "npy": _write_npy}[
        format
    ]
    everything, described = cases(), []
    for case in everything:
        arrays = _arrays(case, precision)
        write(folder, case.id, arrays)
        described.append(_described(case, arrays, format))
    if format == "npy":
        (folder / "cases.txt").write_bytes("".join(f"{_line(case)}\n" for case in everything).encode())
    with replacing(folder / "manifest.json") as file:
        file.write(_manifest(described, format, precision).encode())
    return len(everything)


def manifest(precision: str = "double") -> str:
    """The description of all cases with their arrays, as JSON."""
    return _manifest([_described(case, _arrays(case, precision), "json") for case in cases()], "json", precision)


def _manifest(described: list[str], format: str, precision: str) -> str:
    head = {"schema": SCHEMA, "version": VERSION, "format": format, "precision": precision, "flags": FLAGS}
    return json.dumps(head, indent=1)[:-2] + ',\n "cases": [\n' + ",\n".join(described) + "\n]}\n"


def _described(case: Case, arrays: dict[str, Array], format: str) -> str:
    """A case as one line of JSON; in the format ``"json"``, with its arrays."""
    row: dict[str, Any] = {key: getattr(case, key) for key in ("id", "operator", "parameters", "comment", "flags")}
    row |= {key: getattr(case, key) for key in ("source", "since", "valid")}
    if case.net is not None:
        row["layers"] = [{"kind": kind, **options} for kind, options, _ in _layers(case.net)]
    row["shapes"] = {key: value.shape for key, value in arrays.items()}
    row["arrays"] = {key: _to_json(value) for key, value in arrays.items()} if format == "json" else list(arrays)
    return json.dumps(row, allow_nan=False)


def _arrays(case: Case, precision: str) -> dict[str, Array]:
    arrays = dict(case.arrays)
    for number, (_, _, weights) in enumerate(_layers(case.net), 1):
        arrays |= {f"layer{number}_{key}": value for key, value in weights.items()}
    if case.valid:
        should = answer(case, precision)
        for number, (value, bound) in enumerate(should.stages, 1):
            arrays |= {f"stage{number}": value, f"stage{number}_bound": _once(bound)}
        arrays |= {"output": should.output, "bound": _once(should.bound)}
    return {key: np.asarray(value, np.float64) for key, value in arrays.items()}


def _once(bound: Array) -> Array:
    """One number, where the bound is the same everywhere."""
    values = np.unique(bound)
    return bound if values.size > 1 else values.sum()


def _layers(net: Network | None) -> Iterator[tuple[str, dict[str, Any], dict[str, Array]]]:
    """(kind, options, arrays) of each layer."""
    for number, layer in enumerate(net.layers if net else (), 1):
        assert net is not None
        options: dict[str, Any] = {"inputs": net.inputs[number - 1]}
        options |= {key: getattr(layer, key) for key in OPTIONS.get(layer.kind, ())}
        if layer.gain is not None:
            options["gain"] = tuple(np.broadcast_to(layer.gain, net.channels(number)).tolist())
        yield layer.kind, options, {"filters": layer.filters, "bias": layer.bias} if isinstance(layer, Conv) else {}


def _line(case: Case) -> str:
    """``id operator valid|refused key=value … layer1=Conv:inputs=0:stride=1,2:pad=0,0,0,0:dilation=1,1:groups=1 …``"""

    def text(value: Any) -> str:
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    words = [case.id, case.operator, "valid" if case.valid else "refused"]
    words += [f"{key}={text(value)}" for key, value in case.parameters.items()]
    for number, (kind, options, _) in enumerate(_layers(case.net), 1):
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
                f"verify: {folder} holds vectors of version {described['version']}, and this reads {VERSION}. Export them "
                "anew, into another folder, and run the program on those."
            )
        rows = [(row, _stored(folder, row, described["format"])) for row in described["cases"]]
    except (DataFormatError, ImportError):
        raise
    except Exception as error:  # numpy, zipfile and scipy raise whatever they meet in a damaged file
        raise DataFormatError(f"verify: {folder} holds no vectors that can be read: {error}") from error
    verdicts, written = [], _results(results)
    for row, arrays in rows:
        try:
            verdicts.append(_verdict(row, arrays, written.get(row["id"], {})))
        except Exception as error:  # the same
            flags = tuple(row["flags"])
            verdicts.append(Verdict(row["id"], "FAILED", flags, f"the result cannot be read: {error}"))
    known = {row["id"] for row, _ in rows}
    return verdicts + [
        Verdict(name, "FAILED", (), "the vectors have no such case") for name in sorted(set(written) - known)
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


def _results(folder: Path) -> dict[str, dict[str, list[Any]]]:
    """For each id, what there is as ``got``, ``got1``, …, or a word: files, and entries of ``results.json``."""
    files = [(path.stem.rpartition(".")[::2], path) for end in ("npy", "mat") for path in folder.glob(f"*.got*.{end}")]
    files += [((path.stem, word), path) for word in WORDS for path in folder.glob(f"*.{word}")]
    files += [
        ((path.parent.name, path.stem), path) for file in ("got*.npy", *WORDS) for path in folder.glob(f"*/{file}")
    ]
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for (name, key), path in files:
        found[name][key].append(path)
    for name, entry in _written(folder).items():
        for key, value in entry.items() if isinstance(entry, dict) else [("got", entry)]:
            found[name][key] += [] if value is None else [value]
    return found


def _numbers(value: Any) -> Array:
    """Real numbers, in double precision."""
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise ValueError(f"it holds {array.dtype}, not real numbers")
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


def _verdict(row: dict[str, Any], arrays: dict[str, Array], results: dict[str, list[Any]]) -> Verdict:
    name, flags = row["id"], tuple(row["flags"])
    steps = [number for number in range(1, len(row.get("layers", ())) + 1) if f"stage{number}" in arrays]
    other = set(results) - {"got", *WORDS, *(f"got{number}" for number in steps)}
    if other:
        return Verdict(name, "FAILED", flags, f"the case has no {', '.join(sorted(other))}")
    got = _got(results, "got")
    nothing = "nothing was written" + (f" (the case is new in version {VERSION})" if row["since"] == VERSION else "")
    word = got if isinstance(got, str) else nothing if got is None else "an answer was written"
    if word == "unsupported":
        return Verdict(name, "unsupported")
    if word == "refused" and (not row["valid"] or np.isnan(arrays["output"]).any()):
        return Verdict(name, "passed")
    if not row["valid"]:
        return Verdict(name, "FAILED", flags, f"it must be refused, and {word}")
    if not isinstance(got, np.ndarray):
        return Verdict(name, "FAILED", flags, f"{word}, where an answer is due")
    for number in steps:
        stage = _got(results, f"got{number}")
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
    bound = np.broadcast_to(bound, off.shape)
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


def _got(results: dict[str, list[Any]], key: str) -> Array | str | None:
    """An array, ``"refused"``, ``"unsupported"``, or None for nothing."""
    found = [each for word in (key, *WORDS * (key == "got")) for each in results.get(word, ())]
    if len(found) > 1:
        where = [each.name if isinstance(each, Path) else "results.json" for each in found]
        raise ValueError(f"there is more than one: {', '.join(where)}")
    if not found:
        return None
    (one,) = found
    if not isinstance(one, Path):
        return one if isinstance(one, str) else _numbers(_from_json(one))
    if one.suffix == ".npy":
        with one.open("rb") as file:
            return _numbers(np.load(file))
    if one.suffix == ".mat":
        from scipy.io import loadmat

        variables = loadmat(one)
        if key not in variables:
            raise ValueError(f"{one.name} holds no variable {key}")
        return _numbers(variables[key])
    return one.name.rpartition(".")[2]


def _to_json(array: Array) -> Any:
    """Nested lists; whole numbers without a point; NaN, which JSON has not, is null."""

    def short(value: Any) -> Any:
        if isinstance(value, list):
            return [short(each) for each in value]
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value

    return short(array.tolist())


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(each) for each in value]
    return math.nan if value is None else value
