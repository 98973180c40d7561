"""Work done in blocks, so that its memory is that of its result and of a block or two: several at a time, where that is faster."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from . import fast
from .arguments import Array
from .backend import Backend

_SETTING = threading.Lock()  # held while the threads of BLAS are read and set


def gather(backend: Backend, compute: Callable[[int], Array], count: int, step: int, empty: Array) -> Array:
    """``compute(start)`` for every block of `step` rows of `count`, put together; `empty` if there are none.

    With `decoding.fast`, as many blocks are computed at a time as BLAS has threads, and BLAS is held to one thread
    meanwhile: a thread that does all of a block's work, not its products alone, seldom waits for another. That takes
    threadpoolctl; without it, one block is computed after the other.
    """
    out, starts = empty, range(0, count, step)
    with _mapping(backend, len(starts)) as each:
        for start, part in zip(starts, each(compute, starts), strict=True):
            if not start:
                out = np.empty((count, *part.shape[1:]), part.dtype)
            out[start : start + step] = part
    return out


@contextlib.contextmanager
def _mapping(backend: Backend, blocks: int) -> Iterator[Callable[..., Any]]:
    """`map`, or that of a pool of threads."""
    blas = _blas() if backend is fast and blocks > 1 else None
    with contextlib.ExitStack() as stack:
        threads = 1
        with _SETTING:  # of two callers at once, the second finds one thread, and leaves it at that
            if blas is not None:
                threads = max((library.num_threads for library in blas.lib_controllers), default=1)
            if blas is not None and threads > 1:
                stack.enter_context(blas.limit(limits=1))
        if threads == 1:
            yield map
            return
        from concurrent.futures import ThreadPoolExecutor

        yield stack.enter_context(ThreadPoolExecutor(threads)).map


@lru_cache(maxsize=1)
def _blas() -> Any:
    """What tells and sets the threads of BLAS; None without threadpoolctl."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController().select(user_api="blas")
