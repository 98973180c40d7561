"""Writes ``architectures-measured.rst``: torchvision's networks from modules and from files.

    python docs/architectures.py [NAME …]

With names, only the rows of those networks are measured anew. Weights are random, from a fixed seed, and nothing is downloaded. The program
needs torch, torchvision, onnx and onnxscript.
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

HEADER = f"""Networks that were tested
=========================

These are torchvision's networks with random weights from a fixed seed, read with torch {torch.__version__.split("+")[0]}. Each was read in three ways: from the module in memory
by ``from_torch``; by ``load_onnx`` from a file of PyTorch's new exporter (``dynamo=True``, *new file*); and from a file of its old exporter (*old file*).

- *Layers* is the number of layers of the network here.
- *Decodable* is the number of convolutions (with linear layers) that can be decoded without gains, of all convolutions. The others lie
  above a gate, or above a normalization that depends on the image, and can be decoded with gains (:doc:`deep`).
- *Seconds* is the processor time of ``from_torch`` or ``load_onnx`` with one thread (``time.process_time``).
- *Difference* is the largest difference between the answers of the module and of the network here, in single precision, divided by the largest
  answer.

``python docs/architectures.py`` writes this page.

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


def row(name, source, read, x, want):
    began = time.process_time()
    net = read()
    seconds = time.process_time() - began
    got = net.forward(x.numpy(), backend=decoding.fast).ravel()
    off = np.abs(got - want).max() / np.abs(want).max()
    return [name, source, str(len(net)), decodable(net), f"{seconds:.1f}", f"{off:.0e}"]


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
    head = ["network", "read from", "layers", "decodable", "seconds", "difference"]
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
        PAGE.write_text(HEADER + table([cells for name in architectures.NAMES for cells in found.get(name, [])]))


if __name__ == "__main__":
    main()
