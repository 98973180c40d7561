"""The golden vectors: sane, reproducible, covered, and able to tell right from wrong."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mutants import clamped

import decoding
from decoding import reference
from decoding.backend import OPERATORS
from decoding.testing import loops, stages, vectors
from decoding.testing.__main__ import main

CASES = {case.id: case for case in vectors.cases()}
SHIPPED = Path(decoding.__file__).parent / "testing" / "golden" / "manifest.json"
EXAMPLES = Path(__file__).parents[1] / "examples" / "backends"


def run(case, backend):
    """A case as a program would run it: an array, or the word "refused"."""
    if case.net is None:
        try:
            return np.asarray(getattr(backend, case.operator)(*case.arrays.values(), **case.parameters))
        except (ValueError, decoding.DecodingError):
            return "refused"
    if case.operator == "forward":
        return case.net.forward(case.arrays["x"], backend=backend)
    layer, k, mode = (case.parameters[key] for key in ("layer", "k", "mode"))
    return decoding.decode_filter(case.net, layer, k, unpool=mode, backend=backend)[np.newaxis]


def write(folder, backend, format="json"):
    results = {}
    for case in CASES.values():
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
            results[case.id] = got.tolist()
    if format != "json":
        for id in results:
            target = folder / id / "refused" if format == "npy" else folder / f"{id}.refused"
            target.parent.mkdir(exist_ok=True)
            target.touch()
        return
    (folder / "results.json").write_text(json.dumps(results))


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
            if parameter == "pad":
                assert any(len(set(pads)) > 1 for pads in values)
    layers = [layer for case in CASES.values() if case.net for layer in case.net.layers]
    assert {layer.kind for layer in layers} == {"Conv", "MaxPool", "AvgPool", "ReLU", "Softmax"}
    assert any(getattr(layer, "groups", 1) > 1 for layer in layers)
    assert any(getattr(layer, "dilation", (1, 1)) != (1, 1) for layer in layers)
    modes = {case.parameters["mode"] for case in CASES.values() if case.operator == "decode_filter"}
    assert modes == set(decoding.interpolation.MODES)


@pytest.mark.parametrize("id", CASES)
def test_the_reference_agrees_with_the_plain_loops(id):
    case = CASES[id]
    if not case.valid:
        assert run(case, reference) == run(case, loops) == "refused"
        return
    answer, got = vectors.answer(case), run(case, reference)
    assert got.shape == answer.output.shape
    assert (np.abs(got - answer.output) <= answer.bound).all()
    assert answer.bound.max(initial=0) < 1e-6 * max(1, np.abs(answer.output).max(initial=1))


def test_most_cases_are_exact_in_half_precision():
    exact = [id for id, case in CASES.items() if case.valid and not vectors.answer(case, "half").bound.any()]
    assert len(exact) > len(CASES) / 2


def test_the_shipped_vectors_are_regenerated_bit_for_bit():
    shipped = SHIPPED.read_bytes()
    assert len(shipped) < 10**6
    assert vectors.manifest().encode() == shipped


@pytest.mark.parametrize("format", vectors.FORMATS)
def test_what_is_exported_is_verified(format, tmp_path, capsys):
    assert main(["export", str(tmp_path), "--format", format]) == 0
    assert main(["verify", str(tmp_path)]) == 1  # nothing was written yet
    write(tmp_path, reference, format)
    capsys.readouterr()
    assert main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{len(CASES)} passed\n"


def square_transposed(filters):
    return filters.swapaxes(2, 3) if filters.shape[2] == filters.shape[3] else filters


def bottom_right_zeros(x, pad):
    """Padded with zeros that count, below and on the right alone; cases with other pads come out in another shape."""
    return np.pad(x, ((0, 0), (0, 0), (0, pad[1]), (0, pad[3])))


def clamping(maps, *, size, stride, mode):
    if mode != "bilinear":
        return reference.unpool(maps, size=size, stride=stride, mode=mode)
    rows, columns = (clamped(n, z, s) for n, z, s in zip(maps.shape[2:], size, stride, strict=True))
    return rows @ maps @ columns.T


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
        ("WrongAxis", "softmax", lambda x: reference.softmax(np.swapaxes(x, 1, 2)).swapaxes(1, 2)),
    ],
)
def test_a_wrong_program_fails_with_its_flag(flag, operator, wrong, tmp_path):
    vectors.export(tmp_path, format="json")
    mutant = type("Mutant", (), {name: staticmethod(getattr(reference, name)) for name in OPERATORS})
    setattr(mutant, operator, staticmethod(wrong))
    write(tmp_path, mutant)
    failed = [verdict for verdict in vectors.verify(tmp_path) if verdict.status == "FAILED"]
    assert any(verdict.flags == (flag,) or flag in verdict.flags for verdict in failed)
    assert all(vectors.FLAGS[flag] in str(verdict) for verdict in failed if flag in verdict.flags)
    alone = {verdict.id.split("-")[0] for verdict in failed}
    assert alone <= {operator, "forward", "decode", "refused"}


def test_the_first_stage_that_differs_is_named(tmp_path):
    vectors.export(tmp_path)
    case = CASES["forward-small"]
    values = case.arrays["x"]
    for number, step in enumerate(stages.forward(case.net, 4), 1):
        values = np.asarray(step.run(values, reference)) + (number == 2)
        np.save(tmp_path / f"{case.id}.got{number}.npy", values)
    np.save(tmp_path / f"{case.id}.got.npy", values)
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == case.id]
    assert "stage 2 is the first that differs" in verdict.detail


def test_nan_is_never_within_the_bound(tmp_path):
    vectors.export(tmp_path)
    np.save(tmp_path / "softmax-equal.got.npy", np.full((1, 2, 1, 1), np.nan))
    (verdict,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.id == "softmax-equal"]
    assert verdict.status == "FAILED"


def test_imaginary_parts_are_not_dropped(tmp_path):
    vectors.export(tmp_path)
    write(tmp_path, reference, "npz")
    right = np.load(tmp_path / "relu-leak.got.npy")
    np.save(tmp_path / "relu-leak.got.npy", right + 5j)
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert failed.id == "relu-leak"
    assert "complex128, which are no real numbers" in failed.detail


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


@pytest.mark.parametrize("value", [[[1, 2], [3]], None, {}, [["1"]], [None]])
def test_entries_that_are_no_arrays_fail_their_case_alone(value, tmp_path):
    vectors.export(tmp_path, format="json")
    write(tmp_path, reference)
    written = json.loads((tmp_path / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps({**written, "relu-leak": value}))
    (failed,) = [verdict for verdict in vectors.verify(tmp_path) if verdict.status != "passed"]
    assert failed.id == "relu-leak"


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


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_damaged_list_of_results_is_refused(text, tmp_path):
    vectors.export(tmp_path, format="json")
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(decoding.DataFormatError, match=r"results\.json"):
        vectors.verify(tmp_path)


def test_unsupported_is_not_a_pass(tmp_path, capsys):
    vectors.export(tmp_path, format="json")
    (tmp_path / "results.json").write_text(json.dumps(dict.fromkeys(CASES, "unsupported")))
    assert main(["verify", str(tmp_path)]) == 1
    assert f"{len(CASES)} unsupported" in capsys.readouterr().out


def test_folders_that_hold_no_vectors_are_refused(tmp_path):
    with pytest.raises(decoding.DataFormatError):
        vectors.verify(tmp_path)
    (tmp_path / "manifest.json").write_text('{"version": 99, "cases": []}')
    with pytest.raises(decoding.DataFormatError, match="version 99"):
        vectors.verify(tmp_path)
    with pytest.raises(decoding.InvalidValueError, match="csv"):
        vectors.export(tmp_path, format="csv")


@pytest.fixture(scope="module")
def compiler():
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("there is no C compiler")
    return found


def compiled(compiler, text, folder):
    (folder / "decoder.c").write_text(text)
    program = folder / "decoder"
    subprocess.run([compiler, "-std=c99", "-O1", "-o", program, folder / "decoder.c", "-lm"], check=True)
    return program


def test_the_c_program_passes_all_vectors(compiler, tmp_path, capsys):
    vectors.export(tmp_path / "vectors", format="npy")
    program = compiled(compiler, (EXAMPLES / "decoder.c").read_text(), tmp_path)
    subprocess.run([program, tmp_path / "vectors"], check=True)
    assert main(["verify", str(tmp_path / "vectors")]) == 0
    assert capsys.readouterr().out == f"{len(CASES)} passed\n"


@pytest.mark.parametrize(
    ("right", "wrong", "flag"),
    [
        ("sum + bias.at[k]", "sum - bias.at[k]", "Bias"),
        ("(3 * t - 5)", "(3 * t + 5)", "KeysA"),
        (": leak * x.at[i]", ": -leak * x.at[i]", "Leak"),
        ("*cell(f, k, c, u, v) * *cell(x,", "*cell(f, k, c, u, f.w - 1 - v) * *cell(x,", "FlippedColumns"),
    ],
)
def test_the_c_program_with_one_sign_flipped_fails_with_the_right_flag(compiler, tmp_path, right, wrong, flag):
    text = (EXAMPLES / "decoder.c").read_text()
    assert text.count(right) == 1
    vectors.export(tmp_path / "vectors", format="npy")
    subprocess.run([compiled(compiler, text.replace(right, wrong), tmp_path), tmp_path / "vectors"], check=True)
    failed = [verdict.flags for verdict in vectors.verify(tmp_path / "vectors") if verdict.status == "FAILED"]
    assert (flag,) in failed
