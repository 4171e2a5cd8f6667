"""What an object holds, whatever its type, and what lies behind the name of a file or a folder.

A class that is written in Python holds what its ``__dict__`` and its slots do. Of what lies in C, and of a package's
class that says so, it is what the object would give to be pickled (``__reduce_ex__``): nothing is pickled, and no code
runs that pickling would not run. What tells nothing in either way (a network in another library's memory, a generator
that has begun) is :class:`Untold`; nobody may take it for equal to another.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import copyreg
import dataclasses
import functools
import io
import logging
import os
import stat
import struct
import threading
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import torch
from torch import nn

from anon import checksums
from anon.compiled import compiled
from anon.installed import library

PACKAGE = Path(__file__).resolve().parent
FILES, BYTES = 2000, 256 << 20  # of a folder that is read for a hash, at most
_DESCRIPTORS = (
    *(types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType),
    *(types.GetSetDescriptorType, types.MemberDescriptorType),
)
_CACHED = functools.cached_property
_SESSION = "onnxruntime.capi.onnxruntime_inference_collection.InferenceSession"
_OWN_WORD = ("__reduce__", "__reduce_ex__", "__getstate__")


class Untold(Exception):
    """What the sentence names has a content that cannot be read."""


def held(value: Any) -> list[Any]:
    """All that makes an object what it is, besides its type, in an order that is the same for the same content.

    Raises:
        Untold: that cannot be told.
    """
    kind: Any = type(value)
    try:
        for known, tell in _TOLD:
            if isinstance(value, known):
                return [*tell(value), *(attributes(value) if library(home(kind)) != "" else ())]
        if f"{home(kind)}.{kind.__name__}" == _SESSION:  # onnxruntime is not imported for it
            return [value._model_path, value._model_bytes, value.get_providers()]
        if isinstance(value, nn.Module) or not (_hidden(kind) or _speaks(kind)):
            return attributes(value)
        reduce = copyreg.dispatch_table.get(kind)
        told = value.__reduce_ex__(4) if reduce is None else reduce(value)
    except Exception as error:  # whatever an object of any kind raises when it is asked
        if not _hidden(kind):
            return attributes(value)
        raise Untold(f"a {home(kind)}.{kind.__qualname__}") from error
    if isinstance(told, str):
        return [told]
    maker, arguments, *rest = told
    state, items, pairs = (*rest, None, None, None)[:3]
    own = attributes(value) if library(home(kind)) is None else []
    return [maker, arguments, state, None if items is None else [*items], None if pairs is None else [*pairs], own]


def home(definition: Any) -> str:
    """The module of a class or a function; some that are written in C keep something else under that name."""
    found = definition.__module__
    return found if isinstance(found, str) else "builtins"


def attributes(value: Any) -> list[Any]:
    """Names and values of ``__dict__`` and slots, but for what the object works out by itself and remembers.

    A class leaves out what its ``_handles`` name: attributes of another library whose content its other ones tell.
    """
    kind = type(value)
    state = dict(_slots(value)) | dict(getattr(value, "__dict__", {}))
    worked_out = {name for base in kind.__mro__ for name, each in vars(base).items() if type(each) is _CACHED}
    worked_out |= set(getattr(kind, "_handles", ()))
    return [(name, state[name]) for name in sorted(state, key=str) if name not in worked_out]


def plain(value: Any) -> Any:
    """The plain value of which an object's class is a kind (a dict of a ``Counter``); the object itself of others."""
    if isinstance(value, collections.OrderedDict):
        return dict(collections.OrderedDict.items(value))
    if isinstance(value, collections.defaultdict):
        return dict(value), value.default_factory
    for base, copied in _COPIES:
        if isinstance(value, base):
            return copied(value)
    return value


def behind(text: str | PurePath) -> str | None:
    """A hash of the file, or of the files in the folder, that a text names; None where it names neither.

    A word is the name of a folder only as a path: it has a separator, or is one.

    Raises:
        Untold: a folder of more than 2,000 files or 256 MiB.
    """
    name = str(text)
    if not 0 < len(name) < 1024 or "\0" in name or "\n" in name:
        return None
    short = name.startswith("~/")
    try:
        # Nearly every text is no path, and one look tells; a Path takes longer to make than to look for.
        mode = os.stat(os.path.expanduser(name) if short else name.rstrip(os.sep) or os.sep).st_mode
        place = Path(name).expanduser() if short else Path(name)
        if stat.S_ISREG(mode):
            return f"file {checksums.of_unchanged_file(place)}"
        if (isinstance(text, PurePath) or os.sep in name.strip(f"{os.sep} .")) and stat.S_ISDIR(mode):
            return f"folder {list(_files(place))}"
    except (OSError, RuntimeError, ValueError):
        return None
    return None


