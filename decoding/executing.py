"""Running work on any `concurrent.futures.Executor`: threads, processes, or a cluster. Results come in order, or as they end.

The *work* (say, a network with its meters) is pickled once, in the process that calls. Its bytes are sent with the first
tasks, as many as there are workers, and later to any worker that asks for them. A worker keeps the last two works that it was
given, by their digest. Threads of the same process are given the work itself, and nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import pickle
import threading
import traceback
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as OutOfTime  # before Python 3.11 not the built-in one
from functools import partial
from types import ModuleType
from typing import Any, NoReturn, TypeVar

import numpy as np

from .arguments import described
from .errors import DecodingError, ExecutorError, InvalidValueError

Block = TypeVar("Block")
E = TypeVar("E", bound=DecodingError)

AHEAD = 2  # tasks submitted for each worker: one is computed, one waits
KEPT = 2  # how many works a worker keeps
LOOK = 2.0  # seconds after which to check again whether an executor that does not answer is still there
WORKERS = 8  # assumed of an executor that does not say how many workers it has

_ALONE = threading.Lock()  # held while a backend runs that does not declare that several threads may run it
_WORKS: OrderedDict[str, Any] = OrderedDict()
_KEEPING = threading.Lock()


def check_executor(executor: Any, function: str) -> Executor:
    """The executor, if it is one; otherwise an error that says what to give."""
    if isinstance(executor, type) and issubclass(executor, Executor):
        raise _named(
            InvalidValueError,
            function,
            f"executor is the class {executor.__name__}; give an instance, {executor.__name__}().",
        )
    if not isinstance(executor, Executor):
        hint = " A dask client has one: client.get_executor()." if hasattr(executor, "get_executor") else ""
        raise _named(
            InvalidValueError,
            function,
            f"executor must be a concurrent.futures.Executor, such as ProcessPoolExecutor(), not {described(executor)}.{hint}",
        )
    return executor


def runs_here(executor: Executor) -> bool:
    """Whether its workers are threads of this process, so that nothing needs to be pickled."""
    return isinstance(executor, ThreadPoolExecutor)


def results(
    executor: Executor,
    work: Callable[[Block], Any],
    blocks: Iterable[Block],
    *,
    threads: int | None,
    alone: bool,
    function: str,
    named: Mapping[str, Any],
    in_order: bool = True,
) -> Iterator[Any]:
    """``work(block)`` for every block; at most two blocks for each worker are submitted at a time.

    Parameters
    ----------
    threads : int or None
        How many threads the workers' BLAS may use: as many as here, since the number of threads decides how sums are rounded.
    alone : bool
        Whether at most one thread of each process works at a time.
    named : mapping
        The parts of the work, by the names that errors use for them.
    in_order : bool
        Whether results come in the order of the blocks, or each as it ends.

    Raises
    ------
    InvalidValueError
        If the executor is shut down, or the work cannot be pickled.
    ExecutorError
        If the executor fails, or its workers lack the package.
    """
    task = (_Here if runs_here(executor) else _There)(executor, work, threads, alone, function, named)
    most, waiting = AHEAD * workers(executor), deque[tuple[Any, Future[Any]]]()

    def taken() -> Any:
        while not in_order and not _is_gone(executor):
            if wait([future for _, future in waiting], LOOK, FIRST_COMPLETED).done:
                waiting.rotate(-next(at for at, (_, future) in enumerate(waiting) if future.done()))
                break
        return task.result(*waiting.popleft())

    try:
        for block in blocks:
            waiting.append((block, task.submit(block)))
            del block
            if len(waiting) >= most:
                yield taken()
        while waiting:
            yield taken()
    finally:
        for _, future in waiting:
            future.cancel()


def workers(executor: Any) -> int:
    """How many tasks an executor computes at a time; a guess if it does not say."""
    for name in ("_max_workers", "num_workers"):
        with contextlib.suppress(Exception):
            if (count := int(getattr(executor, name))) > 0:
                return count
    with contextlib.suppress(Exception):  # an executor of dask
        return max(1, int(sum(executor._client.nthreads().values())))
    return WORKERS


class _Here:
    """Submits tasks to threads of this process."""

    def __init__(
        self, executor: Executor, work: Any, threads: int | None, alone: bool, function: str, named: Mapping[str, Any]
    ) -> None:
        self.executor, self.function = executor, function
        self.call = partial(_done, work, threads, alone)

    def submit(self, block: Any) -> Future[Any]:
        return self._submit(self.call, block)

    def result(self, block: Any, future: Future[Any]) -> Any:
        said, value = self._answer(future)
        if said == "failed":
            error, text = value
            raise error from error.__cause__ or Traceback(text)
        return value

    def _submit(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            with warnings.catch_warnings():  # dask warns of large arguments
                warnings.filterwarnings("ignore", message="Sending large graph")
                return self.executor.submit(call, *arguments)
        except Exception as error:
            if "shutdown" in str(error) or "shut down" in str(error):
                raise _named(
                    InvalidValueError,
                    self.function,
                    f"the executor, {_kind(self.executor)}, is shut down: call this inside its with block, or make a new one.",
                ) from error
            self._lost(error)

    def _answer(self, future: Future[Any]) -> Any:
        while True:
            try:
                return future.result(LOOK)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # asyncio's CancelledError, for one, is no Exception
                if future.done() or not isinstance(error, OutOfTime) or _is_gone(self.executor):
                    self._lost(error)

    def _lost(self, error: BaseException) -> NoReturn:
        if _lacks_package(error):
            raise _named(
                ExecutorError,
                self.function,
                f"the workers of {_kind(self.executor)} lack the package decoding: install it there, in the same version.",
            ) from error
        said = "it has closed" if _is_gone(self.executor) else " ".join(str(error).split())[:300].rstrip(".")
        raise _named(
            ExecutorError,
            self.function,
            f"the executor, {_kind(self.executor)}, failed: {type(error).__name__}{f': {said}' if said else ''}.",
        ) from error


class _There(_Here):
    """Submits tasks to other processes."""

    def __init__(
        self, executor: Executor, work: Any, threads: int | None, alone: bool, function: str, named: Mapping[str, Any]
    ) -> None:
        self.executor, self.function = executor, function
        self.payload = _pickled(work, function, named)
        self.call = partial(_task, hashlib.sha256(self.payload).hexdigest(), threads, alone)
        self.unsent = workers(executor)
        self._check_package()

    def _check_package(self) -> None:
        """Refuse workers with another version of this package, by a task that needs only builtins, so that any worker can run it."""
        from . import __version__

        there = self._answer(self._submit(eval, "__import__('decoding').__version__"))
        if there != __version__:
            raise _named(
                ExecutorError,
                self.function,
                f"the workers of {_kind(self.executor)} have decoding {there}, but here it is {__version__}. Install the same version in both places, or results could differ.",
            )

    def submit(self, block: Any, asked: bool = False) -> Future[Any]:
        payload = self.payload if asked or self.unsent > 0 else None
        self.unsent -= 1
        return self._submit(self.call, payload, block)

    def result(self, block: Any, future: Future[Any]) -> Any:
        said, value = self._answer(future)
        while said == "asks":
            said, value = self._answer(self.submit(block, asked=True))
        if said == "failed":
            error, text = pickle.loads(value)
            if error is None:
                raise _named(
                    ExecutorError,
                    self.function,
                    f"a worker of {_kind(self.executor)} failed: {text.strip().splitlines()[-1]}",
                )
            raise error from Traceback(text)
        return pickle.loads(value)


class Traceback(Exception):
    """The traceback of an exception in a worker, as text; it is shown as the exception's cause."""

    def __str__(self) -> str:
        return f"in a worker:\n\n{self.args[0]}"


