"""The golden vectors: sane, reproducible, covered, and able to tell right from wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from by_day import partly
from mutants import clamped

import decoding
from decoding import fast, reference
from decoding.backend import OPERATORS
from decoding.testing import loops, stages, vectors
from decoding.testing.__main__ import main

CASES = {case.id: case for case in vectors.cases()}
SHIPPED = Path(decoding.__file__).parent / "testing" / "golden" / "manifest.json"
ROOT = Path(__file__).parents[1]
EXAMPLES, PAGE = ROOT / "examples" / "backends", ROOT / "docs" / "conformance.rst"


FEW = (  # of each kind that files, words and verdicts tell apart
    *(
        "correlate-columns",
        "correlate-bias",
        "correlate-none",
        "max_pool-nan",
        "relu-leak",
        "relu-nan",
        "softmax-equal",
    ),
    *(
        "softmax-far",
        "unpool-nearest-pixel",
        "unpool-bicubic-kernel",
        "forward-small",
        "decode-first",
        "forward-residual",
    ),
    *("decode-residual-nearest", "correlate-large", "refused-mode"),
)


@cache
def answer(id, precision="double"):
    return vectors.answer(CASES[id], precision)


@pytest.fixture
def few(monkeypatch):
    """Vectors of a few cases: what is asked of files is the same for all."""
    chosen = [case for case in CASES.values() if case.id in FEW]
    assert len(chosen) == len(FEW)
    monkeypatch.setattr(vectors, "cases", lambda: chosen)


@pytest.fixture(scope="module")
def as_npy(tmp_path_factory):
    """All vectors, for C."""
    folder = tmp_path_factory.mktemp("vectors") / "npy"
    vectors.export(folder, format="npy")
    return folder


def run(case, backend):
    """A case as a program would run it: an array, or the word "refused"."""
    try:
        if case.net is None:
            return np.asarray(getattr(backend, case.operator)(*case.arrays.values(), **case.parameters))
        if case.operator == "forward":
            return case.net.forward(case.arrays["x"], backend=backend)
        layer, k, mode = (case.parameters[key] for key in ("layer", "k", "mode"))
        return decoding.decode_filter(case.net, layer, k, unpool=mode, backend=backend)[np.newaxis]
    except (ValueError, decoding.DecodingError):
        return "refused"


def as_json(array):
    """Nested lists, as JavaScript writes them: what JSON has no number for is null."""
    return np.where(np.isfinite(array), array, None).tolist()


def write(folder, backend, format="json"):
    results = {}
    for case in vectors.cases():
        got = run(case, backend)
        if isinstance(got, str):
            results[case.id] = got
        elif format == "npz":
            np.save(folder / f"{case.id}.got.npy", got)
        elif format == "npy":
            np.save(folder / case.id / "got.npy", got)
        elif format == "mat":
            from scipy.io import savemat

            savemat(folder / f"{case.id}.got.mat", {"got": got})
        else:
            results[case.id] = as_json(got)
    if format != "json":
        for id in results:
            target = folder / id / "refused" if format == "npy" else folder / f"{id}.refused"
            target.parent.mkdir(exist_ok=True)
            target.touch()
        return
    (folder / "results.json").write_text(json.dumps(results, allow_nan=False))


def test_ids_are_unique_and_every_flag_is_used():
    assert len(CASES) == len(vectors.cases())
    used = {flag for case in CASES.values() for flag in case.flags}
    assert used == set(vectors.FLAGS)
    assert all(case.flags and case.comment and case.source for case in CASES.values())


def test_every_operator_and_every_parameter_is_covered():
    assert {case.operator for case in CASES.values()} == {*OPERATORS, "forward", "decode_filter"}
    assert {case.operator for case in CASES.values() if not case.valid} >= {
        "correlate",
        "substitute",
        "max_pool",
        "avg_pool",
        "unpool",
    }
    plain = {"stride": (1, 1), "pad": (0, 0, 0, 0), "leak": 0.0, "mode": "nearest", "size": (2, 2)}
    for operator in OPERATORS:
        chosen = [case for case in CASES.values() if case.operator == operator and case.valid]
        for parameter in {key for case in chosen for key in case.parameters}:
            values = {case.parameters[parameter] for case in chosen}
            assert values - {plain[parameter]}, (operator, parameter)
            if parameter in ("stride", "size"):
                assert any(rows != columns for rows, columns in values)
            assert len(values) >= 3, (operator, parameter)
            if parameter in ("stride", "size"):
                assert all(len(set(side)) >= 3 for side in zip(*values, strict=True)), (operator, parameter)
            if parameter == "pad":
                for number, side in enumerate(zip(*values, strict=True)):
                    assert len(set(side)) >= 3, (operator, "pad", number)
                    assert any(pads[number] and sum(pads) == pads[number] for pads in values), (operator, "pad", number)
    layers = [layer for case in CASES.values() if case.net for layer in case.net.layers]
    assert {layer.kind for layer in layers} == {"Conv", "MaxPool", "AvgPool", "ReLU", "Softmax", "Sum", "Concat"}
    assert any(getattr(layer, "groups", 1) > 1 for layer in layers)
    assert any(getattr(layer, "dilation", (1, 1)) != (1, 1) for layer in layers)
    modes = {case.parameters["mode"] for case in CASES.values() if case.operator == "decode_filter"}
    assert modes == set(decoding.interpolation.MODES)


def right(got, output, bound):
    """The rule of the page."""
    return np.shape(got) == np.shape(output) and bool(
        ((np.abs(got - output) <= bound) | (np.isnan(got) & np.isnan(output))).all()
    )


def stored(value):
    """An array of the manifest; null is NaN."""
    return np.array(value, dtype=object).astype(float)


def consumed(row, backend):
    """What a program makes of a row of the manifest that knows nothing but the page."""
    arrays = {key: stored(value).reshape(row["shapes"][key]) for key, value in row["arrays"].items()}
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in row["parameters"].items()}
    if row["operator"] not in ("forward", "decode_filter"):
        inputs = [arrays[key] for key in ("x", "maps", "filters", "bias") if key in arrays]
        return getattr(backend, row["operator"])(*inputs, **options)
    layers = [{}, *row["layers"]]
    for number, layer in enumerate(layers):
        layer.update({key: tuple(value) for key, value in layer.items() if isinstance(value, list)})
        if layer.get("kind") == "Conv":
            layer["weights"] = expanded(arrays[f"layer{number}_filters"], **layer), arrays[f"layer{number}_bias"]
    return (
        climbed(layers, arrays["x"], backend) if row["operator"] == "forward" else descended(layers, backend, **options)
    )


def expanded(filters, groups, dilation, **_):
    """A dense bank, as the page says."""
    (k, c, h, w), (rows, columns) = filters.shape, dilation
    bank = np.zeros((k, c * groups, (h - 1) * rows + 1, (w - 1) * columns + 1))
    for number in range(k):
        first = number // (k // groups) * c
        bank[number, first : first + c, ::rows, ::columns] = filters[number]
    return bank


def climbed(layers, x, backend):
    found = [x]
    for layer in layers[1:]:
        below, kind = [found[i] for i in layer["inputs"]], layer["kind"]
        if kind in ("Sum", "Concat"):
            found.append(sum(below) if kind == "Sum" else np.concatenate(below, axis=1))
            continue
        operator = {"Conv": "correlate", "MaxPool": "max_pool", "AvgPool": "avg_pool"}.get(kind, kind.lower())
        options = {key: layer[key] for key in ("size", "stride", "pad", "leak") if key in layer}
        found.append(getattr(backend, operator)(*below, *layer.get("weights", ()), **options))
    return found[-1]


def descended(layers, backend, layer, k, mode):
    """What comes down, added up cell by cell: {(row, column): channels}."""
    channels = [next(len(each["weights"][0][0]) for each in layers[1:] if each["inputs"] == (0,) and "weights" in each)]
    for each in layers[1:]:
        widths = [channels[i] for i in each["inputs"]]
        channels.append(
            len(each["weights"][1]) if "weights" in each else sum(widths) if each["kind"] == "Concat" else widths[0]
        )
    found = [{} for _ in layers]
    found[layer] = {(0, 0): np.eye(channels[layer])[k]}
    for number in range(layer, 0, -1):
        each, cells = layers[number], found[number]
        top, left = np.min([*cells], axis=0)
        z = np.zeros((1, channels[number], *(np.max([*cells], axis=0) - (top, left) + 1)))
        for (i, j), values in cells.items():
            z[0, :, i - top, j - left] = values * each.get("gain", 1)
        stride, pad = each.get("stride", (1, 1)), each.get("pad", (0,) * 4)
        if each["kind"] == "Conv":
            z = backend.substitute(z, each["weights"][0], stride=stride)
        elif each["kind"] in ("MaxPool", "AvgPool"):
            z = backend.unpool(z, size=each["size"], stride=stride, mode=mode)
        for below in each["inputs"]:
            part, z = (z[:, : channels[below]], z[:, channels[below] :]) if each["kind"] == "Concat" else (z, z)
            for i, j in np.ndindex(part.shape[2:]):
                place = top * stride[0] - pad[0] + i, left * stride[1] - pad[2] + j
                found[below][place] = found[below].get(place, 0) + part[0, :, i, j]
    first, last = np.min([*found[0]], axis=0), np.max([*found[0]], axis=0)
    return np.array(
        [
            [
                [found[0].get((i, j), np.zeros(channels[0])) for j in range(first[1], last[1] + 1)]
                for i in range(first[0], last[0] + 1)
            ]
        ]
    ).transpose(0, 3, 1, 2)


def consumer_accepts(row, backend):
    try:
        got = consumed(row, backend)
    except ValueError:
        return not row["valid"]
    output = stored(row["arrays"].get("output", ())).reshape(row["shapes"].get("output", -1))
    return row["valid"] and right(got, output, stored(row["arrays"]["bound"]))


def strict_manifest():
    def refuse(constant):
        raise AssertionError(f"JSON has no {constant}")

    return json.loads(SHIPPED.read_text(), parse_constant=refuse)


@pytest.mark.parametrize("backend", [reference, fast])
def test_a_program_that_knows_the_page_alone_accepts_what_is_right(backend):
    rows = strict_manifest()["cases"]
    assert [row["id"] for row in rows if not consumer_accepts(row, backend)] == []


@pytest.mark.parametrize("axis", [2, 3])
def test_a_program_that_knows_the_page_alone_refuses_flipped_filters(axis):
    mutant = type("Mutant", (), {name: staticmethod(getattr(reference, name)) for name in OPERATORS})
    mutant.correlate = staticmethod(lambda x, f, b, **o: reference.correlate(x, np.flip(f, axis), b, **o))
    refused = {row["operator"] for row in strict_manifest()["cases"] if not consumer_accepts(row, mutant)}
    assert refused == {"correlate", "forward"}


def test_blocks_of_eight_and_sixteen_leave_something_over():
    shapes = {case.operator: {} for case in CASES.values()}
    for case in CASES.values():
        if "Remainder" in case.flags:
            shapes[case.operator] = {key: value.shape for key, value in case.arrays.items()}
            output = answer(case.id).output
            assert any(side > 16 and side % 8 and side % 4 for side in output.shape)
    assert set(OPERATORS) <= {operator for operator, found in shapes.items() if found}
    assert shapes["correlate"]["filters"][:2] == (9, 17)


def test_nan_of_every_operator_comes_out_and_does_not_spread():
    spoilt = [case for case in CASES.values() if "DroppedNaN" in case.flags]
    assert {case.operator for case in spoilt} == set(OPERATORS)
    for case in spoilt:
        should = answer(case.id)
        assert np.isnan(should.output).any()
        assert not np.isnan(should.output).all()
        assert np.isfinite(should.bound).all()
        clean = {key: np.nan_to_num(a) for key, a in case.arrays.items()}
        without = vectors.answer(case._replace(arrays=clean))
        places = ~np.isnan(should.output)
        assert np.array_equal(should.output[places], without.output[places])
        assert np.array_equal(should.bound, without.bound)


@pytest.mark.parametrize("id", CASES)
def test_the_reference_agrees_with_the_plain_loops(id):
    case = CASES[id]
    if not case.valid:
        assert run(case, reference) == run(case, loops) == "refused"
        return
    should, got = answer(id), run(case, reference)
    assert right(got, should.output, should.bound)
    assert should.bound.max(initial=0) < 1e-6 * max(1, np.abs(np.nan_to_num(should.output)).max(initial=1))


@pytest.mark.slow
def test_most_cases_are_exact_in_half_precision():
    exact = [id for id, case in CASES.items() if case.valid and not answer(id, "half").bound.any()]
    assert len(exact) > len(CASES) / 2


def test_usual_shapes_are_exact_in_half_precision_where_they_can_be():
    usual = [id for id, case in CASES.items() if "UsualShape" in case.flags]
    rounded = {id for id in usual if answer(id, "half").bound.any()}
    assert {id for id in rounded if not id.startswith(("avg_pool", "decode-")) or "nearest" in id} == set()
    assert len(usual) - len(rounded) > 30


def test_the_shipped_vectors_are_regenerated_bit_for_bit():
    shipped = SHIPPED.read_bytes()
    assert len(shipped) < 1.5e6
    assert vectors.manifest().encode() == shipped


@pytest.mark.slow
def test_the_vectors_are_the_same_on_an_older_processor():
    """OpenBLAS takes the kernels of this one, which add up in another order; another library ignores it."""
    code = "import sys; from decoding.testing import vectors; sys.stdout.buffer.write(vectors.manifest().encode())"
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Prescott", "PYTHONPATH": str(ROOT)}
    made = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True).stdout
    assert made == SHIPPED.read_bytes()


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("format", vectors.FORMATS)
def test_what_is_exported_is_verified(format, tmp_path, capsys):
    assert main(["export", str(tmp_path), "--format", format]) == 0
    assert main(["verify", str(tmp_path)]) == 1  # nothing was written yet
    write(tmp_path, reference, format)
    capsys.readouterr()
    assert main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{len(FEW)} passed\n"


@pytest.mark.usefixtures("few")
def test_where_the_bound_says_nothing_a_case_is_not_judged(tmp_path, capsys):
    main(["export", str(tmp_path), "--precision", "half"])
    vague = {id for id in FEW if CASES[id].valid and (answer(id, "half").bound >= 1e300).any()}
    write(tmp_path, reference, "npz")
    verdicts = vectors.verify(tmp_path)
    assert {each.id for each in verdicts if each.status == "not judged"} == vague
    assert "correlate-large" in vague  # its sums do not fit into half precision
    assert {each.status for each in verdicts} == {"passed", "not judged"}
    (tmp_path / "correlate-large.got.npy").unlink()
    assert {each.id for each in vectors.verify(tmp_path) if each.status == "FAILED"} == {"correlate-large"}


def square_transposed(filters):
    return filters.swapaxes(2, 3) if filters.shape[2] == filters.shape[3] else filters


def bottom_right_zeros(x, pad):
    """Padded with zeros that count, below and on the right alone; cases with other pads come out in another shape."""
    return np.pad(x, ((0, 0), (0, 0), (0, pad[1]), (0, pad[3])))


def mirrored(pad):
    top, bottom, left, right = pad
    return bottom, top, right, left


def in_blocks(answer, axis, block):
    """Whole blocks alone are computed, where there is one."""
    whole = answer.shape[axis] // block * block
    if whole:
        np.moveaxis(answer, axis, 0)[whole:] = 0
    return answer


def clamping(maps, *, size, stride, mode):
    if mode != "bilinear":
        return reference.unpool(maps, size=size, stride=stride, mode=mode)
    rows, columns = (clamped(n, z, s) for n, z, s in zip(maps.shape[2:], size, stride, strict=True))
    return rows @ maps @ columns.T


def failing(operator, wrong):
    """The cases that a backend with one wrong operator does not pass."""
    mutant = type("Mutant", (), {name: staticmethod(getattr(reference, name)) for name in OPERATORS})
    setattr(mutant, operator, staticmethod(wrong))
    asked = [id for id, case in CASES.items() if case.net or case.operator == operator]
    return [id for id in asked if not passes(id, run(CASES[id], mutant))]


def passes(id, got):
    """As `verify` judges."""
    case = CASES[id]
    if isinstance(got, str):
        return not case.valid or np.isnan(answer(id).output).any()
    return case.valid and right(got, answer(id).output, answer(id).bound)


@pytest.mark.parametrize(
    ("flag", "operator", "wrong"),
    [
        ("FlippedColumns", "correlate", lambda x, f, b, **o: reference.correlate(x, f[..., ::-1], b, **o)),
        ("FlippedRows", "substitute", lambda z, f, **o: reference.substitute(z, f[:, :, ::-1], **o)),
        ("Bias", "correlate", lambda x, f, b, **o: reference.correlate(x, f, -b, **o)),
        ("SwappedStrides", "substitute", lambda z, f, stride: reference.substitute(z, f, stride=stride[::-1])),
        ("ZeroStart", "max_pool", lambda x, **o: np.maximum(reference.max_pool(x, **o), 0)),
        ("Transposed", "correlate", lambda x, f, b, **o: reference.correlate(x, square_transposed(f), b, **o)),
        ("PadValue", "max_pool", lambda x, pad, **o: reference.max_pool(bottom_right_zeros(x, pad), pad=0, **o)),
        ("CountedPadding", "avg_pool", lambda x, pad, **o: reference.avg_pool(bottom_right_zeros(x, pad), pad=0, **o)),
        ("ClampedEdge", "unpool", lambda z, **o: clamping(z, **o)),
        ("Leak", "relu", lambda x, leak: reference.relu(x)),
        ("Gain", "unpool", lambda z, **o: 4 * reference.unpool(z, **o)),
        (
            "UnknownMode",
            "unpool",
            lambda z, mode, **o: reference.unpool(z, mode=mode if mode != "cubic" else "bicubic", **o),
        ),
        ("DroppedNaN", "max_pool", lambda x, **o: reference.max_pool(np.where(np.isnan(x), -np.inf, x), **o)),
        ("DroppedNaN", "avg_pool", lambda x, **o: reference.avg_pool(np.nan_to_num(x), **o)),
        ("DroppedNaN", "relu", lambda x, leak: np.fmax(x, 0) + leak * np.fmin(x, 0)),
        ("DroppedNaN", "substitute", lambda z, f, **o: reference.substitute(np.nan_to_num(z), f, **o)),
        ("Leak", "relu", lambda x, leak: np.maximum(x, leak * x)),
        ("MirroredPads", "correlate", lambda x, f, b, pad, **o: reference.correlate(x, f, b, pad=mirrored(pad), **o)),
        ("Remainder", "correlate", lambda x, f, b, **o: in_blocks(reference.correlate(x, f, b, **o), 1, 8)),
        ("Remainder", "substitute", lambda z, f, **o: in_blocks(reference.substitute(z, f, **o), 1, 16)),
        ("Remainder", "max_pool", lambda x, **o: in_blocks(reference.max_pool(x, **o), 3, 16)),
        ("Remainder", "unpool", lambda z, **o: in_blocks(reference.unpool(z, **o), 3, 8)),
        ("WrongAxis", "softmax", lambda x: reference.softmax(np.swapaxes(x, 1, 2)).swapaxes(1, 2)),
    ],
)
def test_a_wrong_program_fails_with_its_flag(flag, operator, wrong):
    failed = failing(operator, wrong)
    assert any(flag in CASES[id].flags for id in failed)
    assert {id.split("-")[0] for id in failed} <= {operator, "forward", "decode", "refused"}


def last_off_by_one(operator, condition):
    """Wrong where the condition on the arrays and the options holds."""

    def wrong(*arrays, **options):
        got = np.array(getattr(reference, operator)(*arrays, **options))
        if condition(*arrays, **options):
            got[..., -1:] += 1
        return got

    return operator, wrong


def beyond(operator, axis, array=0):
    return "Long", *last_off_by_one(operator, lambda *arrays, **_: arrays[array].shape[axis] > 64)


def rounded(array, bits=11):
    fraction, exponent = np.frexp(array)
    return np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)


def of_few_bits(x, filters, *bias, **options):
    if filters.shape[1 if bias else 0] % 8 == 0:
        x, filters = rounded(x), rounded(filters)
    return (reference.correlate if bias else reference.substitute)(x, filters, *bias, **options)


def without_small_weights(x, filters, *bias, **options):
    filters = np.where(np.abs(filters) < 1e-4 * np.abs(filters).max(), 0, filters)
    return (reference.correlate if bias else reference.substitute)(x, filters, *bias, **options)


def by_reciprocals(dtype):
    def unpool(maps, *, size, stride, mode):
        if mode != "nearest" or size != stride or np.isnan(maps).any():
            return reference.unpool(maps, size=size, stride=stride, mode=mode)
        for axis, step in zip((2, 3), stride, strict=True):
            places = np.arange(maps.shape[axis] * step).astype(dtype) * (dtype(1) / dtype(step))
            maps = maps.take(np.floor(places).astype(int), axis=axis)
        return maps

    return unpool


def mirrored_once(maps, *, size, stride, mode):
    if mode != "bilinear" or np.less(size, stride).any():
        return reference.unpool(maps, size=size, stride=stride, mode=mode)
    for axis, (window, step) in enumerate(zip(size, stride, strict=True), 2):
        n = maps.shape[axis]
        u = (np.arange((n - 1) * step + window) - (window - 1) / 2) / step
        u = np.where(u < 0, -1 - u, np.where(u > n - 1, 2 * n - 1 - u, u)).clip(-0.5, n - 0.5)
        i = np.floor(u).astype(int)
        share = (u - i).reshape(-1, *[1] * (3 - axis))
        maps = (1 - share) * maps.take(i.clip(0, n - 1), axis) + share * maps.take((i + 1).clip(0, n - 1), axis)
    return maps


def pads_of_windows(pool):
    """Zeros where a window sees nothing, in place of a refusal."""

    def wrong(x, *, size, stride, pad):
        if np.greater_equal(pad, np.repeat(size, 2)).any():
            return np.zeros((*x.shape[:2], 1, 1))
        return pool(x, size=size, stride=stride, pad=pad)

    return wrong


def steps(operator, window, step):
    """Wrong for windows of this side in steps of this one."""

    def condition(*arrays, stride, size=None, **_):
        return (arrays[1].shape[2:] if size is None else size, stride) == ((window, window), (step, step))

    return "UnusualSteps", *last_off_by_one(operator, condition)


def fast(operator, condition):
    """Wrong for some filters (K, C, h, w), given `condition(K, C, h, step)`; those of substitution are (C, K, h, w)."""

    def met(x, filters, *bias, stride, **_):
        k, c, h, _ = filters.shape
        return condition(*((k, c) if bias else (c, k)), h, stride[0])

    return "FastPath", *last_off_by_one(operator, met)


BANKS = ("correlate", "substitute")
POOLS = ("max_pool", "avg_pool")


@pytest.mark.parametrize(
    ("flag", "operator", "wrong"),
    [
        *(beyond(operator, axis) for operator in OPERATORS for axis in range(4)),
        beyond("correlate", 0, 1),
        beyond("substitute", 0, 1),
        *(("Long", *last_off_by_one(op, lambda x, f, *_, **o: f[0].size > 1024)) for op in BANKS),
        *(("Long", *last_off_by_one(op, lambda x, f, *_, **o: f[0, 0].size > 255)) for op in BANKS),
        *(("Long", *last_off_by_one(op, lambda x, size, **o: np.prod(size) > 255)) for op in (*POOLS, "unpool")),
        *(("Long", *last_off_by_one(op, lambda x, *_, **o: min(x.shape[2:]) > 32)) for op in ("correlate", *POOLS)),
        *(fast(op, lambda k, c, h, step: (h, step) == (3, 1) and c >= 8) for op in BANKS),
        *(fast(op, lambda k, c, h, step: h == 1 and c > 16) for op in BANKS),
        *(fast(op, lambda k, c, h, step: k >= 16 and c >= 16) for op in BANKS),
        ("FastPath", *last_off_by_one("relu", lambda x, leak: leak == 0 and x.shape[3] > 8)),
        *(
            ("FastPath", *last_off_by_one(op, lambda x, size, **_: size == (3, 3) and min(x.shape[2:]) > 8))
            for op in POOLS
        ),
        *(steps(op, side, side) for op in (*BANKS, *POOLS) for side in (3, 5)),
        *(steps(op, *pair) for op in POOLS for pair in ((5, 2), (4, 3))),
        ("UnusualSteps", *last_off_by_one("unpool", lambda z, size, stride, mode: min(size) > 4 and size != stride)),
        ("LargePads", *last_off_by_one("correlate", lambda x, f, b, pad, **_: max(pad) > 3)),
        *(("LargePads", *last_off_by_one(op, lambda x, pad, **_: max(pad) > 3)) for op in POOLS),
        *(
            ("LargePads", *last_off_by_one(op, lambda x, size, **_: np.greater(size, x.shape[2:]).all()))
            for op in POOLS
        ),
        ("Leak", "relu", lambda x, leak: reference.relu(x, leak=min(leak, 2.0))),
        ("Leak", "relu", lambda x, leak: reference.relu(x, leak=max(leak, -1.0))),
        ("MirroredOnce", "unpool", mirrored_once),
        *(("RoundedPlace", "unpool", by_reciprocals(dtype)) for dtype in (np.float16, np.float32, np.float64)),
        *((flag, op, wrong) for flag, wrong in (("ShortProducts", of_few_bits), ("DroppedSmall", without_small_weights)) for op in BANKS),
        *(("PadTooLarge", op, pads_of_windows(getattr(reference, op))) for op in POOLS),
        (
            "UnknownMode",
            "unpool",
            lambda z, mode, **o: reference.unpool(z, mode={"linear": "bilinear"}.get(mode, mode), **o),
        ),
    ],
)  # fmt: skip
def test_what_passed_version_2_fails_version_3_with_its_flag(flag, operator, wrong):
    failed = [CASES[id] for id in failing(operator, wrong)]
    assert {case.since for case in failed} == {3}
    assert any(flag in case.flags for case in failed)


def without(key):
    return lambda row: [layer.pop(key, None) for layer in row["layers"]]


def changed(key, condition, value):
    """Another value where the condition holds of a layer."""

    def change(row):
        for layer in row["layers"]:
            if condition(layer.get(key)):
                layer[key] = value(layer[key]) if callable(value) else value

    return change


def cut(row):
    row["layers"] = row["layers"][:9]
    if "layer" in row["parameters"]:
        row["parameters"]["layer"] = min(row["parameters"]["layer"], 9)


@pytest.mark.parametrize(
    ("flag", "change"),
    [
        ("Dilation", changed("dilation", lambda given: given == [2, 2], [1, 1])),
        ("Groups", changed("groups", lambda given: given and given > 3, 2)),
        ("Deep", cut),
        ("Gains", without("gain")),
        ("Branches", changed("inputs", lambda given: len(given) > 1, lambda given: given[:1])),
        ("Branches", changed("inputs", lambda given: len(set(given)) < len(given), lambda given: given[:1])),
    ],
)
def test_what_is_wrong_with_networks_of_version_3_alone_fails(flag, change):
    failed = []
    for row in strict_manifest()["cases"]:
        if "layers" in row:
            change(row)
            try:
                accepted = consumer_accepts(row, reference)
            except (ValueError, IndexError, KeyError, StopIteration):
                accepted = False
            if not accepted:
                failed.append(row)
    assert {row["since"] for row in failed} == {3}
    assert any(flag in row["flags"] for row in failed)


def passed(case, wrong=None):
    """The stages of a whole forward pass, the stage `wrong` off by one."""
    found = {}
    for number, values in stages.forward(case.net, 4).answers(case.arrays["x"], reference):
        values += number == wrong  # the walk goes on with it
        found[f"got{number}"] = values
    return {"got": values, **found}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("format", ["npz", "npy", "mat", "json"])
def test_the_first_stage_that_differs_is_named(format, tmp_path):
    from scipy.io import savemat

    vectors.export(tmp_path, format=format)
    case = CASES["forward-small"]
    for wrong in (None, 2):
        found = passed(case, wrong)
        if format == "json":
            (tmp_path / "results.json").write_text(json.dumps({case.id: {k: v.tolist() for k, v in found.items()}}))
        for key, values in found.items():
            if format == "npy":
                np.save(tmp_path / case.id / f"{key}.npy", values)
            elif format == "npz":
                np.save(tmp_path / f"{case.id}.{key}.npy", values)
            elif format == "mat":
                savemat(tmp_path / f"{case.id}.{key}.mat", {key: values})
        (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == case.id]
        if wrong is None:
            assert verdict.status == "passed"
        else:
            assert "stage 2 is the first that differs" in verdict.detail


@pytest.mark.usefixtures("few")
def test_a_wrong_stage_fails_whatever_comes_out_in_the_end(tmp_path):
    vectors.export(tmp_path, format="json")
    case = CASES["forward-small"]
    entry = {key: value.tolist() for key, value in (passed(case) | {"got3": passed(case, 3)["got3"]}).items()}
    (tmp_path / "results.json").write_text(json.dumps({case.id: entry}))
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == case.id]
    assert (verdict.status, "stage 3 is the first" in verdict.detail) == ("FAILED", True)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("entry", "status"), [("refused", "FAILED"), ("unsupported", "unsupported")])
def test_a_word_may_stand_in_an_object(entry, status, tmp_path):
    vectors.export(tmp_path, format="json")
    (tmp_path / "results.json").write_text(
        json.dumps({"relu-leak": {"got": entry}, "refused-mode": {"got": "refused"}})
    )
    verdicts = {verdict.id: verdict.status for verdict in vectors.verify(tmp_path)}
    assert (verdicts["relu-leak"], verdicts["refused-mode"]) == (status, "passed")


@pytest.mark.usefixtures("few")
def test_stages_alone_are_no_answer(tmp_path):
    vectors.export(tmp_path, format="json")
    entry = {key: value.tolist() for key, value in passed(CASES["forward-small"]).items() if key != "got"}
    (tmp_path / "results.json").write_text(json.dumps({"forward-small": entry}))
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == "forward-small"]
    assert verdict.detail == "nothing was written, where an answer is due"


def listing(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("format", vectors.FORMATS)
def test_a_folder_that_is_not_empty_is_refused_and_left_as_it_is(format, tmp_path, capsys):
    vectors.export(tmp_path, format=format)
    write(tmp_path, reference, format)
    before = listing(tmp_path)
    for again in vectors.FORMATS:
        assert main(["export", str(tmp_path), "--format", again]) == 2
        assert "must be empty or new" in capsys.readouterr().err
    assert listing(tmp_path) == before


def test_somebody_s_files_are_not_mixed_with_vectors(tmp_path):
    (tmp_path / "thesis.mat").write_bytes(b"years of work")
    with pytest.raises(decoding.InvalidValueError, match=r"It holds thesis\.mat\. Remove"):
        vectors.export(tmp_path, format="mat")
    assert listing(tmp_path) == {Path("thesis.mat"): b"years of work"}


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("fails", ["replacing", "_arrays"])
@pytest.mark.parametrize("format", vectors.FORMATS)
def test_an_export_that_fails_leaves_nothing_that_is_taken_for_vectors(format, fails, tmp_path, monkeypatch):
    """The manifest cannot be written, or the arrays of the last case cannot."""
    works = getattr(vectors, fails)

    def full(what, *rest):
        if (what.id if fails == "_arrays" else what.name) in ("manifest.json", "refused-mode"):
            raise OSError("no space left on device")
        return works(what, *rest)

    monkeypatch.setattr(vectors, fails, full)
    with pytest.raises(OSError, match="no space"):
        vectors.export(tmp_path, format=format)
    assert not (tmp_path / "manifest.json").exists()
    with pytest.raises(decoding.DataFormatError, match="no vectors"):
        vectors.verify(tmp_path)


@pytest.mark.usefixtures("few")
def test_two_results_of_one_case_fail_it(tmp_path):
    vectors.export(tmp_path)
    write(tmp_path, reference, "npz")
    np.save(tmp_path / "refused-mode.got.npy", np.ones(1))  # and refused-mode.refused, of another run
    (tmp_path / "results.json").write_text(json.dumps({"relu-leak": [[[[-1, 3, -2, 0]]]]}))
    failed = {verdict.id: verdict.detail for verdict in vectors.verify(tmp_path) if verdict.status != "passed"}
    assert set(failed) == {"refused-mode", "relu-leak"}
    assert "there is more than one: refused-mode.got.npy, refused-mode.refused" in failed["refused-mode"]
    assert "relu-leak.got.npy, results.json" in failed["relu-leak"]


@pytest.mark.usefixtures("few")
def test_matlab_drops_sides_of_one_at_the_end_and_reads_a_bias_as_a_row(tmp_path):
    from scipy.io import loadmat, savemat

    def as_matlab(array):
        sides = list(array.shape)
        while len(sides) > 2 and sides[-1] == 1:
            sides.pop()
        return np.asfortranarray(array.reshape(sides))

    vectors.export(tmp_path, format="mat")
    assert loadmat(tmp_path / "correlate-bias.mat")["bias"].shape == (1, 2)
    for case in vectors.cases():
        got = run(case, reference)
        if isinstance(got, str):
            (tmp_path / f"{case.id}.{got}").touch()
        else:
            savemat(tmp_path / f"{case.id}.got.mat", {"got": as_matlab(got)})
    assert {verdict.status for verdict in vectors.verify(tmp_path)} == {"passed"}


@pytest.mark.usefixtures("few")
def test_a_mat_file_without_the_variable_says_so(tmp_path):
    from scipy.io import savemat

    vectors.export(tmp_path, format="mat")
    savemat(tmp_path / "relu-leak.got.mat", {"y": np.ones((1, 1, 1, 4))})
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == "relu-leak"]
    assert "relu-leak.got.mat holds no variable got" in verdict.detail


@pytest.mark.usefixtures("few")
def test_nan_is_never_within_the_bound(tmp_path):
    vectors.export(tmp_path)
    np.save(tmp_path / "softmax-equal.got.npy", np.full((1, 2, 1, 1), np.nan))
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == "softmax-equal"]
    assert verdict.status == "FAILED"


@pytest.mark.usefixtures("few")
def test_nan_is_right_where_nan_is_due_and_nowhere_else(tmp_path):
    vectors.export(tmp_path)
    write(tmp_path, reference, "npz")
    for id in ("max_pool-nan", "relu-nan"):
        np.save(tmp_path / f"{id}.got.npy", np.full(vectors.answer(CASES[id]).output.shape, np.nan))
    failed = {verdict.id: verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"}
    assert set(failed) == {"max_pool-nan", "relu-nan"}
    assert "2 of 4 values are wrong; the worst is at (0, 0, 0, 0): nan instead of -0.0" in str(failed["relu-nan"])


@pytest.mark.usefixtures("few")
def test_what_has_nan_may_be_refused(tmp_path):
    vectors.export(tmp_path)
    write(tmp_path, reference, "npz")
    for id in ("max_pool-nan", "relu-nan", "relu-leak"):
        (tmp_path / f"{id}.got.npy").unlink()
        (tmp_path / f"{id}.refused").touch()
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert (failed.id, failed.detail) == ("relu-leak", "refused, where an answer is due")


@pytest.mark.usefixtures("few")
def test_imaginary_parts_are_not_dropped(tmp_path):
    vectors.export(tmp_path)
    write(tmp_path, reference, "npz")
    right = np.load(tmp_path / "relu-leak.got.npy")
    np.save(tmp_path / "relu-leak.got.npy", right + 5j)
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert failed.id == "relu-leak"
    assert "it holds complex128, not real numbers" in failed.detail


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: b"PK\x03\x04" + data])
@pytest.mark.parametrize("format", ["npz", "mat"])
def test_a_damaged_result_fails_its_case_alone(format, damage, tmp_path):
    vectors.export(tmp_path, format=format)
    write(tmp_path, reference, format)
    (path,) = tmp_path.glob("softmax-far.got.*")
    path.write_bytes(damage(path.read_bytes()))
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert failed.id == "softmax-far"
    assert failed.flags == CASES["softmax-far"].flags


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("value", [[[1, 2], [3]], None, {}, [["1"]], [None]])
def test_entries_that_are_no_arrays_fail_their_case_alone(value, tmp_path):
    vectors.export(tmp_path, format="json")
    write(tmp_path, reference)
    written = json.loads((tmp_path / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**written, "relu-leak": value}))
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert failed.id == "relu-leak"


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("format", ["json", "npz", "npy", "mat"])
def test_results_for_cases_that_do_not_exist_fail(format, tmp_path):
    vectors.export(tmp_path, format=format)
    write(tmp_path, reference, format)
    if format == "json":
        written = json.loads((tmp_path / "results.json").read_text())
        (tmp_path / "results.json").write_text(json.dumps({**written, "relu-leek": [1]}))
    elif format == "npy":
        (tmp_path / "relu-leek").mkdir()
        np.save(tmp_path / "relu-leek" / "got.npy", np.ones(1))
    else:
        (tmp_path / "relu-leek.refused").touch()
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert (failed.id, failed.status) == ("relu-leek", "FAILED")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("id", "key"),
    [
        *(("zz", "got1"), ("relu-leak", "got1"), ("relu-leak", "gotten"), ("refused-mode", "got1")),
        *(("forward-small", "got9"), ("forward-small", "got0"), ("decode-first", "got2")),
    ],
)
@pytest.mark.parametrize("format", partly(["json", "npz", "npy", "mat"], day=lambda i: i < 2))
def test_stages_that_do_not_exist_fail(format, id, key, tmp_path):
    vectors.export(tmp_path, format=format)
    write(tmp_path, reference, format)
    if format == "json":
        written = json.loads((tmp_path / "results.json").read_text())
        (tmp_path / "results.json").write_text(json.dumps({**written, id: {"got": written.get(id), key: [1]}}))
    elif format == "npy":
        (tmp_path / id).mkdir(exist_ok=True)
        np.save(tmp_path / id / f"{key}.npy", np.ones(1))
    elif format == "npz":
        np.save(tmp_path / f"{id}.{key}.npy", np.ones(1))
    else:
        (tmp_path / f"{id}.{key}.mat").touch()
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert (failed.id, failed.status) == (id, "FAILED")
    assert failed.detail == ("the vectors have no such case" if id == "zz" else f"the case has no {key}")


@pytest.mark.usefixtures("few")
def test_values_that_differ_print_so_that_they_do(tmp_path):
    vectors.export(tmp_path)
    np.save(tmp_path / "unpool-nearest-pixel.got.npy", np.full((1, 1, 2, 2), np.nextafter(7, 8)))
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == "unpool-nearest-pixel"]
    assert "7.000000000000001 instead of 7.0, bound 0" in verdict.detail


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("format", "file", "damage"),
    [
        *(("npz", "relu-leak.npz", damage) for damage in (lambda data: b"", lambda data: data[:-9])),
        *(("npy", "relu-leak/bound.npy", damage) for damage in (lambda data: b"", lambda data: data[:-9])),
        *(("mat", "relu-leak.mat", damage) for damage in (lambda data: b"", lambda data: b"junk\n" * 99)),
        ("json", "manifest.json", lambda data: data[:-9]),
        ("json", "manifest.json", lambda data: b'{"version": 3, "format": "json", "cases": 7}'),
    ],
)
def test_damaged_vectors_are_refused(format, file, damage, tmp_path, capsys):
    vectors.export(tmp_path, format=format)
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(decoding.DataFormatError, match="no vectors that can be read"):
        vectors.verify(tmp_path)
    assert main(["verify", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)


@pytest.mark.usefixtures("few")
def test_vectors_of_another_shape_than_described_are_refused(tmp_path):
    vectors.export(tmp_path, format="npy")
    np.save(tmp_path / "relu-leak" / "bound.npy", np.zeros((1, 1, 1, 3)))
    with pytest.raises(decoding.DataFormatError, match="reshape"):
        vectors.verify(tmp_path)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_list_of_results_is_refused(text, tmp_path):
    vectors.export(tmp_path, format="json")
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(decoding.DataFormatError, match=r"results\.json"):
        vectors.verify(tmp_path)


@pytest.mark.usefixtures("few")
def test_unsupported_is_not_a_pass(tmp_path, capsys):
    vectors.export(tmp_path, format="json")
    (tmp_path / "results.json").write_text(json.dumps(dict.fromkeys(FEW, "unsupported")))
    assert main(["verify", str(tmp_path)]) == 1
    assert f"{len(FEW)} unsupported" in capsys.readouterr().out


@pytest.mark.usefixtures("few")
def test_folders_that_hold_no_vectors_are_refused(tmp_path):
    with pytest.raises(decoding.DataFormatError):
        vectors.verify(tmp_path)
    (tmp_path / "manifest.json").write_text('{"version": 99, "cases": []}')
    with pytest.raises(decoding.DataFormatError, match=r"version 99, and this reads 3\. Export them anew"):
        vectors.verify(tmp_path)
    with pytest.raises(decoding.InvalidValueError, match="csv"):
        vectors.export(tmp_path, format="csv")


@pytest.mark.slow
def test_results_of_older_vectors_are_told_by_the_cases_that_they_lack(tmp_path, capsys):
    new = {case.id for case in CASES.values() if case.since == vectors.VERSION}
    vectors.export(tmp_path / "vectors", format="json")
    results = {id: "refused" if not case.valid else as_json(answer(id).output) for id, case in CASES.items()}
    (tmp_path / "results.json").write_text(json.dumps({id: got for id, got in results.items() if id not in new}))
    assert main(["verify", str(tmp_path / "vectors"), "--results", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert said.count("nothing was written (the case is new in version 3)") == len(new)
    assert said.endswith(f"{len(CASES) - len(new)} passed, {len(new)} FAILED\n")


STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-O2"]
SANITIZED = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def missing(what):
    """A skip; but in CI, where everything is there, a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(f"there is no {what}")


