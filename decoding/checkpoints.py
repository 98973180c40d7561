"""Checkpoints: the state of a long measurement in a file, so that little is lost if the program is killed.

The file holds the state of the meters, how many images they have measured, and fingerprints of the work (network, meters,
backend, images), so that it is refused for other work. It is replaced as a whole or not at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

from .arguments import described, listed
from .backend import ModuleBackend
from .errors import DataFormatError, InvalidValueError
from .files import check_writable, replacing, shown
from .network import Network

MAGIC = b"decoding checkpoint 2\n"
SHARE = 20  # a checkpoint is written when measuring has taken so many times as long as writing the last one
SOME = 16  # how many images of an array, evenly spaced, go into its fingerprint
NUMPY = ("_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype")
PLAIN = ("complex", "set", "frozenset", "slice", "range", "bytearray")


class Checkpoint:
    """The file of one measurement.

    Parameters
    ----------
    path : path
    work : mapping
        What must be the same for the measurement to go on, by the names that errors use.
    meters : sequence
        The meters. Their attributes named in `state` are kept; without `state`, all except networks and backends.
    """

    def __init__(self, path: Any, work: Mapping[str, Any], meters: Sequence[Any]) -> None:
        self.path, self.meters = check_writable(path, "checkpoint"), meters
        self.given: Any = path
        self.work = {name: fingerprint(value) for name, value in work.items()}
        self.written, self.cost, self.saved = time.monotonic(), 0.0, -1

    def resume(self) -> tuple[int, int]:
        """Put the file's state into the meters; returns how many blocks and images they have measured, 0 and 0 without a file."""
        if not self.path.exists():
            return 0, 0
        header, content = _read(self.path)
        others = [name for name, digest in self.work.items() if header["work"].get(name) != digest]
        if others:
            raise InvalidValueError(
                f"checkpoint '{shown(self.given)}' is of other work, which differs in {listed(others)}. Give another file, or remove this one."
            )
        states = _loaded(content, self.meters, self.path)
        for meter, state in zip(self.meters, states, strict=True):
            vars(meter).update(state)
        self.saved = header["blocks"]
        return header["blocks"], header["images"]

    def step(self, blocks: int, images: int) -> None:
        """Write the file, if enough has been measured since it was last written."""
        if time.monotonic() - self.written >= SHARE * self.cost:
            self.save(blocks, images)

    def save(self, blocks: int, images: int) -> None:
        """Write the file, unless it holds this state already."""
        if blocks == self.saved:
            return
        begin = time.monotonic()
        content = _dumped(self.meters)
        if self.saved < 0:
            _loaded(content, self.meters, self.path)  # a state that could not be read back is refused at once
        header = {"work": self.work, "blocks": blocks, "images": images, "sha256": hashlib.sha256(content).hexdigest()}
        with replacing(self.path) as file:
            file.write(MAGIC + json.dumps(header).encode() + b"\n")
            file.write(content)
        self.written, self.saved = time.monotonic(), blocks
        self.cost = self.written - begin


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    with open(path, "rb") as file:
        if file.readline(len(MAGIC)) != MAGIC:
            raise DataFormatError(f"'{shown(path)}' is no checkpoint of this version of decoding.")
        line, content = file.readline(2**16), file.read()
    try:
        header = json.loads(line)
        whole = header["sha256"] == hashlib.sha256(content).hexdigest()
        whole = whole and isinstance(header["work"], dict) and min(header["blocks"], header["images"]) >= 0
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise DataFormatError(f"'{shown(path)}' is a damaged checkpoint. Remove it to begin anew.")
    return header, content


def state(meter: Any) -> dict[str, Any]:
    """The state of a meter: the attributes that its `state` names, or all except networks and backends."""
    names = getattr(meter, "state", None)
    if names is not None:
        return {name: getattr(meter, name) for name in names}
    return {
        name: value
        for name, value in vars(meter).items()
        if not isinstance(value, (Network, ModuleType, ModuleBackend))
    }


