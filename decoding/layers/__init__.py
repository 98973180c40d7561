"""The layers of a network: how each maps responses up (`forward`) and back down (`decode`).

Both are one call to an operator of the backend. `decode_bank` is the same decoding for all units at once, from below:
it carries the decoded bank of the layer below up by one layer.
"""

from .base import Layer, Shape, check_factors
from .convolution import Conv, is_its_filters
from .elementwise import Dropout, Loss, ReLU, Sigmoid, Softmax
from .joining import Concat, Gate, Select, Sum
from .normalization import LRN, BatchNorm
from .pooling import AvgPool, MaxPool, Pool
from .unsupported import Unsupported, UnsupportedLayer

__all__ = [
    "LRN",
    "AvgPool",
    "BatchNorm",
    "Concat",
    "Conv",
    "Dropout",
    "Gate",
    "Layer",
    "Loss",
    "MaxPool",
    "Pool",
    "ReLU",
    "Select",
    "Shape",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Unsupported",
    "UnsupportedLayer",
    "check_factors",
    "is_its_filters",
]
