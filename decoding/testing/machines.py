"""Sequences of calls to one backend: what it keeps from one call must not show in another.

`Sequence` is a rule-based state machine of hypothesis. Its steps are: a call; the same call again with the same arrays; a change of the arrays of an
earlier call; a change of an earlier answer; an earlier answer that is given to another operator; a call that must be refused or that has
not-a-number in an array; a call of no images, and one whose answer is read later; and many calls of one shape. After each step, every answer that was given before must be what it was. hypothesis draws such sequences. Besides, some sequences are always
played: one in which every call follows every other one (a de Bruijn sequence), and for each operator one in which every three kinds of steps
follow each other.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any, ClassVar, NamedTuple

import numpy as np
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ..arguments import Array
from ..backend import takes_groups, takes_threads
from . import conditions, explicit
from .bench import NOT_THE_SAME, Bench, stays
from .calls import Call, inputs, source
from .checks import GROUPED, check
from .operators import varied
from .report import Mismatch
from .rounding import NotJudged

RING = 128  # the longest ring of buffers that is gone round
# Calls of one kind in a row, by default and thoroughly: a fault in one of 3,000 shows with 63 %, and with 99 %.
MANY = {False: 3000, True: 14000}
SECONDS = {False: 2, True: 30}  # that they may take; in threads, a batch of them
PLANS = {False: 36, True: 130}  # shapes that are gone through, twice
THREADS = 7
FRESH = 24 * THREADS  # calls of new shapes, each asked by all threads at once
MANY_LARGE = {False: 32, True: 128}  # calls of large arrays; more of operators that take little time
BATCH = 500  # calls that threads are given at a time
ANY_SHAPE = ("relu", "softmax", "max_pool", "avg_pool")  # which take what any other operator answers
REFUSED = 5  # of so many calls in threads, one comes after a call that must be refused
Step = tuple[str, dict[str, Any]]  # a rule, and its arguments
ONE = st.runner().flatmap(lambda machine: st.sampled_from(machine.pool))  # of the calls


class Asked(NamedTuple):
    """A call that was asked: the name of the arrays that were handed over, these, the answer as it was given, and as it was then."""

    name: str
    call: Call
    arrays: list[Array | None]
    answer: Any
    before: Array


class Sequence(RuleBasedStateMachine):
    """Calls of one backend in any order; prints as code that can be pasted."""

    bench: Bench
    pool: ClassVar[list[Call]]
    idle: ClassVar[list[Call]] = []
    found: ClassVar[list[Mismatch]]
    right: ClassVar[dict[Any, Array]]  # what was found to be right: equal answers to equal arrays are not judged again
    told: ClassVar[list[Any]]  # the lines of the sequences before, of which the backend may remember something

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[int, Asked] = {}
        self.count = self.changes = 0
        self.lines: list[Any] = []

    @rule(call=ONE)
    def ask(self, call: Call) -> None:
        """One of the calls, with arrays of its own."""
        self._ask(call)

    @precondition(lambda self: self.idle)
    @rule(call=st.runner().flatmap(lambda machine: st.sampled_from(machine.idle)), locked=st.booleans())
    def ask_for_nothing(self, call: Call, locked: bool) -> None:
        """A call that leaves its maps as they are, or copies a filter; of arrays that cannot be written to, perhaps."""
        self._ask(call, locked)

    @rule(call=ONE)
    def read_late(self, call: Call) -> None:
        """One of the calls, whose arrays change before the answer is read."""
        self._ask(call, late=True)

    @precondition(lambda self: self.asked)
    @rule(back=st.integers(0, 7))
    def ask_again(self, back: int) -> None:
        """The same call with the same arrays, whatever they hold now."""
        one = self.asked[self._earlier(back)]
        self._judge(one.call, one.arrays, one.name)

    @precondition(lambda self: self.asked)
    @rule(back=st.integers(0, 7))
    def change_arrays(self, back: int) -> None:
        """Two neighbours in each array that was handed over change places, so that their sum stays; equal ones change.

        They lie in the middle, after a third, or at the end.
        """
        one = self.asked[self._earlier(back)]
        self.changes += 1
        for i, array in enumerate(one.arrays):
            if array is not None and array.flags.writeable:
                places = array.size // 2, min(array.size // 3 | 1, array.size - 1), array.size - 1
                at, name = places[(self.changes - 1) % 3], f"{one.name}[{i}].flat"
                first, second = array.flat[at - 1], array.flat[at]
                if first == second:
                    second += 7
                array.flat[at - 1], array.flat[at] = second, first
                self.lines.append(f"{name}[{at - 1}], {name}[{at}] = {second}, {first}")

    @precondition(lambda self: self.asked)
    @rule(back=st.integers(0, 7))
    def write_to_answer(self, back: int) -> None:
        """Other numbers in the answer, which is its owner's to write to if it can be written to."""
        number = self._earlier(back)
        answer = self.asked[number].answer
        if isinstance(answer, np.ndarray) and answer.flags.writeable:
            answer[...] = 77
            self.lines += [f"y{number}[...] = 77", f"kept{number} = np.array(y{number})"]
            self.asked[number] = self.asked[number]._replace(before=np.array(answer))

    @precondition(lambda self: self.asked)
    @rule(back=st.integers(0, 7), call=ONE)
    def pass_on(self, back: int, call: Call) -> None:
        """An earlier answer is given to a rectifier, a softmax or a pool, as in a network; it must stay as it is."""
        number = self._earlier(back)
        given = np.asarray(self.asked[number].answer)
        if call.operator in ANY_SHAPE:
            options = {"leak": 0.0} if call.operator == "relu" else call.options
            call = call._replace(arrays=(given,), options=options)
            code = call.code([f"np.asarray(y{number})"])
            self.lines += ["with contextlib.suppress(Exception):  # the window may not fit", f"    {code}"]
            with self._noting([given]):
                self.bench.unless_refused(lambda: call.on(self.bench.backend), self)

    @rule(call=ONE, way=st.integers(0, 3))
    def fail(self, call: Call, way: int) -> None:
        """A call that must be refused, or one of not-a-number."""
        ways = spoilt_ways(call)
        spoilt = ways[way % len(ways)]
        self.lines += ["with contextlib.suppress(Exception):", f"    {spoilt}"]
        with self._noting(call.copies()):
            self.bench.unless_refused(lambda: spoilt.on(self.bench.backend, *spoilt.copies()), self)

    @rule(call=ONE, length=st.sampled_from((2, 3, 4, 8, 16, 32)))
    def go_round(self, call: Call, length: int) -> None:
        """So many answers of one shape, of other numbers, that are all held."""
        x, *others = call.arrays
        assert x is not None
        for number in range(length + 1):
            self._ask(call._replace(arrays=(x * (1 + number), *others)))

    @invariant()
    def all_stay(self) -> None:
        """Every answer is what it was."""
        for number, one in self.asked.items():
            if not stays(one.answer, one.before):
                self.lines.append(f"assert np.array_equal(y{number}, kept{number}, equal_nan=True), y{number}")
                with self._noting(one.arrays):
                    raise Mismatch("an answer changed while other calls were made", self)

    def _earlier(self, back: int) -> int:
        """The number of an answer that is held, `back` from the last."""
        return list(self.asked)[-1 - back % len(self.asked)]

    def _ask(self, call: Call, locked: bool = False, late: bool = False) -> None:
        name, arrays, alone = f"x{self.count}", call.copies(), not self.lines
        self.lines.append(_Later(lambda: f"{name} = [{', '.join(map(source, call.arrays))}]"))
        if locked:
            self.lines.append(f"[each.setflags(write=False) for each in {name} if each is not None]")
            for each in arrays:
                if each is not None:
                    each.setflags(write=False)
        self._judge(call, arrays, name, late, alone)

    def _judge(
        self, call: Call, arrays: list[Array | None], name: str, late: bool = False, alone: bool = False
    ) -> None:
        """Ask, hold the answer, and see whether it is the reference's, and memory of its own; `alone` if nothing was done before."""
        number, self.count = self.count, self.count + 1
        options = "".join(f", {key}={value!r}" for key, value in call.options.items())
        negate = [f"{name}[0][...] = -{name}[0]"] * late
        self.lines += [
            f"y{number} = backend.{call.operator}(*{name}{options})",
            *negate,
            f"kept{number} = np.array(y{number})",
        ]
        given = call._replace(arrays=tuple(arrays))
        before = given.copies()
        key = call.operator, options, *(a if a is None else a.tobytes() for a in before)
        with self._noting(arrays, alone), contextlib.suppress(NotJudged):
            answer = self.bench.given(lambda: given.on(self.bench.backend), self)
            if late and arrays[0] is not None:
                np.negative(arrays[0], out=arrays[0])
            got = self.bench.read(answer, self)
            if any(np.shares_memory(np.asarray(answer), each) for each in arrays if each is not None):
                last = f"assert not any(np.shares_memory(y{number}, each) for each in {name} if each is not None)"
                raise Mismatch("the answer shares its memory with an array of the call", f"{self}\n{last}")
            self.asked[number] = Asked(name, call, arrays, answer, got)
            if key not in self.right or not np.array_equal(got, self.right[key], equal_nan=True):
                self.bench.agrees(given._replace(arrays=tuple(before)), got, _Later(lambda: f"{self}\ny{number}"))
                self.right[key] = got

    @contextlib.contextmanager
    def _noting(self, arrays: list[Array | None], alone: bool = False) -> Iterator[None]:
        """Note what is found, with the arrays of the call.

        All calls are right when they are first made. If the first one of a sequence is wrong, the backend remembers what came before it.
        """
        try:
            yield
        except Mismatch as mismatch:
            mismatch.arrays, mismatch.alone = {**inputs(arrays), **mismatch.arrays}, alone
            self.found.append(mismatch)
            raise

    def __str__(self) -> str:
        return "\n".join(["import contextlib", *map(str, self.lines)])


