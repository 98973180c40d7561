"""Layers of published networks: the calls that most fast paths were written for, and most reports are about.

Channels, filters, windows, steps, pads and groups are as they were published. Layers of more than 2^20 weights are left out, and maps are
made smaller where a call would be too large.
"""

from __future__ import annotations

from collections.abc import Iterator

from .operators import PADS, TABLE, Row, windows

MOST, MOST_CELLS = 2**22, 2**18  # products of a call, or numbers of a pool's, or its map loses rows, and then columns
# Channels > filters, window/step, pad, rows and columns of the map. With a star: one filter for each channel; with an x: so many groups.
LAYERS = """
LeNet:           1>20 5/1 none 28, 20>50 5/1 none 12, 50>500 4/1 none 4, 500>10 1/1 none 1
Keras, MNIST:    1>32 3/1 none 28, 32>64 3/1 none 13
AlexNet:         3>96 11/4 none 227, 96>256x2 5/1 half 27, 256>384 3/1 half 13, 384>256x2 3/1 half 13
VGG:             3>64 3/1 half 224, 64>128 3/1 half 112, 128>256 3/1 half 56, 256>256 3/1 half 56
GoogLeNet:       192>96 1/1 none 28, 16>32 5/1 half 28, 480>192 1/1 none 14, 832>128 1/1 none 7
ResNet-20:       3>16 3/1 half 32, 16>32 3/2 half 32, 64>64 3/1 half 8
ResNet-18:       3>64 7/2 half 224, 64>64 3/1 half 56, 64>128 3/2 half 56, 64>128 1/2 none 56, 256>256 3/1 half 14
ResNet-50:       64>256 1/1 none 56, 256>128 1/1 none 56, 1024>256 1/1 none 14
ResNeXt-50:      128>128x32 3/1 half 56, 1024>1024x32 3/2 half 14
Inception v3:    3>32 3/2 none 299, 80>192 3/1 none 73, 288>384 3/2 none 35, 192>192 1x7/1 half 17, 192>192 7x1/1 half 17, 384>384 1x3/1 half 8
SqueezeNet:      3>96 7/2 none 224, 96>16 1/1 none 54, 16>64 3/1 half 54
DenseNet-121:    256>128 1/1 none 56, 128>32 3/1 half 28
ShuffleNet:      240>60x3 1/1 none 28, 60* 3/1 half 28, 60>240x3 1/1 none 28
MobileNetV2:     3>32 3/2 same 224, 32* 3/1 half 112, 16>96 1/1 none 112, 96* 3/2 same 112, 144>24 1/1 none 56, 576* 3/1 half 14, 960>160 1/1 none 7,
                 960* 3/1 half 7
EfficientNet-B0: 144* 5/2 half 56, 240* 5/1 half 28, 672* 5/1 half 14, 40>240 1/1 none 28, 1152>192 1/1 none 7
ConvNeXt:        3>96 4/4 none 224, 96* 7/1 half 56, 96>192 2/2 none 56
ViT-B:           3>768 16/16 none 224
U-Net:           1>64 3/1 none 572, 256>512 2/2 none 104, 64>2 1/1 none 388
DCGAN (64):      512>100 4/1 none 4, 128>256 4/2 one 16, 64>128 4/2 one 32, 3>64 4/2 one 64
FCN:             21>21 4/2 none 34, 21>21 16/8 none 568
"""
POOLS = """
LeNet:           20 2/2 none 24, 50 2/2 none 8
Keras, MNIST:    32 2/2 none 26, 64 2/2 none 11
AlexNet:         96 3/2 none 55, 256 3/2 none 27
VGG:             64 2/2 none 224, 512 2/2 none 14
GoogLeNet:       64 3/2 same 112, 192 3/1 half 28, 1024 7/1 none 7
ResNet:          64 3/2 half 112, 2048 7/7 none 7, 64 8/8 none 8
Inception v3:    288 3/1 half 35, 288 3/2 none 35, 2048 8/8 none 8
DenseNet-121:    128 2/2 none 56
YOLO:            512 2/1 same 13, 512 5/1 half 13, 512 13/1 half 13
"""
NAMED = {"half": "half a window", "same": "below and right", "one": "one all around"}


def layers(operator: str, groups: bool = False) -> Iterator[Row]:
    """Rows of `conditions` for an operator: its layers, in groups or not."""
    factors = TABLE[operator].factors
    text = LAYERS if "filters" in factors else POOLS if "window" in factors else ""
    for line in text.replace(",\n", ",").splitlines()[1:]:
        for layer in line.partition(":")[2].split(","):
            row = _row(layer)
            if groups == ("groups" in row):
                yield _small(operator, row)


def most(row: Row) -> float:
    """How many products a layer's call may have; in groups, as a call without groups has."""
    return float(MOST * row.get("groups", 1) if "filters" in row else MOST_CELLS)


def _row(layer: str) -> Row:
    """The row of a correlation, or of a pool, in whose images it reads so many cells."""
    sides, window, pad, cells = layer.split()
    channels, _, filters = sides.rstrip("*").partition(">")
    filters, _, groups = filters.partition("x")
    ((size, step),) = windows(window)
    row: Row = {
        "channels": int(channels),
        "rows": int(cells),
        "columns": int(cells),
        "window": (size, step),
        "pad": NAMED.get(pad, pad),
    }
    if sides.endswith("*"):
        filters = groups = channels
    return row | ({"filters": int(filters)} if filters else {}) | ({"groups": int(groups)} if groups else {})


def _small(operator: str, row: Row) -> Row:
    """The row as the operator has it, small enough, or with a map of two windows.

    What is carried down has as many cells as the layer gave, and as many channels as it has filters.
    """
    (h, w), (r, s) = row["window"]
    top, bottom, left, right = PADS[row["pad"]](h, w)
    found, least = dict(row), {"rows": max(1, h + r - top - bottom), "columns": max(1, w + s - left - right)}
    if "pad" not in TABLE[operator].factors:
        del found["pad"]
        least = {"rows": 2, "columns": 2}
        found["rows"] = (row["rows"] + top + bottom - h) // r + 1
        found["columns"] = (row["columns"] + left + right - w) // s + 1
        if "filters" in row:
            found |= {"channels": row["filters"], "filters": row["channels"]}
    for side in least:
        while found[side] > least[side] and TABLE[operator].products({"images": 1, **found}) > most(row):
            found[side] = max(least[side], -(-found[side] // 2))
    return found
