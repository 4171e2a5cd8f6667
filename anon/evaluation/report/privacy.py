"""What a method leaks: the worst figure over the adversaries of a table, and which settings and methods that binds.

A *point* is what was done to the faces, whatever attack came after; the attacks are its adversaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anon.evaluation.document import Column, Document, Table
from anon.evaluation.figures import Figure

_PLACE = ("data", "split", "method", "policy", "defense", "input", "dial")


@dataclass(frozen=True)
class Point:
    """One treatment of the faces: the line that shows it, and the worst of what identifies it.

    ``bound``: the highest upper end over the adversaries. ``unknown``: titles of the adversaries that were measured on
    another treatment of the same data but not on this one, so the worst may be worse.
    """

    line: int
    identified: Figure
    bound: float
    unknown: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """Share of the probes that the best adversary retrieves."""
        assert self.identified.value is not None
        return self.identified.value


def leaks(document: Document, table: Table) -> list[Column]:
    """The columns that say how many are identified, where less is better."""
    infos = {column: document.info(column) for column in table.columns}
    return [column for column, info in infos.items() if info.identifies and info.higher_is_better is False]


def keeps(document: Document, table: Table) -> list[Column]:
    """The columns that say what is left of the face or the picture, where one way is better."""
    infos = {column: document.info(column) for column in table.columns}
    kept = ("utility", "quality")
    return [column for column, info in infos.items() if info.kind in kept and info.higher_is_better is not None]


def met_by_all(document: Document, table: Table) -> list[Column]:
    """The adversaries whom every treatment of the table met: over others methods cannot be compared."""
    found = points(document, table, leaks(document, table))
    return [
        column
        for column in leaks(document, table)
        if not any(document.title_of(column) in point.unknown for point in found)
    ]


def points(document: Document, table: Table, adversaries: Sequence[Column]) -> list[Point]:
    """The treatments of a table that at least one of the adversaries was measured on, in the table's order."""
    groups: dict[object, list[int]] = {}
    for number in table.lines:
        line = document.lines[number]
        if line.needs is None:
            groups.setdefault(tuple(getattr(line, name) for name in _PLACE), []).append(number)
    found, tried = [], []
    for numbers in groups.values():
        known = {
            column: figure
            for column in adversaries
            for number in numbers
            if (figure := document.figure(number, column)) is not None and figure.value is not None
        }
        if known:
            worst = max(known.values(), key=lambda figure: figure.value or 0.0)
            ends = [figure.value if figure.high is None else figure.high for figure in known.values()]
            first = next((number for number in numbers if document.lines[number].attack == "none"), numbers[0])
            found.append(Point(first, worst, max(end for end in ends if end is not None)))
            tried.append((document.lines[first].data, set(known)))
    every = {data: set().union(*(known for other, known in tried if other == data)) for data, _ in tried}
    return [
        replace(point, unknown=tuple(map(document.title_of, _missed(adversaries, every[data], known))))
        for point, (data, known) in zip(found, tried, strict=True)
    ]


def _missed(adversaries: Sequence[Column], every: set[Column], known: set[Column]) -> list[Column]:
    """Who was measured elsewhere and not here."""
    return [column for column in adversaries if column in every - known]
