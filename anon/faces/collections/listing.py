"""What the adapters share: finding the files of a published layout, and reading annotations that may be hostile.

Annotation files are read line by line with a bound on every line, JSON and arrays with a bound on the file; what does
not have the published form is one sentence that names the file and the line. Messages give counts, never people.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import re
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np

from anon import plain
from anon.errors import UserError
from anon.faces.collections.contract import Item

log = logging.getLogger(__name__)

LONGEST_LINE = 1 << 16  # bytes
Points = tuple[tuple[float, float], ...]


class Listing(Sequence[Item]):
    """Items made when they are looked at: millions of them with their labels would not fit into memory."""

    def __init__(self, count: int, make: Callable[[int], Item]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._make(place) for place in range(*index.indices(self._count))]
        return self._make(range(self._count)[index])


class Published:
    """A data set as published, in its folder; an adapter says how messages call it and where users get it.

    Args:
        root: the folder.

    Raises:
        UserError: not given, or not a folder.
    """

    title: str
    origin: str  # one clause

    def __init__(self, root: str | Path | None) -> None:
        if root is None:
            raise UserError(f"{self.title} needs its folder (root=<folder>); {self.origin}.")
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise self.lacks(f"there is no folder '{self.root}'")

    def lacks(self, what: str) -> UserError:
        """The error for what is not as published: says where users get the data set."""
        return UserError(f"{self.title}: {what}; {self.origin}.")

    def required(self, *names: str, origin: str | None = None) -> Path:
        """The first of ``names`` (relative to the root; alternatives of one thing) that exists.

        Raises:
            UserError: none does; names them all and where users get them (``origin``, if it is elsewhere).
        """
        for name in names:
            if (self.root / name).exists():
                return self.root / name
        raise UserError(f"{self.title}: '{self.root}' has no {' or '.join(names)}; {origin or self.origin}.")

    def folders_in(self, inside: str | Path = "", pattern: str = r"[^.].*") -> list[str]:
        """Names of the folders inside one of the data set that match ``pattern`` as a whole, sorted."""
        return self._entries(inside, pattern, folders=True)

    def files_in(self, inside: str | Path, pattern: str) -> list[str]:
        """Names of the other entries that match ``pattern`` as a whole, sorted; no file is opened."""
        return self._entries(inside, pattern, folders=False)

    def _entries(self, inside: str | Path, pattern: str, folders: bool) -> list[str]:
        folder, wanted = self.root / inside, re.compile(pattern)
        try:
            with os.scandir(folder) as entries:
                return sorted(e.name for e in entries if wanted.fullmatch(e.name) and e.is_dir() == folders)
        except OSError as error:
            raise UserError(f"The folder '{folder}' cannot be read ({error.strerror}).") from error

    def present(self, listed: Collection[str], there: Container[str]) -> list[str]:
        """Those of the listed photographs that are there; says in the log how many are not."""
        found = [name for name in listed if name in there]
        self.left_out(len(listed) - len(found), len(listed), "listed photographs are not there")
        return found

    def left_out(self, missing: int, of: int, why: str, part: str = "") -> None:
        """Say in the log how many of the listed files (of a part of the data set) are not used, and why."""
        if missing:
            what = f"{self.title} {part}".strip()
            log.warning(f"{what}: {missing:,} of {of:,} {why}; they are left out.")


def lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, bounded.

    Raises:
        UserError: not a regular file, unreadable, not UTF-8, or a line longer than :data:`LONGEST_LINE`.
    """
    with _open(path) as file:
        number = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                raise damaged(path, number, f"is longer than {LONGEST_LINE:,} bytes")
            try:
                yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise damaged(path, number, "is not UTF-8 text") from error


def damaged(path: Path, line: int, why: str) -> UserError:
    """The error of an annotation file that does not have the published form."""
    return UserError(f"Line {line:,} of '{path}' {why}: this is not the file as published; get it again.")