def _dumped(meters: Sequence[Any]) -> bytes:
    try:
        return pickle.dumps([state(meter) for meter in meters], protocol=5)
    except Exception as error:
        raise InvalidValueError(
            f"checkpoint: what the meters hold cannot be pickled: {error}. Give the meter an attribute state = (names, …), which says what to keep."
        ) from error


def _loaded(content: bytes, meters: Sequence[Any], path: Path) -> list[dict[str, Any]]:
    try:
        states: list[dict[str, Any]] = _Unpickler(content, {type(meter).__module__ for meter in meters}).load()
        if [set(kept) for kept in states] != [set(state(meter)) for meter in meters]:
            raise ValueError("it holds other attributes than the meters have")
        return states
    except Exception as error:
        raise DataFormatError(f"'{shown(path)}': what the meters hold cannot be read back: {error}") from error


class _Unpickler(pickle.Unpickler):
    """Reads arrays, plain values, and classes of this package and of the meters' modules. Anything else is refused, so no code runs."""

    def __init__(self, content: bytes, modules: set[str]) -> None:
        super().__init__(io.BytesIO(content))
        self.modules = modules

    def find_class(self, module: str, name: str) -> Any:
        top = module.partition(".")[0]
        if (top == "numpy" and name in NUMPY) or (module == "builtins" and name in PLAIN):
            return super().find_class(module, name)
        if (top == __name__.partition(".")[0] or module in self.modules) and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not read from checkpoints")


def fingerprint(value: Any) -> str:
    """A digest of a value's contents, the same in every process."""
    digest = hashlib.sha256()
    _feed(digest, value, {})
    return digest.hexdigest()


def _feed(digest: Any, value: Any, known: dict[int, tuple[Any, bytes]]) -> None:
    """Add a value to a digest. Objects that were met before are not read again; their own digest is added."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        digest.update(f"{type(value).__name__} {value!r};".encode())
    elif isinstance(value, (np.ndarray, np.generic)) and value.dtype != object:
        digest.update(f"array {value.dtype.str} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
    elif isinstance(value, (type, FunctionType, BuiltinFunctionType, np.ufunc)):
        digest.update(
            f"{getattr(value, '__module__', 'numpy')}.{getattr(value, '__qualname__', value.__name__)};".encode()
        )
    elif isinstance(value, ModuleType):
        digest.update(f"module {value.__name__};".encode())
    else:
        if id(value) not in known:
            known[id(value)] = value, b"met on the way"  # the value is kept alive, or another could get its id
            own = hashlib.sha256(f"{type(value).__module__}.{type(value).__qualname__};".encode())
            for part in _parts(value):
                _feed(own, part, known)
            known[id(value)] = value, own.digest()
        digest.update(known[id(value)][1])


def _parts(value: Any) -> Sequence[Any]:
    """What an object is made of."""
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, Mapping):
        return [part for pair in value.items() for part in pair]
    if isinstance(value, (set, frozenset)):
        return sorted(fingerprint(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.tolist()  # type: ignore[no-any-return]
    if isinstance(value, np.dtype):
        return [value.str]
    if isinstance(value, Path):
        return [str(value)]
    if callable(getattr(value, "fields", None)):  # networks and layers
        return [value.fields()]
    bound = getattr(value, "__self__", None), getattr(value, "__func__", None)
    if bound[1] is not None:
        return bound
    held = getattr(value, "__dict__", {})
    return [{name: part for name, part in sorted(held.items()) if not _is_cached(value, name)}]


def _is_cached(value: Any, name: str) -> bool:
    """Whether the attribute is a cached property, computed from the others."""
    return isinstance(getattr(type(value), name, None), cached_property)


def of_images(images: Any) -> Any:
    """What goes into the fingerprint of images, so that not all of them need be read."""
    shape = getattr(images, "shape", None)
    if isinstance(images, np.ndarray) and len(images):
        return [images.dtype, shape, images[:: -(-len(images) // SOME)], images[-1:]]
    if isinstance(images, (list, tuple)):
        return [len(images), *(of_images(batch) for batch in images[:: -(-len(images) // SOME) or 1])]
    if hasattr(images, "sizes"):
        return [len(images), images]
    return shape or described(type(images))
