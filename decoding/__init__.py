"""Filter decoding with substitution: any unit of a trained convolutional network, carried back to image space."""

from . import fast, reference
from .datasets import lenet, mnist
from .decoder import decode, decode_filter, decode_layer, decode_parts
from .errors import (
    ConformanceFailure,
    DataFormatError,
    DecodingError,
    InvalidValueError,
    ShapeError,
    UnknownLayerError,
    UnsupportedLayerError,
    WeightsFormatError,
)
from .layers import LRN, AvgPool, BatchNorm, Conv, Dropout, Loss, MaxPool, ReLU, Sigmoid, Softmax, Unsupported
from .matconvnet import load_matconvnet, save_matconvnet
from .network import Network, ReceptiveField
from .picture import montage, save_picture, threshold

__all__ = [
    "LRN",
    "AvgPool",
    "BatchNorm",
    "ConformanceFailure",
    "Conv",
    "DataFormatError",
    "DecodingError",
    "Dropout",
    "InvalidValueError",
    "Loss",
    "MaxPool",
    "Network",
    "ReLU",
    "ReceptiveField",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "UnknownLayerError",
    "Unsupported",
    "UnsupportedLayerError",
    "WeightsFormatError",
    "decode",
    "decode_filter",
    "decode_layer",
    "decode_parts",
    "fast",
    "lenet",
    "load_matconvnet",
    "mnist",
    "montage",
    "reference",
    "save_matconvnet",
    "save_picture",
    "threshold",
]
