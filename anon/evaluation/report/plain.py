"""The tables as text and data: Markdown, CSV, and rows for W&B."""

from __future__ import annotations

import re

from anon.evaluation.document import PLACE, Column, Document, Table
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.report.panel import by_judge, facts, worst_of
from anon.evaluation.report.sheet import Cell, Row, about_paper, datasets, measured, pieces, sheet, told_differences
from anon.evaluation.report.summary import summary
from anon.evaluation.results import markdown_table
from anon.printable import as_csv, flat

INFO = ("title", "unit", "kind", "higher_is_better")
_SPECIAL = re.compile(r"([\\`*<>|\[\]~]|(?<!\w)_|_(?!\w))")


def markdown(document: Document) -> str:
    """All tables as GitHub Markdown, with the paper's rows and how it was measured."""
    lines = [f"# {_escaped(document.title)}", ""]
    lines += [f"{_escaped(summary(document).sentence)}\n"] if document.found else []
    lines += [*(f"- {_escaped(note)}" for note in document.notes), ""] if document.notes else []
    lines += [_escaped(worst_of(document)), ""] if document.panel else []
    for table in document.tables:
        lines += _table(document, table)
    for each in facts(document):
        lines += [f"## {_escaped(each.title)}", ""]
        lines += [*markdown_table([*map(_escaped, each.head)], [[*map(_escaped, row)] for row in each.rows]), ""]
    names, told = datasets(document), measured(document)
    if told:
        rows = [[fact, *map(_escaped, values)] for fact, values in told]
        lines += ["## How it was measured", "", *markdown_table(["", *map(_escaped, names)], rows)]
    commit = f", commit {_escaped(document.commit)}" if document.commit else ""
    lines += ["", f"Seed {document.seed}{commit}. Brackets: 95 %, bootstrap over {document.resampled}.", ""]
    return "\n".join(lines)


def comma_separated(document: Document) -> str:
    """One line a figure, with what its metric says of itself; each judge's own of a panel as ``ID by edgeface``.

    A combination that could not be evaluated is a line without a metric, with the reason.
    """
    infos = document.told
    rows: list[list[object]] = [[*PLACE, "metric", "value", "low", "high", "n", "reason", *INFO]]
    for line in document.lines:
        if line.needs:
            rows.append([*line.place, "", "", "", "", "", line.needs, *[""] * len(INFO)])
        for metric, figure in line.told.items():
            info = [getattr(infos[metric], name) for name in INFO]
            rows.append([*line.place, metric, figure.value, figure.low, figure.high, figure.n, figure.reason, *info])
    return as_csv(rows)


def wandb_tables(document: Document) -> dict[str, tuple[list[str], list[list[object]]]]:
    """Each table as columns and rows of plain values, for ``wandb.Table(columns=..., data=...)``, by the table's name.

    A figure is three columns: its value, low and high; None where there is none. ``needs`` says why.
    """
    tables = {}
    for table in document.tables:
        every, columns = _columns(document, table), [*PLACE]
        for head in map(document.title_of, every):
            columns += [head, f"{head} low", f"{head} high"]
        rows: list[list[object]] = []
        for number in table.lines:
            line = document.lines[number]
            figures = [document.figure(number, column) or Estimate(None) for column in every]
            ends = [end for figure in figures for end in (figure.value, figure.low, figure.high)]
            rows.append([*line.place, *ends, line.needs])
        tables[table.name] = ([*columns, "needs"], rows)
    return tables


def headlines(document: Document) -> dict[str, float]:
    """The figures of the tables' columns as numbers by name: ``table1/FIVA + ITM/ID``, its interval's ends ``_low`` and
    ``_high`` (as far as there are any). After an attack that the column names: ``RA (reconstruction)``; of several data
    sets: ``table1/synthetic/FIVA + ITM/ID``. Of a panel that is the worst case, and each judge's own is
    ``table1/FIVA + ITM/ID by edgeface``.
    """
    found: dict[str, float | None] = {}
    several = len(document.people or {line.data for line in document.lines}) > 1  # of clips nobody counts people
    for table in document.tables:
        for number in table.lines:
            line = document.lines[number]
            place = [table.name, *([line.data] if several else []), line.label]
            for column in _columns(document, table):
                name, figure = "/".join([*place, column.name]), document.figure(number, column) or Estimate(None)
                found |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
    return {name: value for name, value in found.items() if value is not None}


def _columns(document: Document, table: Table) -> tuple[Column, ...]:
    """The table's, and each judge's own."""
    own = by_judge(document, table)
    return table.columns if own is None else (*table.columns, *own.columns)


def _table(document: Document, table: Table) -> list[str]:
    lines = _rows(document, table)
    told = told_differences(document, table)
    if told:
        head = ["", "figure", "minus", "difference", "leaves 0 out"]
        # the difference is this package's own text, whose brackets are none of Markdown's
        rows = [[*map(_escaped, row[:3]), *row[3:]] for row in told]
        lines += ["### Paired differences", "", *markdown_table(head, rows), ""]
    own = by_judge(document, table)
    return lines if own is None else [*lines, *_rows(document, own, "### By judge")]


def _rows(document: Document, table: Table, heading: str = "") -> list[str]:
    """The table's rows, and what stands below them."""
    shown = sheet(document, table)
    body = [_row(row, len(shown.head)) for row in shown.rows]
    lines = [heading or f"## {_escaped(table.title)}", ""]
    lines += [_sentence(table.about), ""] if table.about else []
    lines += [*markdown_table(["", *map(_escaped, shown.head)], body), ""]
    below = [f"- {letter}: {_sentence(reason)}" for letter, reason in shown.footnotes.items()]
    needs = dict.fromkeys((row.label, row.needs) for row in shown.rows if row.kind == "needs")
    below += [f"- {_escaped(label)}: {_sentence(reason)}" for label, reason in needs]
    lines += [*below, ""] if below else []
    lines += [f"{_escaped(shown.marked)}\n"] if shown.marked else []
    lines += [f"*Paper:* {shown.paper.source}. {_escaped(about_paper(shown.paper))}\n"] if shown.paper else []
    return lines


def _row(row: Row, columns: int) -> list[str]:
    if row.kind == "heading":
        return [f"**{_escaped(row.label)}**", *[""] * columns]
    if row.kind == "needs":
        return [_escaped(row.label), *["-"] * columns]
    if row.kind == "paper":
        return [f"*{_escaped(row.label)}*", *(f"*{cell.value}*" if cell.value != "-" else "-" for cell in row.cells)]
    return [_escaped(row.label), *(_cell(cell) for cell in row.cells)]


def _cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else _escaped(cell.value)
    note = f"<sup>{cell.note}</sup>" if cell.note else ""
    return f"{value}{' ' * bool(cell.interval)}{cell.interval}{chr(92) + '*' if cell.differs else ''}{note}"


def _sentence(text: str) -> str:
    parts = [f"`{part.replace('|', chr(92) + '|')}`" if code else _escaped(part) for code, part in pieces(flat(text))]
    return "".join(parts)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", flat(text))
