"""The report of an evaluation: everything a person looks at, made from its Document alone.

    report.html   one file with tables, plots and pictures; needs no network and no script
    table.md      the tables as GitHub Markdown
    table.csv     one line a figure
    tables.tex    the tables as LaTeX (booktabs)
    plots/        every plot of the page as an SVG file

The same document gives the same bytes. ``anon report <folder>`` makes the files again from the
results.json in the folder of an evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anon.evaluation import results
from anon.evaluation.document import Document, as_json, from_json
from anon.evaluation.report.latex import latex
from anon.evaluation.report.page import page
from anon.evaluation.report.plain import comma_separated, headlines, markdown, wandb_tables

__all__ = ["headlines", "wandb_tables", "write"]


def write(document: Document, folder: Path, intervals: bool = True, columns: Sequence[str] = ()) -> list[Path]:
    """Write the report's files, each replaced atomically, and return their paths without those of the plots.

    Args:
        folder: where results.json lies, and the pictures that the document names.
        intervals: print them in tables.tex.
        columns: the columns of tables.tex, by metric or title; none: all.

    Raises:
        UserError: a file cannot be written, a table names published numbers that there are none of, or no table has
            such a column.
    """
    document = from_json(as_json(document))  # what a later reader has: a figure that is not finite is none
    html, plots = page(document, folder)
    files = {
        "table.md": markdown(document),
        "table.csv": comma_separated(document),
        "tables.tex": latex(document, intervals, columns),
        "report.html": html,
    }
    shown = bool(document.pictures) and not all(people.synthetic for people in document.people.values())
    for name, content in files.items():
        results.write(folder / name, content, owners=shown and name == "report.html")
    for name, plot in plots.items():
        results.write(folder / "plots" / f"{name}.svg", plot.file)
    return [folder / name for name in files]
