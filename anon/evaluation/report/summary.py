"""What an evaluation found: one sentence, and below it the main table, the most private method first.

A method is as private as against its worst adversary and before its worst judge. One that an adversary of the others
was not tried on has no rank, and what failed counts as nothing: both are said. So is whom the intervals do not tell
from the best and from the worst.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from anon.evaluation.document import Column, Document, Line, Table, by
from anon.evaluation.document.estimates import Estimate, known, short, significant
from anon.evaluation.report.panel import worst_of
from anon.evaluation.report.privacy import Point, leaks, met_by_all, points
from anon.evaluation.report.sheet import UNCHANGED, Cell, Row, best_printed, datasets, differences
from anon.evaluation.report.tradeoff import chosen

KEPT = 4  # columns of what is kept, at most
NARROW = "\N{NO-BREAK SPACE}"  # an interval is not broken, and no arrow stands alone in a line
NAMED = 3  # lines that the sentence names where it names several


@dataclass(frozen=True)
class Summary:
    """The ``sentence``, and the main table: ``table`` is the one that it sums up, ``about`` says how."""

    sentence: str
    table: Table | None = None
    head: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class _Ranked:
    """A treatment of the faces with the figure that ranks it, and who found it. ``name``: of the figure's column.

    ``changes``: whether it changes the faces at all.
    """

    line: int
    changes: bool
    label: str
    figure: Estimate
    name: str
    who: str = ""
    judge: Estimate | None = None
    judged_by: str = ""
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Shown:
    """A column of the main table: the figure of a treatment, and what stands behind it."""

    heading: str
    of: Callable[[_Ranked], Estimate | None]
    higher_is_better: bool | None
    by: Callable[[_Ranked], str] = lambda one: ""


def summary(document: Document) -> Summary:
    """The main table is the first that says who is found again; where none does, the first that ranks.

    A document that says itself what was found has no main table.
    """
    if document.found:
        return Summary(f"{document.found}{_lost(document.lines)}.")
    for table in document.tables:
        found = _treated(document, table)
        if any(one.changes for one in found):
            return _privacy(document, table, found)
    for table, column in [(each, column) for each in document.tables for column in each.columns]:
        found = [
            _Ranked(number, line.method not in UNCHANGED, line.label, figure, column.name)
            for number, line in ((number, document.lines[number]) for number in table.lines)
            if known(figure := document.figure(number, column))
        ]
        if document.info(column).higher_is_better is not None and any(one.changes for one in found):
            return _other(document, table, column, found)
    return Summary(f"Nothing was found: no method that changes faces has a figure{_lost(document.lines)}.")


def _treated(document: Document, table: Table) -> list[_Ranked]:
    """The treatments; the adversaries are those whom all have met where no changing method has met every one."""
    every = [_judged(document, point) for point in points(document, table, leaks(document, table))]
    if not any(one.changes and not one.unknown for one in every):
        shared = points(document, table, met_by_all(document, table))
        every = [_judged(document, point) for point in shared] or every
    return every


def _judged(document: Document, point: Point) -> _Ranked:
    """With the worst of the judges: the evaluation's own, and the training encoder, which a stranger may have too."""
    line = document.lines[point.line]
    judge = document.judges.get(line.data)
    judges = {line.worst.get("ID") or (judge.name if judge else "the judge"): "ID"}
    for name in line.metrics:
        who = name.removeprefix("ID_")
        if document.metrics[name].title == f"ID by {who}":
            judges[who] = name
    found = {who: figure for who, name in judges.items() if known(figure := line.metrics.get(name))}
    one = _Ranked(
        point.line,
        line.method not in UNCHANGED,
        replace(line, attack="none", needs=None).label,
        point.identified,
        point.worst.metric if point.worst.attack == "none" else point.worst.name,
        _who(document, point),
        unknown=point.unknown,
    )
    if not found or (len(found) < 2 and not line.by_judge):
        return one
    worst = max(found, key=lambda who: found[who].number)
    if found[worst].number > point.value:
        one = replace(one, figure=found[worst], name=judges[worst], who=by("ID", worst))
    return replace(one, judge=found[worst], judged_by=worst)


