"""Measure decoding against PyTorch: ``python tests/benchmarks/run.py [--save] [NAME …]``.

Every side of every piece of work is a process of its own, with the same threads, data and precision. They take turns,
several rounds; each round gives a ratio. Printed are the median of the ratios, the smallest and the largest. With --save
the table and the picture of docs/benchmarks.rst are written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))  # what is measured is this checkout, here as in the processes below, installed or not

from work import THREADS, WORK, multiplications, vgg16  # noqa: E402

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    **{f"{library}_NUM_THREADS": str(THREADS) for library in ("OMP", "OPENBLAS", "MKL")},
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
}

PAUSE = 0.5  # seconds between turns: threads that have no more work spin a while before they sleep

# Operations that LeNet's convolutions need for a digit, and those of the matrix product it is held against.
LENET = 2 * (24 * 24 * 20 * 25 + 8 * 8 * 50 * 500 + 500 * 800 + 10 * 500)
PRODUCT = 2 * 2048**3

# What keeps ours below the speed of a matrix product; docs/benchmarks.rst says more.
FORWARD = "63 % of the time are products at 0.75 of that speed"
BANKS = "copies are added, and filters laid out, in memory"

IMPORT = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
OURS = "import decoding; decoding.decode_filter(decoding.lenet(), 7, 3, backend=decoding.fast)"
RIVAL = """
import sys, torch
from torch.nn.functional import conv_transpose2d, interpolate
torch.set_num_threads(2)
with torch.inference_mode():
    first, second, third, last = torch.load(sys.argv[1])
    maps = conv_transpose2d(conv_transpose2d(torch.eye(10)[3].reshape(1, 10, 1, 1), last), third)
    for filters in (second, first):
        maps = conv_transpose2d(interpolate(maps, scale_factor=2), filters)
