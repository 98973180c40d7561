"""Layers of which nothing but the name is known."""

from __future__ import annotations

from ..arguments import printable
from ..errors import UnsupportedLayerError
from .base import Layer


class UnsupportedLayer(Layer):
    """A layer that can neither be run nor decoded. It holds its place in the network, so that layers that do not need it can.

    Parameters
    ----------
    type : str
        What the file calls its type.
    reason : str, optional
        Why it is not supported, if there is more to say than that the type is not known.
    name : str, optional
    """

    type: str
    reason: str
    joins = True

    def __init__(self, type: str, *, reason: str = "", name: str | None = None) -> None:
        self._set(type=type, reason=reason, name=name)

    @property
    def kind(self) -> str:
        return printable(self.type)

    def check(self) -> None:
        why = self.reason or f"this package does not know layers of type '{self.kind}'"
        raise UnsupportedLayerError(f"it can neither be run nor decoded: {why}. The layers that do not read it can.")

    def channels(self, *widths: int | None) -> None:
        return None


Unsupported = UnsupportedLayer  # its former name