def _who(document: Document, point: Point) -> str:
    """The adversary who finds most, with the judge by whom that is, of several."""
    title, line = document.title_of(point.worst), document.line_of(point.line, point.worst)
    judge = None if line is None else line.worst.get(point.worst.metric)
    return title if judge is None else by(title, judge)


def _by_nobody(document: Document, table: Table, found: Sequence[_Ranked]) -> list[Column]:
    """The columns of privacy that need no judge, such as by how much the look moved."""
    infos = {column: document.info(column) for column in table.columns if column.attack is None}
    wanted = [column for column, info in infos.items() if info.kind == "privacy" and not info.by_judge]
    return [
        column
        for column in wanted
        if infos[column].higher_is_better and any(known(document.figure(one.line, column)) for one in found)
    ]


def _privacy(document: Document, table: Table, found: Sequence[_Ranked]) -> Summary:
    kept = [
        column for column in chosen(document, table) if any(known(document.figure(one.line, column)) for one in found)
    ][:KEPT]
    columns = [_Shown("found again, worst adversary ↓", lambda one: one.figure, False, _found_by)]
    if any(one.judge for one in found):
        columns.append(_Shown("ID, worst judge ↓", lambda one: one.judge, False, lambda one: one.judged_by))
    columns += [_shown(document, column) for column in (*_by_nobody(document, table, found), *kept)]
    rows: list[Row] = []
    several = list(dict.fromkeys(document.lines[one.line].data for one in found))
    for data in several:
        rows += [Row("heading", data)] if len(several) > 1 else []
        rows += _rows(columns, [one for one in found if document.lines[one.line].data == data])
    about = f"{table.title}, the most private first. Found again: the largest share over the adversaries, who is named."
    about = f"{about} {worst_of(document)}".rstrip()
    first = document.lines[next(one.line for one in found if one.changes)].data
    own = [one for one in found if one.changes and document.lines[one.line].data == first]
    return _summary(document, table, _found(document, table, own), columns, rows, about)


def _other(document: Document, table: Table, column: Column, found: Sequence[_Ranked]) -> Summary:
    """Of a table that says nothing about who is found again, such as one of swaps: ranked by ``column``."""
    others = [other for other in table.columns if other != column]
    columns = [_shown(document, each) for each in (column, *others)][: KEPT + 1]
    heading = columns[0].heading
    found = _by_figure(found, bool(columns[0].higher_is_better))
    changing = [one for one in found if one.changes]
    first, last = changing[0], changing[-1]
    best, worst = (f"{one.label}, {one.figure.text()}" for one in (first, last))
    if first is last:
        text = f"{heading}: {best}"
    elif _apart(document, table, first, last):
        alike = [_alike(document, table, one, changing) for one in (first, last)]
        text = f"{heading} is best for {best}{alike[0]}, and worst for {worst}{alike[1]}"
    else:
        text = f"{heading}: the first of {len(changing)}, {best}, is not distinguishable from the last, {worst}"
    about = f"{table.title}, the best by its first column first."
    return _summary(document, table, text, columns, _rows(columns, found), about)


def _summary(
    document: Document, table: Table, text: str, columns: Sequence[_Shown], rows: Sequence[Row], about: str
) -> Summary:
    head = tuple(re.sub(" (?=[↓↑]$)", NARROW, column.heading) for column in columns)
    text += _lost([document.lines[number] for number in table.lines])
    return Summary(f"{text}.", table, head, tuple(rows), about)


def _shown(document: Document, column: Column) -> _Shown:
    way = document.info(column).higher_is_better
    return _Shown(document.heading(column), lambda one: document.figure(one.line, column), way)


