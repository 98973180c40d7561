"""What an earlier kit let through is refused, kind by kind, on the cases that are always looked at."""

import math
import re
from itertools import combinations, product
from types import SimpleNamespace

import mutation
import numpy as np
import pytest
from afresh import afresh
from attacks import ATTACKS, refusal
from by_day import partly

from decoding import reference
from decoding.testing import check_backend, conditions, drawn, operators, published, shrinking
from decoding.testing.bounds import arithmetic
from decoding.testing.calls import source
from decoding.testing.report import Mismatch

# One of each kind by day, a rectifier if there is one, whose check is soon over; but for groups, whose calls come last, and threads.
SAMPLE = {kind: name for kind, name, *_ in sorted(ATTACKS, key=lambda each: each[1].startswith("relu"))}
SAMPLE |= {"group": "", "thread": ""}


@pytest.mark.parametrize(
    ("name", "checks", "backend"),
    [
        pytest.param(name, checks, backend, marks=[] if SAMPLE[kind] == name else [pytest.mark.slow])
        for kind, name, checks, backend in ATTACKS
    ],
    ids=[name for _, name, *_ in ATTACKS],
)
def test_an_attack_is_refused(name, checks, backend):
    assert refusal(backend, checks) is not None


def test_a_wrong_backend_remembers_no_other_test():
    backend = next(
        backend for _, name, _, backend in ATTACKS if name == "relu: an answer that is kept and handed out again"
    )
    x = np.ones((1, 1, 1, 1))
    first = afresh(backend)
    first.relu(x, leak=0.0)[...] = 77
    assert first.relu(x, leak=0.0) == 77
    assert afresh(backend).relu(x, leak=0.0) == backend.relu(x, leak=0.0) == 1


OPERATORS = ("correlate", "max_pool", "avg_pool", "relu", "softmax", "substitute", "unpool")
BY_DAY = ("relu", "unpool")


@pytest.mark.parametrize("operator", partly(OPERATORS, day=lambda i: OPERATORS[i] in BY_DAY))
def test_every_class_and_every_pair_that_can_occurs(operator):
    rows, found, possible = conditions.covering(operator)
    table = conditions.factors(operator)
    assert found == possible
    for name, classes in table.items():
        assert {row[name] for row in rows} == set(classes)
    together = {((a, row[a]), (b, row[b])) for row in rows for a, b in combinations(table, 2)}
    assert len(together) >= possible
    # Where three are asked for, as a fast path has them: window and step are one class.
    if operator in ("correlate", "substitute"):
        assert {row["channels"] for row in rows if row["window"] == ((3, 3), (1, 1))} >= {8, 16, 32}
    assert {9, 17, 33} <= {row["columns"] for row in rows}
    longest = conditions.LONGEST_UNPOOLED if operator == "unpool" else 4097
    for side in ("images", "channels", "rows", "columns"):
        assert {64, 65, longest} <= {row[side] for row in conditions.thin(operator)}


