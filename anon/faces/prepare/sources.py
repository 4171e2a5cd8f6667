"""What is packed: the photographs and videos of a folder or of a collection, in a fixed order, and their work units."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from anon.errors import UserError
from anon.faces.collections.contract import Collection
from anon.faces.images import is_photograph
from anon.faces.points import WITHOUT, FivePoints, file_key
from anon.faces.prepare.identities import FOLDER, NONE, rule
from anon.faces.splits import assign, one_spelling
from anon.faces.tree import HIDDEN, files_below, spelled
from anon.faces.video import is_still, is_video

VIDEO_WEIGHT = 64  # photographs' worth of work in a video
_STRICTEST = ("test", "val", "train", None)  # what an identity in several official splits belongs to
Points = tuple[tuple[float, float], ...]


@dataclass(slots=True)
class Source:
    """One input: what a listing says of it, and what :func:`_numbered` adds."""

    path: str
    file: str  # relative to the root, as it is written into the shards
    identity: str
    video: bool
    alone: bool = False  # each of its faces is a person of its own
    official: str | None = None
    points: Points | None = None
    box: tuple[float, float, float, float] | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    number: int = -1  # among all inputs
    ordinal: int = -1  # among the identity's stills or its clips
    split: str = ""
    stamp: tuple[int, int] = (-1, -1)  # bytes, modified in ns
    lacking: str = WITHOUT  # why it has no points


class Aside(NamedTuple):
    """A file that is not opened, or a folder that is not entered."""

    file: str
    kind: str
    reason: str


class Inputs(NamedTuple):
    """What a folder holds; together all of its files."""

    sources: list[Source]
    aside: list[Aside]
    note: str | None  # who is taken for whom, where nobody said so


def of_folder(root: Path, table: FivePoints | None) -> list[Source]:
    """The photographs and videos of :func:`survey`, by its defaults."""
    return survey(root, table).sources


def survey(
    root: Path,
    table: FivePoints | None = None,
    identities: str | None = None,
    frames: bool = False,
    out: Path | None = None,
) -> Inputs:
    """Everything below ``root``, at any depth.

    Args:
        table: five points of photographs.
        identities: who is seen where, see :mod:`anon.faces.prepare.identities`; None: ``folder``, or ``none`` where
            all files lie in the root itself.
        frames: a folder inside a person's holds the frames of one video.
        out: where the packed set goes; it is no input.

    Raises:
        UserError: unreadable, nothing in it, or nobody that ``identities`` names.
    """
    where = f"--root '{root}'"
    entries = list(files_below(root, where, out))
    visible = [entry for entry in entries if entry.aside is None]
    if not visible:
        raise UserError(f"{where} holds nothing to read: it needs photographs or videos, in folders or not.")
    given = identities or (FOLDER if any("/" in entry.name for entry in visible) else NONE)
    if frames and given != FOLDER:
        raise UserError("--frames reads <root>/<person>/<folder of frames>; it needs --identities folder.")
    names = [entry.file for entry in visible]
    who = rule(given, names)
    found: list[Source] = []
    aside = [Aside(e.file, HIDDEN if e.aside == HIDDEN else "folder", e.aside) for e in entries if e.aside is not None]
    clips: set[str] = set()
    for entry, name in zip(visible, names, strict=True):
        parts = entry.name.split("/")
        if frames and len(parts) > 2:
            if (clip := "/".join(parts[:2])) not in clips:
                clips.add(clip)
                found.append(Source(os.path.join(root, clip), spelled(clip), spelled(parts[0]), True))
        elif (identity := who.of(name)) is None:
            aside.append(Aside(name, kind_of(name), who.nobody))
        else:
            found.append(Source(entry.path, name, identity, is_video(name) and not is_still(entry.path), who.alone))
    if not found:
        raise UserError(
            f"None of the {len(names):,} files of {where} has an identity: they are {who.nobody}; see --identities."
        )
    note = _unasked(where, given, found) if identities is None else None
    return Inputs(_numbered(found, table, where), aside, note)


def _unasked(where: str, given: str, found: Sequence[Source]) -> str | None:
    """What is to be said about the identities that the default gives."""
    if given == NONE:
        return (
            f"{where} has no folders, so each of the {len(found):,} files is a person of its own (--identities none); "
            "folders of people, --identities pattern=... or csv=... say who is who."
        )
    if len({entry.identity for entry in found}) == 1 and sum(entry.file.count("/") > 1 for entry in found) > 1:
        return (
            f"All that {where} holds lies in one folder, so all of the {len(found):,} files are one person "
            "(--identities folder); if the folders inside are the people, give that folder as --root."
        )
    return None


def kind_of(name: str) -> str:
    """By the name (a GIF is a video): ``video``, ``photograph``, or the ``other``, which is tried as a photograph."""
    return "video" if is_video(name) else "photograph" if is_photograph(name) else "other"


def of_collection(collection: Collection, table: FivePoints | None) -> list[Source]:
    """The items of a published data set."""
    found = []
    for item in collection.items():
        path, said = os.path.join(collection.root, item.file), (item.official, item.points, item.box, item.labels)
        found.append(Source(path, spelled(item.file), item.identity, item.video, False, *said))
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
        who = (s.file, s.identity, s.alone, s.video, s.split, s.official)
        row = (*who, s.points, s.lacking, s.box, dict(s.labels), s.stamp)
        total.update(json.dumps(row, sort_keys=True).encode())
    return total.hexdigest()


def mixed(sources: Iterable[Source]) -> dict[str, str | None]:
    """Identities that several official splits share, with the strictest of those: who is tested on, never trains."""
    officials: dict[str, set[str | None]] = {}
    for source in sources:
        officials.setdefault(source.identity, set()).add(source.official)
    return {name: min(several, key=_STRICTEST.index) for name, several in officials.items() if len(several) > 1}


def _numbered(sources: list[Source], table: FivePoints | None, where: str) -> list[Source]:
    """The same, each person under one spelling, with numbers, splits and the points of the table."""
    people = one_spelling((source.identity for source in sources), where)
    for source in sources:
        source.identity = people[source.identity]
    ordinals: Counter[tuple[str, bool]] = Counter()
    has_val = any(source.official == "val" for source in sources)
    shared = mixed(sources)
    for number, source in enumerate(sources):
        if table is not None and not source.video:
            row = table.get(file_key(source.file))
            source.points = None if row is None else tuple((float(x), float(y)) for x, y in row)
            source.lacking = table.lacking(source.file)
        who = (source.identity, source.video)
        source.number, source.ordinal, source.stamp = number, ordinals[who], _stamp(source.path)
        source.split = assign(source.identity, shared.get(source.identity, source.official), has_val)
        ordinals[who] += 1
    if table is not None and not any(source.points for source in sources):
        raise UserError(
            f"None of the {len(table):,} rows of --points names one of the {len(sources):,} inputs; its column 'file' "
            "must hold paths relative to the root."
        )
    return sources


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # a broken link: counted as unreadable when it is opened
        return -1, -1
    return status.st_size, status.st_mtime_ns