class _Later(NamedTuple):
    """A text that is made when it is printed, as most are not."""

    text: Callable[[], str]

    def __str__(self) -> str:
        return self.text()


def spoilt_ways(call: Call) -> list[Call]:
    """The call with not-a-number in one of its arrays; with too few rows for its window; with arrays that do not fit each other, or lack
    axes; in no known mode."""
    arrays = call.copies()
    found = [
        call._replace(arrays=(*arrays[:i], np.full_like(array, np.nan), *arrays[i + 1 :]))
        for i, array in enumerate(arrays)
        if array is not None
    ]
    x, *others = arrays
    assert x is not None
    if "pad" in call.options:
        options = {**call.options, "stride": (3, 3), "pad": (0, 0, 0, 0)}
        found.append(call._replace(arrays=(x[:, :, :1], *others), options=options))
    wrong = {"correlate": x[:, :0], "substitute": x[:, :-1]}.get(call.operator, x[0, 0])
    found.append(call._replace(arrays=(wrong, *others)))
    return found + [call._replace(options={**call.options, "mode": "none"})] * ("mode" in call.options)


def de_bruijn(kinds: int, length: int) -> list[int]:
    """The shortest row of so many kinds, cyclic, in which every `length` of them follow each other somewhere.

    The Lyndon words whose length divides `length`, one after the other (Fredricksen and Maiorana, 1978).
    """
    word, found = [0] * (kinds * length), list[int]()

    def extend(at: int, period: int) -> None:
        if at > length:
            if length % period == 0:
                found.extend(word[1 : period + 1])
            return
        word[at] = word[at - period]
        extend(at + 1, period)
        for kind in range(word[at - period] + 1, kinds):
            word[at] = kind
            extend(at + 1, at)

    extend(1, 1)
    return found