"""
WEIGHTS = """
import sys, numpy, torch, decoding
filters = [torch.tensor(numpy.array(each.filters)) for each in decoding.lenet().layers if hasattr(each, "filters")]
torch.save(filters, sys.argv[1])
"""

Round = dict[str, dict[str, Any]]  # of each side: seconds, peak, result, note


def turns(name: str, rounds: int) -> list[Round]:
    """What every side answered, round by round."""
    work, answers = WORK[name], list[Round]()
    with tempfile.TemporaryDirectory() as folder:
        files = {side: f"{folder}/{side}.npy" for side in work.sides}
        # One after the other: what a side prepares takes the cores.
        sides = {side: worker(name, side, file) for side, file in files.items()}
        compare(name, {side: np.load(file) for side, file in files.items()})
    for number in range(min(rounds, 3) if work.slow else rounds):
        answers.append({})
        for side, process in list(sides.items())[:: -1 if number % 2 else 1]:
            if side == "reference" and number:
                continue  # it is there for orientation: one round is enough
            time.sleep(PAUSE)
            process.stdin.write("again\n")
            process.stdin.flush()
            answers[-1][side] = answered(process, name, side)
    for process in sides.values():
        process.communicate()
    return answers


def compare(name: str, found: dict[str, Any]) -> None:
    """All sides must find the same, image by image, unit by unit."""
    apart = {"sgemm", "reference"} if name == "top_images" else {"sgemm"}  # of fewer digits, the best are others
    for side, got in found.items():
        want = found["fast"]
        if side in apart:
            continue
        scale = np.abs(want).reshape(len(want), -1).max(axis=1)
        off = np.abs(got - want).reshape(len(want), -1).max(axis=1) / scale if got.shape == want.shape else np.inf
        # The mean error of fewer digits is another.
        alike = 0.1 if (name, side) == ("equation3", "reference") else np.array(WORK[name].alike)
        if not np.all(off <= alike):
            raise SystemExit(f"{name}: {side} does not compute what fast does: off by {off}, at most {alike}")


def worker(name: str, side: str, file: str) -> Any:
    """A process that is ready to do the work of a side, in batches of the size that another process found fastest."""
    command = [sys.executable, str(HERE / "work.py"), name, side]
    size = "None"
    if side in ("torch", "gradients"):
        size = subprocess.run([*command, "choose"], env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    process = subprocess.Popen(
        [*command, file, size.strip()], env=ENVIRONMENT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    answered(process, name, side)
    return process


def answered(process: Any, name: str, side: str) -> dict[str, Any]:
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{name}: the process of {side} ended with status {process.wait()}")
    return dict(json.loads(line))


def cold(ours: str, rival: str, rounds: int, *arguments: str) -> list[Round]:
    """New processes of both, round by round, after a round that writes bytecode and warms the disk's cache.

    The seconds are those that a process prints, or those it takes as a whole.
    """
    answers: list[Round] = []
    for _ in range(rounds + 1):
        answers.append({})
        for side, code in (("fast", ours), ("torch", rival)):
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", code, *arguments], env=ENVIRONMENT, check=True, capture_output=True
            )
            answers[-1][side] = {"seconds": float(done.stdout or time.perf_counter() - start)}
    return answers[1:]


def measure(name: str, rounds: int) -> list[list[str]]:
    """The rows of the table that a piece of work gives."""
    if name == "import":
        return [
            row(
                f"``{code}`` ÷ ``import numpy``",
                ratios(cold(IMPORT.format(code), IMPORT.format("import numpy"), 3 * rounds), "fast", "torch"),
                most=1.2,
                limit="modules that decoding needs are read",
            )
            for code in ("import numpy, decoding", "from decoding import decode_filter, lenet")
        ]
    if name == "filter-cold":
        with tempfile.TemporaryDirectory() as folder:
            weights = str(Path(folder) / "lenet.pt")
            subprocess.run([sys.executable, "-c", WEIGHTS, weights], env=ENVIRONMENT, check=True)
            answers = cold(OURS, RIVAL, rounds, weights)
        title = "``decode_filter``, LeNet layer 7, a new process, imports included"
        return [row(title, ratios(answers, "torch", "fast"), least=5)]
    work, answers = WORK[name], turns(name, rounds)
    if list(work.sides) == ["fast"]:
        rows = [row(work.title, [each["fast"]["seconds"] for each in answers], most=work.goal)]
        if name == "second-18":
            rows.append(row("the same: peak memory in MB", [answers[-1]["fast"]["peak"]], most=1024))
        return rows
    for base in ("forward", "threads"):
        if base in work.sides:
            return [row(work.title, ratios(answers, "fast", base), most=work.goal, limit=work.limit)]
    if "torch" not in work.sides:
        return [row(work.title, ratios(answers, "one by one", "fast"), least=work.goal)]
    for each in answers:  # PyTorch's faster way
        each["torch"] = min((each[side] for side in ("torch", "gradients") if side in each), key=itemgetter("seconds"))
    rows = [row(work.title, ratios(answers, "torch", "fast"), answers, least=work.goal, limit=work.limit)]
    ours = answers[-1]["fast"]
    if name == "forward":
        share = [ratio * 10_000 * LENET / PRODUCT for ratio in ratios(answers, "sgemm", "fast")]
        rows.append(row("the same: its speed ÷ that of one 2048×2048 matrix product", share, least=0.6, limit=FORWARD))
    if name.startswith("conv"):
        net = vgg16()
        taken, _ = multiplications(net, net.index(name), "nearest")
        share = [ratio * 2 * taken / PRODUCT for ratio in ratios(answers, "sgemm", "fast")]
        rows.append(
            row("the same: its multiplications' speed ÷ that of one matrix product", share, least=0.75, limit=BANKS)
        )
    if name == "equation3":
        rows.append(row("the same: peak memory in MB", [ours["peak"]], most=700))
    if name == "conv5_3":
        rows.append(row("the same: peak memory ÷ its result", [ours["peak"] / ours["result"]], most=3))
    if name == "resnet50-unit":
        rows.append(row("the same: seconds", [each["fast"]["seconds"] for each in answers], most=10))
        rows.append(row("the same: peak memory in MB", [ours["peak"]], most=2048))
    return rows


def ratios(answers: list[Round], over: str, under: str) -> list[float]:
    return [each[over]["seconds"] / each[under]["seconds"] for each in answers if over in each]


def row(
    title: str,
    values: list[float],
    answers: list[Round] | None = None,
    *,
    least: float = 0.0,
    most: float = float("inf"),
    limit: str = "",
) -> list[str]:
    """A row of the table; `limit` says why a goal is not met."""
    goal, met = f"≥ {least:g}" if least else f"≤ {most:g}", least <= median(values) <= most
    cells = [title, shown(values), goal, "yes" if met else "no", "", "", ""]
    if answers:
        last = answers[-1]
        slower = ratios(answers, "reference", "fast")
        cells[4] = shown(slower) if slower else "not measured"
        cells[5] = f"{last['fast']['peak']:.0f} / {last['torch']['peak']:.0f}"
        notes = {"PyTorch": last["torch"]["note"], "reference": answers[0].get("reference", {}).get("note")}
        cells[6] = "; ".join(f"{side}: {note}" for side, note in notes.items() if note)
    if not met and limit:
        cells[6] = "; ".join(filter(None, (f"limit: {limit}", cells[6])))
    return cells


def shown(values: list[float]) -> str:
    """``12.3 (11.9–12.8)``: the median, the smallest and the largest."""
    places = 0 if median(values) >= 99.5 else 1 if median(values) >= 9.95 else 2
    around = f" ({min(values):.{places}f}–{max(values):.{places}f})" if len(values) > 1 else ""
    return f"{median(values):.{places}f}{around}"


HEADER = ["work", "PyTorch ÷ fast", "goal", "met", "reference ÷ fast", "peak MB, fast / PyTorch", "notes"]


def table(rows: list[list[str]]) -> str:
    """A list table of reStructuredText."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 30 16 8 6 12 14 14", ""]
    for cells in [HEADER, *rows]:
        lines += [f"   {' ' if number else '*'} - {cell}".rstrip() for number, cell in enumerate(cells)]
    return "\n".join(lines) + "\n"