def _rows(columns: Sequence[_Shown], found: Sequence[_Ranked]) -> list[Row]:
    """First who has a rank by the first column; then who has none; last what changes no face, as it comes."""
    changing = _by_figure((one for one in found if one.changes), bool(columns[0].higher_is_better))
    ranked, rest = [one for one in changing if not one.unknown], [one for one in changing if one.unknown]
    same = [one for one in found if not one.changes]
    best = [
        best_printed(map(column.of, changing if place else ranked), column.higher_is_better)
        for place, column in enumerate(columns)
    ]
    rows = []
    for part, title in ((ranked, ""), (rest, "without rank: an adversary of the others was not tried"), (same, "")):
        rows += [Row("heading", title)] if title and part and (ranked or same) else []
        for one in part:
            cells = []
            for place, column in enumerate(columns):
                first = part is not same and (place > 0 or part is ranked)
                cells.append(_cell(column.of(one), best[place] if first else set(), column.by(one)))
            rows.append(Row("ours", one.label, tuple(cells)))
    return rows


def _found(document: Document, table: Table, found: Sequence[_Ranked]) -> str:
    """The sentence, of the treatments of one data set that change the faces."""
    changing = _by_figure(found, higher_is_better=False)
    ranked, last = [one for one in changing if not one.unknown], changing[-1]
    first = ranked[0] if ranked else changing[0]
    best, worst = ("best", "worst") if _apart(document, table, first, last) else ("lowest", "highest")
    parts = []
    if ranked:
        of = f"{len(ranked)} that met every adversary" if len(ranked) < len(changing) else f"{len(changing)}"
        parts.append(f"{best} of the {of}, {first.label}{_alike(document, table, first, ranked)}: {_told(first)}")
    if not ranked or last is not first:
        alike = _alike(document, table, last, changing)
        parts.append(f"{worst} of all {len(changing)}, {last.label}{alike}: {_told(last)}")
    text = "; ".join(parts) if len(changing) > 1 else f"{last.label}: {_told(last)}"
    where = f"On {document.lines[last.line].data}, " if len(datasets(document)) > 1 else ""
    return where + text if where else text[0].upper() + text[1:]


def _apart(document: Document, table: Table, one: _Ranked, other: _Ranked) -> bool:
    """Whether two figures differ: by their paired difference, else by their intervals, else by what is printed."""
    for part in differences(document, table):
        if {part.line, part.baseline} == {one.line, other.line} and one.name == other.name == part.metric:
            return part.significant
    if None in (one.figure.low, one.figure.high, other.figure.low, other.figure.high):
        return short(one.figure.number) != short(other.figure.number)
    return significant(one.figure, other.figure)


def _alike(document: Document, table: Table, one: _Ranked, others: Sequence[_Ranked]) -> str:
    """Whose figures do not differ from one's, in brackets."""
    names = [other.label for other in others if other is not one and not _apart(document, table, one, other)]
    return f" (not distinguishable from {_some(names)})" if names else ""


def _told(one: _Ranked) -> str:
    return f"{one.who} {one.figure.text()}, {spoken(one.figure)}"


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


def _lost(lines: Sequence[Line]) -> str:
    """What failed or was not measured, as the end of a sentence."""
    failed = [_where(line, lines) for line in lines if (line.needs or "").startswith("failed")]
    needs = [line for line in lines if line.needs and not line.needs.startswith("failed")]
    text = f"; {len(failed)} of {len(lines)} lines failed ({_some(failed)})" if failed else ""
    text += f"; {len(needs)} of {len(lines)} lines were not measured" if needs else ""
    for judge in dict.fromkeys(judge for line in lines for judge in line.lost):
        text += f"; the judge {judge} failed on {_some([line.label for line in lines if judge in line.lost])}"
    return text


def _where(line: Line, lines: Sequence[Line]) -> str:
    """A line's label; where the lines are of one treatment, the data set that it is of."""
    alike = len(lines) > 1 and len({each.label for each in lines}) == 1
    return line.data if alike else line.label


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _by_figure(found: Iterable[_Ranked], higher_is_better: bool) -> list[_Ranked]:
    """The best first."""
    return sorted(found, key=lambda one: one.figure.number * (-1 if higher_is_better else 1))


def _cell(figure: Estimate | None, best: set[str], by: str) -> Cell:
    if not known(figure):
        return Cell("-", by)
    value, interval = figure.printed
    return Cell(value, f"{interval.replace(' ', NARROW)} {by}".strip(), best=value in best, n=figure.n)


def _found_by(one: _Ranked) -> str:
    return f"{one.who}; not tried: {', '.join(one.unknown)}" if one.unknown else one.who
