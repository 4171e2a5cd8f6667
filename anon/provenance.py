"""What makes a result: a hash of code, settings, weights and files, followed from the objects that take part.

    made_of(part)            an object: the code of its class, all of its settings, its tensors
    code(render, Cell.mean)  functions and classes alone

Code is followed by the names in it, from the functions of a class to those that they call, to constants, closures and
modules, into this package and into a user's own files alike: a filter whose helper in another file changes is another
filter. What is hashed is the compiled code without docstrings and line numbers, so no comment and no formatting changes
a hash, and what nothing reaches does not either. Code of installed packages and of Python itself is not followed: the
version of the package stands for it. A string or path that names a file stands for the bytes in it.

A call that is not written down as a name cannot be followed: methods of a function's arguments, which are objects that
have a hash of their own.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import importlib
import importlib.util
import re
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anon import checksums
from anon.compiled import Compiled, compiled

#: These keep results and talk about them, and make none.
_ASIDE = {"anon.provenance", "anon.compiled", "anon.checksums", "anon.progress", "anon.errors", "anon.faces.cache"}
_ASIDE |= {"anon.evaluation.harness.store"}
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
_BY_STRING = {"globals", "vars", "eval", "exec", "import_module", "__import__"}  # names are looked up in strings
_SOLD_AS = {"PIL": "pillow", "cv2": "opencv-python-headless", "hydra": "hydra-core"}  # others take a second to find
_PLAIN = (bool, int, float, complex, range, slice, type(None), type(...), torch.dtype, torch.device, np.generic)


def made_of(*parts: object) -> str:
    """SHA-256 of objects of any kind: modules, instances with their settings, functions with their closures, values.

    >>> made_of([1, "a"]) == made_of([1, "a"]) != made_of([2, "a"])
    True
    """
    return _Trace().of(parts)


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
    """One walk. Definitions are queued and hashed once each; what they refer to becomes part of the hash."""

    def __init__(self) -> None:
        self._found: set[str] = set()  # hashes of definitions, versions of packages
        self._seen: dict[int, tuple[int, object]] = {}  # holds the objects, so that no id is used twice
        self._queue: list[Any] = []
        self._modules: set[tuple[str, frozenset[str]]] = set()

    def of(self, parts: tuple[object, ...]) -> str:
        rows = [self._value(part) for part in parts]
        while self._queue:
            definition = self._queue.pop()
            follow = self._class if isinstance(definition, type) else self._function
            self._found.add(_sha(follow(definition)))
        return _sha([*rows, *sorted(self._found)])

    # values

    def _value(self, value: Any) -> str:
        """A line that is the same for the same value, in every process; definitions in it are queued."""
        if isinstance(value, enum.Enum):
            return f"{self._kind(value)}.{value.name}"
        if isinstance(value, (str, PurePath)):
            return _text(value)
        if isinstance(value, (bytes, bytearray)):
            return f"bytes {hashlib.sha256(value).hexdigest()}"
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, Tensor):
            return checksums.of_tensor(value)
        if isinstance(value, np.ndarray):
            content = repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).data
            return f"{value.shape} {value.dtype} {hashlib.sha256(content).hexdigest()}"
        if isinstance(value, types.ModuleType):
            return self._module(value, frozenset())
        if isinstance(value, (tuple, frozenset)):  # equal ones may be one object or several, as Python likes
            rows = [self._value(each) for each in value]
            return f"{self._kind(value)} {rows if isinstance(value, tuple) else sorted(rows)}"
        new = id(value) not in self._seen
        number, _ = self._seen.setdefault(id(value), (len(self._seen), value))
        if isinstance(value, (type, types.FunctionType)):
            if new:
                self._queue.append(value)
            return f"{value.__module__}.{value.__qualname__}"
        return self._part(value) if new else f"number {number}"

    def _part(self, value: Any) -> str:
        """A value that may hold others."""
        if isinstance(value, types.BuiltinFunctionType):
            self._outside(str(value.__module__))
            return f"{value.__module__}.{value.__qualname__}"
        inner = _inside(value)
        if inner is not None:
            return f"{self._kind(value)} {[self._value(each) for each in inner]}"
        if isinstance(value, dict):
            rows = [f"{self._value(key)}: {self._value(each)}" for key, each in value.items()]
            return f"{self._kind(value)} {rows}"
        if isinstance(value, (list, set)):
            rows = [self._value(each) for each in value]
            return f"{self._kind(value)} {rows if isinstance(value, list) else sorted(rows)}"
        return f"{self._kind(value)} {self._state(value)}"

    def _kind(self, value: object) -> str:
        return self._value(type(value))

    def _state(self, value: Any) -> list[str]:
        """All settings and tensors of an instance, but for what it works out by itself and remembers."""
        kind = type(value)
        if kind.__module__.startswith("anon.evaluation.harness.") and isinstance(getattr(value, "key", None), str):
            return [str(value.key)]  # it has been hashed as a whole
        if isinstance(value, torch.Generator):
            return [checksums.of_tensor(value.get_state())]
        if _library(kind.__module__) == "":
            return [repr(value)] if kind.__module__ in ("re", "datetime", "decimal", "fractions", "uuid") else []
        slots = {name for base in kind.__mro__ for name in _names(vars(base).get("__slots__", ()))}
        state = {name: getattr(value, name) for name in slots if not name.startswith("__") and hasattr(value, name)}
        state |= getattr(value, "__dict__", {})
        if isinstance(value, nn.Module):
            hooks = {name: list(state[name].values()) for name in _HOOKS}
            state = {name: each for name, each in state.items() if name not in _OF_MODULES} | hooks
        own = [name for name in state if not isinstance(_static(kind, name), functools.cached_property)]
        return [f"{name} {self._value(state[name])}" for name in sorted(own)]

    # definitions

    def _class(self, kind: type) -> list[str]:
        if self._outside(kind.__module__):
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
        rows += [f"{name} {self._value(each)}" for name, each in sorted(vars(function).items())]
        rows += [self._value(cell.cell_contents) for cell in function.__closure__ or () if _filled(cell)]
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
        for module in sorted(_imported(written, known)):
            rows.append(self._import(module, written.names))
        if not home.startswith("anon."):
            rows += [_text(each) for each in sorted(written.strings)]
            if written.names & _BY_STRING and home in sys.modules:
                rows.append(self._module(sys.modules[home], written.names))
                rows += [self._import(each, written.names) for each in sorted(written.strings) if _is_module(each)]
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
        return f"{name} {[f'{key} {self._reference(chosen[key], names)}' for key in sorted(chosen)]}"

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
        package = _library(name)
        if package:
            self._found.add(f"{package} {_version(package)}")
        return package is not None


def _sha(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(rows).encode("utf-8", "surrogateescape")).hexdigest()


def _text(value: str | PurePath) -> str:
    """A text; of a file's name the bytes in it, wherever it lies."""
    text = str(value)
    if 0 < len(text) < 1024 and "\0" not in text and "\n" not in text:
        file = Path(text).expanduser() if text.startswith("~/") else Path(text)
        try:
            if file.is_file():
                return f"file {checksums.of_unchanged_file(file)}"
        except OSError:
            return repr(text)
    return repr(text)


