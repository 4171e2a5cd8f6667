"""What an evaluation found: one sentence, and below it the main table, the most private method first.

A method is as private as against its worst adversary and before its worst judge. One that an adversary of the others
was not tried on has no rank, and what failed counts as nothing: both are said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from anon.evaluation.document import Column, Document, Line, Table
from anon.evaluation.estimates import Estimate, short
from anon.evaluation.report.privacy import Point, leaks, met_by_all, points
from anon.evaluation.report.sheet import UNCHANGED, Cell, Row, best_printed, datasets
from anon.evaluation.report.tradeoff import chosen

KEPT = 4  # columns of what is kept, at most
NARROW = "\N{NO-BREAK SPACE}"  # an interval is not broken, and no arrow stands alone in a line
NAMED = 3  # failed lines that the sentence names


@dataclass(frozen=True)
class Summary:
    """The ``sentence``, and the main table: ``table`` is the one that it sums up, ``about`` says how."""

    sentence: str
    table: Table | None = None
    head: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class _Treated:
    """A treatment of the faces with its worst figure, and who found it."""

    line: int
    worst: Estimate
    who: str
    judge: Estimate | None
    judged_by: str
    unknown: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        return float(self.worst.value or 0.0)


def summary(document: Document) -> Summary:
    """The main table is the first that says who is found again; where none does, the first that ranks."""
    for table in document.tables:
        found = _treated(document, table)
        if any(_changes(document, one.line) for one in found):
            return _privacy(document, table, found)
    shown = [(table, column) for table in document.tables for column in table.columns]
    for table, column in shown:
        figures = {number: document.figure(number, column) for number in table.lines}
        known = {number: figure for number, figure in figures.items() if figure and figure.value is not None}
        if document.info(column).higher_is_better is not None and any(_changes(document, number) for number in known):
            return _other(document, table, column, known)
    return Summary(f"Nothing was found: no method that changes faces has a figure{_lost(document, document.lines)}.")


def _treated(document: Document, table: Table) -> list[_Treated]:
    """The treatments; the adversaries are those whom all have met where no changing method has met every one."""
    every = points(document, table, leaks(document, table))
    if not any(_changes(document, point.line) and not point.unknown for point in every):
        every = points(document, table, met_by_all(document, table)) or every
    return [_judged(document, point) for point in every]


def _judged(document: Document, point: Point) -> _Treated:
    """With the worst of the judges: the evaluation's own, and the training encoder, which a stranger may have too."""
    line = document.lines[point.line]
    judge = document.judges.get(line.data)
    judges = {judge.name if judge else "the judge": line.metrics.get("ID")}
    for name, figure in line.metrics.items():
        who = name.removeprefix("ID_")
        if document.metrics[name].title == f"ID by {who}":
            judges[who] = figure
    known = {who: figure for who, figure in judges.items() if figure and figure.value is not None}
    worst, who = point.identified, document.title_of(point.worst)
    if len(known) < 2:
        return _Treated(point.line, worst, who, None, "", point.unknown)
    by = max(known, key=lambda name: known[name].value or 0.0)
    if (known[by].value or 0.0) > point.value:
        worst, who = known[by], f"ID by {by}"
    return _Treated(point.line, worst, who, known[by], by, point.unknown)


def _privacy(document: Document, table: Table, found: Sequence[_Treated]) -> Summary:
    judged = any(one.judge for one in found)
    kept = [
        column
        for column in chosen(document, table)
        if any((figure := document.figure(one.line, column)) and figure.value is not None for one in found)
    ][:KEPT]
    head = ["found again, worst adversary ↓", *(["ID, worst judge ↓"] if judged else []), *map(document.heading, kept)]
    rows: list[Row] = []
    several = list(dict.fromkeys(document.lines[one.line].data for one in found))
    for data in several:
        own = [one for one in found if document.lines[one.line].data == data]
        changing = sorted((one for one in own if _changes(document, one.line)), key=lambda one: one.value)
        ranked = [one for one in changing if not one.unknown]
        rest = [one for one in changing if one.unknown]
        same = [one for one in own if not _changes(document, one.line)]
        columns: list[tuple[Callable[[_Treated], Estimate | None], bool | None]] = [(lambda one: one.worst, False)]
        columns += [(lambda one: one.judge, False)] if judged else []
        columns += [(_of(document, column), document.info(column).higher_is_better) for column in kept]
        best = [
            best_printed([of(one) for one in (ranked if place == 0 else changing)], higher)
            for place, (of, higher) in enumerate(columns)
        ]
        rows += [Row("heading", data)] if len(several) > 1 else []
        for part, title in ((ranked, ""), (rest, "without rank: an adversary of the others was not tried"), (same, "")):
            rows += [Row("heading", title)] if title and part and (ranked or same) else []
            for one in part:
                cells = []
                for place, (of, _) in enumerate(columns):
                    first = part is not same and (place > 0 or part is ranked)
                    cells.append(_cell(of(one), best[place] if first else set()))
                cells[0] = replace(cells[0], interval=_with(cells[0].interval, one.who, one.unknown))
                if one.judge and judged:
                    cells[1] = replace(cells[1], interval=_with(cells[1].interval, one.judged_by))
                rows.append(Row("ours", label(document, one.line), tuple(cells)))
    about = f"{table.title}, the most private first. Found again: the largest share over the adversaries, who is named."
    return Summary(_found(document, table, found, several), table, _unbroken(head), tuple(rows), about)


