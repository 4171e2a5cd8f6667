"""A comparison as text and data: Markdown, and a CSV with one line a value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from anon.evaluation.compare.directions import Better
from anon.evaluation.compare.runs import Run
from anon.evaluation.compare.sections import Section
from anon.evaluation.compare.tables import Grid, extreme, finite, place
from anon.evaluation.report.sheet import Cell
from anon.evaluation.results import markdown_table
from anon.printable import as_csv, flat

HEAD = ("run", "folder", "kind", "name", "value", "low", "high", "step", "n")
_SPECIAL = re.compile(r"([\\`*<>|\[\]~_])")


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The tables as GitHub Markdown; curves are in the page alone."""
    lines = [f"# {title}", ""]
    for section in sections:
        if section.grids:
            lines += [f"## {section.title}", ""]
        for grid in section.grids:
            lines += [] if grid.title == section.title else [f"### {_escaped(grid.title)}", ""]
            lines += _grid(grid)
    return "\n".join(lines)


def comma_separated(runs: Sequence[Run], better: Better) -> str:
    """One line a value, not those that differ alone.

    ``kind``: ``state``, ``seconds``, ``setting``, ``version``, ``last``, ``lowest``, ``highest`` (of a metric, with the
    step; the better of the two alone where that is known), ``figure`` (of an evaluation, with interval and n).
    """
    return as_csv([HEAD, *([run.name, run.folder, *row] for run in runs for row in _values(run, better))])


def _values(run: Run, better: Better) -> Iterator[tuple[object, ...]]:
    """Kind, name, value, low, high, step, n."""
    yield "state", "", run.state, None, None, run.steps if run.task == "train" else None, None
    if run.seconds is not None:
        yield "seconds", "", run.seconds, None, None, None, None
    for kind, told in (("setting", run.config or {}), ("version", run.versions)):
        for name, value in told.items():
            yield kind, name, value, None, None, None, None
    for name, series in run.metrics.items():
        yield "last", name, series.values[-1], None, None, series.steps[-1], None
        known, higher = finite(series), better.higher_is_better(name, run.losses)
        for kind, highest in (("lowest", False), ("highest", True)):
            if known and higher in (None, highest):
                step, best = extreme(known, highest)
                yield kind, name, best, None, None, step, None
    for line in run.document.lines if run.document is not None else ():
        for metric, figure in line.metrics.items():
            name = "/".join([*(part for part in place(line) if part), metric])
            yield "figure", name, figure.value, figure.low, figure.high, None, figure.n


def _grid(grid: Grid) -> list[str]:
    lines = [_escaped(grid.about), ""] if grid.about else []
    if grid.rows:
        body = [[_escaped(label), *map(_cell, cells)] for label, cells in grid.rows]
        lines += [*markdown_table(["", *map(_escaped, grid.head)], body), ""]
    for note in grid.notes:
        lines += [_escaped(note), ""]
    return lines


def _cell(cell: Cell) -> str:
    value = f"**{_escaped(cell.value)}**" if cell.best else _escaped(cell.value)
    marks = "\\*" * cell.differs + cell.note
    return f"{value}{marks}{f' ({_escaped(cell.interval)})' if cell.interval else ''}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", flat(text))