def _inside(value: Any) -> list[Any] | None:
    """What a wrapper of functions holds; None where it is none."""
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, property):
        return [value.fget, value.fset]
    if isinstance(value, functools.cached_property):
        return [value.func]
    if isinstance(value, (classmethod, staticmethod, functools._lru_cache_wrapper)):
        return [value.__wrapped__]
    return None


def _static(kind: type, name: str) -> Any:
    """An entry of a class of ours, or of such a base of it; None without one."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    return None if owner is None or _library(owner.__module__) is not None else vars(owner)[name]


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
        if _library(full) is None:
            yield from (inner for each in members if _is_module(inner := f"{full}.{each}"))


def _own(name: str, value: Any) -> bool:
    """Whether an entry of a user's module is its own: no dunder, nothing that it imported from a package."""
    if isinstance(value, types.ModuleType):
        return not value.__name__.startswith("anon.")
    home = getattr(value, "__module__", None) if isinstance(value, (type, types.FunctionType)) else None
    return not name.startswith("__") and (home is None or not (home.startswith("anon.") or _library(home) is not None))


def _filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # a name that is not bound yet
        return False


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


@functools.cache
def _is_module(name: str) -> bool:
    """Whether a text is the name of a module that can be imported."""
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) is None:
        return False
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


@functools.cache
def _library(name: str) -> str | None:
    """The package that a module was installed with; "" for Python's own, None for a module that somebody works on."""
    top = name.partition(".")[0]
    if top in ("anon", "__main__"):
        return None
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None and _is_module(name) and name not in sys.modules:
        file = getattr(importlib.util.find_spec(name), "origin", None)
    if file is None or not Path(file).is_absolute():
        if top in sys.stdlib_module_names:
            return ""
        return top if _is_module(name) and _version(top) else None
    parts = Path(file).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return top
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return "" if any(str(file).startswith(f"{folder}/") for folder in standard) else None


@functools.cache
def _version(package: str) -> str:
    """Of what was installed by the name that is imported, or by another; "" for what was not."""
    for name in (package, _SOLD_AS.get(package, package)):
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return " ".join(sorted({metadata.version(name) for name in _distributions().get(package, ())}))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()
