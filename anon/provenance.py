"""What makes a result: a hash of code, settings, weights and files, followed from the objects that take part.

    made_of(part)            an object: the code of its class, all of its settings, its tensors
    code(render, Cell.mean)  functions and classes alone

Code is followed by the names in it, from the functions of a class to those that they call, to constants, closures and
modules, into this package and into a user's own files alike: a filter whose helper in another file changes is another
filter. What is hashed is the compiled code without docstrings and line numbers, so no comment and no formatting changes
a hash, and what nothing reaches does not either. Code of installed packages and of Python itself is not followed: the
version of the package stands for it. A string or path that names a file stands for the bytes in it.

The walk is that of a graph: a function, a class or an object that was met before is referred to by its number, so it
matters which of two functions stands where. What an object holds is asked of the object (:mod:`anon.contents`). One
whose content cannot be told gives a hash that no other process finds again (:data:`UNSHARED`): never an equal one.

A call that is not written down as a name cannot be followed: methods of a function's arguments, which are objects that
have a hash of their own; members of a module of this package whose names are put together when the function runs, and
variables of the environment whose names are; what a file holds whose name is put together so.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import secrets
import sys
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anon import checksums, contents
from anon.compiled import Compiled, compiled
from anon.installed import is_module, library, version

#: Begins a hash, and every key of such a hash, that another process does not find again.
UNSHARED = "unshared-"

#: These keep results and talk about them, and make none.
_ASIDE = {"anon.provenance", "anon.compiled", "anon.checksums", "anon.progress", "anon.errors", "anon.faces.cache"}
_ASIDE |= {"anon.evaluation.harness.store", "anon.contents", "anon.installed"}
#: Entries of a class that change no result, or that Python adds on its way.
_OF_CLASSES = {"__doc__", "__module__", "__dict__", "__weakref__", "__annotations__", "__annotate__"}
_OF_CLASSES |= {
    "__annotate_func__",
    "__annotations_cache__",
    "__firstlineno__",
    "__static_attributes__",
    "__slotnames__",
    "_abc_impl",
}
_OF_MODULES = set(vars(nn.Module())) - {"training", "_parameters", "_buffers", "_modules"}
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_BY_STRING = {"globals", "vars", "eval", "exec", "import_module", "__import__", "modules"}  # looked up in strings
_TEXTS = {"__doc__", "__annotations__", "get_type_hints"}  # of what a function names, where it reads them
_MEMORY = {"dispatch_cache", "cache_token", "_clear_cache"}  # of functools.singledispatch
_EXACT = frozenset({bool, int, float, complex, range, type(None), type(...), type(NotImplemented)})
_ALONE = _EXACT | {str, bytes}  # their lines do not depend on what was met before
#: Equal ones may be one object or several, as Python likes.
_VALUES: tuple[type, ...] = (
    *(re.Pattern, decimal.Decimal, fractions.Fraction, uuid.UUID, types.GenericAlias),
    *(datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo),
)
_told: set[str] = set()  # what has been said to be untold
_tokens: dict[object, tuple[object, str]] = {}  # of untold things, which they hold, so that no id is used twice


def made_of(*parts: object, versions: bool = True) -> str:
    """SHA-256 of objects of any kind: modules, instances with their settings, functions with their closures, values.

    Args:
        versions: those of the packages that they use count.

    >>> made_of([1, "a"]) == made_of([1, "a"]) != made_of([2, "a"])
    True
    """
    return _Trace(versions=versions).of(parts)


@functools.cache
def code(*definitions: Callable[..., Any]) -> str:
    """SHA-256 of functions and classes and of all that they reach.

    Raises:
        TypeError: something else, such as the name of one.
    """
    for definition in definitions:
        if not isinstance(definition, (type, types.FunctionType)):
            raise TypeError(f"code() takes functions and classes, not {definition!r}.")
    return made_of(*definitions)


class _Trace:
    """One walk. What it meets is numbered; definitions are queued and hashed once each, in an order that is theirs.

    Args:
        seen: what another walk has met, of which this one is a part.
        versions: see :func:`made_of`.
    """

    def __init__(self, seen: Mapping[int, tuple[int, object]] | None = None, versions: bool = True) -> None:
        self._versions = versions
        self._packages: set[str] = set()  # with their versions
        self._seen = dict(seen or {})  # holds the objects, so that no id is used twice
        self._queue: list[Any] = []
        self._modules: set[tuple[str, frozenset[str]]] = set()
        self.shared = True

    def of(self, parts: Iterable[object]) -> str:
        rows = [self._value(part) for part in parts]
        while self._queue:
            definition = self._queue.pop()
            follow = self._class if isinstance(definition, type) else self._function
            rows.append(f"{self._seen[id(definition)][0]} {_sha(follow(definition))}")
        digest = _sha([*rows, *sorted(self._packages)])
        return digest if self.shared else UNSHARED + digest

    # values

    def _value(self, value: Any) -> str:
        """A line that is the same for the same value, in every process; definitions in it are queued."""
        kind = type(value)
        if kind in _EXACT or isinstance(value, (torch.dtype, torch.device)):
            return repr(value)
        if kind is str or isinstance(value, PurePath):
            return self._text(value)
        if kind in (bytes, bytearray):
            return f"bytes {hashlib.sha256(value).hexdigest()}"
        if isinstance(value, enum.Enum):
            return f"{self._kind(value)}.{value._name_} {self._value(value._value_)}"
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(value)
        if isinstance(value, types.ModuleType):
            return self._module(value, frozenset())
        if isinstance(value, (tuple, frozenset, *_VALUES)) or (
            kind.__module__ == "typing" and not isinstance(value, type)
        ):
            return self._part(value)
        new = id(value) not in self._seen
        number, _ = self._seen.setdefault(id(value), (len(self._seen), value))
        if isinstance(value, (type, types.FunctionType)):
            if new:
                self._queue.append(value)
            return f"{contents.home(value)}.{value.__qualname__} number {number}"
        return self._part(value) if new else f"number {number}"

    def _part(self, value: Any) -> str:
        """A value that may hold others."""
        kind = type(value)
        if kind is dict:
            return f"dict {_sha([f'{self._value(key)}: {self._value(each)}' for key, each in value.items()])}"
        if kind in (list, tuple):
            return f"{kind.__name__} {_sha([self._value(each) for each in value])}"
        if kind in (set, frozenset):
            return f"{kind.__name__} {_sha(self._unordered(value))}"
        plain = contents.plain(value)
        if plain is not value:  # a kind of text, list, ...
            return f"{self._kind(value)} {self._value(plain)} {self._value(contents.attributes(value))}"
        return f"{self._kind(value)} {self._state(value)}"

    def _kind(self, value: object) -> str:
        return self._value(type(value))

    def _unordered(self, values: Iterable[Any]) -> list[str]:
        """Of a set: in the order of what its members would be alone."""
        alone = [(self._value(each) if type(each) in _ALONE else self._alone(each), each) for each in values]
        return [self._value(each) for _, each in sorted(alone, key=lambda pair: pair[0])]

    def _alone(self, value: Any) -> str:
        walk = _Trace(self._seen, self._versions)
        digest = walk.of([value])
        self.shared &= walk.shared
        return digest

    def _tensor(self, value: Tensor) -> str:
        if value.is_meta:
            return self._untold(value, "a tensor without numbers (meta)")
        plain = value.to_dense() if value.layout != torch.strided else value
        plain = plain.dequantize() if plain.is_quantized else plain.resolve_conj().resolve_neg()
        rows = [self._kind(value)] if type(value) not in (Tensor, nn.Parameter) else []
        rows += [self._value(vars(value))] if vars(value) else []
        return " ".join([checksums.of_tensor(plain), *([] if plain is value else [str(value.layout)]), *rows])

    def _array(self, value: np.ndarray | np.generic) -> str:
        plain = np.asarray(value)
        if plain.dtype.hasobject:
            content = self._value(plain.tolist())
        else:
            content = hashlib.sha256(np.ascontiguousarray(plain).reshape(-1).view(np.uint8).data).hexdigest()
        row = f"{plain.shape} {plain.dtype} {content}"
        if type(value) is np.ndarray or isinstance(value, np.memmap):
            return row
        return f"{self._kind(value)} {row} {self._value(contents.attributes(value))}"

    def _text(self, value: str | PurePath) -> str:
        """A text; of the name of a file or a folder the bytes in it, wherever it lies."""
        if UNSHARED in str(value) and str(value) != UNSHARED:  # a key of such a hash, not this constant
            self.shared = False
        try:
            found = contents.behind(value)
        except contents.Untold as untold:
            return self._untold(str(value), str(untold))
        return repr(str(value)) if found is None else found

    def _untold(self, value: Any, what: str) -> str:
        """Another line in every process; in this one the same for the same object."""
        self.shared = False
        if what not in _told:
            _told.add(what)
            print(
                f"nobody can tell what is in {what}: what is made with it is not kept for later runs", file=sys.stderr
            )
        name = value if isinstance(value, str) else id(value)
        return _tokens.setdefault(name, (value, secrets.token_hex(16)))[1]

    def _state(self, value: Any) -> str:
        """All settings and tensors of an instance."""
        kind = type(value)
        if contents.home(kind).startswith("anon.evaluation.harness.") and isinstance(getattr(value, "key", None), str):
            return self._text(value.key)  # it has been hashed as a whole
        if isinstance(value, types.BuiltinFunctionType):
            self._outside(str(value.__module__))
        self._outside(contents.home(kind))
        try:
            found = contents.held(value)
        except contents.Untold as untold:
            return self._untold(value, str(untold))
        if isinstance(value, nn.Module):
            hooks = [(name, list(vars(value)[name].values())) for name in _HOOKS]
            found = [pair for pair in found if pair[0] not in _OF_MODULES] + hooks
        return _sha([self._value(each) for each in found])

    # definitions

    def _class(self, kind: type) -> list[str]:
        if self._outside(contents.home(kind)):
            return []
        members = {name: each for name, each in vars(kind).items() if name not in _OF_CLASSES}
        rows = [f"{name} {self._value(members[name])}" for name in sorted(members)]
        bases = [self._value(each) for each in (type(kind), *kind.__bases__)]
        return [f"{kind.__module__}.{kind.__qualname__}", *bases, *rows]

    def _function(self, function: types.FunctionType) -> list[str]:
        home, written = str(function.__globals__.get("__name__")), compiled(function.__code__)
        if home in _ASIDE:
            return []
        rows = [written.digest, self._value(function.__defaults__), self._value(function.__kwdefaults__)]
        beside = [*sorted(vars(function).items()), *_closure(function)]
        rows += [f"{name} {self._value(each)}" for name, each in beside if home != "functools" or name not in _MEMORY]
        if not self._outside(home):
            rows += self._names(function, written, home)
        return rows

    def _names(self, function: types.FunctionType, written: Compiled, home: str) -> list[str]:
        """What the names in a function refer to: globals, other functions of its class, modules that it imports."""
        known, own = function.__globals__, _own_class(function)
        rows = []
        for name in sorted(written.names):
            if name in known:
                rows.append(f"{name} {self._reference(known[name], written.names)}")
            if own is not None and (member := _static(own, name)) is not None:
                rows.append(f"self.{name} {self._value(member)}")
        if written.names & _TEXTS:
            rows += [self._value(_texts(each)) for each in (own, *(known.get(name) for name in sorted(written.names)))]
        for module in sorted(_imported(written, known)):
            rows.append(self._import(module, written.names))
        if not home.startswith("anon."):
            rows += [self._text(each) for each in sorted(written.strings)]
            if written.names & {"environ", "getenv"}:
                rows += [f"{each}={os.environ.get(each)!r}" for each in sorted(written.strings) if "\0" not in each]
            if written.names & _BY_STRING and home in sys.modules:
                rows.append(self._module(sys.modules[home], written.names))
                rows += [self._import(each, written.names) for each in sorted(written.strings) if is_module(each)]
        return rows

    def _reference(self, value: Any, names: frozenset[str]) -> str:
        return self._module(value, names) if isinstance(value, types.ModuleType) else self._value(value)

    # modules

    def _module(self, module: types.ModuleType, names: frozenset[str]) -> str:
        """What the names may mean in a module of this package; all of a user's module, which may look up anything."""
        name = module.__name__
        if (name, names) in self._modules or self._outside(name):
            return name
        self._modules.add((name, names))
        by_name = name.split(".")[0] in ("anon", "__main__")  # a notebook's globals hold results, too
        chosen = {key: each for key, each in vars(module).items() if (key in names if by_name else _own(key, each))}
        return f"{name} {_sha([f'{key} {self._reference(chosen[key], names)}' for key in sorted(chosen)])}"

    def _import(self, name: str, names: frozenset[str]) -> str:
        if self._outside(name):
            return name
        try:
            module = importlib.import_module(name)
        except ImportError:
            return f"no {name}"
        return self._module(module, names)

    def _outside(self, name: str) -> bool:
        """Whether code of this module is not followed; notes the version of its package."""
        if name in _ASIDE:
            return True
        package = library(name)
        if package and self._versions:
            self._packages.add(f"{package} {version(package)}")
        return package is not None


