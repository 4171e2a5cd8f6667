"""What a method leaks: the worst figure over the adversaries of a table, and which settings and methods that binds.

A *point* is what was done to the faces, whatever attack came after; the attacks are its adversaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from anon.evaluation.document import Column, Document, Table
from anon.evaluation.document.estimates import Estimate, known


@dataclass(frozen=True)
class Point:
    """One treatment of the faces: the line that shows it, and the worst of what identifies it.

    ``bound``: the highest upper end over the adversaries. ``worst``: who identifies most. ``known``: all who were
    measured. ``unknown``: titles of the adversaries that were measured on another treatment of the same data but not on
    this one, and judges of a panel who failed on this one, so the worst may be worse.
    """

    line: int
    identified: Estimate
    bound: float
    worst: Column
    known: tuple[Column, ...]
    unknown: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """Share of the probes that the best adversary retrieves."""
        return self.identified.number


def leaks(document: Document, table: Table) -> list[Column]:
    """The adversaries: columns that say how many are identified, where less is better.

    Where the attacks are lines of the table, each of them makes an adversary of its own of such a column.
    """
    infos = {column: document.info(column) for column in table.columns}
    found = [column for column, info in infos.items() if info.identifies and info.higher_is_better is False]
    attacks = dict.fromkeys(document.lines[number].attack for number in table.lines)
    if set(attacks) <= {"none"}:
        return found
    return [
        adversary
        for column in found
        for adversary in ([column] if column.attack else [_under(document, column, attack) for attack in attacks])
    ]


def _under(document: Document, column: Column, attack: str) -> Column:
    title = document.title_of(column)
    return replace(column, attack=attack, title=title if attack == "none" else f"{title}, {attack}")


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
            groups.setdefault(replace(line, attack="none").place, []).append(number)
    found = []
    for numbers in groups.values():
        first = next((number for number in numbers if document.lines[number].attack == "none"), numbers[0])
        values = {column: figure for column in adversaries if known(figure := document.figure(first, column))}
        if values:
            worst = max(values, key=lambda column: values[column].number)
            bound = max(figure.span[1] for figure in values.values())
            found.append(Point(first, values[worst], bound, worst, tuple(values)))
    return [
        replace(point, unknown=(*_missed(document, adversaries, point, found), *_lost(document, point)))
        for point in found
    ]


def _lost(document: Document, point: Point) -> tuple[str, ...]:
    """The judges who failed under one of the adversaries."""
    lines = (document.line_of(point.line, column) for column in point.known)
    return tuple(dict.fromkeys(f"the judge {judge}" for line in lines if line is not None for judge in line.lost))


def _missed(document: Document, adversaries: Sequence[Column], own: Point, found: Sequence[Point]) -> tuple[str, ...]:
    """Who was measured on the same data, but not on this."""
    data = document.lines[own.line].data
    every = {column for point in found if document.lines[point.line].data == data for column in point.known}
    return tuple(document.title_of(column) for column in adversaries if column in every.difference(own.known))
