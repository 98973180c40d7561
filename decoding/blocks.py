"""Work done in blocks, so that its memory is that of some blocks and of its result: several at a time, where that is faster."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain, islice, pairwise
from typing import Any, TypeVar

import numpy as np

from .arguments import Array
from .backend import Backend, takes_threads

Block = TypeVar("Block")
Result = TypeVar("Result")

_SETTING = threading.Lock()  # held while the threads of BLAS are read and set


def in_order(
    backend: Backend, compute: Callable[[Block], Result], blocks: Iterable[Block], collect: Callable[[Result], object]
) -> None:
    """``collect(compute(block))`` for every block, in order.

    With a backend that says ``threads = True``, as many blocks are computed at a time as BLAS has threads, and BLAS is held to one thread
    meanwhile: a thread that does all of a block's work, not its products alone, seldom waits for another. That takes
    threadpoolctl; without it, and with other backends, one block is computed after the other.
    """
    several, blocks = _several(blocks) if takes_threads(backend) else (False, blocks)
    with _threads() if several else contextlib.nullcontext(1) as threads:
        if several:
            _keep_memory()
        if threads == 1:
            for block in blocks:
                collect(compute(block))
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        waiting, handling = deque[Future[Result]](), np.geterr()

        def as_here(block: Block) -> Result:
            with np.errstate(**handling):  # which threads do not take over
                return compute(block)

        with ThreadPoolExecutor(threads) as pool:
            for block in blocks:
                waiting.append(pool.submit(as_here, block))
                del block
                if len(waiting) > threads:  # one more than are computed, so that none waits for `collect`
                    collect(waiting.popleft().result())
            while waiting:
                collect(waiting.popleft().result())


def gather(backend: Backend, compute: Callable[[int, int], Array], count: int, step: int, empty: Array) -> Array:
    """``compute(start, stop)`` for blocks of at most `step` rows of `count`, put together; `empty` if there are none.

    The blocks are of one size, as far as they can be, and keep all threads busy.
    """
    out, number = empty, -(-count // step)
    if takes_threads(backend) and number > 1:
        threads = _blas_threads()
        number = min(count, -(-number // threads) * threads)
    edges = [count * i // number for i in range(number + 1)] if number else []

    def collect(found: tuple[int, Array]) -> None:
        nonlocal out
        start, part = found
        if not start:
            out = np.empty((count, *part.shape[1:]), part.dtype)
        out[start : start + len(part)] = part

    in_order(backend, lambda block: (block[0], compute(*block)), pairwise(edges), collect)
    return out


def _several(blocks: Iterable[Block]) -> tuple[bool, Iterable[Block]]:
    """Whether there are several, and an iterator over all of them that keeps no reference."""
    rest = iter(blocks)
    first = deque(islice(rest, 2))
    return len(first) > 1, chain((first.popleft() for _ in range(len(first))), rest)


@contextlib.contextmanager
def _threads() -> Iterator[int]:
    """How many threads there are for blocks, BLAS being held to one; 1 where it has one, or cannot be held to it."""
    held = contextlib.ExitStack()
    with _SETTING:
        threads = _blas_threads()
        if threads > 1:  # of two callers at once, the second finds one thread, and leaves it at that
            held.enter_context(_blas().limit(limits=1))
            if _blas_threads() > 1:  # some libraries do as they are told by one thread alone
                threads = 1
    try:
        yield threads
    finally:
        with _SETTING:
            held.close()


def _blas_threads() -> int:
    return max((library.num_threads for library in _blas().lib_controllers), default=1) if _blas() else 1


@lru_cache(maxsize=1)
def _keep_memory() -> None:
    """Teach the C library's allocator, once, to keep what it is given back.

    glibc gives memory back to the system, to ask for it again page by page, unless it has seen as large a piece come and
    go: one that nobody touches costs nothing. LeNet's bilinear bank is 1.8 times as fast so.
    """
    np.empty(2**25 - 2**16, np.uint8)


@lru_cache(maxsize=1)
def _blas() -> Any:
    """What tells and sets the threads of BLAS; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")
