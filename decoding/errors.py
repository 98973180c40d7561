"""The exceptions of this package, all of them children of `DecodingError`.

Each child also inherits the built-in exception that fits best. So ``except ValueError`` keeps working, and
``except decoding.DecodingError`` catches every error that the package raises on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class DecodingError(Exception):
    """The parent of every error that this package raises on purpose.

    Attributes
    ----------
    function : str or None
        The public function that was called; its name is printed before the message.
    """

    function: str | None = None

    @property
    def message(self) -> str:
        """What is wrong, without the function's name before it."""
        return super().__str__()

    def __str__(self) -> str:
        message = self.message
        return (
            message if not self.function or message.startswith(f"{self.function}:") else f"{self.function}: {message}"
        )


class ShapeError(DecodingError, ValueError):
    """Arrays, sizes, strides or pads that do not fit together."""


class InvalidValueError(DecodingError, ValueError):
    """A value that cannot be used: not finite, not a number, or not one of the names that are allowed."""


class UnknownLayerError(DecodingError, LookupError):
    """A layer, or a unit of a layer, that the network does not have."""


class UnsupportedLayerError(DecodingError, NotImplementedError):
    """A layer that cannot be run or decoded."""


class WeightsFormatError(DecodingError, ValueError):
    """A file that is not a network this package can read."""


class DataFormatError(DecodingError, ValueError):
    """A file of a data set that is damaged, or does not hold what its name says."""


class ExecutorError(DecodingError, RuntimeError):
    """An executor that failed: a worker died, a cluster does not answer, or the workers lack this package.

    Attributes
    ----------
    done : int or None
        If images were being measured: how many had been. Their results are in the meters, and in the checkpoint if there
        is one.
    meters : sequence
        The meters that were measuring (see `decoding.measure`).
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
