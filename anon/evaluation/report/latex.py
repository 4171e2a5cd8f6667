r"""The tables as LaTeX: one ``table`` each, with caption and label, for a paper that loads booktabs and graphicx."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from anon.errors import UserError
from anon.evaluation.document import Column, Document, Table
from anon.evaluation.report.panel import with_own
from anon.evaluation.report.sheet import Cell, Row, Sheet, about_paper, pieces, sheet
from anon.printable import flat

WIDE = 6  # columns from which on a table is scaled to the width of the text

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"[": "{[}", "*": "{*}"},  # at the start of a row, LaTeX would take them for an option of the line break
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "`": r"\textasciigrave{}", '"': "''"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\u2026": r"\dots{}"},
    **{"↓": r"$\downarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$", "←": r"$\leftarrow$"},
    **{"¬": r"$\neg$", "°": r"$^\circ$", "\u00d7": r"$\times$", "±": r"$\pm$", "≤": r"$\leq$", "≥": r"$\geq$"},
    **{"\u2212": "$-$", "\u2013": "--", "²": "$^2$", "³": "$^3$"},
    **{"ε": r"$\varepsilon$", "μ": r"$\mu$", "µ": r"$\mu$", "\u03c3": r"$\sigma$"},
}
_PLACES = re.compile("|".join(map(re.escape, _ESCAPES)))


def latex(document: Document, intervals: bool = True, columns: Sequence[str] = ()) -> str:
    """All tables, of a panel each judge's own behind. Names in letters beyond Latin need XeLaTeX or LuaLaTeX.

    Args:
        intervals: print the 95 % intervals.
        columns: metrics or headings; none: all. A table that has none of them is left out.

    Raises:
        UserError: no table has such a column.
    """
    every = with_own(document)
    names = {name for table in every for each in table.columns for name in _names(document, each)}
    for name in columns:
        if name not in names:
            raise UserError(f"no table has a column '{name}'; there are: {', '.join(sorted(names))}.")
    wanted = set(columns)
    tables = [
        replace(table, columns=tuple(each for each in table.columns if wanted & _names(document, each)))
        if wanted
        else table
        for table in every
    ]
    lines = [
        f"% {_escaped(document.title)}",
        r"% \usepackage{booktabs,graphicx}"
        + f"; figures in brackets: 95 %, bootstrap over {document.resampled}" * intervals,
        "",
    ]
    for table in tables:
        lines += [*_table(document, table, intervals), ""] if table.columns else []
    return "\n".join(lines)


def _names(document: Document, column: Column) -> set[str]:
    return {column.metric, document.title_of(column)}


def _table(document: Document, table: Table, intervals: bool) -> list[str]:
    shown = sheet(document, table)
    width = len(shown.head) + 1
    wide = len(shown.head) >= WIDE
    lines = [f"% {letter}: {flat(reason)}" for letter, reason in shown.footnotes.items()]
    lines += [r"\begin{table}[t]", r"\centering", r"\small", f"\\caption{{{_caption(shown)}}}"]
    lines += [f"\\label{{tab:{re.sub(r'[^a-z0-9]+', '-', table.name.lower()).strip('-')}}}"]
    lines += [r"\resizebox{\linewidth}{!}{%"] if wide else []
    lines += [f"\\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule"]
    lines += [" & ".join(["", *map(_escaped, shown.head)]) + r" \\", r"\midrule"]
    for place, row in enumerate(shown.rows):
        lines += [r"\midrule"] if row.kind == "heading" and place else []
        lines += [f"% {_escaped(row.label)}: {flat(row.needs)}"] if row.needs else []
        lines.append(_row(row, width, intervals) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}" + ("}" if wide else ""), r"\end{table}"]
    return lines


def _caption(shown: Sheet) -> str:
    parts = [f"{_escaped(shown.table.title)}."]
    parts += [f"{_sentence(shown.table.about)}."] if shown.table.about else []
    parts += [f"$^{{{letter}}}$ {_sentence(reason)}." for letter, reason in shown.footnotes.items()]
    parts += [_escaped(shown.marked)] if shown.marked else []
    parts += (
        [f"In italics: {_escaped(shown.paper.source)}. {_escaped(about_paper(shown.paper))}"] if shown.paper else []
    )
    return " ".join(parts)


def _row(row: Row, width: int, intervals: bool) -> str:
    if row.kind == "heading":
        return f"\\multicolumn{{{width}}}{{l}}{{\\textbf{{{_escaped(row.label)}}}}}"
    if row.kind == "needs":
        return f"{_escaped(row.label)} & \\multicolumn{{{width - 1}}}{{l}}{{\\scriptsize {_sentence(row.needs)}}}"
    if row.kind == "paper":
        label = f"\\quad \\textit{{{_escaped(row.label)}}}"
        return " & ".join([label, *(f"\\textit{{{cell.value}}}" for cell in row.cells)])
    return " & ".join([_escaped(row.label), *(_cell(cell, intervals) for cell in row.cells)])


def _cell(cell: Cell, intervals: bool) -> str:
    value = f"\\textbf{{{cell.value}}}" if cell.best else _escaped(cell.value)
    value += "$^*$" if cell.differs else ""
    value += f"$^{{{cell.note}}}$" if cell.note else ""
    return value + (f" {{\\scriptsize {cell.interval}}}" if cell.interval and intervals else "")


def _sentence(text: str) -> str:
    """Without its commands, which stand in a comment: a paper has no use for them."""
    words = "".join("" if code else part for code, part in pieces(text))
    words = re.sub(r"\s+([.,;])", r"\1", words).strip(" :;,.")
    return "not measured" if words in ("", "needs") else _escaped(words)


def _escaped(text: str) -> str:
    return _PLACES.sub(lambda found: _ESCAPES[found[0]], flat(text))
