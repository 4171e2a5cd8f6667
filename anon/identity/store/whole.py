"""The file of a store as a whole: what it is, and its rows, sealed.

head | {"encoder", "dim", "threshold", "name", "next", "rows"} | rows, a few megabytes a record
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from anon import checksums, plain
from anon.errors import UserError
from anon.identity.store.rows import MOST, MOST_DIM, Rows, problem, row
from anon.identity.store.sealed import Box, Cut, Head, Secret, Wrong
from anon.overlap import ahead

RECORD = 4 * 1024**2  # bytes of rows in a record


class About(NamedTuple):
    """What all of a store is.

    ``encoder`` is the hash of the weights whose embeddings it holds, ``threshold`` the cosine distance below which two
    of them are one person, ``name`` a random word that reports call the store by, ``next`` the next identity's number.
    """

    encoder: str
    dim: int
    threshold: float
    name: str
    next: int = 1


def write(path: Path, head: Head, box: Box, about: About, rows: Rows) -> None:
    """Write beside, then rename; readable by its owner alone.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    step = max(1, RECORD // row(about.dim).itemsize)
    first = json.dumps(about._asdict() | {"rows": len(rows)}).encode()
    with checksums.written_whole(path, 0o600) as stream:
        stream.write(head.packed() + box.seal(0, first))
        for place, start in enumerate(range(0, len(rows), step), 1):
            stream.write(box.seal(place, rows.filled[start : start + step].tobytes()))


def read(stream: BinaryIO, who: str, secret: Secret) -> tuple[Head, About, Rows]:
    """What :func:`write` wrote.

    Raises:
        UserError: no such file, another key, cut short, changed, or by a newer version.
    """
    head = Head.read(stream, who)
    box, size = secret.box(head), os.fstat(stream.fileno()).st_size
    cut = f"{who} is cut short; take it from a backup."
    try:
        about, count = _about(box.open(stream, 0, size - stream.tell()), size)
    except Cut as error:
        raise UserError(cut) from error
    except Wrong as error:
        raise UserError(
            f"{who} does not open: the key is not the one that it was made with, or the file was changed."
        ) from error
    rows = Rows(about.dim, count)
    try:
        with ahead(_parts(stream, box, size, about.dim, count)) as parts:  # the next are opened while one is looked at
            for part in parts:
                take(rows, part, who)
        if len(rows) > count or stream.read(1):
            raise Wrong
    except Cut as error:
        raise UserError(cut) from error
    except (Wrong, ValueError) as error:
        raise UserError(f"{who} was changed by another program; take it from a backup.") from error
    return head, about, rows


def _parts(stream: BinaryIO, box: Box, size: int, dim: int, count: int) -> Generator[np.ndarray, None, None]:
    """The rows of every record, until there are so many."""
    place = seen = 0
    while seen < count:
        place += 1
        part = np.frombuffer(box.open(stream, place, size - stream.tell()), row(dim))
        seen += len(part)
        yield part


def take(rows: Rows, part: np.ndarray, who: str) -> None:
    """Append rows of a file (M,), if they can be some.

    Raises:
        UserError: their numbers or vectors are none.
        ValueError: there are none.
    """
    if not len(part):
        raise ValueError
    before = len(rows)
    rows.append(part)
    fault = problem(rows.filled[before:], int(rows.filled["number"][before - 1]) if before else 0)
    if fault:
        raise UserError(f"{who} is none: {fault}.")


def _about(content: bytes, size: int) -> tuple[About, int]:
    """What the first record says, and the number of rows.

    Raises:
        Wrong: it says what no store of ``size`` bytes can.
    """
    try:
        found = plain.parse_json(content.decode(), "a store")
        about, count = About(*(found[name] for name in About._fields)), found["rows"]
        kinds = (str, int, float, str, int)
        fits = all(type(value) is kind for value, kind in zip((*about, count), (*kinds, int), strict=True))
        fits = fits and 0.0 < about.threshold <= 2.0 and 1 <= about.dim <= MOST_DIM and 0 <= count < about.next <= MOST
        if fits and count * row(about.dim).itemsize <= size:
            return about, count
    except (UserError, UnicodeDecodeError, LookupError, TypeError, ValueError):
        pass
    raise Wrong
