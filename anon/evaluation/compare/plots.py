"""The curves of metrics.csv: one plot a metric, a line a run, in the style of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from anon.evaluation.compare.metrics import finite
from anon.evaluation.compare.runs import Run, of_task
from anon.evaluation.compare.tables import Grid
from anon.evaluation.document.estimates import LARGEST
from anon.evaluation.report.drawing import COLOURS, DASHES, Entry, Plot, Style, draw, series

MOST = 12  # runs in a plot
MOST_METRICS = 200  # that are drawn; a training logs 60
POINTS = 240  # of a line; more are averaged
DOTTED = 30  # a line of so few points shows them
DECADES = 2  # an axis over more of them is logarithmic

Line = tuple[np.ndarray, np.ndarray]  # steps, values


def left_out(runs: Sequence[Run]) -> list[Grid]:
    """What is said where there are more metrics than are drawn."""
    more = len(_names(of_task(runs, "train"))) - MOST_METRICS
    about = f"{more:,} more metrics are in compare.csv; the first {MOST_METRICS} are drawn, validation before the rest."
    return [Grid("Curves", (), (), about)] if more > 0 else []


def curves(runs: Sequence[Run]) -> list[Plot]:
    """A plot for each of the first metrics of the trainings; more than :data:`MOST` runs are shared out."""
    runs = [run for run in of_task(runs, "train") if run.metrics]
    looks = series(len(COLOURS) * len(DASHES))
    style = {run.folder: looks[at % len(looks)] for at, run in enumerate(runs)}
    plots = []
    for name in _names(runs)[:MOST_METRICS]:
        own = [run for run in runs if _drawable(run, name)]
        size = math.ceil(len(own) / max(1, math.ceil(len(own) / MOST)))
        parts = [own[start : start + size] for start in range(0, len(own), max(1, size))]
        for number, part in enumerate(parts, 1):
            title = f"{name} ({number} of {len(parts)})" if len(parts) > 1 else name
            plots.append(_plot(name, title, part, [style[run.folder] for run in part]))
    return plots


def _names(runs: Sequence[Run]) -> list[str]:
    """Metrics in the order in which they are drawn: validation first."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return sorted(names, key=lambda name: not name.startswith("val/"))


def _drawable(run: Run, name: str) -> list[tuple[int, float]]:
    """Steps and values; an axis from -1e308 to 1e308 is longer than any number."""
    return [point for point in finite(run.metrics.get(name)) if abs(point[1]) <= LARGEST]


def averaged(steps: Sequence[int], values: Sequence[float], points: int = POINTS) -> tuple[Line, int]:
    """A line of ``points`` points at most, each the mean of neighbours; and of how many.

    >>> averaged([1, 2, 3, 4, 5], [2.0, 4.0, 6.0, 8.0, 1.0], points=3)
    ((array([1.5, 3.5, 5. ]), array([3., 7., 1.])), 2)
    """
    many = math.ceil(len(steps) / points)
    starts = np.arange(0, len(steps), many)
    sizes = np.diff(np.append(starts, len(steps)))
    at, of = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    return (np.add.reduceat(at, starts) / sizes, np.add.reduceat(of, starts) / sizes), many


def _plot(name: str, title: str, runs: Sequence[Run], looks: Sequence[Style]) -> Plot:
    lines, most = [], 1
    for run in runs:
        steps, values = zip(*_drawable(run, name), strict=True)
        line, many = averaged(steps, values)
        lines.append(line)
        most = max(most, many)
    dotted = max(len(at) for at, _ in lines) <= DOTTED
    legend = [Entry(run.name, look, marker=dotted) for run, look in zip(runs, looks, strict=True)]
    caption = f"Each point is the mean of up to {most} logged values." if most > 1 else ""
    missing = sum(len(run.metrics[name].values) - len(_drawable(run, name)) for run in runs)
    caption += f"{' ' * bool(caption)}{missing} logged values were not finite, or beyond all bounds." if missing else ""

    def paint(axes: Axes) -> None:
        for (at, of), look in zip(lines, looks, strict=True):
            marker = look.marker if dotted else ""
            axes.plot(at, of, color=look.colour, linestyle=look.dash, marker=marker, markersize=4, linewidth=1.4)
        low, high = min(of.min() for _, of in lines), max(of.max() for _, of in lines)
        if low > 0 and math.log10(high / low) > DECADES:
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    return draw(f"curve-{title}", title, caption, paint, legend, "step")