def machine(load: float) -> str:
    facts = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = [line.split(":")[1].strip() for line in facts if line.startswith("model name")]
    versions = ", ".join(f"{package} {version(package)}" for package in ("numpy", "threadpoolctl", "torch"))
    blas = {
        f"{each['internal_api']} {each['version']}, {each.get('architecture')} kernels" for each in threadpool_info()
    }
    return (
        f"Measured on {cpu[0] if cpu else platform.machine()}, {os.cpu_count()} cores, {platform.system()}, with Python "
        f"{platform.python_version()}, {versions} ({', '.join(sorted(blas))}), {THREADS} threads, in float32, at a load of {load:.1f} before the run, by ``python tests/benchmarks/run.py --save``.\n"
    )


def main() -> None:
    names = ["import", "filter-cold", *WORK]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"what to measure; all unless given: {', '.join(names)}"
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side (7; at most 3 of what is slow)")
    parser.add_argument(
        "--save", action="store_true", help="write docs/benchmarks-measured.rst and the picture of growth"
    )
    options = parser.parse_args()
    if options.save and options.names:
        parser.error("--save writes the whole table: give no names with it")
    if unknown := set(options.names) - set(names):
        parser.error(f"no such work: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    rows, load = [], os.getloadavg()[0]
    if load > 0.5:
        print(f"The machine is busy (load {load:.1f}): ratios will say more about that than about the programs.")
    for name in options.names or names:
        for each in measure(name, options.rounds):
            rows.append(each)
            print("  ".join(filter(None, each)), flush=True)
    if options.save:
        (ROOT / "docs" / "benchmarks-measured.rst").write_text(machine(load) + "\n" + table(rows), encoding="utf-8")
        subprocess.run([sys.executable, str(HERE / "growth.py")], env=ENVIRONMENT, check=True)
        print("docs/benchmarks-measured.rst and docs/images/benchmarks-growth.png are written.")


if __name__ == "__main__":
    main()
