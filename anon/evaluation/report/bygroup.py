"""Figures by group as a plot: a row for each group, a mark for each method, whiskers for the 95 % intervals.

It is drawn of a table whose columns are gaps between groups (:mod:`anon.evaluation.measures.groups`), one plot for each
figure of these columns and each data set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from anon.evaluation.document import Column, Document, Table
from anon.evaluation.document.estimates import Estimate, known
from anon.evaluation.report.drawing import GREY, Entry, Plot, draw, mark, plainly, styles

GAP = re.compile(r"(?P<figure>.+)_gap:(?P<label>.+)")
NAME, MARK = 14, 7  # points of a group's name, and of each method below it
MOST = 7  # methods in a plot; more are further plots


@dataclass(frozen=True)
class _Row:
    """A group with the figure of each method, by its label; ``metric`` is that of the figures."""

    metric: str
    name: str
    figures: dict[str, Estimate]


def by_group(document: Document, table: Table) -> list[Plot]:
    """The plots of a table; none of one that has no gaps."""
    gaps = [(column, found) for column in table.columns if (found := GAP.fullmatch(column.metric))]
    plots = []
    data = list(dict.fromkeys(document.lines[number].data for number in table.lines))
    for figure, attack in dict.fromkeys((found["figure"], column.attack) for column, found in gaps):
        labels = [found["label"] for column, found in gaps if (found["figure"], column.attack) == (figure, attack)]
        for name in data:
            lines = [number for number in table.lines if document.lines[number].data == name]
            rows = _rows(document, lines, figure, attack, labels)
            methods = list(dict.fromkeys(method for row in rows for method in row.figures))
            for start in range(0, len(methods), MOST):
                where = name if len(data) > 1 else ""
                plots.append(_plot(document, table, figure, attack, rows, methods[start : start + MOST], where))
    return plots


def _rows(
    document: Document, lines: Sequence[int], figure: str, attack: str | None, labels: Sequence[str]
) -> list[_Row]:
    """The groups of each label, without those that nobody has a figure of."""
    found: list[_Row] = []
    for label in labels:
        start = f"{figure}:{label}="
        for metric in (metric for metric in document.metrics if metric.startswith(start)):
            own = {
                plainly(document.lines[number]): each
                for number in lines
                if known(each := document.figure(number, Column(metric, attack=attack)))
            }
            if own:
                found.append(_Row(metric, f"{label}: {metric.removeprefix(start)}", own))
    return found


def _plot(
    document: Document,
    table: Table,
    figure: str,
    attack: str | None,
    rows: Sequence[_Row],
    methods: Sequence[str],
    where: str,
) -> Plot:
    looks = {method: look for method, look in styles(document).items() if method in methods}
    info = document.metrics[rows[0].metric]
    title = info.title.removesuffix(f" of {rows[0].metric.removeprefix(f'{figure}:')}")
    unit, behind = f" {info.unit}".rstrip(), f", after {attack}" if attack else ""
    tall = NAME + MARK * len(methods)  # points of a row

    def paint(axes: Axes) -> None:
        for place, row in enumerate(rows):
            for turn, method in enumerate(methods):
                each = row.figures.get(method)
                if each is None:
                    continue
                y = place - 0.5 + (NAME + MARK * (turn + 0.25)) / tall
                axes.plot(each.span, (y, y), color=looks[method].colour, linewidth=1.2)
                mark(axes, [each.number], [y], looks[method], filled=True)
        for place in range(1, len(rows)):
            axes.axhline(place - 0.5, color=GREY, linewidth=0.5)
        axes.set_yticks([])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        for place, row in enumerate(rows):
            axes.annotate(row.name, (0.01, place - 0.48), xycoords=("axes fraction", "data"), va="top", color=GREY)

    name = f"{table.name}-groups-{figure}-{attack}-{where}-{methods[0]}"
    caption = f"{title} of the probes of each group{behind}. Whiskers: 95 %. Small groups are left out."
    legend = [Entry(method, looks[method]) for method in methods]
    heading = f"{title}{unit}{info.arrow}"
    whole = f"{title} by group{behind}" + (f", {where}" if where else "")
    return draw(name, whole, caption, paint, legend, heading, "", 60 + len(rows) * tall)
