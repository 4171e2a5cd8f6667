"""Runs named by what differs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anon.evaluation.compare.runs import Run
from anon.evaluation.compare.tables import settings

LONGEST, NAMING = 24, 3  # letters of a value, and settings, that a run is named by


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
