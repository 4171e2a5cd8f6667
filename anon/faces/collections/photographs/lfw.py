"""Labeled Faces in the Wild: 13,233 photographs of 5,749 people, and the pairs to verify (Huang et al., 2007).

As published::

    lfw/Aaron_Eckhart/Aaron_Eckhart_0001.jpg      also lfw-deepfunneled, lfw_funneled
    pairs.txt                                     View 2: 10 sets of 300 matched and 300 mismatched pairs
    people.txt                                    who is in which set
    pairsDevTrain.txt, pairsDevTest.txt           View 1, for development

Both views take their people from all of LFW, so photographs have no official split; ``fold`` is the set of View 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anon.errors import UserError
from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Published, damaged, lines
from anon.faces.points import file_key, read_points

_FOLDERS = ("lfw-deepfunneled", "lfw_funneled", "lfw")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs to compare; files relative to the root, people by name, ``fold`` from 0."""

    first: str
    second: str
    people: tuple[str, str]
    fold: int

    @property
    def same(self) -> bool:
        """Whether both show one person."""
        return self.people[0] == self.people[1]


class LFW(Published):
    """Item labels: ``fold`` (1 to 10) where people.txt is there.

    Args:
        root: the folder of the people's folders, or the one that holds it.
        pairs: list of pairs; None: pairs.txt in the root or beside it. Lists without the count in the first line, such
            as some sets of View 2 alone, are read too.
        points: CSV of five points a photograph (:mod:`anon.faces.points`); None: a detector will find the faces.

    Raises:
        UserError: no photographs, or a file that was named is missing.
    """

    name = "lfw"
    title = "LFW"
    origin = (
        "get lfw-deepfunneled.tgz, pairs.txt and people.txt from the authors (vis-www.cs.umass.edu/lfw, research use)"
    )

    def __init__(
        self, root: str | Path | None, pairs: str | Path | None = None, points: str | Path | None = None
    ) -> None:
        super().__init__(root)
        self.root = next((self.root / name for name in _FOLDERS if (self.root / name).is_dir()), self.root)
        self.files = {
            f"{person}/{file}": person
            for person in self.folders_in()
            for file in self.files_in(person, r".*_\d{4}\.jpg")
            if file[:-9] == person
        }
        if not self.files:
            raise self.lacks(f"'{self.root}' has no photographs <name>/<name>_0001.jpg")
        self._pairs = None if pairs is None else Path(pairs).expanduser()
        self._points = None if points is None else Path(points).expanduser()
        for path in (self._pairs, self._points):
            if path is not None and not path.is_file():
                raise self.lacks(f"there is no file '{path}'")

    def items(self) -> Sequence[Item]:
        """By person and number.

        Raises:
            UserError: damaged people.txt or points.
        """
        table = {} if self._points is None else read_points(self._points)
        folds = self._folds()
        found = []
        for file, person in self.files.items():
            row = table.get(file_key(file))
            points = None if row is None else tuple((float(x), float(y)) for x, y in row)
            labels = {"fold": folds[person]} if person in folds else {}
            found.append(Item(file, person, points=points, labels=labels))
        return found

    def pairs(self, view: str = "pairs.txt") -> list[Pair]:
        """The pairs of a list, in its order; a set begins where a matched pair follows a mismatched one.

        Args:
            view: ``pairs.txt``, ``pairsDevTrain.txt`` or ``pairsDevTest.txt``; the list given as ``pairs`` is View 2's.

        Raises:
            UserError: no list, a damaged one, or one that names photographs that are not there.
        """
        path = self._pairs if self._pairs is not None and view == "pairs.txt" else self._beside(view)
        if path is None:
            raise self.lacks(f"neither '{self.root}' nor the folder above has {view}")
        rows = [(number, line.split()) for number, line in enumerate(lines(path), 1) if line.strip()]
        stated = _stated(rows[0][1]) if rows else None
        found: list[Pair] = []
        for number, row in rows if stated is None else rows[1:]:
            if len(row) not in (3, 4) or not all(text.isdecimal() and len(text) < 5 for text in (row[1], row[-1])):
                raise damaged(path, number, "is no pair")
            people = (row[0], row[0] if len(row) == 3 else row[2])
            fold = found[-1].fold if found else 0
            if found and people[0] == people[1] and not found[-1].same:
                fold += 1
            first, second = (f"{who}/{who}_{int(n):04d}.jpg" for who, n in zip(people, (row[1], row[-1]), strict=True))
            found.append(Pair(first, second, people, fold))
        sets = found[-1].fold + 1 if found else 0
        if not found or (stated is not None and (sets, len(found)) != (stated[0], 2 * stated[0] * stated[1])):
            raise UserError(f"'{path}' has {len(found):,} pairs in {sets} sets, not what its first line says.")
        missing = sum(pair.first not in self.files or pair.second not in self.files for pair in found)
        if missing:
            raise UserError(
                f"LFW: {missing:,} of the {len(found):,} pairs are of photographs that '{self.root}' lacks."
            )
        return found

    def _beside(self, name: str) -> Path | None:
        return next((folder / name for folder in (self.root, self.root.parent) if (folder / name).is_file()), None)

    def _folds(self) -> dict[str, int]:
        """Set of View 2, from 1, by person."""
        path = self._beside("people.txt")
        if path is None:
            return {}
        folds: dict[str, int] = {}
        fold = 0
        for number, line in enumerate(lines(path), 1):
            row = line.split()
            if len(row) == 1 and row[0].isdecimal():
                fold += number > 1  # the first line is the number of sets
            elif len(row) == 2 and fold:
                folds[row[0]] = fold
            elif row:
                raise damaged(path, number, "is neither a person nor a number of people")
        return folds


def _stated(row: list[str]) -> tuple[int, int] | None:
    """Sets and matched pairs a set, as the first line says: ``10 300``, or ``1100`` for one set; None: no such line."""
    if not all(text.isdecimal() and len(text) < 8 for text in row) or len(row) > 2:
        return None
    return (int(row[0]), int(row[1])) if len(row) == 2 else (1, int(row[0]))