@pytest.fixture(scope="module")
def compiler():
    return shutil.which("cc") or shutil.which("gcc") or missing("C compiler")


def compiled(compiler, text, folder, *options):
    (folder / "decoder.c").write_text(text)
    program = folder / "decoder"
    subprocess.run([compiler, *STRICT, *options, "-o", program, folder / "decoder.c", "-lm"], check=True)
    return program


@pytest.mark.parametrize("options", [[], pytest.param(SANITIZED, marks=pytest.mark.slow)], ids=["strict", "sanitized"])
def test_the_c_program_passes_all_vectors(compiler, options, as_npy, tmp_path, capsys):
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }")
    if options and subprocess.run([compiler, *options, "-o", tmp_path / "empty", tmp_path / "empty.c"]).returncode:
        missing("address sanitizer")
    program = compiled(compiler, (EXAMPLES / "decoder.c").read_text(), tmp_path, *options)
    subprocess.run([program, as_npy], check=True)  # the second program overwrites the first one's results
    assert main(["verify", str(as_npy)]) == 0
    assert capsys.readouterr().out == f"{len(CASES)} passed\n"


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("right", "wrong", "flag"),
    [
        ("sum + bias.at[k]", "sum - bias.at[k]", "Bias"),
        ("(3 * t - 5)", "(3 * t + 5)", "KeysA"),
        (": leak * x.at[i]", ": -leak * x.at[i]", "Leak"),
        ("*cell(f, k, c, u, v) * *cell(x,", "*cell(f, k, c, u, f.w - 1 - v) * *cell(x,", "FlippedColumns"),
        (" || value != value", "", "DroppedNaN"),
        ("layer->stride[a] - layer->pad[2 * a]", "layer->stride[a] + layer->pad[2 * a]", "Branches, Gains"),
        ("*= layer->gain[c]", "*= -layer->gain[c]", "Branches, Gains"),
    ],
)
def test_the_c_program_with_one_sign_flipped_fails_with_the_right_flag(compiler, tmp_path, capsys, right, wrong, flag):
    text = (EXAMPLES / "decoder.c").read_text()
    assert text.count(right) == 1
    vectors.export(tmp_path / "vectors", format="npy")
    subprocess.run([compiled(compiler, text.replace(right, wrong), tmp_path, "-O0"), tmp_path / "vectors"], check=True)
    assert main(["verify", str(tmp_path / "vectors")]) == 1
    text = capsys.readouterr().out
    assert f": FAILED [{flag}]: " in text
    if flag == "Bias":
        assert text.splitlines()[:2] == [
            line[4:]
            for line in PAGE.read_text().splitlines()
            if line.startswith(("    correlate-bias: ", "        Bias: "))
        ]
    failed = [verdict.flags for verdict in vectors.verify(tmp_path / "vectors") if verdict.status == "FAILED"]
    assert tuple(flag.split(", ")) in failed


def test_decoding_has_a_stage_for_each_layer_below():
    for id, case in CASES.items():
        if case.net:
            should = len(case.net.layers) if case.operator == "forward" else case.parameters["layer"]
            assert len(answer(id).stages) == should, id


def test_every_line_of_cases_txt_is_in_the_grammar_of_the_page():
    number = r"-?\d+(\.\d+)?"
    value = rf"({number}(,{number})*|[a-z]+)"
    layer = rf"[A-Z]\w+:inputs=\d+(,\d+)*(:(stride|pad|size|dilation|groups|leak|gain)={value})*"
    line = rf"[A-Za-z0-9_-]+ [a-z_]+ (valid|refused)( (stride|pad|size|leak|mode|layer|k)={value})*( layer\d+={layer})*"
    for case in vectors.cases():
        assert re.fullmatch(line, vectors._line(case)), vectors._line(case)
        assert len(vectors._line(case)) < 2000  # as the page says
        assert len(case.id) < 64
