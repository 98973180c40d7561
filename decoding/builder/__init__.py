"""Builds networks from the operators of other libraries; `onnxfile` and `torchmodule` both call its `Builder`.

Tensors of other libraries have any number of axes, while layers here return maps, (N, C, H, W). A `View` says how a tensor lies
in the maps of a layer: each axis of the tensor consists of `Part`s of the maps' axes. So reshaping and transposing add no layer;
a channel shuffle, a flattening, or channels that come last are read off the view when a layer needs to know. Constants are
plain arrays.

`views` describes tensors, `maps` adds the layers below them, `pieces` recognizes activations and normalizations that are written as
several operators, and `operators` has a method for each operator.
"""

from .operators import Builder
from .views import LARGEST_IMAGE, Cannot, Opaque, Part, Tensor, View, for_channels

__all__ = ["LARGEST_IMAGE", "Builder", "Cannot", "Opaque", "Part", "Tensor", "View", "for_channels"]
