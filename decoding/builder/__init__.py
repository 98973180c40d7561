"""Networks put together from the operators of other libraries: the one table of builders that `onnxfile` and `torchmodule` fill.

Tensors of other libraries have any number of axes; layers here give maps, (N, C, H, W). A `View` says how a tensor lies in
the maps of a layer, part by part, so that reshaping and transposing cost nothing: a channel shuffle, a flattening and a
layout with the channels last are read off the view when a layer needs to know. Constants are arrays.

`views` are tensors, `maps` the layers under them, `pieces` what is written in several operators, `operators` the table.
"""

from .operators import Builder
from .views import LARGEST_IMAGE, Cannot, Opaque, Part, Tensor, View, for_channels

__all__ = ["LARGEST_IMAGE", "Builder", "Cannot", "Opaque", "Part", "Tensor", "View", "for_channels"]
