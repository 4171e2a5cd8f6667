"""Runs side by side, offline: what differs in their settings and versions, their curves, their tables.

    anon compare runs/train/fiva/* [--out compare]

Writes ``compare.html`` (one file, no network, no script), ``compare.md`` and ``compare.csv`` (one line a value).
Trainings are compared by metrics.csv, evaluations by results.json; runs that broke or are not finished are shown as
such.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anon.errors import UserError
from anon.evaluation import results
from anon.evaluation.compare.files import comma_separated, markdown, page, sections
from anon.evaluation.compare.metrics import Better
from anon.evaluation.compare.runs import Run, found
from anon.evaluation.compare.tables import by_settings

__all__ = ["Better", "Run", "compare", "found"]


def compare(paths: Sequence[str | Path], out: Path, better: Better | None = None) -> list[Path]:
    """Compare the runs of these folders, folders of folders or patterns, and write the files.

    Args:
        out: the folder of the three files, made where it is missing.
        better: which way metrics are better, where their names do not say it.

    Returns:
        The files.

    Raises:
        UserError: no such path, no run among them, a metric that none of them logged, or files that cannot be written.
    """
    runs, better = by_settings(found(paths)), better or Better()
    logged = {name for run in runs for name in run.metrics}
    for name in sorted(better.lower | better.higher):
        if name not in logged:
            raise UserError(
                f"none of the runs logged '{name}'; there are: {', '.join(sorted(logged)) or 'no metrics'}."
            )
    title = f"{len(runs)} runs compared" if len(runs) > 1 else f"Run {runs[0].name}"
    parts = sections(runs, better)
    files = {
        "compare.html": page(title, parts),
        "compare.md": markdown(title, parts),
        "compare.csv": comma_separated(runs, better),
    }
    shown = [run.document for run in runs if run.document is not None and run.document.pictures]
    owners = not all(people.synthetic for document in shown for people in document.people.values())
    for name, content in files.items():
        results.write(out / name, content, owners=owners and name == "compare.html")
    return [out / name for name in files]
