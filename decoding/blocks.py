"""Work cut into blocks, so that memory holds a few blocks and the result; several run at a time where that is faster."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice, pairwise
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from .arguments import Array
from .backend import Backend, takes_threads

Block = TypeVar("Block")
Result = TypeVar("Result")

_SETTING = threading.Lock()  # held while the threads of BLAS are read and set


def in_order(
    backend: Backend,
    compute: Callable[[Block], Result],
    blocks: Iterable[Block],
    collect: Callable[[Result], object],
    *,
    executor: Any = None,
    function: str = "",
    named: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """``collect(compute(block))`` for every block, in order.

    With an executor, its workers compute: see `decoding.executing.results`.

    With a backend that declares ``threads = True``, blocks are computed in threads, as many as BLAS has (the library that
    multiplies matrices for NumPy), and BLAS is limited to one thread meanwhile. A thread that does all the work of a block,
    and not only its matrix products, seldom has to wait for another. This needs threadpoolctl; without it, and with other
    backends, one block is computed after the other.
    """
    if executor is not None:
        for found in elsewhere(backend, compute, blocks, executor, function, named):
            collect(found)
        return
    made = Until(blocks)
    several, blocks = _several(made) if takes_threads(backend) else (False, made)
    with _threads() if several else contextlib.nullcontext(1) as threads:
        if several:
            keep_memory()
        if threads == 1:
            for block in blocks:
                collect(compute(block))
            made.check()
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        waiting, handling = deque[Future[Result]](), np.geterr()

        def as_here(block: Block) -> Result:
            with np.errstate(**handling):  # a new thread does not have the caller's setting
                return compute(block)

        with ThreadPoolExecutor(threads) as pool:
            for block in blocks:
                waiting.append(pool.submit(as_here, block))
                del block
                if len(waiting) > threads:  # one more than run at a time, so that no thread waits for `collect`
                    collect(waiting.popleft().result())
            while waiting:
                collect(waiting.popleft().result())
            made.check()


def elsewhere(
    backend: Backend,
    compute: Callable[[Block], Result],
    blocks: Iterable[Block],
    executor: Any,
    function: str,
    named: Mapping[str, Any],
    hold: bool = True,
) -> Iterator[Result]:
    """``compute(block)`` for every block, in order, by an executor's workers.

    The workers' BLAS gets as many threads as it would have without an executor, so that sums are rounded alike: for a backend
    that may be run in several threads one thread, unless `hold` is False.
    """
    from .executing import results

    made = Until(blocks)
    several, blocks = _several(made)
    if hold and several and takes_threads(backend):
        keep_memory()
        threads = 1 if _blas() else None
    else:
        threads = _blas_threads() if _blas() else None
    alone = not takes_threads(backend)
    yield from results(executor, compute, blocks, threads=threads, alone=alone, function=function, named=named)
    made.check()


def gather(
    backend: Backend,
    compute: Callable[[int, int], Array],
    count: int,
    step: int,
    empty: Array,
    **elsewhere: Any,
) -> Array:
    """``compute(start, stop)`` for blocks of at most `step` of `count` rows, put together in one array; `empty` for no rows.

    The blocks are as equal in size as can be, and enough to keep all threads busy. Further options are those of `in_order`.
    """
    out, edges = empty, cut(count, step, _blas_threads() if takes_threads(backend) and count > step else 1)

    def collect(found: tuple[int, Array]) -> None:
        nonlocal out
        start, part = found
        if not start:
            out = np.empty((count, *part.shape[1:]), part.dtype)
        out[start : start + len(part)] = part

    in_order(backend, _Rows(compute), pairwise(edges), collect, **elsewhere)
    return out


def cut(count: int, step: int, threads: int) -> list[int]:
    """Where blocks of at most `step` of `count` rows begin and end: as equal as can be, and so many that threads end together."""
    number = -(-count // step)
    if number > 1:
        number = min(count, -(-number // threads) * threads)
    return [count * i // number for i in range(number + 1)] if number else []


class _Rows:
    """Computes a block of rows, and returns it with the number of its first row; a class, so that it can be pickled."""

    def __init__(self, compute: Callable[[int, int], Array]) -> None:
        self.compute = compute

    def __call__(self, block: tuple[int, int]) -> tuple[int, Array]:
        return block[0], self.compute(*block)


class Until:
    """Blocks, up to the first that cannot be made. `check` raises the error of that one, when those before it are done."""

    def __init__(self, blocks: Iterable[Any]) -> None:
        self.blocks = blocks
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            for block in self.blocks:
                yield block
                del block
        except Exception as error:
            self.failure = error

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure


def _several(blocks: Iterable[Block]) -> tuple[bool, Iterable[Block]]:
    """Whether there are several, and an iterator over all of them that keeps no reference."""
    rest = iter(blocks)
    first = deque(islice(rest, 2))
    return len(first) > 1, chain((first.popleft() for _ in range(len(first))), rest)


@contextlib.contextmanager
def _threads() -> Iterator[int]:
    """Limit BLAS to one thread, and yield how many threads can compute blocks instead; 1 if BLAS cannot be limited."""
    held = contextlib.ExitStack()
    with _SETTING:
        threads = _blas_threads()
        if threads > 1:  # a second caller at the same time finds BLAS limited already, and changes nothing
            held.enter_context(_blas().limit(limits=1))
            if _blas_threads() > 1:  # some libraries obey only the thread that set the limit first
                threads = 1
    try:
        yield threads
    finally:
        with _SETTING:
            held.close()


class _Held:
    """How many threads BLAS is limited to in this process, and how many callers rely on that."""

    changed = threading.Condition()
    limit = callers = 0
    before: Sequence[tuple[Any, int]] = ()


@contextlib.contextmanager
def blas_threads(count: int | None) -> Iterator[None]:
    """Run the body with BLAS limited to `count` threads; None changes nothing.

    Several callers at a time can share one limit; a caller that wants another limit waits for them. Sums are rounded
    differently with another number of threads, so a worker must have as many as a run without workers would have.
    """
    if count is None or _blas() is None:
        yield
        return
    with _Held.changed:
        _Held.changed.wait_for(lambda: not _Held.callers or _Held.limit == count)
        if not _Held.callers:
            libraries = _blas().lib_controllers
            _Held.limit, _Held.before = count, [(library, library.num_threads) for library in libraries]
            _set_threads((library, count) for library in libraries)
        _Held.callers += 1
    try:
        yield
    finally:
        with _Held.changed:
            _Held.callers -= 1
            if not _Held.callers:
                _set_threads(_Held.before)
            _Held.changed.notify_all()


def _set_threads(counts: Iterable[tuple[Any, int]]) -> None:
    """Set the number of threads of each library, from whichever thread this is called.

    threadpoolctl 3.6 lets only one thread set that of OpenBLAS, so that callers do not undo each other's setting. Here that
    cannot happen, since `_Held` counts the callers.
    """
    for library, count in counts:
        getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


def _blas_threads() -> int:
    return max((library.num_threads for library in _blas().lib_controllers), default=1) if _blas() else 1


@lru_cache(maxsize=1)
def keep_memory() -> None:
    """Make the C library's allocator, once, keep the memory that is freed, for the next block.

    glibc returns large pieces of memory to the system, and asks for them again page by page, unless it has seen a piece of
    that size come and go. So one is allocated and freed here; as nothing is written to it, it costs nothing. LeNet's bilinear
    bank is decoded 1.8 times as fast for it.
    """
    np.empty(2**25 - 2**16, np.uint8)


def _blas() -> Any:
    """What reads and sets the threads of NumPy's BLAS, and of SciPy's once that is imported; None without threadpoolctl."""
    return _controller("scipy.linalg" in sys.modules)


@lru_cache(maxsize=2)
def _controller(scipy: bool) -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")