def plays(firsts: list[Call], pool: list[Call], idle: list[Call], large: list[Call]) -> Iterator[list[Step]]:
    """Sequences that are always played: every two calls of the pool in a row, every call after every failure, every three kinds of steps.

    Failures and kinds of steps are those of the first calls alone, one of each operator.
    """
    yield from ([("ask_for_nothing", {"call": call, "locked": locked})] for call in idle for locked in (False, True))
    again: list[Step] = [("change_arrays", {"back": 0}), ("ask_again", {"back": 0})]
    for call in large:
        yield [("ask", {"call": call}), *again, *again, ("go_round", {"call": call, "length": 4})]
    for call in firsts:
        yield [("ask", {"call": call}), ("write_to_answer", {"back": 0}), ("ask", {"call": call})]
        yield [("read_late", {"call": call})]
        yield [("go_round", {"call": call, "length": RING})]
        for then in (each for each in firsts if each.operator in ANY_SHAPE):
            yield [("ask", {"call": call}), ("pass_on", {"back": 0, "call": then})]
    tour = de_bruijn(len(pool), 2)
    yield [("ask", {"call": pool[which]}) for which in (*tour, tour[0])]
    yield [
        step
        for first in firsts
        for way in range(len(spoilt_ways(first)))
        for then in firsts
        for step in (("fail", {"call": first, "way": way}), ("ask", {"call": then}))
    ]
    for call, other in zip(firsts, pool[1:], strict=False):
        steps: list[Step] = [("ask", {"call": call}), ("ask", {"call": other}), ("ask_again", {"back": 0})]
        steps += [("change_arrays", {"back": 0}), ("write_to_answer", {"back": 0}), ("fail", {"call": call, "way": -1})]
        kinds = de_bruijn(len(steps), 3)
        yield [steps[kind] for kind in (0, *kinds, *kinds[:2])]