def _task(token: str, threads: int | None, alone: bool, payload: bytes | None, block: Any) -> tuple[str, Any]:
    """What a worker runs. Returns ("done", the result as bytes), ("failed", the error as bytes), or ("asks", None) if it lacks the work."""
    try:
        work = _work(token, payload)
        if work is None:
            return "asks", None
        said, value = _done(work, threads, alone, block)
        return said, _travelling(*value) if said == "failed" else pickle.dumps(value, protocol=5)
    except Exception as error:
        return "failed", _travelling(error, traceback.format_exc())


def _done(work: Callable[[Block], Any], threads: int | None, alone: bool, block: Block) -> tuple[str, Any]:
    from .blocks import blas_threads

    try:
        with _ALONE if alone else contextlib.nullcontext(), blas_threads(threads), np.errstate(all="ignore"):
            return "done", work(block)
    except Exception as error:
        return "failed", (error, traceback.format_exc())


def _work(token: str, payload: bytes | None) -> Any:
    """The work with that digest: kept from before, or unpickled from `payload`; None if there is neither."""
    with _KEEPING:
        if token not in _WORKS:
            if payload is None:
                return None
            _WORKS[token] = pickle.loads(payload)
        _WORKS.move_to_end(token)
        while len(_WORKS) > KEPT:
            _WORKS.popitem(last=False)
        return _WORKS[token]


def _travelling(error: BaseException, text: str) -> bytes:
    """An error and its traceback as bytes; only the traceback, if the error cannot be pickled."""
    try:
        content = pickle.dumps((error, text))
        pickle.loads(content)
        return content
    except Exception:
        return pickle.dumps((None, text))


class _Pickler(pickle.Pickler):
    """A pickler that pickles modules by name, since backends may be modules."""

    def reducer_override(self, value: Any) -> Any:
        return (importlib.import_module, (value.__name__,)) if isinstance(value, ModuleType) else NotImplemented


def _bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=5).dump(value)
    return buffer.getvalue()


def _pickled(work: Any, function: str, named: Mapping[str, Any]) -> bytes:
    """The work as bytes; if it cannot be pickled, an error that names the part at fault."""
    try:
        return _bytes(work)
    except Exception as error:
        what = next((name for name, part in _taken_apart(named) if not pickles(part)), "the work")
        said = " ".join(str(error).split())[:300]
        raise _named(
            InvalidValueError,
            function,
            f"{what} cannot be sent to another process, since it does not pickle: {type(error).__name__}: {said}. "
            "Threads need no pickling: ThreadPoolExecutor().",
        ) from error


def _taken_apart(named: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parts of the work by name; before a network, its layers one by one."""
    for name, part in named.items():
        for number, layer in enumerate(getattr(part, "layers", None) or (), 1):
            yield f"layer {number} ({type(layer).__name__})", layer
        yield name, part


def pickles(value: Any) -> bool:
    """Whether it can be sent to another process, and be made again there."""
    try:
        pickle.loads(_bytes(value))
    except Exception:
        return False
    return True


def _is_gone(executor: Any) -> bool:
    """Whether it is an executor of dask whose client has closed; some of its futures then never end."""
    return getattr(getattr(executor, "_client", None), "status", None) in ("closing", "closed")


def _lacks_package(error: BaseException | None) -> bool:
    """Whether a worker could not import this package, judging by the error or by what caused it."""
    package = __name__.partition(".")[0]
    while error is not None:
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == package:
            return True
        if f"No module named '{package}" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _named(kind: type[E], function: str, text: str) -> E:
    """An error with the name of the public function that was called."""
    error = kind(text)
    error.function = function
    return error


def _kind(executor: Any) -> str:
    return type(executor).__name__
