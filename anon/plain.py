"""Files, YAML and JSON that anybody may have written, read as plain data: nothing is built, looked up or expanded.

Whatever lies in a folder that somebody gave is opened by :func:`opened`: it may be a pipe that nobody writes to, a
device, or a link to what the kernel makes up while it is read.

What this project writes itself (configurations of checkpoints and run folders, the index of what ships, results.json)
holds mappings, lists, texts, numbers, booleans and null, and neither tags, aliases nor interpolations. A file with
anything else is refused before it is read, and so is one that would take more memory or time than it is worth.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from anon.errors import UserError

MAX_YAML = 256 * 1024  # bytes; the configuration of a training has 10,000
MAX_JSON = 32 * 1024**2  # bytes; an evaluation of all methods writes 1 million
MAX_VALUES = 2_000_000  # of a JSON file; one of 7 bytes, {"":0}, takes 230 in memory
MAX_NODES = 20_000
MAX_DEPTH = 32
_MAX_SCALAR = 4096  # characters of a text without quotes, which may be read as a number
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class NotPlain(OSError):
    """A pipe, a device, a folder, or a file that the kernel makes up."""


def opened(path: str | Path) -> BinaryIO:
    """A plain file, opened for reading without ever waiting on a pipe or a device.

    Raises:
        OSError: it cannot be opened; a null byte in the name is one of the reasons.
        NotPlain: it is none, or lies in a file system of the kernel's own (/proc, /sys), where sizes mean nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name holds a null byte") from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_dev in _kernels_own():
        os.close(descriptor)
        raise NotPlain(errno.EINVAL, "it is not a regular file")
    return os.fdopen(descriptor, "rb")


@functools.cache
def _kernels_own() -> frozenset[int]:
    return frozenset(os.stat(place).st_dev for place in ("/proc", "/sys") if os.path.ismount(place))


def read_bytes(file: Path, most: int) -> bytes:
    """The content of a plain file of at most ``most`` bytes.

    Raises:
        UserError: no file, a pipe or a device, or too large.
    """
    try:
        with opened(file) as stream:
            content = stream.read(most + 1)
    except OSError as error:
        raise UserError(f"'{file}' cannot be read ({error.strerror or error}).") from error
    if len(content) > most:
        raise UserError(f"'{file}' has more than {most:,} bytes, which no such file here has.")
    return content


def read_text(file: Path, most: int, errors: str = "strict") -> str:
    """The text of a plain file of at most ``most`` bytes, a byte-order mark left out.

    Args:
        errors: what becomes of bytes that are not UTF-8, as in :meth:`bytes.decode`.

    Raises:
        UserError: see :func:`read_bytes`; or not UTF-8.
    """
    try:
        return read_bytes(file, most).decode("utf-8", errors).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(f"'{file}' cannot be read (it is not UTF-8 text).") from error


def parse_yaml(text: str, where: object) -> Any:
    """The plain data that YAML text means, with the numbers that Hydra would read (``1e-4`` is one).

    Raises:
        UserError: not YAML; a tag, an alias, a merge or an interpolation in it; too large or too deep.
    """
    if len(text) > MAX_YAML:
        raise UserError(f"{where} has {len(text):,} characters of configuration; at most {MAX_YAML:,} are read.")
    try:
        _check(text, where)
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{where} is not a readable configuration ({_told(error)}).") from error


def read_yaml(file: Path) -> Any:
    """:func:`parse_yaml` of a file.

    Raises:
        UserError: see :func:`read_text` and :func:`parse_yaml`.
    """
    return parse_yaml(read_text(file, MAX_YAML), f"'{file}'")


def parse_json(text: str, where: object, values: int = MAX_VALUES) -> Any:
    """What JSON text of at most ``values`` values means; commas and brackets in texts count as if they parted some.

    Raises:
        UserError: no JSON, or too many values.
    """
    if sum(text.count(mark) for mark in "{[,") >= values:
        raise UserError(f"{where} holds more than {values:,} values, which no such file here does.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not readable JSON ({_told(error)}).") from error


def read_json(file: Path, most: int = MAX_JSON, values: int = MAX_VALUES) -> Any:
    """:func:`parse_json` of a file.

    Raises:
        UserError: see :func:`read_text` and :func:`parse_json`.
    """
    return parse_json(read_text(file, most), f"'{file}'", values)


class _Loader(yaml.SafeLoader):
    """YAML's own types without dates, sums in base 60, and merges; equal keys of one mapping are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key that is no text", key_node.start_mark)
            key = self.construct_object(key_node, deep=deep)
            if key in found:
                raise yaml.constructor.ConstructorError(None, None, "a key comes twice", key_node.start_mark)
            found[key] = self.construct_object(value_node, deep=deep)
        return found


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"), None),
    ("int", re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"), list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first or list("yYnNtTfFoO"))


def _check(text: str, where: object) -> None:
    """Walk the events, which takes no memory to speak of, before anything is made of them."""
    nodes = depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise UserError(f"{where} holds aliases (& and *), which are not read; write the values out.")
        if (tag := getattr(event, "tag", None)) is not None:
            raise UserError(f"{where} holds the tag {tag}, and only plain data is read.")
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise UserError(f"{where} has more than {MAX_NODES:,} values, or more than {MAX_DEPTH} levels of them.")
        if isinstance(event, yaml.ScalarEvent):
            if "${" in event.value:
                raise UserError(f"{where} holds the interpolation {event.value[:60]}, and none is ever resolved.")
            if event.style is None and len(event.value) > _MAX_SCALAR:
                raise UserError(f"{where} holds a value of {len(event.value):,} characters without quotes.")
            if event.style is None and event.value == "<<":
                raise UserError(f"{where} merges mappings (<<), which are not read; write the values out.")


def _told(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    mark = getattr(error, "problem_mark", None)
    return f"{problem}, line {mark.line + 1}" if mark is not None else str(problem)
