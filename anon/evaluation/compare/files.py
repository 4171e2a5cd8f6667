"""A comparison as files: the page, which needs no script and no network, Markdown, and a CSV with one line a value.

All show the same sections of tables and plots; a section that would be empty is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape

from anon.evaluation.compare import tables
from anon.evaluation.compare.evaluations import evaluations, place
from anon.evaluation.compare.metrics import Better, extreme, finite, metrics
from anon.evaluation.compare.plots import curves, left_out
from anon.evaluation.compare.runs import Run, of_task
from anon.evaluation.compare.tables import Grid
from anon.evaluation.report.drawing import Plot
from anon.evaluation.report.page import Picture, main_grids, picture, rendered
from anon.evaluation.report.sheet import Cell
from anon.evaluation.report.summary import summary
from anon.evaluation.results import markdown_table
from anon.printable import as_csv, flat

SHOWN = 24  # curves; more are folded away
HEAD = ("run", "folder", "kind", "name", "value", "low", "high", "step", "n")
_SPECIAL = re.compile(r"([\\`*<>|\[\]~_])")


@dataclass(frozen=True)
class Section:
    """A heading with its tables and plots; ``faces``: of each run the grids of its main table."""

    anchor: str
    title: str
    grids: Sequence[Grid] = ()
    plots: Sequence[Plot] = ()
    faces: Sequence[tuple[str, Sequence[Picture]]] = ()


def sections(runs: Sequence[Run], better: Better) -> list[Section]:
    """Runs, settings (trainings and evaluations apart: they have other keys), versions, metrics, curves, figures."""
    training, measuring = of_task(runs, "train"), of_task(runs, "evaluate")
    both = bool(training and measuring)
    settings = [
        tables.settings(some, f"Settings that differ{f' between {name}' if both else ''}")
        for some, name in ((training, "trainings"), (measuring, "evaluations"))
        if len([run for run in some if run.config is not None]) > 1
    ]
    versions = tables.versions(runs)
    made = [
        Section("runs", "Runs", (tables.overview(runs), tables.folders(runs))),
        Section("settings", "Settings that differ", settings),
        Section("versions", "Versions that differ", (versions,) if len(versions.head) > 1 else ()),
        Section("metrics", "Metrics: last and best", metrics(runs, better)),
        Section("curves", "Curves", left_out(runs), curves(runs)),
        Section("faces", "Faces", faces=_faces(measuring)),
        Section("evaluations", "Evaluations", evaluations(runs)),
    ]
    return [section for section in made if section.grids or section.plots or section.faces]


def _faces(runs: Sequence[Run]) -> list[tuple[str, list[Picture]]]:
    """Those that the runs themselves show: of people who exist only where they were asked for."""
    found = []
    for name, folder, document in ((run.name, run.folder, run.document) for run in runs):
        if document is not None and document.pictures:
            names = main_grids(document, summary(document).table)
            found.append((name, [picture(folder, file, document.pictures[file]) for file in names]))
    return found


def page(title: str, sections: Sequence[Section]) -> str:
    """compare.html, in the style of the report."""
    return rendered(Path(__file__).parent, {"parted": parted}, title=title, sections=sections, shown=SHOWN)


def parted(text: str) -> Markup:
    """Text that may break after the marks that part a path or a key.

    >>> parted("model.lr")
    Markup('model.<wbr>lr')
    """
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[a-z][./_])(?=\w)", text))


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
        for metric, figure in line.told.items():
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
