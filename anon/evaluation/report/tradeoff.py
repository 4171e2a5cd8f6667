"""Privacy against utility: a point for each method with its 95 % intervals, and the Pareto front of those measured.

x: the largest share of the probes that an adversary of the table retrieves (ID as published, RA after the
reconstruction attack, ...). A method is on the front when no other is better in one and at least as good in the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from anon.evaluation.document import Column, Document, Table
from anon.evaluation.document.estimates import known
from anon.evaluation.report.drawing import GREY, Entry, Plot, Style, draw, mark, place_labels, plainly, styles
from anon.evaluation.report.privacy import Point, keeps, leaks, points
from anon.evaluation.report.sheet import UNCHANGED

PANELS = 4  # utility figures, at most
NAMED = 14  # points that can have their names beside them; more have numbers and a legend
FIRST = ("ssim", "pose", "expression", "FID", "detected", "lpips", "gaze", "landmarks")  # shown before the others

_TICKS = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


def tradeoffs(document: Document, table: Table) -> list[Plot]:
    """The plots of a table that has both, for each data set and input; none of a sweep, which has its own."""
    if table.dial is not None:
        return []
    looks, plots = styles(document), []
    every = [(point, document.lines[point.line]) for point in points(document, table, leaks(document, table))]
    groups = list(dict.fromkeys((line.data, line.input) for _, line in every))
    several = len({data for data, _ in groups}) > 1
    most = PANELS if len({given for _, given in groups}) == 1 else 1  # what is compared on many inputs has many plots
    for data, given in groups:
        own = [point for point, line in every if (line.data, line.input) == (data, given)]
        where = f"{f', {data}' if several else ''}{f', {given}' if given != 'clean' else ''}"
        for adversaries, compared in _fair(document, table, own):
            measured = {
                column: [point for point in compared if known(document.figure(point.line, column))]
                for column in chosen(document, table)
            }
            for column in [column for column, those in measured.items() if len(those) > 1][:most]:
                worst = ", ".join(map(document.title_of, adversaries))
                name = f"{table.name}-{data}-{given}-{column.metric}-{worst}"
                title = f"{document.title_of(column)} against privacy ({worst}){where}"
                plots.append(_plot(document, title, worst, column, measured[column], looks, name))
    return plots


def _fair(document: Document, table: Table, own: Sequence[Point]) -> list[tuple[list[Column], list[Point]]]:
    """Adversaries with the points that met all of them: first those that every point met, then all adversaries.

    A method that an adversary was not tried on is not more private than one that it was tried on.
    """
    every = [column for column in leaks(document, table) if any(column in point.known for point in own)]
    shared = [column for column in every if all(column in point.known for point in own)]
    met = [point for point in own if not point.unknown]
    found = [(every, met)] if len(_changing(document, met)) > 1 or len(met) == len(own) else []
    if 0 < len(shared) < len(every):
        lines = {point.line for point in own}
        found.insert(0, (shared, [point for point in points(document, table, shared) if point.line in lines]))
    return found


def _changing(document: Document, found: Sequence[Point]) -> list[int]:
    """Places of the points whose method changes the face."""
    return [place for place, point in enumerate(found) if document.lines[point.line].method not in UNCHANGED]


def front(privacy: Sequence[float], utility: Sequence[float], higher_is_better: bool) -> list[int]:
    """Places on the Pareto front, by rising ``privacy`` (less is better); of twins all are on it.

    >>> front([0.0, 0.1, 0.1, 0.5], [0.7, 0.9, 0.8, 0.9], higher_is_better=True)
    [0, 1]
    """
    sign = 1.0 if higher_is_better else -1.0
    x, y = np.asarray(privacy), sign * np.asarray(utility)
    no_worse = (x[None] <= x[:, None]) & (y[None] >= y[:, None])  # (i, j): j is as good as i in both
    beaten = (no_worse & ((x[None] < x[:, None]) | (y[None] > y[:, None]))).any(1)
    return sorted(np.flatnonzero(~beaten).tolist(), key=lambda place: (x[place], -y[place]))


def chosen(document: Document, table: Table) -> list[Column]:
    """What is kept, the best known first."""
    order = {name: place for place, name in enumerate(FIRST)}
    return sorted(
        keeps(document, table), key=lambda column: order.get(column.metric.removesuffix("_error"), len(order))
    )


def _plot(
    document: Document,
    title: str,
    worst: str,
    column: Column,
    found: Sequence[Point],
    looks: dict[str, Style],
    name: str,
) -> Plot:
    figures = [figure for point in found if known(figure := document.figure(point.line, column))]
    labels = [plainly(document.lines[point.line]) for point in found]
    xs, ys = [point.value for point in found], [figure.number for figure in figures]
    changing = _changing(document, found)
    higher = bool(document.info(column).higher_is_better)
    places = front([xs[i] for i in changing], [ys[i] for i in changing], higher)
    best = [changing[place] for place in places]
    spans_x, spans_y = [point.identified.span for point in found], [figure.span for figure in figures]
    whiskers = [((low, y), (high, y)) for y, (low, high) in zip(ys, spans_x, strict=True)]
    whiskers += [((x, low), (x, high)) for x, (low, high) in zip(xs, spans_y, strict=True)]
    corners = [(xs[i], ys[i]) for i in best[:1]]
    for before, i in itertools.pairwise(best):
        corners += [(xs[i], ys[before]), (xs[i], ys[i])]  # a method's utility until the next

    def paint(axes: Axes) -> None:
        axes.set_xscale("function", functions=(lambda x: np.sqrt(np.clip(x, 0.0, None)), np.square))
        right = max(0.02, *(high for _, high in spans_x)) * 1.08
        low, high = min(low for low, _ in spans_y), max(high for _, high in spans_y)
        room = 0.12 * (high - low) or 0.1 * abs(high) or 0.1
        axes.set_xlim(0.0, right)
        axes.set_ylim(low - room, high + room)
        for ends in whiskers:
            axes.plot(*zip(*ends, strict=True), color=GREY, linewidth=1.0, zorder=1.5)
        axes.plot([x for x, _ in corners], [y for _, y in corners], "--", color=GREY, linewidth=1.2)
        for place, (x, y, label) in enumerate(zip(xs, ys, labels, strict=True)):
            mark(axes, [x], [y], looks[label], filled=place in best)
        axes.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if tick <= right]))
        axes.xaxis.set_major_formatter("{x:g}")
        names = [str(place + 1) for place in range(len(labels))] if len(labels) > NAMED else labels
        place_labels(axes, xs, ys, names, [*itertools.pairwise(corners), *whiskers])

    largest = f", the largest of {worst}" if ", " in worst else ""
    caption = (
        f"Across, on a square-root axis: the share of probes that are identified{largest}; up: "
        f"{document.title_of(column)}. Better is left and {'up' if higher else 'down'}. "
        f"On the Pareto front (dashed, filled): {'; '.join(labels[place] for place in best)}. Whiskers: 95 %."
    )
    legend = [Entry(f"{place} {label}", replace(looks[label], dash="")) for place, label in enumerate(labels, 1)]
    legend = legend if len(found) > NAMED else []
    return draw(name, title, caption, paint, legend, "identified ↓", document.heading(column))