def _sha(rows: list[str]) -> str:
    """Of lines without line ends; short, so that what is nested deep does not grow with its depth."""
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def _static(kind: type, name: str) -> Any:
    """An entry of a class of ours, or of such a base of it; None without one."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    return None if owner is None or library(owner.__module__) is not None else vars(owner)[name]


def _own_class(function: types.FunctionType) -> type | None:
    """The class in whose body a function is written, where it can be found by name."""
    *path, _ = function.__qualname__.split(".")
    place: Any = types.SimpleNamespace(**{key: each for key, each in function.__globals__.items() if key in path[:1]})
    for name in path:
        place = getattr(place, name, None)
    return place if path and isinstance(place, type) else None


def _imported(written: Compiled, known: Mapping[str, Any]) -> Iterator[str]:
    """Modules that a function imports when it runs, and their members, which may be modules."""
    for level, name, members in written.imports:
        package = str(known.get("__package__") or known.get("__name__"))
        full = importlib.util.resolve_name("." * level + name, package) if level else name
        yield full
        if library(full) is None:
            yield from (inner for each in members if is_module(inner := f"{full}.{each}"))


def _own(name: str, value: Any) -> bool:
    """Whether an entry of a user's module is its own: no dunder, nothing that it imported from a package."""
    if isinstance(value, types.ModuleType):
        return not value.__name__.startswith("anon.")
    home = getattr(value, "__module__", None) if isinstance(value, (type, types.FunctionType)) else None
    return not name.startswith("__") and (home is None or not (home.startswith("anon.") or library(home) is not None))


def _closure(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Names and values of what a function closes over; "unbound" for a name that is not bound yet."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            yield f"unbound {name}", None


def _texts(definition: Any) -> tuple[str, str] | None:
    """Docstring and annotations of a class or a function of ours, as text."""
    if not isinstance(definition, (type, types.FunctionType)) or library(definition.__module__) is not None:
        return None
    try:
        return repr(definition.__doc__), repr(definition.__annotations__)
    except NameError:  # annotations that are worked out when they are asked for
        return repr(definition.__doc__), ""
