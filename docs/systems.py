"""Fills the tables of docs/systems/*.md, ours beside the printed ones, so that no figure is copied by hand.

    python docs/systems.py

A table stands between two marks, of which the first says what it is: lines of a table of docs/results/<name>.json by
their methods, or rows of a printed table (:mod:`anon.evaluation.published`). A test sees that they are up to date.

    <!-- all.json table1: FIVA *; Real -->      <!-- printed book_table5_1: IdentityDP (ε 6) -->
    <!-- to here -->                            <!-- to here -->
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anon.evaluation.document import Document, Table, read
from anon.evaluation.document.estimates import known, short
from anon.evaluation.published import published
from anon.evaluation.report.sheet import Row, about_paper, sheet
from anon.evaluation.results import markdown_table

DOCS = Path(__file__).resolve().parent
END = "<!-- to here -->"
_MARK = re.compile(r"(<!-- (printed|\w+\.json) (\w+): (.+?) -->\n).*?" + re.escape(END), re.DOTALL)


def filled(page: str) -> str:
    """A page with its tables as the results have them now."""
    return _MARK.sub(lambda found: f"{found[1]}\n{_block(*found.groups()[1:])}\n\n{END}", page)


def _block(where: str, name: str, wanted: str) -> str:
    chosen = wanted.split("; ")
    return of_paper(name, chosen) if where == "printed" else measured(where, name, chosen)


def measured(file: str, name: str, methods: Sequence[str]) -> str:
    """The lines of some methods (``FIVA``, ``FIVA + ITM``; ``FIVA *``: by every policy), the paper's rows under them.

    Columns in which nothing was measured are left out, and lines that could not be.
    """
    document = _document(file)
    table = next(table for table in document.tables if table.name == name)
    lines = [number for number in table.lines if _is_of(document, number, methods)]
    columns = [column for column in table.columns if any(known(document.figure(number, column)) for number in lines)]
    shown = sheet(document, replace(table, lines=tuple(lines), columns=tuple(columns)))
    rows = [row for row in shown.rows if row.kind in ("ours", "needs") or _is_ours_printed(shown.rows, row)]
    text = markdown_table(["", *shown.head], [_cells(row, len(columns)) for row in rows])
    source = [f"\n*Printed:* {shown.paper.source}. {about_paper(shown.paper)}"] if _any_printed(rows) else []
    return "\n".join([*text, "", _how(document, table, file), *source])


def _is_of(document: Document, number: int, methods: Sequence[str]) -> bool:
    line = document.lines[number]
    return bool({f"{line.method} *", replace(line, defense="none", attack="none").label} & set(methods))


def _is_ours_printed(rows: Sequence[Row], row: Row) -> bool:
    """A printed row that stands under one of ours, and has a number in one of the columns."""
    return row.kind == "paper" and row.label == "paper" and any(cell.value != "-" for cell in row.cells)


def _any_printed(rows: Sequence[Row]) -> bool:
    return any(row.kind == "paper" for row in rows)


def _cells(row: Row, columns: int) -> list[str]:
    if row.kind == "needs":
        return [row.label, *["not trained here"] * min(1, columns), *[""] * (columns - 1)]
    cells = [f"{cell.value} {cell.interval}".strip() for cell in row.cells]
    if row.kind == "paper":
        return ["*printed*", *(f"*{cell}*" if cell != "-" else cell for cell in cells)]
    return [row.label, *cells]


def _how(document: Document, table: Table, file: str) -> str:
    who, judges = next(iter(document.people.values())), len(next(iter(document.panel.values())))
    date = str(document.made.get("date", ""))[:10]
    return (
        f"*Measured:* {who.identities} rendered people, the worst of {judges} judges, "
        f'95 % intervals; table "{table.title}" of [{file}](../results/{file}), {date}.'
    )


def of_paper(name: str, rows: Sequence[str]) -> str:
    """Rows of a printed table, with how the paper measured."""
    paper = published(name)
    metrics = list(dict.fromkeys(metric for row in rows for metric in paper.rows[row]))
    body = [[row, *(short(paper.rows[row][m]) if m in paper.rows[row] else "-" for m in metrics)] for row in rows]
    head = ["", *(metric.replace("_", " ") for metric in metrics)]
    return "\n".join([*markdown_table(head, body), "", f"*Printed:* {paper.source}. {about_paper(paper)}"])


@functools.cache
def _document(file: str) -> Document:
    return read(DOCS / "results" / file)


def pages() -> list[Path]:
    """All pages of systems."""
    return sorted((DOCS / "systems").glob("*.md"))


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("error: docs/systems.py takes no words; it fills docs/systems/*.md.")
    for path in pages():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
