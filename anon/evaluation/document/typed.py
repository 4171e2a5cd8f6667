"""Plain values of a file as the dataclasses that they claim to be, each part of the type that its hint says.

A file of results may come from anybody, and what is drawn and printed of it must not meet text where a number belongs.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import re
import typing
from types import NoneType, UnionType
from typing import Any, Literal

from anon.evaluation.document.estimates import LARGEST

LONGEST = 100_000  # letters of a text
_HALVES = re.compile("[\ud800-\udfff]")  # of letters, which are none by themselves
_MOST = 2**63  # of a whole number; seeds are such


def typed(kind: Any, value: Any, where: str = "it") -> Any:
    """The value as ``kind``: a dataclass, str, bool, int, float, a tuple, dict or union of such, a Literal or Any.

    Numbers are finite and of sane size, texts are Unicode of at most :data:`LONGEST` letters.

    Raises:
        ValueError: which part is something else.

    >>> typed(tuple[float, ...], [1, 0.5]), typed(int | None, None)
    ((1, 0.5), None)
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return _plain(value, where)
    if origin in (typing.Union, UnionType):
        kinds = [part for part in parts if part is not NoneType]
        return None if value is None and len(kinds) < len(parts) else typed(kinds[0], value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(typed(parts[0], each, f"{where}[{at}]") for at, each in enumerate(value))
    if origin in (dict, collections.abc.Mapping) and isinstance(value, dict):
        return {typed(str, name, where): typed(parts[1], each, f"{where}.{name[:40]}") for name, each in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _made(kind, value, where)
    if (
        (kind is str and isinstance(value, str) and len(value) <= LONGEST and not _HALVES.search(value))
        or (kind is bool and isinstance(value, bool))
        or (kind is int and type(value) is int and abs(value) <= _MOST)
        or (kind is float and type(value) in (int, float) and abs(value) <= LARGEST)
        or (origin is Literal and isinstance(value, str) and value in parts)
    ):
        return value
    raise ValueError(f"{where} is not what stands there")


def _made(kind: Any, value: dict[str, Any], where: str) -> Any:
    hints = _hints(kind)
    needed = {one.name for one in dataclasses.fields(kind) if one.default is one.default_factory is dataclasses.MISSING}
    for name in sorted(value.keys() - hints.keys() | needed - value.keys()):
        raise ValueError(f"{where}.{name[:40]} is {'too much' if name in value else 'missing'}")
    return kind(**{name: typed(hints[name], each, f"{where}.{name}") for name, each in value.items()})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    known = typing.get_type_hints(kind)
    return {one.name: known[one.name] for one in dataclasses.fields(kind)}


def _plain(value: Any, where: str) -> Any:
    """What JSON holds."""
    if isinstance(value, dict):
        return typed(dict[str, Any], value, where)
    if isinstance(value, list):
        return [_plain(each, where) for each in value]
    if value is None or isinstance(value, bool):
        return value
    return typed(type(value), value, where)
