"""The conformance kit: does another implementation do what `decoding.reference` does?"""

try:
    import hypothesis as hypothesis
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "decoding.testing draws its cases with hypothesis: pip install 'filter-decoding[test]'"
    ) from error

from ..errors import ConformanceFailure
from . import loops, machines, strategies
from .calls import Call
from .checks import CHECKS
from .report import Report, Result
from .runner import check_backend, parametrize_with_checks

__all__ = [
    "CHECKS",
    "Call",
    "ConformanceFailure",
    "Report",
    "Result",
    "check_backend",
    "loops",
    "machines",
    "parametrize_with_checks",
    "strategies",
]