def played(machine: type[Sequence], steps: list[Step]) -> tuple[int, Mismatch] | None:
    """What goes wrong when the steps are taken one after the other, and after how many of them; None if nothing does."""
    state, taken = machine(), 0
    try:
        for name, arguments in steps:
            taken += 1
            if state.asked or "back" not in arguments:
                getattr(state, name)(**arguments)
        state.all_stay()
    except Mismatch as mismatch:
        if mismatch.alone:  # all lines from the beginning are told
            mismatch.code = "\n".join(map(str, [*machine.told, mismatch.code]))
        return taken, mismatch
    machine.told += state.lines
    return None


def shortest(machine: type[Sequence], steps: list[Step]) -> Mismatch | None:
    """What goes wrong in these steps, or in the last few of them alone: a reader has less to read."""
    found = played(machine, steps)
    if found is None:
        return None
    taken, mismatch = found
    for length, end in product((2, 3, 4, 6, 8, 12, 16, 32, 64), range(taken, taken - 3, -1)):
        part = steps[max(end - length, 0) : end]
        if len(part) < taken and part and "back" not in part[0][1]:
            shorter = played(machine, part)
            if shorter is not None and not shorter[1].alone:
                return shorter[1]
    return mismatch


def _searched(machine: type[Sequence], bench: Bench) -> None:
    """Have hypothesis draw sequences, and shrink what it finds."""
    chosen = bench.settings(max(2, bench.examples // 5), stateful_step_count=30)
    made = machine if bench.seed is None else seeded(bench.seed)(machine)
    try:
        run_state_machine_as_test(made, settings=chosen)
    except Flaky:  # the backend did not do the same twice: the last sequence it got wrong will do
        machine.found[-1].problem += NOT_THE_SAME
        raise machine.found[-1] from None
    except Mismatch as shrunk:
        raise (machine.found[0] if shrunk.alone else shrunk) from None


def _idle(call: Call) -> list[Call]:
    """Calls of the operator that leave its maps as they are, or copy a filter."""
    x, one = varied(2, 2, 3, 4) + 9, {"stride": (1, 1)}
    none = {"pad": (0, 0, 0, 0)} if "pad" in call.options else {}
    if call.operator == "relu":
        return [call._replace(arrays=(x,), options={"leak": leak}) for leak in (0.0, 1.0)]
    if call.operator == "softmax":
        return []
    if len(call.arrays) == 1:
        return [call._replace(arrays=(x,), options={**call.options, **one, "size": (1, 1), **none})]
    bias, copying = (None,) * (len(call.arrays) - 2), np.eye(2)[:, :, np.newaxis, np.newaxis]
    pairs = (
        (x, copying),
        (np.eye(2)[:1, ::-1, np.newaxis, np.newaxis], varied(2, 2, 1, 1)),
        (copying[:1, :1], varied(1, 3, 2, 4)),
    )
    fit = pairs if call.operator == "substitute" else pairs[:2]
    return [call._replace(arrays=(*pair, *bias), options={**one, **none}) for pair in fit]


def _larger(call: Call, times: int = 1) -> Call:
    """The same call of over 4,096 numbers, and with over 512 weights, if it has any; of so many times as many rows and columns."""
    x, *others = call.arrays
    assert x is not None
    large = varied(2, x.shape[1], 33 * times, 67 * times)
    if not others:
        return call._replace(arrays=(large[:, :2],) if call.operator == "unpool" else (large,))
    sides = (9, x.shape[1]) if call.operator == "correlate" else (x.shape[1], 9)
    bias = [varied(9)] * (len(others) - 1)
    return call._replace(arrays=(large, varied(*sides, 6, 5, most=2), *bias))


def _kin(call: Call) -> Call:
    """A call that takes as much memory, and has other numbers in it: pads of the other side."""
    x, *others = call.arrays
    assert x is not None
    options = dict(call.options)
    if "pad" in options:
        top, bottom, left, right = options["pad"]
        options["pad"] = (
            (top + bottom, 0, 0, left + right) if call.operator == "correlate" else (bottom, top, right, left)
        )
    if "leak" in options:
        options["leak"] = 3.0
    return Call(call.operator, (1 - x, *others), options)


@check(
    says="Each answer is as if its call were the only one, in whatever order calls are made, even if some are refused, and whatever is "
    "done later to their arrays and answers.",
    hunts="what one operator leaves in the memory of another, answers that are kept and given again, rings of buffers, plans of an earlier "
    "call",
)
def calls_in_any_order(bench: Bench) -> None:
    firsts = bench.right(explicit.probes(bench.operators))
    more = [explicit.calls(call.operator, mode=call.options.get("mode"))[0] for call in firsts] + [*map(_kin, firsts)]

    class Machine(Sequence):
        pool: ClassVar[list[Call]] = [*firsts, *bench.right(more)]
        idle: ClassVar[list[Call]] = bench.right(each for call in firsts for each in _idle(call))
        found: ClassVar[list[Mismatch]] = []
        right: ClassVar[dict[Any, Array]] = {}
        told: ClassVar[list[Any]] = []

    Machine.bench = bench

    def play(steps: list[Step]) -> None:
        mismatch = shortest(Machine, steps)
        if mismatch is not None:
            raise mismatch

    if firsts:
        bench.look(plays(firsts, Machine.pool, Machine.idle, bench.right(map(_larger, firsts))), play)
        _searched(Machine, bench)


@check(
    says="Answers stay the same however often a call is made, after calls of many other shapes, and, if the backend says threads = True, "
    "in several threads.",
    hunts="counters that overflow, full caches of plans that give another plan, memory that threads share",
)
def many_calls(bench: Bench) -> None:
    modes = {"unpool": "nearest"}
    for call in bench.right(explicit.calls(each, mode=modes.get(each))[0] for each in bench.operators):
        if takes_threads(bench.backend):
            bench.look(_crowds(call, MANY[bench.thorough]), partial(_in_threads, bench))
        else:
            bench.look([call], partial(_repeated, bench))
        bench.look([_of_many_shapes(call, 2, 3, 1)], partial(_new_shapes, bench))
        bench.look([_of_many_shapes(call, PLANS[bench.thorough], 3)], partial(_many_shapes, bench))
    if takes_threads(bench.backend):
        grouped = _in_groups(bench) if takes_groups(bench.backend) else []
        everything = bench.right([*explicit.probes(bench.operators), *grouped])
        bench.look([(everything, MANY[bench.thorough])], partial(_in_threads, bench))


def _crowds(call: Call, count: int) -> list[tuple[list[Call], int]]:
    """What threads are given, and how many calls in all: two shapes in turn; new shapes, each for all threads at once; large arrays."""
    fresh = [each for each in _of_many_shapes(call, FRESH // THREADS, 2) for _ in range(THREADS)]
    takes_little = call.operator in ANY_SHAPE
    large = _larger(call, 3 if takes_little else 1)
    signs = [large._replace(arrays=(sign * np.asarray(large.arrays[0]), *large.arrays[1:])) for sign in (1, -1)]
    return [(_of_many_shapes(call, 2), count), (fresh, len(fresh)), (signs, MANY_LARGE[takes_little])]


def _repeated(bench: Bench, call: Call) -> None:
    """The same call, over and over."""
    count = MANY[bench.thorough]
    code = call.script(
        f"first = np.array({call.by_name()})",
        f"found = [{call.by_name()} for _ in range({count})]",
        "assert all(np.array_equal(y, first) for y in found)",
    )
    ask = partial(bench.asked, lambda: call.on(bench.backend), code)
    _all_agree(bench, [call], (ask() for _ in range(count)), code)


def _in_threads(bench: Bench, case: tuple[list[Call], int]) -> None:
    """Calls that take turns in several threads, so many in all; what must be refused comes in between."""
    calls, total = case
    wrong = [spoilt_ways(call)[-1] for call in calls]
    lines = [
        "import contextlib",
        "from concurrent.futures import ThreadPoolExecutor",
        f"calls = [{', '.join(f'lambda: {call}' for call in calls)}]",
        f"wrong = [{', '.join(f'lambda: {call}' for call in wrong)}]",
        "def ask(n):",
        f"    if not n % {REFUSED}:",
        "        with contextlib.suppress(Exception):",
        f"            wrong[n % {len(calls)}]()",
        f"    return calls[n % {len(calls)}]()",
        f"with ThreadPoolExecutor({THREADS}) as pool:",
        f"    found = list(pool.map(ask, range({total})))",
        "alone = [np.array(call()) for call in calls]",
        f"assert all(np.array_equal(y, alone[n % {len(calls)}]) for n, y in enumerate(found))",
    ]
    code = "\n".join(lines)

    def ask(number: int) -> Array:
        at = number % len(calls)
        if not number % REFUSED:
            bench.unless_refused(lambda: wrong[at].on(bench.backend), code)
        return bench.asked(lambda: calls[at].on(bench.backend), code)

    with _hasty_threads(), ThreadPoolExecutor(THREADS) as pool:
        for _ in range(0, total, BATCH):
            _all_agree(bench, calls, pool.map(ask, range(min(total, BATCH))), code)


def _new_shapes(bench: Bench, calls: list[Call]) -> None:
    """Calls of new shapes, of which one without images is made first, and one in single precision."""
    asked: list[Call] = []
    for call in calls:
        x, *others = (a if a is None else a / 3 for a in call.arrays)
        assert x is not None
        singles = call._replace(arrays=tuple(a if a is None else np.float32(a) for a in (x, *others)))
        for each in (call._replace(arrays=(x[:0], *others)), singles, call._replace(arrays=(x, *others))):
            asked.append(each)
            desk = bench.at(conditions.SINGLE) if each is singles else bench
            desk.agrees(each, code=_Later(partial("\n".join, map(repr, tuple(asked)))))


def _many_shapes(bench: Bench, calls: list[Call]) -> None:
    """Calls of many shapes, twice, and of fewer images in between."""
    fewer = [call._replace(arrays=(np.asarray(call.arrays[0])[1:], *call.arrays[1:])) for call in calls]
    for call in (*calls, *fewer, *calls):
        bench.agrees(call, code=_Later(partial("\n".join, map(repr, (*calls, *fewer, call)))))


def _in_groups(bench: Bench) -> list[Call]:
    """Calls in groups, two of each operator that takes them."""
    return [call for each in GROUPED if each in bench.operators for call in explicit.grouped(each)[::4][:2]]


def _all_agree(bench: Bench, calls: list[Call], answers: Iterable[Array], code: str) -> None:
    """All answers to the calls, which take turns, are the reference's, as many as there are before the time is up."""
    end, first = time.monotonic() + SECONDS[bench.thorough], dict[int, Array]()
    for number, got in enumerate(answers):
        kind = number % len(calls)
        if kind not in first or not np.array_equal(got, first[kind]):
            try:
                bench.agrees(calls[kind], got, code)
            except Mismatch as mismatch:
                mismatch.problem = f"call number {number + 1} in a row: {mismatch.problem}"
                raise
            first[kind] = got
        if time.monotonic() > end:
            break


@contextlib.contextmanager
def _hasty_threads() -> Iterator[None]:
    """Threads take turns as often as they can, so that they meet."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def _of_many_shapes(call: Call, count: int, images: int = 1, taller: int = 0) -> list[Call]:
    """The same call of so many widths."""
    x, *others = call.arrays
    assert x is not None
    n, c, rows, columns = x.shape
    return [
        call._replace(arrays=(varied(images * n, c, rows + taller, columns + more), *others)) for more in range(count)
    ]
