"""Every file below a folder, in an order that is the same on every machine, and what of it is not entered or read.

Links are followed, each folder that a link names once, and no deeper than :data:`DEEPEST`: a walk has to end.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from anon.errors import UserError

HIDDEN = "hidden"
DEEPEST = 64  # folders below the root


class Entry(NamedTuple):
    """A file, or a folder that is not entered."""

    path: str  # as it is opened
    name: str  # relative to the root as it lies on the disk, forward slashes
    aside: str | None  # why it is not read; HIDDEN, or why a folder is not entered

    @property
    def file(self) -> str:
        """The name as it is written down."""
        return spelled(self.name)


def files_below(root: Path, where: str, without: Path | None = None) -> Iterator[Entry]:
    """All of them; what lies in a folder comes in its place among the names of the folder above.

    Args:
        where: how messages call the root.
        without: a folder that is not entered, should it lie below: where results go.

    Raises:
        UserError: a folder cannot be read.
    """
    passed = None if without is None else _place(without)
    yield from _below(root, "", [_place(root)], set(), where, passed)


def _below(
    folder: Path,
    above: str,
    inside: list[tuple[int, int] | None],
    linked: set[tuple[int, int]],
    where: str,
    passed: tuple[int, int] | None,
) -> Iterator[Entry]:
    """``inside`` are the folders that this one lies in, ``linked`` those that a link has led to."""
    for entry in _entries(folder, f"A folder inside {where}" if above else where):
        name = f"{above}{entry.name}"
        if entry.name.startswith("."):
            yield Entry(entry.path, name, HIDDEN)
        elif not os.path.isdir(entry.path):  # a link to itself is no folder, and an unreadable file
            yield Entry(entry.path, name, None)
        elif (place := _place(entry.path)) is None or place != passed:
            if len(inside) > DEEPEST:
                yield Entry(entry.path, name, f"a folder below {DEEPEST} others")
                continue
            if os.path.islink(entry.path):
                if place is None or place in linked or place in inside:
                    yield Entry(entry.path, name, "a link to a folder that is listed already")
                    continue
                linked.add(place)
            yield from _below(Path(entry.path), f"{name}/", [*inside, place], linked, where, passed)


def _entries(folder: Path, where: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: (spelled(entry.name), entry.name))
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror}.") from error


def _place(folder: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def spelled(name: str) -> str:
    """The same on every machine: composed letters, bytes that are not UTF-8 escaped."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())
