"""How time grows with units, images and depth: draws docs/images/benchmarks-growth.png. Called by run.py --save.

``python growth.py SIDE`` measures one side in its own process and prints JSON; ``python growth.py --draw`` draws again what was
measured last, from docs/benchmarks-growth.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from work import Torch, vgg16

import decoding
from decoding import Conv, MaxPool, Network, fast, reference

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURE, NUMBERS = DOCS / "images" / "benchmarks-growth.png", DOCS / "benchmarks-growth.json"
UNITS = (8, 32, 128, 512, 2048)
IMAGES = (16, 64, 256, 1024, 4096)
DEPTHS = ("conv1_2", "conv2_2", "conv3_1", "conv3_3", "conv4_1")
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


def measured(side: str) -> dict[str, list[float]]:
    """Seconds for all units of a layer, for a forward pass, and for all units of a deeper and deeper layer."""
    net, vgg = decoding.lenet(), vgg16()
    images = net.normalize(decoding.mnist()[0][: max(IMAGES)])
    if side == "torch":
        rival, deep = Torch(net), Torch(vgg)
        inputs = rival.torch.from_numpy(images)
        wides = {units: Torch(wide(units)) for units in UNITS}
        return {
            "units": [best(lambda n=n: wides[n].decode_units(5, n, "nearest", 100)) for n in UNITS],
            "images": [
                best(lambda n=n: [list(rival.responses(part)) for part in inputs[:n].split(200)]) for n in IMAGES
            ],
            "depth": [
                best(lambda name=name: deep.decode_units(vgg.index(name), 16, "nearest", 16)) * vgg.channels(name) / 16
                for name in DEPTHS
            ],
        }
    backend, nets = BACKENDS[side], {units: wide(units) for units in UNITS}
    return {
        "units": [best(lambda n=n: decoding.decode_layer(nets[n], 5, backend=backend)) for n in UNITS],
        "images": [best(lambda n=n: net.forward(images[:n], backend=backend)) for n in IMAGES],
        "depth": [best(lambda name=name: decoding.decode_layer(vgg, name, backend=backend)) for name in DEPTHS],
    }


def multiplications(net: Network, top: int) -> tuple[float, float]:
    """That all units of a layer need: from the image up, each lower filter once; and from the layer down, unit by unit."""
    up = down = 0.0
    rows, columns = 1, 1
    for number in range(top, 0, -1):
        layer = net.layers[number - 1]
        if isinstance(layer, Conv):
            bank = net.receptive_field(number - 1).size
            up += layer.filters.size * net.channels(0) * bank[0] * bank[1]
            down += net.channels(top) * layer.filters.size * rows * columns
        if isinstance(layer, Conv | MaxPool):
            rows = (rows - 1) * layer.stride[0] + layer.size[0]
            columns = (columns - 1) * layer.stride[1] + layer.size[1]
    return up, down


def draw(found: dict[str, dict[str, list[float]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    vgg = vgg16()
    work = {name: multiplications(vgg, vgg.index(name)) for name in DEPTHS}
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
            {"fast": [work[name][0] for name in DEPTHS], "torch": [work[name][1] for name in DEPTHS]},
        ),
    }
    labels = {"fast": "fast", "torch": "PyTorch", "reference": "reference"}
    colours = {"fast": "C0", "torch": "C1", "reference": "C2"}
    figure, axes = pyplot.subplots(1, 3, figsize=(13, 4.6), layout="constrained")
    for axis, (panel, (title, name, places, one, theory)) in zip(axes, panels.items(), strict=True):
        unit = found["fast"][panel][0]
        for side, series in found.items():
            axis.plot(places, np.array(series[panel]) / unit, "o-", color=colours[side], label=labels[side])
        for side, operations in theory.items():
            line = np.array(operations) / operations[-1] * found[side][panel][-1] / unit
            axis.plot(places, line, ":", color=colours[side], label=f"multiplications, {labels[side]}")
        axis.set(title=title, xlabel=name, ylabel=f"time ÷ {one}", yscale="log")
        if panel == "depth":
            axis.set_xticks(list(places), DEPTHS)
        else:
            axis.set_xscale("log")
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
