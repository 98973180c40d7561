"""The conformance kit: does another implementation do what `decoding.reference` does?

Its modules, from what a user calls down to the numbers:

- `runner` and `__main__` run the checks, and `report` tells what came of them.
- `checks` has the checks, but for sequences of calls, which are in `machines`. `bench` asks the backend, and compares what it answers.
- What they look at: `strategies` draws cases; `explicit` has those that are always looked at. `drawn` has layers
  that are drawn at random, and `conditions` the tables from which other calls are made, with `numbers` in their arrays and `histories` before
  them; `published` has layers of published networks, and `networks` the table of networks. `shrinking` makes smaller what fails.
- `operators` has a record of all that is known of each operator; `calls` has a call as a value, and as code.
- How far off an answer may be: `rounding` for one operator, `bounds` for a call, `stages` for a network.
- For other languages: `cases` are the golden vectors, `vectors` writes and judges them, and `loops` is the specification.
"""

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