def sizes(operator, row):
    """What indexes count: of the maps, of a window, of the answer, of a filter, and how far windows move and pads reach."""
    images, channels, cells = row["images"], row["channels"], (row["rows"], row["columns"])
    found = {"numbers": images * channels * math.prod(cells), "cells": math.prod(cells), "side": max(cells)}
    if "window" in row:
        size, step = row["window"]
        pads = operators.PADS[row["pad"]](*size) if "pad" in row else (0,) * 4
        if "pad" in row:
            of = [(n + sum(pads[2 * i : 2 * i + 2]) - size[i]) // step[i] + 1 for i, n in enumerate(cells)]
        else:
            of = [(n - 1) * step[i] + size[i] for i, n in enumerate(cells)]
        maps = row.get("filters", channels)
        found |= {"window": math.prod(size), "answer": images * maps * math.prod(of), "answer's cells": math.prod(of)}
        found |= {"step": max(step), "both steps": min(step), "pad": max(pads)}
        found |= {"filter": (channels if "pad" in row else maps) * math.prod(size)} if "filters" in row else {}
    return found


LARGE = {"numbers": 2**20, "cells": 65792, "side": 65537, "window": 65792, "answer": 2**20, "answer's cells": 65792}
REACHED = {
    "correlate": {**LARGE, "filter": 65552, "step": 257, "both steps": 32, "pad": 256},
    "max_pool": {**LARGE, "step": 257, "both steps": 32, "pad": 255},
    "relu": {"numbers": 2**20, "cells": 65792, "side": 65537},
    "softmax": {"numbers": 2**20, "cells": 65792, "side": 65537},
    "substitute": {**LARGE, "filter": 65552, "step": 257, "both steps": 32},
    "unpool": {**LARGE, "cells": 257 * 256, "side": 257, "answer's cells": 67080, "step": 257, "both steps": 32},
}


@pytest.mark.parametrize("operator", REACHED)
def test_calls_are_as_large_as_the_page_says(operator):
    rows = (*conditions.covering(operator)[0], *conditions.thin(operator))
    found = [sizes(operator, row) for row in rows if row["images"]]
    largest = {name: max(each[name] for each in found) for name in REACHED[operator]}
    assert not {name: most for name, most in REACHED[operator].items() if largest[name] < most}, largest


@pytest.mark.parametrize("operator", OPERATORS)
def test_layers_drawn_at_random_are_the_same_each_time_and_as_the_page_says(operator):
    table = conditions.factors(operator)
    rows = list(drawn.layers(operator, table, groups=True))
    assert rows == list(drawn.layers(operator, table, groups=True))
    thorough = list(drawn.layers(operator, table, groups=True, thorough=True))
    assert thorough[: len(rows)] == rows
    assert len(thorough) == 4 * len(rows)
    rows, deep = (rows[:2400], rows[2400:]) if "filters" in table else (rows, [])
    assert (len(rows), len(deep)) == ((2400, 300) if "filters" in table else (1200, 0))
    for row in deep:
        assert min(row["channels"], row["filters"]) >= 32
        assert max(row["rows"], row["columns"]) <= 32

    def share(holds):
        return sum(map(holds, rows)) / len(rows)

    for side, longest in {"channels": 1000 if operator == "softmax" else 160, "rows": 96, "columns": 96}.items():
        assert 0.75 * longest <= max(row[side] for row in rows) <= longest + 96  # whole groups
    assert 0.12 < share(lambda row: row["type"] == "half") < 0.22
    assert 0.3 < share(lambda row: row["type"] == "single") < 0.5
    assert 0.3 < share(lambda row: "channels last" in row["layout"]) < 0.5
    assert 0.4 < share(lambda row: row["channels"] % 4 == 0) < 0.6
    if "filters" in table:
        few = "channels" if operator == "correlate" else "filters"
        assert 0.2 < share(lambda row: row[few] in (1, 3)) < 0.3
        assert 0.2 < share(lambda row: row.get("groups", 1) > 1) < 0.3
        assert not any("groups" in row for row in drawn.layers(operator, table, groups=False))
    if operator == "softmax":
        assert 0.4 < share(lambda row: row["rows"] == row["columns"] == 1) < 0.65
    if "pad" in table:
        assert share(lambda row: row["window"][0] == (row["rows"], row["columns"])) > 0.1


@pytest.mark.parametrize("operator", [name for name in OPERATORS if "window" in conditions.factors(name)])
def test_square_windows_move_in_unequal_steps_too(operator):
    moved = {row["window"] for row in conditions.thin(operator)}
    assert {((n, n), steps) for n in range(1, 9) for steps in product(range(1, 5), repeat=2)} <= moved


def test_places_that_half_precision_cannot_tell_apart_are_not_asked(monkeypatch):
    double = conditions.plain("unpool", rows=2, columns=3, window=((256, 2), (1, 1)))
    monkeypatch.setattr(conditions, "_rows", lambda *a: [double, double | {"type": "half"}])
    (case,) = conditions.cases("unpool", arithmetic(reference))
    assert case.row == double


def test_the_cheap_ones_come_first():
    cost = [operators.TABLE["correlate"].products(row) for row in conditions.covering("correlate")[0] if row["images"]]
    assert cost == sorted(cost)
    assert max(cost) <= conditions.MOST


def test_layers_are_published_with_what_their_papers_say():
    """By hand: AlexNet's first layer and its second one in two groups; MobileNet's in steps, of 112 columns; the last one of DCGAN."""
    window, none = ((11, 11), (4, 4)), "none"
    assert published._row("3>96 11/4 none 227") == {
        "channels": 3,
        "filters": 96,
        "window": window,
        "pad": none,
        "rows": 227,
        "columns": 227,
    }
    dense, shared = list(published.layers("correlate")), list(published.layers("correlate", groups=True))
    assert {
        "channels": 96,
        "filters": 256,
        "groups": 2,
        "window": ((5, 5), (1, 1)),
        "pad": "half a window",
    }.items() <= shared[0].items()
    steps = next(row for row in shared if row["channels"] == 96 and row["window"] == ((3, 3), (2, 2)))
    assert (steps["groups"], steps["filters"], steps["pad"], steps["columns"]) == (96, 96, "below and right", 112)
    carried = [row for row in published.layers("substitute") if row["window"] == ((4, 4), (2, 2))]
    assert (64, 3) in {(row["channels"], row["filters"]) for row in carried}
    assert all("pad" not in row for row in carried)
    for operator in ("correlate", "substitute"):
        for row in (*published.layers(operator), *published.layers(operator, groups=True)):
            cost = operators.TABLE[operator].products({"images": 1, **row}) / row.get("groups", 1)
            assert cost <= published.MOST or max(row["rows"], row["columns"]) <= max(row["window"][0]) + 1
            assert math.prod((row["channels"], row["filters"], *row["window"][0])) / row.get("groups", 1) <= 2**20
    assert len(dense) + len(shared) > 60
    assert not list(published.layers("relu"))


def test_arrays_of_half_precision_are_printed_as_such():
    row = conditions.plain("relu", columns=5, type="half", leak=0.25)
    case, given = conditions.case("relu", row, arithmetic(reference)), []
    exec(str(case), {"np": np, "backend": SimpleNamespace(relu=lambda x, *, leak: given.append(x))})
    assert given[0].dtype == case.call.arrays[0].dtype == np.float16
    np.testing.assert_array_equal(given[0], case.call.arrays[0])


@pytest.mark.parametrize("layout", conditions.LAYOUTS)
def test_what_is_printed_lies_in_memory_as_what_was_given(layout):
    row = conditions.plain("relu", images=2, channels=3, rows=4, columns=5, layout=layout, leak=0.25)
    case, given = conditions.case("relu", row, arithmetic(reference)), []
    scope = {"np": np, "backend": SimpleNamespace(relu=lambda x, *, leak: given.append(x))}
    exec(str(case), scope)
    (x,), (want,) = given, case.call.arrays
    assert (x.strides, x.dtype, x.flags.writeable) == (want.strides, want.dtype, want.flags.writeable)
    np.testing.assert_array_equal(x, want)
    while isinstance(want.base, np.ndarray) and isinstance(x.base, np.ndarray):
        x, want = x.base, want.base
        assert x.tobytes() == want.tobytes()


# The least sides that the condition of each backend leaves.
SMALLEST = {
    "correlate: 16 channels, 16 filters": [(1, 16, 1, 1), (16, 16, 1, 1)],
    "softmax: more than 40 columns": [(1, 1, 1, 41)],
    "relu: leak 0, over 8 columns": [(1, 1, 1, 9)],
}


@pytest.mark.parametrize("name", SMALLEST)
def test_what_conditions_find_is_shrunk_to_what_the_fault_needs(name, monkeypatch):
    checks, wrong = next((checks, backend) for _, each, checks, backend in ATTACKS if each == name)
    operator = name.partition(":")[0]
    rows = (*conditions.at_random(operator), *conditions.thin(operator))
    far = [row for row in rows if row["type"] == "single" and "last" in row["layout"]]
    monkeypatch.setattr(conditions, "_rows", lambda *_: iter(far))
    failure, given = refusal(wrong, checks), []
    assert re.search(r"\(shrunk from .*layout .*type .*values ", failure.detail)
    asked = SimpleNamespace(**{operator: lambda *arrays, **options: given.append((arrays, options))})
    exec(failure.code, {"np": np, "backend": asked})
    ((arrays, options),) = given
    arrays = [array for array in arrays if array is not None]
    assert [array.shape for array in arrays] == SMALLEST[name]
    assert all(array.dtype == float and np.abs(array).max() <= 3 for array in arrays)
    assert options.get("pad", (0,) * 4) == (0,) * 4
    right, answer = (
        getattr(each, operator)(*arrays, *[None] * (len(arrays) - 1), **options) for each in (reference, wrong)
    )
    assert not np.array_equal(right, answer)


def test_what_does_not_show_when_it_is_asked_again_is_not_shrunk():
    def relu(x, *, leak, seen=set()):  # noqa: B006
        new = x.shape[3] > 4 and x.shape not in seen
        seen.add(x.shape)
        return reference.relu(x, leak=leak) + new

    backend = SimpleNamespace(name="x", eps=2.0**-53, relu=relu)
    (failure,) = check_backend(backend, checks=["relu_conditions"], on_failure="return").failures
    assert "not the same each time" in failure.detail
    assert "shrunk" not in failure.detail


def test_groups_are_as_few_as_the_fault_needs():
    row = conditions.plain("correlate", channels=24, filters=36, rows=5, columns=5, window=((3, 3), (2, 1)))

    def fails(row):
        groups = row.get("groups", 1)
        assert row["channels"] % groups == row["filters"] % groups == 0
        return Mismatch(f"{groups} groups") if groups > 4 else None

    smallest, mismatch = shrinking.shrunk("correlate", row | {"groups": 12}, fails)
    assert (smallest["groups"], smallest["channels"], smallest["filters"]) == (5, 5, 5)
    assert smallest["window"] == ((1, 1), (1, 1))
    assert mismatch.problem == "5 groups"


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
def test_smaller_rows_are_rows(operator):
    grouped = conditions.grouped(operator)[::40] if operator in ("correlate", "substitute") else ()
    shares = ({**row, **{side: row["groups"] * row[side] for side in ("channels", "filters")}} for row in grouped)
    for row in (*conditions.covering(operator)[0][5::40], *conditions.at_random(operator)[::80], *shares):
        for name in shrinking.NAMES:
            for smaller in shrinking.smaller(row, name):
                assert smaller != row
                cost = operators.TABLE[operator].products(smaller)
                if cost <= conditions.SHORT:
                    call = conditions.case(operator, smaller, arithmetic(reference)).call
                    call.on(reference)  # which would refuse what does not fit


def test_zeros_are_printed_with_their_signs():
    for array in (np.array([[[[0.0, -0.0]]]]), np.full((1, 1, 3, 8), -0.0, np.float32)):
        again = eval(source(array), {"np": np})
        assert again.tobytes() == array.tobytes()


def test_numbers_repeat_along_no_side():
    for shape in ((2, 13, 7, 5), (3, 5, 65, 33), (2, 2, 11, 26)):
        a = operators.varied(*shape)
        for axis in range(4):
            first, second = a.take(0, axis), a.take(1, axis)
            assert (first != second).any()


@pytest.mark.usefixtures("few_conditions")
def test_the_report_says_what_was_covered_and_what_not():
    report = check_backend(reference, checks=["relu_conditions", "relu_integers"], examples=2)
    assert set(report.coverage) == {"relu"}
    assert report.coverage["relu"].pairs == report.coverage["relu"].possible > 1000
    assert "covered, classes of conditions: relu " in str(report)
    assert "not covered: sides above 33 in pairs; three together, but by chance" in str(report)
    assert not check_backend(reference, checks=["relu_integers"], examples=2).coverage


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("count", [2, 40])
def test_mutants_of_the_model_are_refused(operator, count):
    found, through = mutation.run(operator, count, 3, strengths=(1, 2))  # which the kit promises
    assert not found[1, "through"] + found[1, "not met"], through
    wrong = sum(found[2, outcome] for outcome in ("refused", "through", "not met"))
    assert found[2, "refused"] >= 0.9 * wrong, through
