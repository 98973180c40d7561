"""Filter decoding with substitution: any unit of a trained convolutional network, carried back to image space."""

# Names that are imported `as` themselves are not for the first page: meters, results, the network made by hand.

from . import baselines, fast, inverse, reference
from .backend import Backend
from .baselines import LeastSquares
from .composition import Contribution, contributions
from .datasets import lenet, mnist, resnet
from .decoder import decode, decode_filter, decode_layer, iterate_layer
from .decoder import decode_parts as decode_parts
from .eigenpictures import QuadraticUnit, decode_quadratic, quadratic_form
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
    ReconstructionError as ReconstructionError,
)
from .evaluation import (
    ReconstructionMeter as ReconstructionMeter,
)
from .evaluation import (
    ResponseMatrix as ResponseMatrix,
)
from .evaluation import (
    TopImages as TopImages,
)
from .evaluation import (
    TopImagesMeter as TopImagesMeter,
)
from .evaluation import (
    decoded_responses,
    reconstruction_error,
    response_matrix,
    top_images,
)
from .gains import GainMeter as GainMeter
from .gains import linearize
from .handmade import Characters as Characters
from .handmade import characters as characters
from .layers import (
    LRN,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Gate,
    Layer,
    Loss,
    MaxPool,
    Pool,
    ReLU,
    Select,
    Sigmoid,
    Softmax,
    Sum,
    UnsupportedLayer,
)
from .layers import Unsupported as Unsupported
from .matconvnet import load_matconvnet, save_matconvnet
from .measuring import measure
from .network import Network
from .network import ReceptiveField as ReceptiveField
from .patterns import (
    PatternMeter as PatternMeter,
)
from .patterns import (
    Statistics,
    autocovariance,
    covariance,
    load_statistics,
    natural,
    pattern,
    patterns,
)
from .picture import montage, save_picture, threshold
from .secondorder import quadratize

__version__ = "0.1.0"

__all__ = [
    "LRN",
    "AvgPool",
    "Backend",
    "BatchNorm",
    "Concat",
    "ConformanceFailure",
    "Contribution",
    "Conv",
    "DataFormatError",
    "DecodingError",
    "Dropout",
    "Gate",
    "InvalidValueError",
    "Layer",
    "LeastSquares",
    "Loss",
    "MaxPool",
    "Network",
    "Pool",
    "QuadraticUnit",
    "ReLU",
    "Select",
    "ShapeError",
    "Sigmoid",
    "Softmax",
    "Statistics",
    "Sum",
    "UnknownLayerError",
    "UnsupportedLayer",
    "UnsupportedLayerError",
    "WeightsFormatError",
    "autocovariance",
    "baselines",
    "contributions",
    "covariance",
    "decode",
    "decode_filter",
    "decode_layer",
    "decode_quadratic",
    "decoded_responses",
    "fast",
    "inverse",
    "iterate_layer",
    "lenet",
    "linearize",
    "load_matconvnet",
    "load_statistics",
    "measure",
    "mnist",
    "montage",
    "natural",
    "pattern",
    "patterns",
    "quadratic_form",
    "quadratize",
    "reconstruction_error",
    "reference",
    "resnet",
    "response_matrix",
    "save_matconvnet",
    "save_picture",
    "threshold",
    "top_images",
]
