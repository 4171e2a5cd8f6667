"""What runs are and what they differ in, as tables with a column a run; runs are named by what differs between them.

Decided here once for the page, the Markdown and the CSV.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from anon.evaluation.compare.runs import Run
from anon.evaluation.report.sheet import Cell

ABSENT = "-"
FOLDED = 25  # rows that a table shows; a longer one is folded
LONGEST, NAMING = 24, 3  # letters of a value, and settings, that a run is named by


@dataclass(frozen=True)
class Grid:
    """A table: rows of a label and a cell for each column. ``about`` stands above it, ``notes`` below."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    about: str = ""
    notes: tuple[str, ...] = ()
    folded: bool = False
    figures: bool = False  # numbers, which stand to the right


def overview(runs: Sequence[Run]) -> Grid:
    """A line a run: what it is, how far it came, how long it took."""
    rows = []
    for run in runs:
        steps = f"{run.steps:,}" if run.metrics else ABSENT
        commit = run.commit[:12] + "+" * run.commit.endswith("+") or ABSENT
        cells = (run.state, steps, _duration(run), run.task, run.experiment or ABSENT, _date(run.started), commit)
        rows.append((run.name, tuple(map(Cell, cells))))
    head = ("state", "steps", "duration", "task", "experiment", "started", "commit")
    notes = ("A commit with + had changes beside it.",) if any(run.commit.endswith("+") for run in runs) else ()
    return Grid("Runs", head, tuple(rows), notes=notes)


def folders(runs: Sequence[Run]) -> Grid:
    """Where the runs lie."""
    return Grid("Folders", ("",), tuple((run.name, (Cell(str(run.folder)),)) for run in runs), folded=True)


def settings(runs: Sequence[Run], title: str = "Settings that differ") -> Grid:
    """The keys of config.yaml whose values differ.

    A key that ends like a shorter one and has the same values is not shown: ``model.steps`` is ``${steps}``.
    """
    known = [run for run in runs if run.config is not None]
    values = _differing([run.config or {} for run in known])
    kept: set[str] = set()
    for key in sorted(values, key=lambda key: key.count(".")):
        ends = (key[at + 1 :] for at, letter in enumerate(key) if letter == ".")
        if not any(end in kept and values[end] == values[key] for end in ends):
            kept.add(key)
    rows = {key: row for key, row in values.items() if key in kept}
    return _grid(title, rows, runs, known, "All settings are the same.", "Without a readable config.yaml", FOLDED)


def versions(runs: Sequence[Run]) -> Grid:
    """Packages, interpreter, machine and commit, where they differ."""
    known = [run for run in runs if run.versions or run.commit]
    told = ({**run.versions, "commit": run.commit} for run in known)
    rows = _differing([{name: version for name, version in one.items() if version} for one in told])
    return _grid("Versions that differ", rows, runs, known, "Commit, packages and platform are the same.", "Unknown of")


def _differing(told: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """What is told of each run, by name, where it is not the same in all."""
    names = dict.fromkeys(name for one in told for name in one)
    rows = {name: tuple(one.get(name, ABSENT) for one in told) for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _grid(
    title: str,
    rows: Mapping[str, Sequence[str]],
    runs: Sequence[Run],
    known: Sequence[Run],
    same: str,
    without: str,
    most: float = math.inf,
) -> Grid:
    """What the known of the runs differ in; ``same`` is said where that is nothing, ``without`` of the others."""
    unknown = [run.name for run in runs if run not in known]
    cells = tuple((name, tuple(map(Cell, row))) for name, row in rows.items())
    about = "" if rows or len(known) < 2 else same
    notes = (f"{without}: {', '.join(unknown)}.",) if unknown else ()
    return Grid(title, tuple(run.name for run in known), cells, about, notes, len(rows) > most)


def by_settings(runs: Sequence[Run]) -> list[Run]:
    """The runs named by the fewest settings in which they differ, such as ``lr=0.1``; as they were where none will do.

    Trainings and evaluations together keep their names: they have other settings.

    >>> from pathlib import Path
    >>> runs = [Run(Path("/r/a"), "a", config={"model.lr": "0.1"}), Run(Path("/r/b"), "b", config={"model.lr": "0.2"})]
    >>> [run.name for run in by_settings(runs)]
    ['lr=0.1', 'lr=0.2']
    """
    if len(runs) < 2 or len({run.task for run in runs}) > 1 or any(run.config is None for run in runs):
        return list(runs)
    rows = {key: [cell.value for cell in cells] for key, cells in settings(runs).rows}
    told = [key for key, values in rows.items() if max(map(len, values)) <= LONGEST]
    told = [key for key in told if not key.startswith("paths.") and not key.endswith(".cache")]  # no run is its place
    rows = {key: rows[key] for key in sorted(told, key=lambda key: key != "experiment")}
    wanted = len({tuple(values[at] for values in rows.values()) for at in range(len(runs))})
    chosen: list[str] = []
    while wanted == len(runs) and len(chosen) < NAMING:
        seen = [tuple(rows[key][at] for key in chosen) for at in range(len(runs))]
        if len(set(seen)) == len(runs):
            break
        chosen.append(max(rows, key=lambda key: len(set(zip(seen, rows[key], strict=True)))))
    names = [
        ", ".join(f"{key.rpartition('.')[2]}={rows[key][at]}" for key in sorted(chosen, key=list(rows).index))
        for at in range(len(runs))
    ]
    if len(set(names)) < len(runs):
        return list(runs)
    return [replace(run, name=name) for run, name in zip(runs, names, strict=True)]


def _duration(run: Run) -> str:
    if run.seconds is None:
        return ABSENT
    minutes, seconds = divmod(round(run.seconds), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{clock} since resumed" if run.resumed else clock


def _date(started: float | None) -> str:
    return ABSENT if started is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(started))
