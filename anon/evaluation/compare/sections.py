"""A comparison in sections of tables and plots; a section that would be empty is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anon.evaluation.compare import tables
from anon.evaluation.compare.directions import Better
from anon.evaluation.compare.plots import curves, left_out
from anon.evaluation.compare.runs import Run, of_task
from anon.evaluation.compare.tables import Grid
from anon.evaluation.report.drawing import Plot
from anon.evaluation.report.page import Picture, main_grids, picture
from anon.evaluation.report.summary import summary


@dataclass(frozen=True)
class Section:
    """A heading with its tables and plots; ``faces``: of each run the grids of its main table."""

    anchor: str
    title: str
    grids: tuple[Grid, ...]
    plots: tuple[Plot, ...] = ()
    faces: tuple[tuple[str, tuple[Picture, ...]], ...] = ()


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
    figures = tables.evaluations(runs)
    made = [
        Section("runs", "Runs", (tables.overview(runs), tables.folders(runs))),
        Section("settings", "Settings that differ", tuple(settings)),
        Section("versions", "Versions that differ", (versions,) if len(versions.head) > 1 else ()),
        Section("metrics", "Metrics: last and best", tuple(tables.metrics(runs, better))),
        Section("curves", "Curves", tuple(left_out(runs)), tuple(curves(runs))),
        Section("faces", "Faces", (), faces=_faces(measuring)),
        Section("evaluations", "Evaluations", tuple(figures)),
    ]
    return [section for section in made if section.grids or section.plots or section.faces]


def _faces(runs: Sequence[Run]) -> tuple[tuple[str, tuple[Picture, ...]], ...]:
    """Those that the runs themselves show: of people who exist only where they were asked for."""
    found = []
    for name, folder, document in ((run.name, run.folder, run.document) for run in runs):
        if document is not None and document.pictures:
            names = main_grids(document, summary(document).table)
            found.append((name, tuple(picture(folder, file, document.pictures[file]) for file in names)))
    return tuple(found)
