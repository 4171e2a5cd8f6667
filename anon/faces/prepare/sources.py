"""What is packed: the photographs and videos of a folder or of a collection, in a fixed order, and their work units."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anon.errors import UserError
from anon.faces.collections.contract import Collection
from anon.faces.points import file_key
from anon.faces.splits import assign, one_spelling
from anon.faces.video import is_video

VIDEO_WEIGHT = 64  # photographs' worth of work in a video
_STRICTEST = ("test", "val", "train", None)  # what an identity in several official splits belongs to
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """One input. ``number`` counts all inputs, ``ordinal`` the identity's stills or its clips."""

    number: int
    path: str
    file: str  # relative to the root, as it is written into the shards
    identity: str
    video: bool
    ordinal: int
    official: str | None
    split: str
    points: Points | None
    box: tuple[float, float, float, float] | None
    labels: Mapping[str, Any]
    stamp: tuple[int, int]  # bytes, modified in ns


class _Found:
    """What a listing says of one input."""

    __slots__ = ("box", "file", "identity", "labels", "official", "path", "points", "video")

    def __init__(self, path: str, file: str, identity: str, video: bool) -> None:
        self.path, self.file, self.identity, self.video = path, file, identity, video
        self.official: str | None = None
        self.points: Points | None = None
        self.box: tuple[float, float, float, float] | None = None
        self.labels: Mapping[str, Any] = {}


def of_folder(root: Path, table: Mapping[str, np.ndarray] | None) -> list[Source]:
    """``root/<identity>/<photograph, video, or folder of frames>``; names that begin with a dot are left out.

    Raises:
        UserError: unreadable, or nothing in it.
    """
    found = []
    for identity in _visible(root, root):
        if not os.path.isdir(identity.path):
            continue
        for entry in _visible(Path(identity.path), root):
            video = os.path.isdir(entry.path) or is_video(entry.name)  # a link to itself is neither
            found.append(_Found(entry.path, _spelled(f"{identity.name}/{entry.name}"), _spelled(identity.name), video))
    if not found:
        raise UserError(f"--root '{root}' holds nothing to read; it needs <root>/<identity>/<photograph or video>.")
    return _numbered(found, table, f"--root '{root}'")


def of_collection(collection: Collection, table: Mapping[str, np.ndarray] | None) -> list[Source]:
    """The items of a published data set."""
    found = []
    for item in collection.items():
        entry = _Found(os.path.join(collection.root, item.file), _spelled(item.file), item.identity, item.video)
        entry.official, entry.points, entry.box, entry.labels = item.official, item.points, item.box, item.labels
        found.append(entry)
    if not found:
        raise UserError(f"The collection {collection.name} in '{collection.root}' has no items.")
    return _numbered(found, table, f"The collection {collection.name}")


def units(sources: Sequence[Source], size: int) -> list[range]:
    """Consecutive inputs: ``size`` photographs, or fewer where videos are among them."""
    cut, start, weight = [], 0, 0
    for number, source in enumerate(sources):
        weight += VIDEO_WEIGHT if source.video else 1
        if weight >= size:
            cut.append(range(start, number + 1))
            start, weight = number + 1, 0
    return cut + ([range(start, len(sources))] if start < len(sources) else [])


def digest(sources: Iterable[Source]) -> str:
    """SHA-256 over everything that is known of the inputs, but for the place of their root."""
    total = hashlib.sha256()
    for s in sources:
        row = (s.file, s.identity, s.video, s.split, s.official, s.points, s.box, dict(s.labels), s.stamp)
        total.update(json.dumps(row, sort_keys=True).encode())
    return total.hexdigest()


def mixed(found: Iterable[Any]) -> dict[str, str | None]:
    """Identities that several official splits share, with the strictest of those: who is tested on, never trains."""
    officials: dict[str, set[str | None]] = {}
    for entry in found:
        officials.setdefault(entry.identity, set()).add(entry.official)
    return {name: min(several, key=_STRICTEST.index) for name, several in officials.items() if len(several) > 1}


def _numbered(found: Sequence[_Found], table: Mapping[str, np.ndarray] | None, where: str) -> list[Source]:
    people = one_spelling((entry.identity for entry in found), where)
    for entry in found:
        entry.identity = people[entry.identity]
    ordinals: Counter[tuple[str, bool]] = Counter()
    has_val = any(entry.official == "val" for entry in found)
    shared = mixed(found)
    sources = []
    for number, entry in enumerate(found):
        points = entry.points
        if table is not None and not entry.video:
            row = table.get(file_key(entry.file))
            points = None if row is None else tuple((float(x), float(y)) for x, y in row)
        who = (entry.identity, entry.video)
        split = assign(entry.identity, shared.get(entry.identity, entry.official), has_val)
        sources.append(
            Source(
                number=number,
                path=entry.path,
                file=entry.file,
                identity=entry.identity,
                video=entry.video,
                ordinal=ordinals[who],
                official=entry.official,
                split=split,
                points=points,
                box=entry.box,
                labels=entry.labels,
                stamp=_stamp(entry.path),
            )
        )
        ordinals[who] += 1
    if table is not None and not any(source.points for source in sources):
        raise UserError(
            f"None of the {len(table):,} rows of --points names one of the {len(sources):,} inputs; its column 'file' "
            "must hold <identity>/<photograph>, relative to the root."
        )
    return sources


def _visible(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: _spelled(e.name))
    except OSError as error:
        where = f"--root '{root}'" if folder == root else f"A folder inside --root '{root}'"
        raise UserError(f"{where} cannot be read: {error.strerror}.") from error


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a broken link: counted as unreadable when it is opened
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _spelled(name: str) -> str:
    """The same on every machine: composed letters, bytes that are not UTF-8 escaped."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "backslashreplace").decode())
