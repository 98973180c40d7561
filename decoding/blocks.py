"""Work done in blocks, so that its memory is that of some blocks and of its result: several at a time, where that is faster."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np

from . import fast
from .arguments import Array
from .backend import Backend

Block = TypeVar("Block")
Part = TypeVar("Part")

_SETTING = threading.Lock()  # held while the threads of BLAS are read and set


def each(
    backend: Backend, compute: Callable[[Block], Part], blocks: Iterable[Block], take: Callable[[Part], object]
) -> None:
    """``take(compute(block))`` for every block, in order.

    With `decoding.fast`, as many blocks are computed at a time as BLAS has threads, and BLAS is held to one thread
    meanwhile: a thread that does all of a block's work, not its products alone, seldom waits for another. That takes
    threadpoolctl; without it, and with other backends, one block is computed after the other.
    """
    blas = _blas() if backend is fast else None
    with contextlib.ExitStack() as stack:
        threads = 1
        if blas is not None:
            blocks = iter(blocks)
            first = list(islice(blocks, 2))
            blocks = chain(first, blocks)
            with _SETTING:  # of two callers at once, the second finds one thread, and leaves it at that
                threads = max((library.num_threads for library in blas.lib_controllers), default=1)
                threads = threads if len(first) > 1 else 1  # one block has all the threads of BLAS for itself
                if threads > 1:
                    stack.enter_context(blas.limit(limits=1))
        if threads == 1:
            for block in blocks:
                take(compute(block))
            return
        from concurrent.futures import Future, ThreadPoolExecutor

        waiting: deque[Future[Part]] = deque()
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        for block in blocks:
            waiting.append(pool.submit(compute, block))
            if len(waiting) > threads:  # one more than are computed, so that none waits for `take`
                take(waiting.popleft().result())
        while waiting:
            take(waiting.popleft().result())


def gather(backend: Backend, compute: Callable[[int], Array], count: int, step: int, empty: Array) -> Array:
    """``compute(start)`` for every block of `step` rows of `count`, put together; `empty` if there are none."""
    out, done = empty, 0

    def take(part: Array) -> None:
        nonlocal out, done
        if not done:
            out = np.empty((count, *part.shape[1:]), part.dtype)
        out[done : done + len(part)] = part
        done += len(part)

    each(backend, compute, range(0, count, step), take)
    return out


@lru_cache(maxsize=1)
def _blas() -> Any:
    """What tells and sets the threads of BLAS; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")
