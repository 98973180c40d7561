"""Layers that keep the size and the channels: rectifiers and their like, softmax, dropout, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import Array, as_number
from .base import Layer


class ReLU(Layer):
    """Keeps what is positive; decodes as the identity.

    Parameters
    ----------
    leak : float
        Slope below zero.
    gain, curvature : float or array_like of shape (K,), optional
        See `Layer`.
    name : str, optional

    Raises
    ------
    InvalidValueError
        If `leak` is not a finite number.

    Notes
    -----
    Our choice: the paper's algorithm has a case for convolutions and one for pools, and none for rectifiers, although layer
    6 of its LeNet is one. A rectifier keeps the order of the responses, so decoding passes over it. How much it passes on
    average can be given as its `gain`: see `decoding.linearize`.
    """

    leak: float

    def __init__(self, *, leak: float = 0.0, gain: Any = None, curvature: Any = None, name: str | None = None) -> None:
        super().__init__(gain=gain, curvature=curvature, name=name)
        self._set(leak=as_number(leak, "ReLU: leak", "a finite number"))

    def forward(self, *xs: Array, backend: Any) -> Any:
        return backend.relu(xs[0], leak=self.leak)

    def function(self, z: Array) -> Array:
        """The function that the layer applies to each response."""
        return np.where(z > 0, z, self.leak * z)

    @property
    def pieces(self) -> Any:
        """The straight pieces of the function, from below: where each ends, its slope, and its value at 0."""
        return (0.0, self.leak, 0.0), (np.inf, 1.0, 0.0)


class Sigmoid(Layer):
    """Squashes every response to between 0 and 1, ``y = 1 / (1 + exp(-x))``; decodes as the identity.

    Notes
    -----
    Our choice, for the reason that `ReLU` gives: it keeps the order of the responses.
    """

    def forward(self, *xs: Array, backend: Any) -> Any:
        return self.function(xs[0])

    def function(self, z: Array) -> Array:
        """The function that the layer applies to each response."""
        small = np.exp(-np.abs(z))  # never overflows
        return np.asarray(np.where(z >= 0, 1, small) / (1 + small))


class Softmax(Layer):
    """Turns the channels of each position into probabilities; decodes as the identity.

    Notes
    -----
    Our choice: the paper decodes only layers below its softmax. Like a rectifier, the softmax keeps the order of the responses.
    """

    def forward(self, *xs: Array, backend: Any) -> Any:
        return backend.softmax(xs[0])


class Dropout(Layer):
    """Does nothing in a trained network; decodes as the identity.

    Notes
    -----
    Our choice, and what MatConvNet does in test mode.
    """


class Loss(Layer):
    """A loss, as a network has it in training. There are no labels here, so it passes its input on; decodes as the identity.

    Notes
    -----
    Our choice. A softmax with a loss is read as a `Softmax`.
    """