def _files(folder: Path) -> Iterator[str]:
    """Name and hash of all files below; links to folders and what is no file by name.

    Not of compiled modules, which Python leaves where it imports, nor of this package's modules: code is followed by
    the names in it (:mod:`anon.provenance`).
    """
    count = size = 0
    ours = folder.resolve().is_relative_to(PACKAGE)
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted([*(name for name in names if not (ours and name.endswith(".py"))), *folders]):
            file = Path(root, name)
            about = file.lstat() if file.is_symlink() and not file.is_file() else file.stat()
            regular = stat.S_ISREG(about.st_mode)
            count, size = count + 1, size + about.st_size * regular
            if count > FILES or size > BYTES:
                raise Untold(f"the folder '{folder}' of more than {FILES} files or {BYTES >> 20} MiB")
            yield f"{file.relative_to(folder)} {checksums.of_unchanged_file(file) if regular else ''}"


@functools.cache
def _hidden(kind: Any) -> bool:
    """Whether instances hold more than a ``__dict__`` and slots."""
    given = [name for base in kind.__mro__ for name in _names(vars(base).get("__slots__", ()))]
    own = [f"slot_{place}" for place, name in enumerate(given) if name not in ("__dict__", "__weakref__")]
    own += ["__dict__"] * bool(kind.__dictoffset__) + ["__weakref__"] * bool(kind.__weakrefoffset__)
    return bool(kind.__itemsize__) or kind.__basicsize__ > type("Twin", (), {"__slots__": own}).__basicsize__


def _speaks(kind: type) -> bool:
    """Whether a package's class has its own word for what its instances hold; a user's may leave out what counts."""
    return library(home(kind)) is not None and any(
        name in vars(base) for base in kind.__mro__ if base is not object for name in _OWN_WORD
    )


def _slots(value: Any) -> Iterator[tuple[str, Any]]:
    for base in type(value).__mro__:
        for name in _names(vars(base).get("__slots__", ())):
            private = name.startswith("__") and not name.endswith("__")
            full = f"_{base.__name__.lstrip('_')}{name}" if private else name
            slot = vars(base).get(full)
            if isinstance(slot, types.MemberDescriptorType) and hasattr(value, full):
                yield full, slot.__get__(value)


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _bound(value: Any) -> Iterator[Any]:
    yield f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    if not isinstance(value.__self__, types.ModuleType):
        yield value.__self__


def _variable(value: Any) -> Iterator[Any]:
    """Of a context, or its default."""
    yield value.name
    with contextlib.suppress(LookupError):
        yield value.get()


def _stream(value: Any) -> Iterator[Any]:
    """An open file: what lies under its name, and where it is read."""
    yield from (str(value.name), getattr(value, "mode", ""))
    if value.readable() and value.seekable():
        yield value.tell()


def _field(value: Any) -> Iterator[Any]:
    """Of a dataclass, but for its annotation."""
    yield from (getattr(value, name, None) for name in ("name", "default", "default_factory", "init", "kw_only"))
    yield dict(value.metadata)


#: Of kinds that give nothing to be pickled, or more than what they are.
_TOLD: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (functools.partial, lambda it: (it.func, it.args, it.keywords)),
    (types.MethodType, lambda it: (it.__func__, it.__self__)),
    (property, lambda it: (it.fget, it.fset, it.fdel)),
    (functools.cached_property, lambda it: (it.func,)),
    ((classmethod, staticmethod, functools._lru_cache_wrapper), lambda it: (it.__wrapped__,)),
    ((types.BuiltinFunctionType, types.MethodWrapperType), _bound),
    (_DESCRIPTORS, lambda it: (it.__objclass__, it.__name__)),
    (types.CodeType, lambda it: (compiled(it).digest,)),
    (types.MappingProxyType, lambda it: (dict(it),)),
    (memoryview, lambda it: (it.format, it.shape, it.tobytes())),
    (slice, lambda it: (it.start, it.stop, it.step)),
    (struct.Struct, lambda it: (it.format,)),
    (weakref.ref, lambda it: (it(),)),
    (contextvars.ContextVar, _variable),
    (typing.TypeVar, lambda it: (it.__name__,)),
    (threading.local, lambda it: (vars(it),)),
    ((type(threading.Lock()), type(threading.RLock())), lambda it: ()),
    (logging.Logger, lambda it: (it.name,)),
    (dataclasses.Field, _field),
    ((io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO), _stream),
    (torch.Generator, lambda it: (it.get_state(), str(it.device))),
)
_COPIES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (dict, dict.copy),
    (list, lambda it: list(list.__iter__(it))),
    (tuple, lambda it: tuple(tuple.__iter__(it))),
    (set, lambda it: set(set.__iter__(it))),
    (frozenset, lambda it: frozenset(frozenset.__iter__(it))),
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (complex, lambda it: complex(it.real, it.imag)),
    (bytes, lambda it: bytes.__getitem__(it, slice(None))),
    (bytearray, bytes),
)
