"""Compiled code as it computes: without docstrings, comments and line numbers."""

from __future__ import annotations

import dis
import functools
import hashlib
import types
from typing import NamedTuple

#: What a class's body notes about its text.
_NOTES = {"__doc__", "__firstlineno__", "__static_attributes__", "__annotations__"}
_HAS_DOCSTRING = 0x4000000  # flag since Python 3.13


class Compiled(NamedTuple):
    """A function's code with that of the functions inside it."""

    digest: str
    names: frozenset[str]  # globals and attributes
    strings: frozenset[str]  # constants
    imports: frozenset[tuple[int, str, tuple[str, ...]]]  # level, module, members


@functools.cache
def compiled(code: types.CodeType) -> Compiled:
    """Read it; the same code gives the same in every process of one version of Python."""
    rows: list[object] = [
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & ~_HAS_DOCSTRING),
        (code.co_varnames, code.co_freevars, code.co_cellvars, getattr(code, "co_exceptiontable", b"")),
    ]
    names, strings, imports = set(code.co_names), set[str](), set[tuple[int, str, tuple[str, ...]]]()
    steps = list(dis.get_instructions(code))
    for place, step in enumerate(steps):
        follows = steps[place + 1] if place + 1 < len(steps) else step
        if follows.opname == "STORE_NAME" and follows.argval in _NOTES:
            continue
        value = step.argval
        if isinstance(value, types.CodeType):
            inner = compiled(value)
            names |= inner.names
            strings |= inner.strings
            imports |= inner.imports
            rows.append((step.opname, inner.digest))
            continue
        if step.opname == "IMPORT_NAME":
            level, members = steps[place - 2].argval, steps[place - 1].argval
            imports.add((int(level or 0), str(value), tuple(members or ())))
        if step.opname == "LOAD_CONST" and isinstance(value, str):
            strings.add(value)
        rows.append((step.opname, _constant(value)))
    digest = hashlib.sha256(repr(rows).encode("utf-8", "surrogateescape")).hexdigest()
    return Compiled(digest, frozenset(names), frozenset(strings), frozenset(imports))


def _constant(value: object) -> str:
    """Also of nested tuples and sets; sets have no order."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    return repr(value)
