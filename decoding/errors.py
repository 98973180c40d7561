"""One family of exceptions.

Each child inherits the built-in exception that fits as well, so that ``except ValueError`` keeps working, and
``except decoding.DecodingError`` catches whatever this package refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class DecodingError(Exception):
    """Whatever this package refuses; the parent of the family.

    Attributes
    ----------
    function : str or None
        The public function that refuses; it stands before the message.
    """

    function: str | None = None

    @property
    def message(self) -> str:
        """What is refused, without the function's name before it."""
        return super().__str__()

    def __str__(self) -> str:
        message = self.message
        return (
            message if not self.function or message.startswith(f"{self.function}:") else f"{self.function}: {message}"
        )


class ShapeError(DecodingError, ValueError):
    """Arrays, sizes, strides or pads that do not fit together."""


class InvalidValueError(DecodingError, ValueError):
    """A value that cannot be used: not finite, not a number, not one of the names on offer."""


class UnknownLayerError(DecodingError, LookupError):
    """A layer, or a unit of a layer, that the network does not have."""


class UnsupportedLayerError(DecodingError, NotImplementedError):
    """A layer that cannot be run or decoded."""


class WeightsFormatError(DecodingError, ValueError):
    """A file that is not a network this package can read."""


class DataFormatError(DecodingError, ValueError):
    """A data set's file that is damaged, or is not what its name says."""


class ExecutorError(DecodingError, RuntimeError):
    """An engine that failed: a worker that is gone, a cluster that does not answer, workers without this package.

    Attributes
    ----------
    done : int or None
        How many images had been measured, of a measurement. The meters that were given hold them, and so does the checkpoint, if
        there is one.
    meters : sequence
        The meters of the measurement.
    """

    done: int | None = None
    meters: Sequence[Any] = ()


class ConformanceFailure(DecodingError, AssertionError):
    """A backend that does not do what the reference does.

    `report`, where there is one, is the `decoding.testing.Report` of the run.
    """

    def __init__(self, message: str = "", report: object = None) -> None:
        super().__init__(message)
        self.report = report
