"""Writes ``architectures-measured.rst``: torchvision's networks by both doors.

    python docs/architectures.py [NAME …]

With names, those networks' rows are measured anew and the others stay. Weights come from a seed; nothing is downloaded. Needs
torch, torchvision, onnx and onnxscript.
"""

import itertools
import sys
import tempfile
import time
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import architectures  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import decoding  # noqa: E402

HEADER = f"""Networks that were tried
========================

torchvision's networks with seeded weights, by torch {torch.__version__.split("+")[0]}, through ``from_torch`` and through ``load_onnx`` from the files of torch's
new exporter (``dynamo=True``) and its old one. *Decodable* is convolutions (linear layers included) that decode as they are, of all; the others lie
above a gate or a normalization by the image, and decode with gains. *Difference* is the largest between the answers of the module and of the
network here, in single precision, over the largest answer. *Seconds* are those that one processor spends on ``from_torch`` and ``load_onnx``
(``time.process_time``, one thread). Written by ``python docs/architectures.py``.

"""


def decodable(net):
    """How many convolutions decode as they are, of how many."""
    count = total = 0
    for number, layer in enumerate(net.layers, 1):
        if isinstance(layer, decoding.Conv):
            total += 1
            try:
                net.check_weights(number)
                count += 1
            except decoding.UnsupportedLayerError:
                pass
    return f"{count} of {total}"


def row(name, door, read, x, want):
    began = time.process_time()
    net = read()
    seconds = time.process_time() - began
    got = net.forward(x.numpy(), backend=decoding.fast).ravel()
    off = np.abs(got - want).max() / np.abs(want).max()
    return [name, door, str(len(net)), decodable(net), f"{seconds:.1f}", f"{off:.0e}"]


def rows(name):
    module, side = architectures.make(name, torch.float32), architectures.SIDES.get(name, 224)
    x = torch.from_numpy(np.random.default_rng(2).uniform(-1, 1, (1, 3, side, side)).astype(np.float32))
    with torch.no_grad():
        want = module(x).numpy().ravel()
    yield row(name, "module", lambda: decoding.from_torch(module, (3, side, side)), x, want)
    for new in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            try:
                torch.onnx.export(module, (x,), path, dynamo=new, verbose=False)
            except Exception as error:
                yield [name, "new file" if new else "old file", "", "", "", f"not exported: {type(error).__name__}"]
                continue
            yield row(name, "new file" if new else "old file", lambda path=path: decoding.load_onnx(path), x, want)


def table(found):
    head = ["network", "door", "layers", "decodable", "seconds", "difference"]
    widths = [max(len(cell) for cell in column) for column in zip(head, *found, strict=True)]
    rule = " ".join("=" * width for width in widths)
    lines = [
        rule,
        *(" ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in [head]),
        rule,
    ]
    lines += [" ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in found]
    return "\n".join([*lines, rule, ""])


PAGE = HERE / "architectures-measured.rst"


def written():
    """The rows that the page has, by network."""
    found, places = {}, [0, None]
    for line in PAGE.read_text().splitlines() if PAGE.exists() else ():
        if line.split(" ")[0] in architectures.NAMES:
            cells = [line[begin:end].strip() for begin, end in itertools.pairwise(places)]
            found.setdefault(cells[0], []).append(cells)
        elif line.startswith("==="):  # the rule says where columns begin
            places = [0, *(i for i, c in enumerate(line) if c == " "), None]
    return found


def main():
    warnings.simplefilter("ignore")
    decoding.from_torch(torch.nn.Conv2d(3, 4, 3), (3, 8, 8))  # what torch imports at the first export is not measured
    found = written()
    for name in sys.argv[1:] or architectures.NAMES:
        found[name] = []
        for cells in rows(name):
            found[name].append(cells)
            print(*cells, flush=True)
        PAGE.write_text(HEADER + table([cells for each in architectures.NAMES for cells in found.get(each, [])]))


if __name__ == "__main__":
    main()
