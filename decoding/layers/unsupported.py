"""Layers that are known by name alone."""

from __future__ import annotations

from ..arguments import printable
from ..errors import UnsupportedLayerError
from .base import Layer


class UnsupportedLayer(Layer):
    """A layer that can neither be run nor decoded; it stands in its place so that those that do not read it can.

    Parameters
    ----------
    type : str
        What its file calls it.
    reason : str, optional
        More than that it is not known here.
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
