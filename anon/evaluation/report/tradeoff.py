"""Privacy against utility: a point for each method with its 95 % intervals, and the Pareto front of those measured.

x: the largest share of the probes that an adversary of the table retrieves (ID as published, RA after the
reconstruction attack, ...). A method is on the front when no other is better in one and at least as good in the other.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from anon.evaluation.document import Column, Document, Table
from anon.evaluation.estimates import Estimate
from anon.evaluation.report.drawing import GREY, Entry, Plot, Style, draw, place_labels, plainly, styles, whiskers
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
            pairs = {column: _both(document, compared, column) for column in chosen(document, table)}
            for column in [column for column in pairs if len(pairs[column]) > 1][:most]:
                worst = ", ".join(map(document.title_of, adversaries))
                name = f"{table.name}-{data}-{given}-{column.metric}-{worst}"
                title = f"{document.title_of(column)} against privacy ({worst}){where}"
                plots.append(_plot(document, title, worst, column, pairs[column], looks, name))
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


def _both(document: Document, found: Sequence[Point], column: Column) -> list[tuple[Point, Estimate]]:
    pairs = [(point, document.figure(point.line, column)) for point in found]
    return [(point, figure) for point, figure in pairs if figure is not None and figure.value is not None]


def _plot(
    document: Document,
    title: str,
    worst: str,
    column: Column,
    pairs: Sequence[tuple[Point, Estimate]],
    looks: dict[str, Style],
    name: str,
) -> Plot:
    labels = [plainly(document.lines[point.line]) for point, _ in pairs]
    xs = [point.value for point, _ in pairs]
    ys = [float(figure.value or 0.0) for _, figure in pairs]
    changing = _changing(document, [point for point, _ in pairs])
    higher = bool(document.info(column).higher_is_better)
    places = front([xs[i] for i in changing], [ys[i] for i in changing], higher)
    best = [changing[place] for place in places]
    own = [looks[label] for label in labels]
    paint = functools.partial(
        _paint, xs=xs, ys=ys, pairs=pairs, labels=labels, looks=own, best=best, heading=document.heading(column)
    )
    caption = (
        f"Across, on a square-root axis: the share of probes that are identified{_largest(worst)}; up: "
        f"{document.title_of(column)}. Better is left and {'up' if higher else 'down'}. "
        f"On the Pareto front (dashed, filled): {'; '.join(labels[place] for place in best)}. Whiskers: 95 %."
    )
    legend = [Entry(f"{place} {label}", replace(looks[label], dash="")) for place, label in enumerate(labels, 1)]
    return draw(name, title, caption, paint, legend if len(pairs) > NAMED else ())


def _largest(worst: str) -> str:
    return f", the largest of {worst}" if ", " in worst else ""


def _paint(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    pairs: Sequence[tuple[Point, Estimate]],
    labels: Sequence[str],
    looks: Sequence[Style],
    best: Sequence[int],
    heading: str,
) -> None:
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.clip(x, 0.0, None)), np.square))
    spans_x = [_span(point.identified) for point, _ in pairs]
    spans_y = [_span(figure) for _, figure in pairs]
    right = max(0.02, *(high for _, high in spans_x))
    low, high = min(low for low, _ in spans_y), max(high for _, high in spans_y)
    room = 0.12 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_xlim(0.0, right * 1.08)
    axes.set_ylim(low - room, high + room)
    whiskers(axes, xs, ys, [(True, *span) for span in spans_x])
    whiskers(axes, xs, ys, [(False, *span) for span in spans_y])
    stairs = [(xs[i], ys[j]) for i, j in zip(best[1:], best[:-1], strict=True)]  # a method's utility until the next
    corners = [(xs[i], ys[i]) for i in best[:1]]
    for corner, i in zip(stairs, best[1:], strict=True):
        corners += [corner, (xs[i], ys[i])]
    axes.plot([x for x, _ in corners], [y for _, y in corners], "--", color=GREY, linewidth=1.2)
    for place, (x, y, look) in enumerate(zip(xs, ys, looks, strict=True)):
        inside = place in best
        axes.plot(
            x,
            y,
            look.marker,
            color=look.colour,
            markerfacecolor=look.colour if inside else "none",
            clip_on=False,
            zorder=3,
        )
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in _TICKS if tick <= right * 1.08]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("identified ↓")
    axes.set_title(heading, loc="left")
    names = [str(place + 1) for place in range(len(labels))] if len(labels) > NAMED else labels
    strokes = list(itertools.pairwise(corners))
    strokes += [((low, y), (high, y)) for y, (low, high) in zip(ys, spans_x, strict=True)]
    strokes += [((x, low), (x, high)) for x, (low, high) in zip(xs, spans_y, strict=True)]
    place_labels(axes, xs, ys, names, strokes)


def _span(figure: Estimate) -> tuple[float, float]:
    value = float(figure.value or 0.0)
    return value if figure.low is None else figure.low, value if figure.high is None else figure.high