def _found(document: Document, table: Table, found: Sequence[_Treated], data: Sequence[str]) -> str:
    """The sentence, of the first data set."""
    own = [one for one in found if document.lines[one.line].data == data[0]]
    changing = sorted((one for one in own if _changes(document, one.line)), key=lambda one: one.value)
    ranked = [one for one in changing if not one.unknown]
    many = len(ranked) if len(ranked) < len(changing) else 0
    where = f"On {data[0]}, " if len(datasets(document)) > 1 else ""
    if len(changing) == 1:
        text = f"{label(document, changing[0].line)}: {_told(changing[0])}"
    else:
        parts = []
        if ranked:
            of = f"{many} that met every adversary" if many else f"{len(changing)}"
            parts = [f"best of the {of}, {label(document, ranked[0].line)}: {_told(ranked[0])}"]
        if not ranked or changing[-1] is not ranked[0]:
            parts.append(f"worst of all {len(changing)}, {label(document, changing[-1].line)}: {_told(changing[-1])}")
        text = "; ".join(parts)
    lost = _lost(document, [document.lines[number] for number in table.lines])
    text = f"{where}{text}{lost}."
    return text[0].upper() + text[1:]


def _told(one: _Treated) -> str:
    return f"{one.who} {one.worst.text()}, {spoken(one.worst)}"


def spoken(figure: Estimate) -> str:
    """A share of the probes in words; nobody found is no proof that nobody can be.

    >>> spoken(Estimate(0.3)), spoken(Estimate(0.98)), spoken(Estimate(0.012))
    ('three of ten faces are still found again', 'nearly all are still found again', 'few are still found again')
    >>> spoken(Estimate(0.0, 0.0, 0.028))
    'nobody was found again, which leaves up to .028'
    """
    value = figure.value or 0.0
    if value == 0.0:
        return "nobody was found again" + (f", which leaves up to {short(figure.high)}" if figure.high else "")
    if value < 0.05 or value >= 0.95:
        return f"{'all' if value == 1.0 else 'nearly all' if value > 0.5 else 'few'} are still found again"
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    tenths = min(9, max(1, int(10 * value + 0.5)))
    return f"{words[tenths - 1]} of ten faces {'is' if tenths == 1 else 'are'} still found again"


def _lost(document: Document, lines: Sequence[Line]) -> str:
    """What failed or was not measured, as the end of a sentence."""
    failed = [line.label for line in lines if (line.needs or "").startswith("failed")]
    needs = [line for line in lines if line.needs and not line.needs.startswith("failed")]
    more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
    text = f"; {len(failed)} of {len(lines)} lines failed ({', '.join(failed[:NAMED])}{more})" if failed else ""
    return text + (f"; {len(needs)} of {len(lines)} lines were not measured" if needs else "")


def _other(document: Document, table: Table, column: Column, known: dict[int, Estimate]) -> Summary:
    """Of a table that says nothing about who is found again, such as one of swaps: ranked by ``column``."""
    higher = bool(document.info(column).higher_is_better)
    order = sorted(known, key=lambda number: (known[number].value or 0.0) * (-1 if higher else 1))
    changing = [number for number in order if _changes(document, number)]
    columns = [column, *(other for other in table.columns if other != column)][: KEPT + 1]
    best = [
        best_printed([document.figure(number, each) for number in changing], document.info(each).higher_is_better)
        for each in columns
    ]
    rows = []
    for number in [*changing, *(number for number in order if number not in changing)]:
        cells = [
            _cell(document.figure(number, each), best[place] if number in changing else set())
            for place, each in enumerate(columns)
        ]
        rows.append(Row("ours", document.lines[number].label, tuple(cells)))
    first, last = changing[0], changing[-1]
    told = [f"{document.lines[number].label}, {known[number].text()}" for number in (first, last)]
    text = f"{document.heading(column)}: {told[0]}"
    if first != last:
        text = f"{document.heading(column)} is best for {told[0]}, and worst for {told[1]}"
    lost = _lost(document, [document.lines[number] for number in table.lines])
    return Summary(
        f"{text}{lost}.",
        table,
        _unbroken(map(document.heading, columns)),
        tuple(rows),
        f"{table.title}, the best by its first column first.",
    )


def label(document: Document, number: int) -> str:
    """What was done to the faces, whatever the attack."""
    return replace(document.lines[number], attack="none", needs=None).label


def _changes(document: Document, number: int) -> bool:
    return document.lines[number].method not in UNCHANGED


def _of(document: Document, column: Column) -> Callable[[_Treated], Estimate | None]:
    return lambda one: document.figure(one.line, column)


def _cell(figure: Estimate | None, best: set[str]) -> Cell:
    if figure is None or figure.value is None:
        return Cell("-")
    value, _, interval = figure.text().partition(" ")
    return Cell(value, interval.replace(" ", NARROW), best=value in best, n=figure.n)


def _unbroken(head: Iterable[str]) -> tuple[str, ...]:
    return tuple(re.sub(" (?=[↓↑]$)", NARROW, one) for one in head)


def _with(interval: str, who: str, unknown: Sequence[str] = ()) -> str:
    missing = f"; not tried: {', '.join(unknown)}" if unknown else ""
    return f"{interval} {who}{missing}".strip()