def words(path: Path, width: int | None = None, skip: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Rows separated by white space, with their line numbers; empty lines and the first ``skip`` lines are left out.

    Raises:
        UserError: a row that does not have ``width`` words; see :func:`lines`.
    """
    for number, line in enumerate(lines(path), 1):
        row = line.split()
        if number <= skip or not row:
            continue
        if width is not None and len(row) != width:
            raise damaged(path, number, f"has {len(row)} words, not {width}")
        yield number, row


def csv_rows(
    path: Path, columns: Sequence[str], delimiter: str = ",", published: Sequence[str] = ()
) -> Iterator[tuple[int, list[str]]]:
    """The named columns of a CSV, stripped, with line numbers.

    Args:
        published: all columns in order, for files that are also found without their header.

    Raises:
        UserError: a column is missing, a row is too short, or it is no CSV; see :func:`lines`.
    """
    reader = csv.reader(lines(path), delimiter=delimiter, skipinitialspace=True)
    try:
        first = [name.strip() for name in next(reader, [])]
        headless = bool(published) and published[0] not in first
        header = list(published) if headless else first
        missing = [name for name in columns if name not in header]
        if missing:
            raise UserError(f"'{path}' lacks the columns {', '.join(missing)}: this is not the file as published.")
        places = [header.index(name) for name in columns]
        for row in [first] if headless and first else []:
            yield 1, _pick(row, places, path, 1)
        for row in reader:
            if row:
                yield reader.line_num, _pick(row, places, path, reader.line_num)
    except csv.Error as error:
        raise damaged(path, reader.line_num, "is not CSV") from error


def _pick(row: list[str], places: list[int], path: Path, line: int) -> list[str]:
    if len(row) <= max(places):
        raise damaged(path, line, f"has {len(row)} fields, not {max(places) + 1}")
    return [row[place].strip() for place in places]


def numbers(row: Sequence[str], path: Path, line: int) -> list[float]:
    """Finite numbers.

    Raises:
        UserError: something else in the row.
    """
    try:
        values = [float(text) for text in row]
    except ValueError as error:
        raise damaged(path, line, "has something that is not a number") from error
    if not all(math.isfinite(value) for value in values):
        raise damaged(path, line, "has a number that is not finite")
    return values


def pairs_of(values: Sequence[float]) -> Points:
    """x, y, x, y, ... as points.

    >>> pairs_of([1.0, 2.0, 3.0, 4.0])
    ((1.0, 2.0), (3.0, 4.0))
    """
    return tuple((float(x), float(y)) for x, y in zip(values[::2], values[1::2], strict=True))


def five_of_68(points: Sequence[tuple[float, float]]) -> Points:
    """The five points from the 68 of Multi-PIE: centre of each eye's six points, tip of the nose, mouth corners.

    Left and right as seen in the image.
    """
    around = np.asarray(points, np.float64)
    eyes = (around[36:42].mean(0), around[42:48].mean(0))
    return tuple((float(x), float(y)) for x, y in (*eyes, around[30], around[48], around[54]))


def read_json(path: Path, most: int) -> Any:
    """The content of a JSON file of at most ``most`` bytes.

    Raises:
        UserError: larger, unreadable, or not JSON.
    """
    with _open(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise UserError(f"'{path}' is larger than {most / 1e6:,.0f} MB: this is not the file as published.")
        try:
            return json.loads(file.read(most).decode())
        except (ValueError, RecursionError) as error:
            raise UserError(f"'{path}' is not JSON: this is not the file as published; get it again.") from error


def read_array(path: Path, most: int = 1 << 16) -> np.ndarray:
    """A small .npy file; arrays of objects, which hold code, are refused.

    Raises:
        ValueError: a short reason.
    """
    try:
        with _open(path) as file:
            data = file.read(most + 1)
    except UserError as error:
        raise ValueError("unreadable") from error
    if len(data) > most:
        raise ValueError("too large")
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        count = math.prod(shape)
        if dtype.hasobject or count * dtype.itemsize > len(data):
            raise ValueError("not a plain array of this size")
        return np.frombuffer(data, dtype, count, stream.tell()).reshape(shape)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, OverflowError) as error:
        raise ValueError("not a .npy file") from error


def _open(path: Path) -> BinaryIO:
    try:
        return plain.opened(path)
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror or error}).") from error
