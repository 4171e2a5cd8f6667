"""A table of a document as rows of cells, before it is spelled in HTML, Markdown or LaTeX.

Decided here, once for all of them: which value is the best of its column, where the paper's rows stand, and what a
cell says where there is no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from anon.evaluation.document import Column, Difference, Document, Line, Recognizer, Table
from anon.evaluation.document.estimates import Estimate, known, short
from anon.evaluation.published import Published, published

_ENROLMENT = {"apart": "other pictures than the probes", "same": "the one picture that probes, unchanged"}
UNCHANGED = ("Real", "unchanged")  # methods that do nothing: they are never the best
INLINE = 18  # longest reason in a cell; a longer one is a footnote

# How anon.evaluation.published calls an attacked ID, and an ID of swaps.
_PRINTED = {
    ("RA", "reconstruction"): "RA",
    ("ID", "reconstruction"): "RA",
    ("RA", "negation"): "negID",
    ("ID", "negation"): "negID",
    ("swap_ID", ""): "ID",
}
_COMMAND = re.compile(r"`([^`]+)`|((?:python3?|pip|sbatch) \S.*?)(?=\.?$)")


@dataclass(frozen=True)
class Cell:
    """``value`` with its ``interval``; ``note``: the letter of the footnote that says why there is no value.

    ``full``: the value as it was measured, unrounded.
    """

    value: str = ""
    interval: str = ""
    best: bool = False
    differs: bool = False
    note: str = ""
    n: int = 0
    full: str = ""


@dataclass(frozen=True)
class Row:
    """A row: ``ours``, ``needs`` (not evaluated, and why), ``paper`` (printed numbers) or ``heading``."""

    kind: str
    label: str
    cells: tuple[Cell, ...] = ()
    needs: str = ""


@dataclass(frozen=True)
class Sheet:
    """What a table shows. ``marked``: what an asterisk means, where there is one."""

    table: Table
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    footnotes: dict[str, str]
    paper: Published | None
    marked: str


def sheet(document: Document, table: Table) -> Sheet:
    """The rows of a table: ours by data set, the paper's under ours where it printed that method, the rest of its last.

    The best of a column is sought among the methods that change the face, on one data set and input, by what is
    printed; a sweep has no best.

    Raises:
        UserError: there is no printed table of that name.
    """
    if table.matrix:
        return _matrix(document, table)
    paper = None if table.published is None else published(table.published)
    notes: dict[str, str] = {}  # reason -> letter
    differs = {(part.metric, part.line) for part in differences(document, table) if part.significant}
    keys = _keys(document, table, paper)
    rows: list[Row] = []
    datasets = list(dict.fromkeys(document.lines[line].data for line in table.lines))
    for data in datasets:
        lines = [line for line in table.lines if document.lines[line].data == data]
        best = {
            given: _best(document, table, [line for line in lines if document.lines[line].input == given])
            for given in {document.lines[line].input for line in lines}
        }
        rows += [Row("heading", data)] if len(datasets) > 1 else []
        for number in lines:
            line = document.lines[number]
            if line.needs:
                rows.append(Row("needs", line.label, needs=line.needs))
            else:
                cells = []
                for place, column in enumerate(table.columns):
                    cell = _cell(document.figure(number, column), notes, document.info(column).whole)
                    marked = (column.name, number) in differs
                    first = cell.value in best[line.input][place] and line.method not in UNCHANGED
                    cells.append(replace(cell, best=first, differs=marked))
                rows.append(Row("ours", line.label, tuple(cells)))
            if paper is not None and number in keys:
                rows.append(Row("paper", "paper", _printed(paper.rows[keys[number]], table.columns)))
    if paper is not None:
        rows += _elsewhere(table, paper, set(keys.values()))
    return Sheet(
        table=table,
        head=tuple(map(document.heading, table.columns)),
        rows=tuple(rows),
        footnotes={letter: reason for reason, letter in notes.items()},
        paper=paper if any(row.kind == "paper" for row in rows) else None,
        marked=_marked(document, table, rows),
    )


def _matrix(document: Document, table: Table) -> Sheet:
    """Figure by figure, attacks down and what they attack across; bold: an attack on just what it learned."""
    lines = {number: document.lines[number] for number in table.lines}
    across = list(dict.fromkeys(_attacked(document, line) for line in lines.values()))
    attacks = list(dict.fromkeys(line.attack for line in lines.values()))
    place = {(line.attack, _attacked(document, line)): number for number, line in lines.items()}
    missing = {attack: {line.needs for line in lines.values() if line.attack == attack} for attack in attacks}
    notes: dict[str, str] = {}
    rows: list[Row] = []
    for column in table.columns:
        found = []
        for attack in (each for each in attacks if None in missing[each]):
            cells = []
            for victim in across:
                number = place.get((attack, victim))
                needs = None if number is None else lines[number].needs
                figure = (
                    Estimate.absent(needs) if needs else None if number is None else document.figure(number, column)
                )
                own = number is not None and lines[number].learned is None and attack != "none"
                cells.append(replace(_cell(figure, notes), best=own and victim not in UNCHANGED and not needs))
            if any(cell.value != "-" or cell.note for cell in cells):
                found.append(Row("ours", attack, tuple(cells)))
        if any(cell.value != "-" for row in found for cell in row.cells):
            rows += [Row("heading", document.heading(column)), *found]
    for attack in (each for each in attacks if None not in missing[each]):
        rows.append(Row("needs", attack, needs="; ".join(sorted(filter(None, missing[attack])))))
    return Sheet(table, tuple(across), tuple(rows), {letter: reason for reason, letter in notes.items()}, None, "")


def _attacked(document: Document, line: Line) -> str:
    """What was attacked, as a column of a matrix is headed."""
    several = len({other.data for other in document.lines}) > 1
    label = replace(line, attack="none", needs=None).label
    return f"{label}, {line.data}" if several else label


def differences(document: Document, table: Table) -> list[Difference]:
    """The paired differences of a table."""
    return [difference for difference in document.differences if difference.table == table.name]


def told_differences(document: Document, table: Table) -> list[list[str]]:
    """As rows: a line, its figure as the table heads it, minus which, the difference, and whether it leaves 0 out."""
    titles = {column.name: document.title_of(column) for column in reversed(table.columns)}
    return [
        [
            document.lines[part.line].label,
            titles.get(part.metric, part.metric),
            document.lines[part.baseline].label,
            part.figure.text(),
            "yes" if part.significant else "no",
        ]
        for part in differences(document, table)
    ]


def pieces(text: str) -> list[tuple[bool, str]]:
    """A sentence in parts, those that are commands marked: what stands in backticks, or from ``python``, ``pip`` on.

    >>> pieces("not trained: python train.py experiment=fiva.")
    [(False, 'not trained: '), (True, 'python train.py experiment=fiva'), (False, '.')]
    >>> pieces("run `make demo` first")
    [(False, 'run '), (True, 'make demo'), (False, ' first')]
    """
    parts: list[tuple[bool, str]] = []
    end = 0
    for found in _COMMAND.finditer(text):
        parts += [(False, text[end : found.start()]), (True, found[1] or found[2])]
        end = found.end()
    return [part for part in [*parts, (False, text[end:])] if part[1]]


def measured(document: Document) -> list[tuple[str, list[str]]]:
    """How it was measured: a fact a line, a value for each data set in the order of :func:`datasets`."""
    names = datasets(document)
    judges = [document.judges.get(name) for name in names]
    people = [document.people.get(name) for name in names]
    facts: dict[str, list[str]] = {
        "judge": [
            judge.name + _others(document, name) if judge else "" for name, judge in zip(names, judges, strict=True)
        ],
        "distance": [judge.metric if judge else "" for judge in judges],
        "threshold": [limit(judge, "threshold") for judge in judges],
        "threshold of two pictures": [limit(judge, "picture_threshold") for judge in judges],
        "threshold from": [(judge.source or f"{judge.split} people") if judge else "" for judge in judges],
        "FAR wanted": [f"{judge.far:g}" if judge and not judge.source else "" for judge in judges],
        "FAR achieved": [f"{judge.far_achieved:.2g}" if judge else "" for judge in judges],
        "FAR and EER on": [f"{judge.impostor_pairs:,} pairs, {judge.split}" if judge else "" for judge in judges],
        "EER there": [f"{judge.eer:.2%}" if judge and judge.eer is not None else "" for judge in judges],
        "evaluated split": [who.split if who else "" for who in people],
        "enrolment": [_ENROLMENT[who.enrolment] if who else "" for who in people],
        "anchors and other thresholds from": [(who.reference or "") if who else "" for who in people],
        "faces": [("rendered" if who.synthetic else "photographs") if who else "" for who in people],
        "identities": [f"{who.identities:,}" if who else "" for who in people],
        "probes": [f"{who.probes:,}" if who else "" for who in people],
        "gallery": [f"{who.gallery:,}" if who else "" for who in people],
        "chance (rank-1)": [f"{who.chance:.2g}" if who else "" for who in people],
        "impostor pairs": [f"{who.impostor_pairs:,}" if who else "" for who in people],
        "clips": [f"{who.clips:,}" if who else "" for who in people],
    }
    return [(name, values) for name, values in facts.items() if any(values)]


def _others(document: Document, data: str) -> str:
    """That the judge is the first of several."""
    count = len(document.panel.get(data, ()))
    return f", the first of {count}" if count > 1 else ""


def limit(judge: Recognizer | None, name: str) -> str:
    """A threshold (``threshold``, ``picture_threshold``) with its interval."""
    value, low, high = (getattr(judge, f"{name}{end}", None) for end in ("", "_low", "_high"))
    return "" if value is None else f"{value:.4g}" if low is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"


def datasets(document: Document) -> list[str]:
    """Names of the data sets, in the order in which they are evaluated."""
    return list(dict.fromkeys([*document.people, *document.judges, *(line.data for line in document.lines)]))


def about_paper(paper: Published) -> str:
    """How the paper measured, in what units, and what is the matter with its numbers."""
    units = "; ".join(
        f"{', '.join(metric for metric in paper.units if paper.units[metric] == unit)} in {unit}"
        for unit in dict.fromkeys(paper.units.values())
    )
    parts = filter(None, [paper.protocol.rstrip("."), f"units: {units}" if units else "", paper.note.rstrip(".")])
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def best_printed(
    figures: Iterable[Estimate | None], higher_is_better: bool | None, printed: Callable[[float], str] = short
) -> set[str]:
    """The printed value that is best, as a set; empty where all are alike, or one stands alone."""
    values = [figure.number for figure in figures if known(figure)]
    if higher_is_better is None or len(set(map(printed, values))) < 2:
        return set()
    return {printed(max(values) if higher_is_better else min(values))}


def _best(document: Document, table: Table, lines: Sequence[int]) -> list[set[str]]:
    """For each column the printed value that is best; none in a sweep."""
    own = [line for line in lines if document.lines[line].method not in UNCHANGED and table.dial is None]
    return [
        best_printed((document.figure(line, column) for line in own), document.info(column).higher_is_better)
        for column in table.columns
    ]


def _cell(figure: Estimate | None, notes: dict[str, str], whole: bool = False) -> Cell:
    if known(figure):
        return Cell(f"{figure.number:,.0f}", n=figure.n) if whole else Cell(*figure.printed, n=figure.n)
    reason = (figure and figure.reason) or "-"
    if len(reason) <= INLINE:
        return Cell(reason)
    return Cell("-", note=notes.setdefault(reason, _letter(len(notes))))


def _letter(number: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    first, last = divmod(number, 26)
    return (_letter(first - 1) if first else "") + chr(ord("a") + last)


def _printed(row: dict[str, float], columns: Iterable[Column]) -> tuple[Cell, ...]:
    cells = []
    for column in columns:
        name = _PRINTED.get((column.metric, column.attack or ""))
        if name is None and column.attack is None:
            name = column.metric if column.metric in row else column.metric.removesuffix("_error")
        cells.append(Cell(short(row[name]) if name in row else "-"))
    return tuple(cells)


def _keys(document: Document, table: Table, paper: Published | None) -> dict[int, str]:
    """The paper's row of a line, which stands under the first that has it.

    Found by the method; where the paper's rows are the defenses of one method, as in FIVA's table 3, and ours are
    too, by the defense; where they are a sweep, by the setting.
    """
    if paper is None:
        return {}
    lines = {number: document.lines[number] for number in table.lines}
    methods = {(line.method, line.policy) for line in lines.values()}
    found = {number: line.label.removesuffix(" + source") for number, line in lines.items()}
    if len(methods) == 1 and not set(found.values()) & set(paper.rows):
        found = {number: line.defense for number, line in lines.items() if line.input == "clean" and line.dial is None}
    if paper.dial:
        settings = {row[paper.dial]: key for key, row in paper.rows.items() if paper.dial in row}
        found = {number: settings.get(line.dial, "") for number, line in lines.items() if line.dial is not None}
    first = {key: number for number, key in reversed(found.items()) if key in paper.rows}
    return {number: key for key, number in first.items()}


def _elsewhere(table: Table, paper: Published, shown: set[str]) -> list[Row]:
    """The paper's rows of what is not ours, where they have something in these columns."""
    rows = [Row("paper", name, _printed(row, table.columns)) for name, row in paper.rows.items() if name not in shown]
    rows = [row for row in rows if any(cell.value != "-" for cell in row.cells)]
    return [Row("heading", "published, not measured here"), *rows] if rows else []


def _marked(document: Document, table: Table, rows: Iterable[Row]) -> str:
    if not any(cell.differs for row in rows for cell in row.cells):
        return ""
    baselines = {replace(document.lines[part.baseline], attack="none").label for part in differences(document, table)}
    than = f"from {baselines.pop()}" if len(baselines) == 1 else "from its baseline"
    return f"* differs {than} on the faces that both have: the 95 % interval of the paired difference leaves 0 out."
