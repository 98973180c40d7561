"""How time grows with units, images, depth, image size and branches: draws docs/images/benchmarks-growth.png. Called by run.py --save.

``python growth.py SIDE`` measures one side in its own process and prints JSON; ``python growth.py --draw`` draws again what was
measured last, from docs/benchmarks-growth.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nets import TorchGraph
from work import THREADS, Torch, TorchSubstitution, basic_blocks, multiplications, plain18, stem, vgg16

import decoding
from decoding import Conv, Network, fast, reference

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURE, NUMBERS = DOCS / "images" / "benchmarks-growth.png", DOCS / "benchmarks-growth.json"
UNITS = (8, 32, 128, 512, 2048)
IMAGES = (16, 64, 256, 1024, 4096)
DEPTHS = ("conv1_2", "conv2_2", "conv3_1", "conv3_3", "conv4_1")
SIZES = (32, 64, 128, 256)
BLOCKS = (1, 2, 4, 8, 16)
BACKENDS = {"fast": fast, "reference": reference}


def best(run: Callable[[], Any]) -> float:
    """Seconds: the least of three, or of one if that takes more than two seconds."""
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < 2:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def wide(units: int) -> Network:
    """LeNet with so many units in layer 5."""
    filters = np.random.default_rng(units).standard_normal((units, 50, 4, 4), np.float32)
    return Network([*decoding.lenet().layers[:4], Conv(filters)])


def residual(blocks: int) -> Network:
    """So many residual blocks of 16 channels: each doubles the number of paths."""
    return basic_blocks((16,), (blocks,), stem(16, 3, 1), f"1.{blocks - 1}")


def noise(side: int) -> Any:
    """Four images."""
    return np.random.default_rng(side).standard_normal((4, 3, side, side), np.float32)


def measured(side: str) -> dict[str, list[float]]:
    """Seconds, for each panel."""
    return measured_torch() if side == "torch" else measured_ours(BACKENDS[side])


def measured_torch() -> dict[str, list[float]]:
    net, vgg = decoding.lenet(), vgg16()
    rival, deep, graph = Torch(net), Torch(vgg), TorchGraph(plain18(), THREADS)
    inputs = rival.torch.from_numpy(net.normalize(decoding.mnist()[0][: max(IMAGES)]))
    wides = {units: Torch(wide(units)) for units in UNITS}
    nets = {blocks: residual(blocks) for blocks in BLOCKS}
    substitutions = {blocks: TorchSubstitution(each) for blocks, each in nets.items()}
    impulses = np.eye(16, dtype=np.float32)[:, :, np.newaxis, np.newaxis]
    pictures = {side: rival.torch.from_numpy(noise(side)) for side in SIZES}

    def branches(n: int) -> Any:
        return decoding.decode(nets[n], len(nets[n]), impulses, unpool="sum", backend=substitutions[n])

    return {
        "units": [best(lambda n=n: wides[n].decode_units(5, n, "nearest", 100)) for n in UNITS],
        "images": [best(lambda n=n: [list(rival.responses(part)) for part in inputs[:n].split(200)]) for n in IMAGES],
        "depth": [
            best(lambda name=name: deep.decode_units(vgg.index(name), 16, "nearest", 16)) * vgg.channels(name) / 16
            for name in DEPTHS
        ],
        "size": [best(lambda n=n: graph(pictures[n])) for n in SIZES],
        "branches": [best(lambda n=n: branches(n)) for n in BLOCKS],
    }


def measured_ours(backend: Any) -> dict[str, list[float]]:
    net, vgg, graph, nets = decoding.lenet(), vgg16(), plain18(), {units: wide(units) for units in UNITS}
    images = net.normalize(decoding.mnist()[0][: max(IMAGES)])
    pictures, residuals = {side: noise(side) for side in SIZES}, {blocks: residual(blocks) for blocks in BLOCKS}
    decode = partial(decoding.decode_layer, backend=backend)
    return {
        "units": [best(lambda n=n: decode(nets[n], 5)) for n in UNITS],
        "images": [best(lambda n=n: net.forward(images[:n], backend=backend)) for n in IMAGES],
        "depth": [best(lambda name=name: decode(vgg, name)) for name in DEPTHS],
        "size": [best(lambda n=n: graph.forward(pictures[n], backend=backend)) for n in SIZES],
        "branches": [best(lambda n=n: decode(residuals[n], len(residuals[n]), unpool="sum")) for n in BLOCKS],
    }


def draw(found: dict[str, dict[str, list[float]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    vgg, nets = vgg16(), [residual(blocks) for blocks in BLOCKS]
    deep = np.transpose([multiplications(vgg, vgg.index(name), "nearest") for name in DEPTHS])
    branched = np.transpose([multiplications(net, len(net), "sum") for net in nets])
    pixels = [side * side for side in SIZES]
    panels = {
        "units": (
            "Decoding more units\n(LeNet, layer 5, nearest)",
            "units",
            UNITS,
            f"fast's for {UNITS[0]} units",
            {"fast": UNITS, "torch": UNITS},
        ),
        "images": (
            "Running more images\n(LeNet, forward)",
            "images",
            IMAGES,
            f"fast's for {IMAGES[0]} images",
            {"fast": IMAGES, "torch": IMAGES},
        ),
        "depth": (
            "Decoding a deeper layer, all its units\n(VGG-16, nearest)",
            "layer",
            range(len(DEPTHS)),
            f"fast's for {DEPTHS[0]}",
            {"fast": deep[0], "torch": deep[1]},
        ),
        "size": (
            "Larger images\n(ResNet-18's shape, 4 images, forward)",
            "rows, and columns",
            SIZES,
            f"fast's for {SIZES[0]}×{SIZES[0]}",
            {"fast": pixels, "torch": pixels},
        ),
        "branches": (
            "Decoding through more branches, all units\n(n residual blocks: 2ⁿ paths)",
            "residual blocks",
            BLOCKS,
            f"fast's for {BLOCKS[0]} block",
            {"fast": branched[0], "torch": branched[1]},
        ),
    }
    labels = {"fast": "fast", "torch": "PyTorch", "reference": "reference"}
    colours = {"fast": "C0", "torch": "C1", "reference": "C2"}
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 9), layout="constrained")
    axes[-1, -1].set_axis_off()
    for axis, (panel, (title, name, places, one, theory)) in zip(axes.flat, panels.items(), strict=False):
        unit = found["fast"][panel][0]
        for side, series in found.items():
            axis.plot(places, np.array(series[panel]) / unit, "o-", color=colours[side], label=labels[side])
        for side, operations in theory.items():
            line = np.array(operations) / operations[-1] * found[side][panel][-1] / unit
            axis.plot(places, line, ":", color=colours[side], label=f"multiplications, {labels[side]}")
        axis.set(title=title, xlabel=name, ylabel=f"time ÷ {one}", yscale="log")
        axis.set_ylim(top=100 * axis.get_ylim()[1])  # room for the legend
        axis.set_xscale("linear" if panel == "depth" else "log")
        axis.set_xticks([], minor=True)
        axis.set_xticks(list(places), DEPTHS if panel == "depth" else list(map(str, places)))
        axis.legend(fontsize=8, loc="upper left")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


def main() -> None:
    if sys.argv[1:] == ["--draw"]:
        draw(json.loads(NUMBERS.read_text()))
        return
    if len(sys.argv) == 2:
        print(json.dumps(measured(sys.argv[1])))
        return
    sides = ("fast", "torch", "reference")
    commands = {side: [sys.executable, __file__, side] for side in sides}
    found = {side: json.loads(subprocess.run(commands[side], check=True, capture_output=True).stdout) for side in sides}
    NUMBERS.write_text(json.dumps(found, indent=1) + "\n")
    draw(found)


if __name__ == "__main__":
    main()
