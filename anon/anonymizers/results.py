"""What any other tool made of a data set's pictures, as an anonymizer: a folder of results, judged like every method.

    python evaluate.py suite=table1 originals=<folder> method=folder method.root=<folder of results>
    python train.py experiment=reconstruction originals=<folder> method=folder method.root=<folder of results>

It anonymizes no new picture: it knows the faces of the originals by their bytes, and gives what the folder holds for
them (:mod:`anon.faces.counterparts`). So it goes through everything that asks for the faces as they are: galleries,
negation, verification, distances, attributes, quality, and attacks that learn from the pairs of their own people.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from anon import plain
from anon.errors import Failed, UserError
from anon.faces.alignment import VIEWS
from anon.faces.contract import People, to_float, to_uint8
from anon.faces.counterparts import MOST_MISSING, Counterparts, Results
from anon.faces.decoding import digest
from anon.faces.points import file_key
from anon.faces.splits import SEARCHED, EmptySplit, searched
from anon.faces.tree import spelled
from anon.plain import read_json
from anon.printable import flat

_ABOUT = "meta.json"  # what a folder says of itself
_MOST = 64 * 1024  # bytes of that


class ResultsFolder:
    """A folder of results.

    Args:
        root: holds, at the relative path of each original, what became of it; any of png, jpg, webp, ..., or a video in
            the place of a folder of frames. A file ``meta.json`` may name the ``method``.
        data: the originals, ``data=folder``.
        max_missing: share of a split's pictures, at most, that may have no usable result; the original stands in there.
        framing: what the results show, where they are aligned crops of photographs that are none: one of
            :data:`anon.faces.alignment.VIEWS`.
        pairs: of swaps, a CSV with the columns ``target`` and ``source``, relative paths of originals, and ``output``,
            the result's in ``root``, where that is not the target's; None: as FaceForensics++ names them, if it does.
        panel: of results that lie in a row with other pictures: which one, and of how many, from 1; None: alone.

    Raises:
        UserError: no such folder, nothing in it, other data, too many pictures without a result, no such panel, or no
            such CSV.
    """

    made_elsewhere = True  # what drawing costs is not known

    _handles = ("_results", "_data", "_known", "_parts", "_waiting", "_pairs")  # of the files, which ``contents`` tells

    def __init__(
        self,
        root: str | None,
        data: object,
        max_missing: float = MOST_MISSING,
        framing: str | None = None,
        pairs: str | None = None,
        panel: tuple[int, int] | None = None,
    ) -> None:
        if not root:
            raise UserError("method=folder needs method.root=<folder of what another tool made of the originals>.")
        if not 0 <= max_missing <= 1:
            raise UserError(f"method.max_missing={max_missing} must be 0 to 1: a share of the pictures.")
        if framing is not None and framing not in VIEWS:
            raise UserError(f"method.framing={framing} must be one of {', '.join(VIEWS)}.")
        if panel is not None and not (len(panel) == 2 and 1 <= panel[0] <= panel[1]):
            raise UserError(
                f"method.panel={list(panel)} must be [number, of how many], counted from 1, such as [3, 3]."
            )
        place = Path(root).expanduser()
        listed = [] if pairs is None else swaps_of(Path(pairs).expanduser())
        outputs = {swap.target: swap.output for swap in listed if swap.output}
        row = None if panel is None else (panel[0], panel[1])
        self._results = Results(place, f"method.root='{root}'", outputs, row)
        self.max_missing, self.framing = max_missing, framing
        self.name = _named(place)
        self._pairs = {swap.target: swap.source for swap in listed}
        self._data = cast(People, data)
        self._known: dict[int, tuple[str, int]] = {}
        self._parts: dict[str, Counterparts] = {}
        self._waiting = list(searched(data))
        self._look_into_next()
        self.swaps = bool(self._pairs or self._results.swapped)  # the names tell it when originals were looked for
        rows = [f"{name} {content}" for name, content in self._results.hashes.items()]
        rows += [f"{target} {source} {outputs.get(target, '')}" for target, source in sorted(self._pairs.items())]
        rows += [] if row is None else [f"panel {row[0]} {row[1]}"]
        self.contents = hashlib.sha256("\n".join(rows).encode("utf-8", "backslashreplace")).hexdigest()

    def __deepcopy__(self, memo: dict[int, Any]) -> ResultsFolder:
        """It remembers nobody, and its pictures are on the disk."""
        return self

    def notes(self) -> Iterator[str]:
        """What a reader must know of the folder, split by split as far as it was looked into."""
        for split, part in self._parts.items():
            failed = part.failed
            if failed:
                reasons = ", ".join(f"{count:,} {reason}" for reason, count in failed.most_common())
                yield (
                    f"{self.name}: {failed.total():,} of {len(part):,} pictures of the split {split} have no usable "
                    f"result ({reasons}); the original stands in their place, for a tool that gives nothing for a "
                    "picture has not anonymized it."
                )
            if part.resized:
                yield f"{self.name}: {part.resized:,} of {len(part):,} results ({split}) are of another size."

    @property
    def incomplete(self) -> str | None:
        """What stands behind its name in tables: how many of the evaluated pictures it has no result for."""
        part = self._parts.get(SEARCHED[0])
        missing = 0 if part is None else part.failed.total()
        return f"{missing:,} of {len(cast(Counterparts, part)):,} missing" if missing else None

    def sources(self, indices: Tensor) -> Tensor:
        """Whose faces the results show: index (N,) of a picture among the evaluated ones, -1 where it is none of them.

        Args:
            indices: (N,) of originals among the evaluated ones.
        """
        faces = self._data.faces(SEARCHED[0])
        named = faces.files  # type: ignore[attr-defined]
        files = [file_key(name) for name in (named() if callable(named) else named)]
        place = {name: number for number, name in enumerate(files)}
        first: dict[str, int] = {}
        for number, label in enumerate(faces.labels.tolist()):
            first.setdefault(faces.names[label], number)
        swapped = self._results.swapped
        found = []
        for number in indices.tolist():
            name = files[number]
            who = self._pairs.get(name)
            found.append(first.get(swapped.get(name.partition("/")[0], ""), -1) if who is None else place.get(who, -1))
        return torch.tensor(found, dtype=torch.long)

    def __call__(self, images: Tensor) -> Tensor:
        """Originals (B, 3, S, S) in [-1, 1], as the data set has them -> what the tool made of them.

        Raises:
            Failed: a picture that the data set does not have, such as one that was changed before.
        """
        found = [self._place(face.numpy().tobytes()) for face in to_uint8(images.float()).cpu().contiguous()]
        made = torch.empty((len(found), *images.shape[-2:], 3), dtype=torch.uint8)
        for split in {split for split, _ in found}:
            rows = [row for row, (own, _) in enumerate(found) if own == split]
            made[rows] = self._parts[split].images([found[row][1] for row in rows])
        return to_float(made).to(images)

    def _place(self, face: bytes) -> tuple[str, int]:
        mark = digest(face)
        while mark not in self._known:
            if not self._waiting:
                raise Failed(f"{self.name} has results for the originals alone, not for pictures that were changed.")
            try:
                self._look_into_next()
            except UserError as error:  # a split that only this picture asks for; results of it may not be there
                raise Failed(f"{self.name} knows no such picture: {error}") from error
        return self._known[mark]

    def _look_into_next(self) -> None:
        split = self._waiting.pop(0)
        try:
            faces = self._data.faces(split)
        except EmptySplit:
            return
        if not hasattr(faces, "counterparts"):
            raise UserError(
                f"method=folder needs originals that are files, by originals=<folder> or suite=lfw; {self._data.name} "
                "has none."
            )
        part = faces.counterparts(self._results, self.framing)
        self._check(split, part)
        if part.failed:
            print(f"{self.name} ({split}): {part.listing} lists the pictures without a usable result", file=sys.stderr)
        self._parts[split] = part
        for row, mark in enumerate(part.digests.tolist()):
            self._known.setdefault(mark, (split, row))

    def _check(self, split: str, part: Counterparts) -> None:
        failed = part.failed
        where = self._results.where
        if failed.total() == len(part):
            reasons = " and ".join(failed)
            raise UserError(
                f"None of the {len(part):,} pictures of the split {split} has a usable result in {where} ({reasons}): "
                "a result lies at the relative path of its original, <identity>/<picture>, in any format."
            )
        if failed.total() > self.max_missing * len(part):
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in failed.most_common())
            raise UserError(
                f"{failed.total():,} of {len(part):,} pictures of the split {split} have no usable result in {where} "
                f"({reasons}; listed in {part.listing}), more than method.max_missing={self.max_missing:g} of them; "
                "make them, or raise method.max_missing: the row then says so, and the originals stand in."
            )


def _named(root: Path) -> str:
    """As the folder calls its method, else by the folder's own name.

    Raises:
        UserError: its meta.json cannot be read as JSON.
    """
    about = root / _ABOUT
    if about.is_file():
        said = read_json(about, _MOST)
        name = said.get("method") if isinstance(said, dict) else None
        if not isinstance(name, str) or not name.strip():
            raise UserError(f'\'{about}\' names no method; write {{"method": "<name>"}}, or remove it.')
        return flat(name)[:60]
    return flat(spelled(Path(os.path.abspath(root)).name))[:60] or "folder"


_COLUMNS = ("target", "source", "output")


class Swap(NamedTuple):
    """A row of the pairs, each name as :func:`anon.faces.points.file_key` spells it; ``output`` may be empty."""

    target: str
    source: str
    output: str


def swaps_of(path: Path) -> list[Swap]:
    """The rows of a CSV that have a target and a source.

    Raises:
        UserError: no such file, other columns, no row, a target with several sources or outputs, or an output of
            several targets.
    """
    try:
        with io.TextIOWrapper(plain.opened(path), "utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = [(name or "").strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            if not {"target", "source"} <= set(names):
                raise UserError(f"'{path}' must have the columns target and source (relative paths of originals).")
            twice = next((name for name in _COLUMNS if names.count(name) > 1), None)
            meant = [] if "output" in names else get_close_matches("output", names, 1, 0.8)
            if twice or meant:
                told = f"the column {twice} twice" if twice else f"a column {meant[0]}, which is nearly output"
                raise UserError(f"'{path}' has {told}; name each of target, source and output once, so.")
            rows = [(row["target"], row["source"], row.get("output")) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a UTF-8 CSV"
        raise UserError(f"The pairs '{path}' cannot be read: {reason}.") from error
    found: dict[str, Swap] = {}
    for target, source, output in rows:
        if output and not (target and source):
            raise UserError(f"The pairs '{path}' have an output without a target or a source; name all three.")
        if target and source:
            swap = Swap(*(file_key((name or "").strip()) for name in (target, source, output)))
            if found.setdefault(swap.target, swap) != swap:
                raise UserError(f"The pairs '{path}' name a target twice; keep one of the swaps of each target.")
    if not found:
        raise UserError(f"The pairs '{path}' have no row with a target and a source.")
    outputs = [swap.output for swap in found.values() if swap.output]
    if len(set(outputs)) < len(outputs):
        raise UserError(f"The pairs '{path}' name one output for several targets; each target has its own.")
    return list(found.values())


def source_of_each(path: Path) -> dict[str, str]:
    """Sources by target of a CSV, see :func:`swaps_of`."""
    return {swap.target: swap.source for swap in swaps_of(path)}
