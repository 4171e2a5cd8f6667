"""Every ``_target_`` of a configuration is there and takes what it is given: its signature is the schema.

So a class that somebody else plugs in has the checks that ours have, for no more than the annotations that it has.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import os
import pkgutil
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from anon.apps.config import choices
from anon.apps.door.words import did_you_mean
from anon.errors import UserError

_HYDRAS = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
#: What a part gets from the code that builds it.
_GIVEN_LATER = {"attack": {"data"}, "subjects": {"data"}}
#: What code of ours completes before it builds it: null there means that the data decide, and a function is a method.
_COMPLETED = {"policy", "policies", "method"}


def unfit(node: Any, path: str = "", built: bool = True) -> Iterator[tuple[str, str]]:
    """Keys of what does not fit in a resolved configuration, with the sentence.

    That is a name that means nothing, a setting that a part does not take or lacks, and a value of another type.

    Args:
        path: where the node stands, such as ``model.generator``.
        built: Hydra builds it; what else builds it may add to its settings.
    """
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from unfit(item, f"{path}.{number}", built)
    if not isinstance(node, dict):
        return
    if "_target_" in node:
        yield from _unfit_part(node, path, built)
        built = built and node.get("_recursive_", True)
    for name, inner in node.items():
        yield from unfit(inner, f"{path}.{name}" if path else str(name), built and name not in _COMPLETED)


def _unfit_part(node: Mapping[str, Any], path: str, built: bool) -> Iterator[tuple[str, str]]:
    """The same of one part."""
    try:
        found = located(node["_target_"], f"{path}._target_")
    except UserError as error:
        yield path, str(error)
        return
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):  # a builtin without one
        return
    hints = _hints(found)
    given = {str(name): value for name, value in node.items() if name not in _HYDRAS}
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    named = [name for name, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    short = str(node["_target_"]).rpartition(".")[2]
    for name, value in given.items():
        if name not in named and not takes_any:
            yield f"{path}.{name}", f"{path} is a {short}, which has no setting '{name}'{did_you_mean(name, named)}"
        elif name in hints and (built or value is not None) and not fits(value, hints[name]):
            yield f"{path}.{name}", misfit(f"{path}.{name}", value, hints[name])
    whole = built and not node.get("_partial_") and not node.get("_args_")
    for name in named if whole else ():
        lacking = parameters[name].default is inspect.Parameter.empty and name not in given
        if lacking and name not in _GIVEN_LATER.get(path, ()):
            yield f"{path}.{name}", f"{path} is a {short}, which needs {path}.{name}=<value>."


def located(target: object, key: str) -> Callable[..., Any]:
    """The class or function of that full name; what it is defined in is imported.

    Args:
        key: where the name stands, for the sentence.

    Raises:
        UserError: there is none, it cannot be imported, or it cannot be called.
    """
    names = str(target).split(".")
    if len(names) < 2 or not all(name.isidentifier() for name in names):
        raise UserError(f"{key}={target} is no full name of a class or function, such as my_package.MyAnonymizer.")
    found, rest = _imported(names, key)
    for name in rest:
        if not hasattr(found, name):
            raise UserError(f"{key}={target}: {found.__name__} has no '{name}'{did_you_mean(name, dir(found))}")
        found = getattr(found, name)
    if not callable(found):
        raise UserError(f"{key}={target} is no class or function, so nothing can be built of it.")
    return found


def _imported(names: list[str], key: str) -> tuple[Any, list[str]]:
    """The longest beginning that is a module, and the names after it."""
    module: Any = None
    for count in range(1, len(names)):
        name = ".".join(names[:count])
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise UserError(f"{key}: {name} needs the package {error.name}, which is not installed.") from error
            if module is None:
                raise UserError(f"{key}={'.'.join(names)}: there is no package '{name}' on Python's path.") from error
            if hasattr(module, names[count - 1]):  # a class
                return module, names[count - 1 :]
            inside = [each.name for each in pkgutil.iter_modules(getattr(module, "__path__", []))]
            near = did_you_mean(names[count - 1], inside)
            raise UserError(f"{key}={'.'.join(names)}: there is no {name}{near}") from error
        except (Exception, SystemExit) as error:  # whatever a user's file does when it is read
            raise UserError(f"{key}: {name} cannot be imported ({type(error).__name__}: {error}).") from error
    return module, names[-1:]


def _hints(found: Any) -> dict[str, Any]:
    """Types by parameter; nothing where the annotations cannot be read."""
    place = found
    if inspect.isclass(found) and not dataclasses.is_dataclass(found):
        place = found.__init__
    try:
        return typing.get_type_hints(place)
    except (NameError, TypeError, AttributeError):
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value, or a part that will be built (it has a ``_target_``), may be given for a type.

    >>> fits(3, int), fits(3, float), fits(True, int), fits("3", int), fits([1, 2], tuple[float, float])
    (True, True, False, False, True)
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object) or isinstance(hint, (typing.TypeVar, str)):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is typing.Literal:
        return (isinstance(value, dict) and "_target_" in value) or any(
            value == each and type(value) is type(each) for each in inner
        )
    if origin is typing.Annotated:
        return fits(value, inner[0])
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if value is None:
        return kind is type(None)
    if isinstance(value, dict):
        if "_target_" in value:
            return _made_fits(value, kind)
        mapping = kind is DictConfig or issubclass(kind, Mapping) or typing.is_typeddict(kind)
        return mapping and (len(inner) < 2 or all(fits(each, inner[1]) for each in value.values()))
    if isinstance(value, list):
        if not issubclass(kind, Iterable) or issubclass(kind, (str, Mapping)) or issubclass(kind, nn.Module):
            return False
        if issubclass(kind, tuple) and inner and inner[-1] is not ...:
            return len(value) == len(inner) and all(map(fits, value, inner))
        return not inner or all(fits(each, inner[0]) for each in value)
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int):
        return kind in (int, float)
    if isinstance(value, float):
        return kind is float and math.isfinite(value)
    return issubclass(kind, (str, os.PathLike)) or kind is torch.device


def _made_fits(part: Mapping[str, Any], kind: type) -> bool:
    """Whether what will be built of a part may be such a thing, as far as its class, or what it returns, says."""
    if kind in (bool, int, float, str, type(None)):
        return False
    if part.get("_partial_") or kind is DictConfig or issubclass(kind, Mapping):
        return True  # completed, or built, by code of ours
    try:
        found = located(part["_target_"], "")
    except UserError:  # which is told where it stands
        return True
    made = found if isinstance(found, type) else _hints(found).get("return")
    if not isinstance(made, type):
        return True
    if getattr(kind, "_is_protocol", False):
        public = {name: each for name, each in vars(kind).items() if not name.startswith("_") or name == "__call__"}
        return all(hasattr(made, name) for name, each in public.items() if callable(each))
    return issubclass(made, kind) or getattr(made, "_is_protocol", False)


def misfit(key: str, value: Any, hint: Any) -> str:
    for each in typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,):
        inner = typing.get_args(each)
        if isinstance(value, dict) and "_target_" not in value and len(inner) == 2:  # a mapping of things
            wrong = next((name for name, item in value.items() if not fits(item, inner[1])), None)
            if wrong is not None:
                return misfit(f"{key}.{wrong}", value[wrong], inner[1])
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
    if isinstance(value, dict):
        shown = value.get("_target_", "{...}")
    sentence = f"{key}={shown} must be {_words(hint)}"
    group = key.rpartition(".")[2]
    if isinstance(value, str) and value in choices(group):
        return f"{sentence}; a choice is made without what stands before it: {group}={value}."
    if isinstance(value, (bool, int, float)) and fits("", hint):
        sentence += f"; a text that looks like another thing is quoted so: '{key}=\"{shown}\"'"
    return f"{sentence}."


def _words(hint: Any) -> str:
    """What a value of the type is, in a sentence."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in inner))
    if origin is typing.Literal:
        return ", ".join(map(str, inner))
    kind = origin or hint
    plain = {bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
    if kind in plain:
        return plain[kind]
    if not isinstance(kind, type):
        return "another thing"
    if issubclass(kind, (str, os.PathLike)):
        return "a text"
    if kind is DictConfig or issubclass(kind, Mapping):
        return "a mapping {...}"
    if issubclass(kind, Iterable) and not issubclass(kind, nn.Module):
        if issubclass(kind, tuple) and inner and inner[-1] is not ...:
            return f"a list of {len(inner)}, each {_words(inner[0])}"
        return f"a list [...]{f', each {_words(inner[0])}' if inner else ''}"
    return f"a part (_target_) that is a {kind.__name__}"
