"""The layers of a network: how each maps responses up (`forward`) and back down (`decode`).

Most of them make one call to an operator of the backend. `decode_bank` decodes all units of a layer together: it makes the
decoded filters of the layer from those of the layer below.
"""

from .activations import (
    ELU,
    GELU,
    SELU,
    Clip,
    Elementwise,
    Exp,
    HardSigmoid,
    HardSwish,
    LogSoftmax,
    Mish,
    Power,
    PReLU,
    Quantize,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)
from .base import Layer, Shape, check_factors
from .convolution import Conv, is_its_filters
from .elementwise import Dropout, Loss, ReLU, Sigmoid, Softmax
from .joining import Concat, Gate, Select, Sum
from .normalization import LRN, BatchNorm
from .pooling import AvgPool, MaxPool, Pool
from .resampling import ConvTranspose, PixelShuffle, Resampling, Resize
from .scaling import Pad, Scale
from .standardizing import GroupNorm, LayerNorm
from .unsupported import Unsupported, UnsupportedLayer

__all__ = [
    "ELU",
    "GELU",
    "LRN",
    "SELU",
    "AvgPool",
    "BatchNorm",
    "Clip",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dropout",
    "Elementwise",
    "Exp",
    "Gate",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "Layer",
    "LayerNorm",
    "LogSoftmax",
    "Loss",
    "MaxPool",
    "Mish",
    "PReLU",
    "Pad",
    "PixelShuffle",
    "Pool",
    "Power",
    "Quantize",
    "ReLU",
    "Resampling",
    "Resize",
    "Scale",
    "Select",
    "Shape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sum",
    "Tanh",
    "Unsupported",
    "UnsupportedLayer",
    "check_factors",
    "is_its_filters",
]
