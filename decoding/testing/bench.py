"""Where a check runs: one backend, its declared precision, and the search for a case it gets wrong."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy

import decoding

from .. import reference
from ..arguments import Array, described
from ..backend import OPERATORS, precision, takes_groups
from ..errors import InvalidValueError
from .bounds import arithmetic, exact_unit, refuse_vacuous, running_error
from .calls import Call, Script, compiled, in_shape, inputs
from .report import Mismatch
from .rounding import NotJudged
from .stages import Expected, Pass, expectations

T = TypeVar("T")
NOTHING: SearchStrategy[Any] = st.nothing()
NOT_THE_SAME = " (and not the same each time: the answer depends on earlier calls, or on chance)"
LINEAR = ("correlate", "avg_pool", "substitute", "unpool")  # in each of their arrays, if there is no bias
STOPS = (Exception, SystemExit)  # a program that ends itself is wrong; an interrupt from the keyboard ends everything


class Unsupported(Exception):
    """The backend says that it cannot do this."""


class Bench:
    """A backend under test.

    Parameters
    ----------
    backend : object or module
        It has `name`, `eps` and operators.
    examples : int
        Cases drawn by each search.
    seed : int, optional
        Where the search starts; the same place each time unless given.
    thorough : bool
        Whether long sides are paired with everything.
    """

    def __init__(self, backend: Any, examples: int, seed: int | None = None, thorough: bool = False) -> None:
        self.backend, self.examples, self.seed, self.thorough = backend, examples, seed, thorough
        self.precision = arithmetic(backend)
        self.operators = [operator for operator in OPERATORS if callable(getattr(backend, operator, None))]
        if not self.operators:
            raise InvalidValueError(
                f"check_backend: {backend!r} has none of the operators {', '.join(OPERATORS)}. Its functions must have these names."
            )
        self.answered = np.dtype(np.float64)  # the type of the last answer
        self.ran = 0
        self.skipped: list[str] = []
        self.lacking: list[str] = []
        self.left_out: dict[str, Mismatch] = {}

    def at(self, eps: float) -> Bench:
        """The same bench, demanding no more than `eps`."""
        other = copy.copy(self)
        other.precision = self.precision._replace(eps=max(eps, self.precision.eps))
        return other

    def forall(
        self, cases: SearchStrategy[T], body: Callable[[T], None], share: float = 1.0, always: Iterable[T] = ()
    ) -> None:
        """Search `cases` for one that `body` objects to, and shrink it; then look at those that are `always` looked at.

        The `Mismatch` of the first that is found carries the arrays of the case.
        """

        def judge(case: T) -> None:
            try:
                body(case)
            except Unsupported as reason:
                self._lacks(reason)
            except NotJudged as reason:
                self.skipped.append(str(reason))
            except Mismatch as mismatch:
                mismatch.arrays = {**inputs(case), **mismatch.arrays}
                raise
            except STOPS as error:  # an answer that the check itself could not handle
                problem = f"the check stops with {type(error).__name__}: {error}"
                raise Mismatch(problem, repr(case), arrays=inputs(case)) from error
            self.ran += 1

        if cases is not NOTHING:
            self.search(cases, judge, max(2, int(self.examples * share)))
        for case in always:
            try:
                judge(case)
            except Mismatch as mismatch:
                with contextlib.suppress(Mismatch):
                    judge(case)
                    mismatch.problem += NOT_THE_SAME
                raise mismatch from None

    def right(self, calls: Iterable[Call]) -> list[Call]:
        """The calls that are answered right when they are asked alone.

        What is wrong with the others would hide what is wrong with these. It must fail checks of its own, or the runner blames it. What is
        right when it is asked again fails here.
        """
        found = []
        for call in calls:
            try:
                wrong = self._wrong(call)
                if wrong is None:
                    found.append(call)
                elif self._wrong(call) is None:
                    wrong.problem += NOT_THE_SAME
                    raise wrong
                else:
                    wrong.arrays = {**inputs(call), **wrong.arrays}
                    self.left_out.setdefault(call.label, wrong)
            except Unsupported as reason:
                self._lacks(reason)
                self.ran += 1
        return found

    def _wrong(self, call: Call) -> Mismatch | None:
        """What is wrong with the answer to a call, if anything is."""
        with contextlib.suppress(NotJudged):
            try:
                self.agrees(call)
            except Mismatch as mismatch:
                return mismatch
        return None

    def _lacks(self, reason: Unsupported) -> None:
        self.lacking.append(str(reason) or "NotImplementedError")

    def look(self, cases: Iterable[T], body: Callable[[T], None]) -> None:
        """Look at these cases alone, as `forall` looks at those that are always looked at."""
        self.forall(NOTHING, body, always=cases)

    def settings(self, examples: int, **more: Any) -> settings:
        """How hypothesis draws: as many examples, the same ones each time unless there is a seed."""
        return settings(
            max_examples=examples,
            derandomize=self.seed is None,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            verbosity=Verbosity.quiet,
            report_multiple_bugs=False,
            print_blob=False,
            # How long a case takes is the backend's business; check_backend may itself be called from a test.
            suppress_health_check=list(HealthCheck),
            **more,
        )

    def search(self, cases: SearchStrategy[T], judge: Callable[[T], None], examples: int) -> None:
        """Draw `cases`, as many as `examples`, and shrink what `judge` objects to."""
        found: list[Mismatch] = []

        @self.settings(examples)
        @given(cases)
        def run(case: T) -> None:
            try:
                judge(case)
            except Mismatch as mismatch:
                found.append(mismatch)
                raise

        try:
            (run if self.seed is None else seeded(self.seed)(run))()
        except Flaky:  # the backend did not do the same twice: the last case it got wrong will do
            found[-1].problem += NOT_THE_SAME
            raise found[-1] from None

    def given(self, function: Callable[[], Any], code: object, stage: str = "") -> Any:
        """What the backend answers, as it gives it."""
        with _asking(code, stage):
            return function()

    def asked(self, function: Callable[[], Any], code: object, stage: str = "") -> Array:
        """What the backend answers, as a copy in double precision."""
        return self.read(self.given(function, code, stage), code, stage)

    def held(self, function: Callable[[], Any], code: object) -> tuple[Any, Array]:
        """What the backend answers, as it gives it and as `asked` reads it, to see later whether it `stays`."""
        answer = self.given(function, code)
        return answer, self.read(answer, code)

    def unless_refused(self, function: Callable[[], Any], code: object) -> Array | None:
        """What the backend answers, as `asked` does; None if it refuses, in whatever words."""
        try:
            with np.errstate():
                answer = function()
        except NotImplementedError as error:
            raise Unsupported(str(error)) from None
        except SystemExit as error:
            raise Mismatch(f"raises SystemExit: {error}, which is no refusal: it ends the program", code) from error
        except Exception:
            return None
        return self.read(answer, code)

    def read(self, answer: Any, code: object, stage: str = "") -> Array:
        """An answer as a copy in double precision; a mismatch if it is no array of real numbers."""
        kind = type(answer).__name__
        if isinstance(answer, Iterator):
            raise Mismatch(f"gives a {kind} instead of an array, which can be read only once", code, stage)
        if isinstance(answer, np.ma.MaskedArray) and np.ma.is_masked(answer):
            masked = int(np.ma.getmaskarray(answer).sum())
            raise Mismatch(f"gives a masked array, {masked} of its {answer.size} values masked", code, stage)
        try:
            array = np.asarray(answer)
        except STOPS as error:
            raise Mismatch(f"gives a {kind}, which is no array: {error}", code, stage) from error
        if array.dtype.kind == "O":
            inside = f" of objects such as {described(array.flat[0])}" if array.ndim and array.size else ""
            raise Mismatch(f"gives a {kind}{inside}, which is no array of numbers", code, stage)
        if array.dtype.kind not in "buif":
            raise Mismatch(f"gives an array of {array.dtype}, not of real numbers", code, stage)
        self.answered = array.dtype
        return np.array(array, np.float64)

    def answer(self, call: Call) -> Array:
        """What the backend answers to copies of the call's arrays."""
        return self.asked(lambda: call.on(self.backend, *call.copies()), call)

    def expected(self, call: Call, before: Call | None = None, then: Expected | None = None) -> Expected:
        """What the reference answers, and how far off an answer may be; not judged where zeros would pass.

        Bounds depend on magnitudes alone, so a call whose arrays have other signs than one `before` has the bounds of what was expected
        `then`, but for a softmax.
        """
        if before is not None and then is not None and call.operator != "softmax":
            return then._replace(want=-then.want if _is_minus(call, before) else np.asarray(call.on(reference)))
        want = np.asarray(call.on(reference))
        unit = exact_unit(call, self.precision)
        exact = unit is not None and self.precision.exact
        bound = np.zeros(want.shape) if exact else running_error(call, self.precision)
        refuse_vacuous(want, bound)
        return Expected("", want, bound, unit)

    def agrees(self, call: Call, got: Array | None = None, code: object = None) -> None:
        """The backend, asked or having answered `got` to `code`, does what the reference does."""
        should = self.expected(call)
        got = self.answer(call) if got is None else got
        self.compare(got, should, call if code is None else code)

    def agrees_on_pass(self, steps: Pass, start: Array, code: str) -> None:
        """The backend's pass through a network is the reference's, stage by stage.

        It is the same walk, with the backend's operators: each stage gets what the backend made of the stage before.
        """
        given = start.astype(precision(self.backend, start.dtype))
        start = values = given.astype(np.float64)  # what the backend is given is what the reference is given
        found = steps.answers(given, self.backend)
        for should in expectations(steps, start, self.precision, groups=takes_groups(self.backend)):
            given, values = values, self.asked(lambda: next(found)[1], code, should.name)
            self.compare(values, should, code, {"start": start, "stage_input": given})

    def compare(self, got: Array, should: Expected, code: object, arrays: dict[str, Array] | None = None) -> None:
        """A mismatch unless the answer is equal, where every partial sum is exact, or keeps to the bound elsewhere."""
        _, want, bound, unit = should
        got = in_shape(got, want)
        arrays = {**(arrays or {}), "got": got, "want": want, "bound": bound}
        if got.shape != want.shape:
            raise Mismatch(f"gives the shape {got.shape} instead of {want.shape}", code, should.name, arrays)
        if unit is not None and not self.precision.exact:
            unit = unit if (bound < unit / 2).all() else None
            got = got if unit is None else np.rint(got / unit) * unit
        if unit is not None:
            bound = np.zeros_like(bound)
        with np.errstate(all="ignore"):
            error = np.abs(got - want)
            wrong = ~((error <= bound) | (got == want))
            if not wrong.any():
                return
            excess = np.where(wrong, np.where(np.isnan(error), np.inf, error / np.where(bound > 0, bound, 1)), -1)
        worst = tuple(int(i) for i in np.unravel_index(int(excess.argmax()), excess.shape))
        digits = 9 if f"{got[worst]:.9g}" != f"{want[worst]:.9g}" else 17
        problem = f"{int(wrong.sum())} of {wrong.size} values are wrong; the worst is at {worst}: {got[worst]:.{digits}g} instead of {want[worst]:.{digits}g}, "
        if unit is not None:
            problem += "and these must be equal: every partial sum is exact"
        else:
            problem += f"off by {error[worst]:.3g}, {excess[worst]:.3g} times the bound {bound[worst]:.3g}"
        if self.answered.kind == "f" and np.finfo(self.answered).eps > 4 * self.precision.eps:
            problem += f"; the answer is {self.answered}, and eps says {self.precision.eps:.2g}"
        raise Mismatch(problem, code, should.name, arrays)

    def on_grid(self, grid: float, *names: str) -> list[str]:
        """A line of code that rounds to the grid what a Fourier transform leaves beside it, if the backend has such."""
        if self.precision.exact:
            return []
        return [f"{', '.join(names)} = {', '.join(f'np.rint(np.asarray({name}) / {grid}) * {grid}' for name in names)}"]

    @property
    def as_object(self) -> list[str]:
        """Code that makes an object of a module which lacks operators: networks take such an object, and no such module."""
        if isinstance(self.backend, ModuleType) and len(self.operators) < len(OPERATORS):
            return ["import types", "backend = types.SimpleNamespace(**vars(backend))"]
        return []

    def happens(self, lines: list[str], call: Call, first: Any, code: object) -> dict[str, Any]:
        """Run lines of code about a call, its arrays and its answer; gives the names they know."""
        scope = {"np": np, "backend": self.backend, "first": first, **dict.fromkeys(call.names), **call.named}
        self.given(lambda: exec(compiled("\n".join(lines)), scope), code)
        return scope

    def value(self, expression: str, scope: dict[str, Any]) -> Any:
        """That of an expression after such lines."""
        return eval(compiled(expression, "eval"), scope)

    def holds(self, problem: str, lines: Iterable[str], given: Call | None = None) -> None:
        """Run the code that a failure prints, the call's arrays being there; a mismatch if its last line, an assertion, does not hold."""
        code = Script(given, (*self.as_object, *lines))
        scope = {name: getattr(decoding, name) for name in decoding.__all__} | {"np": np, "backend": self.backend}
        if given is not None:
            scope |= given._replace(arrays=tuple(given.copies())).named
        with _asking(code):
            try:
                exec(compiled("\n".join(code.lines)), scope)
            except AssertionError:
                raise Mismatch(problem, code) from None


@contextlib.contextmanager
def _asking(code: object, stage: str = "") -> Iterator[None]:
    """While the backend is asked: what it raises is told, and what it sets with `numpy.seterr` ends."""
    try:
        with np.errstate():
            yield
    except Mismatch:
        raise
    except NotImplementedError as error:
        raise Unsupported(str(error)) from None
    except STOPS as error:
        raise Mismatch(f"raises {type(error).__name__}: {error}", code, stage) from error


def _is_minus(call: Call, before: Call) -> bool:
    """Whether the answer must be minus the one before: one array has changed its sign, nothing else has changed, and the operator is linear in it.

    Rounding is the same on either side of zero.
    """
    changed = [
        (now, then)
        for now, then in zip(call.named.values(), before.named.values(), strict=True)
        if not np.array_equal(now, then)
    ]
    linear = call.operator in LINEAR and "bias" not in call.named
    return linear and len(changed) == 1 and np.array_equal(changed[0][0], -changed[0][1])


def stays(answer: Any, before: Array) -> bool:
    """Whether an answer that was held is what it was."""
    now = np.asarray(answer)
    return np.array_equal(now, before) or np.array_equal(now, before, equal_nan=True)  # the first is faster
