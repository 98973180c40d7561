"""Filter decoding with substitution: any unit of a trained convolutional network, carried back to image space."""

from . import baselines, fast, inverse, reference
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
from .evaluation import (
    ReconstructionError,
    ReconstructionMeter,
    ResponseMatrix,
    TopImages,
    TopImagesMeter,
    contributions,
    decoded_responses,
    measure,
    reconstruction_error,
    response_matrix,
    top_images,
)
from .handmade import Characters, characters
from .layers import LRN, AvgPool, BatchNorm, Conv, Dropout, Loss, MaxPool, ReLU, Sigmoid, Softmax, Unsupported
from .matconvnet import load_matconvnet, save_matconvnet
from .network import Network, ReceptiveField
from .picture import montage, save_picture, threshold

__all__ = [
    "LRN",
    "AvgPool",
    "BatchNorm",
    "Characters",
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
    "ReconstructionError",
    "ReconstructionMeter",
    "ResponseMatrix",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "TopImages",
    "TopImagesMeter",
    "UnknownLayerError",
    "Unsupported",
    "UnsupportedLayerError",
    "WeightsFormatError",
    "baselines",
    "characters",
    "contributions",
    "decode",
    "decode_filter",
    "decode_layer",
    "decode_parts",
    "decoded_responses",
    "fast",
    "inverse",
    "lenet",
    "load_matconvnet",
    "measure",
    "mnist",
    "montage",
    "reconstruction_error",
    "reference",
    "response_matrix",
    "save_matconvnet",
    "save_picture",
    "threshold",
    "top_images",
]
