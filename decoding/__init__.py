"""Filter decoding with substitution: any unit of a trained convolutional network, carried back to image space.

A name's module is imported when the name is first asked for (PEP 562): ``import decoding`` takes hardly longer than
``import numpy``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # Names that are imported `as` themselves are not for the first page: meters, results, …
    from . import baselines, fast, inverse, reference
    from .activation_patterns import PatternMeter as PatternMeter
    from .activation_patterns import Statistics, autocovariance, covariance, load_statistics, natural, pattern, patterns
    from .backend import Backend
    from .baselines import LeastSquares
    from .composition import Contribution, contributions, pair_contributions, unit_contributions
    from .datasets import images_in, lenet, mnist, resnet
    from .decoder import decode, decode_filter, decode_layer, iterate_layer
    from .decoder import decode_parts as decode_parts
    from .eigenpictures import QuadraticUnit, decode_quadratic, quadratic_form
    from .errors import (
        ConformanceFailure,
        DataFormatError,
        DecodingError,
        ExecutorError,
        InvalidValueError,
        ShapeError,
        UnknownLayerError,
        UnsupportedLayerError,
        WeightsFormatError,
    )
    from .evaluation import ReconstructionError as ReconstructionError
    from .evaluation import ReconstructionMeter as ReconstructionMeter
    from .evaluation import ResponseMatrix as ResponseMatrix
    from .evaluation import TopImages as TopImages
    from .evaluation import TopImagesMeter as TopImagesMeter
    from .evaluation import decoded_responses, reconstruction_error, response_matrix, top_images
    from .explorer import explore
    from .gains import GainMeter as GainMeter
    from .gains import linearize
    from .handmade import Characters as Characters
    from .handmade import characters as characters
    from .layers import (
        ELU,
        GELU,
        LRN,
        SELU,
        AvgPool,
        BatchNorm,
        Clip,
        Concat,
        Conv,
        ConvTranspose,
        Dropout,
        Elementwise,
        Exp,
        Gate,
        GroupNorm,
        HardSigmoid,
        HardSwish,
        Layer,
        LayerNorm,
        LogSoftmax,
        Loss,
        MaxPool,
        Mish,
        Pad,
        PixelShuffle,
        Pool,
        Power,
        PReLU,
        Quantize,
        ReLU,
        Resize,
        Scale,
        Select,
        Sigmoid,
        SiLU,
        Softmax,
        Softplus,
        Softsign,
        Sum,
        Tanh,
        UnsupportedLayer,
    )
    from .layers import Unsupported as Unsupported
    from .loading import load
    from .matconvnet import load_matconvnet, save_matconvnet
    from .measuring import measure
    from .network import Network
    from .network import ReceptiveField as ReceptiveField
    from .onnxfile import load_onnx
    from .picture import montage, save_picture, show, threshold
    from .secondorder import quadratize
    from .torchmodule import from_torch

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "LRN",
    "SELU",
    "AvgPool",
    "Backend",
    "BatchNorm",
    "Clip",
    "Concat",
    "ConformanceFailure",
    "Contribution",
    "Conv",
    "ConvTranspose",
    "DataFormatError",
    "DecodingError",
    "Dropout",
    "Elementwise",
    "ExecutorError",
    "Exp",
    "Gate",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "InvalidValueError",
    "Layer",
    "LayerNorm",
    "LeastSquares",
    "LogSoftmax",
    "Loss",
    "MaxPool",
    "Mish",
    "Network",
    "PReLU",
    "Pad",
    "PixelShuffle",
    "Pool",
    "Power",
    "QuadraticUnit",
    "Quantize",
    "ReLU",
    "Resize",
    "Scale",
    "Select",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Statistics",
    "Sum",
    "Tanh",
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
    "explore",
    "fast",
    "from_torch",
    "images_in",
    "inverse",
    "iterate_layer",
    "lenet",
    "linearize",
    "load",
    "load_matconvnet",
    "load_onnx",
    "load_statistics",
    "measure",
    "mnist",
    "montage",
    "natural",
    "pair_contributions",
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
    "show",
    "threshold",
    "top_images",
    "unit_contributions",
]

# The same names once more, for the program that runs; a test holds both against each other.
_MODULES = ("baselines", "fast", "inverse", "reference")
_NAMES = {
    "activation_patterns": "PatternMeter Statistics autocovariance covariance load_statistics natural pattern patterns",
    "backend": "Backend",
    "baselines": "LeastSquares",
    "composition": "Contribution contributions pair_contributions unit_contributions",
    "datasets": "images_in lenet mnist resnet",
    "decoder": "decode decode_filter decode_layer decode_parts iterate_layer",
    "eigenpictures": "QuadraticUnit decode_quadratic quadratic_form",
    "errors": "ConformanceFailure DataFormatError DecodingError ExecutorError InvalidValueError ShapeError UnknownLayerError UnsupportedLayerError WeightsFormatError",
    "evaluation": "ReconstructionError ReconstructionMeter ResponseMatrix TopImages TopImagesMeter decoded_responses reconstruction_error response_matrix top_images",
    "explorer": "explore",
    "gains": "GainMeter linearize",
    "handmade": "Characters characters",
    "layers": "AvgPool BatchNorm Clip Concat Conv ConvTranspose Dropout ELU Elementwise Exp GELU Gate GroupNorm HardSigmoid HardSwish LRN Layer LayerNorm LogSoftmax Loss MaxPool Mish PReLU Pad PixelShuffle Pool Power Quantize ReLU Resize SELU Scale Select SiLU Sigmoid Softmax Softplus Softsign Sum Tanh Unsupported UnsupportedLayer",
    "loading": "load",
    "matconvnet": "load_matconvnet save_matconvnet",
    "measuring": "measure",
    "network": "Network ReceptiveField",
    "onnxfile": "load_onnx",
    "picture": "montage save_picture show threshold",
    "secondorder": "quadratize",
    "torchmodule": "from_torch",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_HOME})
