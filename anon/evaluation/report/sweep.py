"""What the dial of a method does: privacy and each utility figure against it, and the range that is of use.

Private: every adversary was measured, and the upper end of the 95 % interval of each one's figure is below
:data:`TIMES` times chance, or below :data:`LEAST` where that is more. Begins to fall: the first setting, from the
mildest on, whose 95 % interval lies wholly on the worse side of the mildest setting's. The mildest is that end of the
dial at which more are identified. The useful range is where the method is private and the face is still detected as at
the mildest setting.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from anon.evaluation.document import Column, Document, Table
from anon.evaluation.estimates import Estimate
from anon.evaluation.report.drawing import GREY, Entry, Plot, Style, draw, plainly, styles
from anon.evaluation.report.privacy import Point, keeps, leaks, met_by_all, points
from anon.evaluation.report.sheet import datasets

TIMES, LEAST = 5.0, 0.05
DETECTED = "detected"


@dataclass(frozen=True)
class Swept:
    """A method over its dial, from the mildest setting to the strongest."""

    data: str
    label: str
    dial: tuple[float, ...]
    points: tuple[Point, ...]
    private: tuple[bool, ...]
    falls: dict[str, float] = field(default_factory=dict)  # utility figure -> the setting from which on it falls
    unmeasured: frozenset[str] = frozenset()  # utility figures that are not known at any setting

    @property
    def useful(self) -> tuple[float, ...]:
        """The settings of the useful range."""
        worse = self.dial.index(self.falls[DETECTED]) if DETECTED in self.falls else len(self.dial)
        return tuple(setting for setting, private in zip(self.dial[:worse], self.private, strict=False) if private)


def limit(chance: float) -> float:
    """Below which a method is called private, for a chance of rank-1.

    >>> limit(0.004), limit(0.1)
    (0.05, 0.5)
    """
    return max(TIMES * chance, LEAST) if chance == chance else LEAST


def swept(document: Document, table: Table) -> list[Swept]:
    """The methods of a sweep that have at least two settings.

    What stands side by side is the worst over the adversaries that all have met, while private is said of all that any
    has met.
    """
    series: dict[tuple[str, str], list[Point]] = {}
    fair = {point.line: point.identified for point in points(document, table, met_by_all(document, table))}
    for point in points(document, table, leaks(document, table)):
        point = replace(point, identified=fair.get(point.line, point.identified))
        line = document.lines[point.line]
        if line.dial is not None:
            series.setdefault((line.data, plainly(line)), []).append(point)
    found = []
    for (data, label), own in series.items():
        if len(own) < 2:
            continue
        own.sort(key=lambda point: float(document.lines[point.line].dial or 0.0))
        if own[0].value < own[-1].value:
            own.reverse()  # the mildest first
        people = document.people.get(data)
        most = limit(people.chance if people else float("nan"))
        falls, unmeasured = {}, set()
        for column in keeps(document, table):
            figures = [document.figure(point.line, column) for point in own]
            if not any(_known(figure) for figure in figures):
                unmeasured.add(column.metric)
            start = _begins(figures, bool(document.info(column).higher_is_better))
            if start is not None:
                falls[column.metric] = float(document.lines[own[start].line].dial or 0.0)
        found.append(
            Swept(
                data=data,
                label=label,
                dial=tuple(float(document.lines[point.line].dial or 0.0) for point in own),
                points=tuple(own),
                private=tuple(point.bound < most and not point.unknown for point in own),
                falls=falls,
                unmeasured=frozenset(unmeasured),
            )
        )
    return found


def rule(document: Document, table: Table) -> str:
    """What the words of the useful range mean, in sentences."""
    worst = " and ".join(map(document.title_of, leaks(document, table)))
    return (
        f"Private (filled marks): the upper end of the 95 % interval of {worst} is below {TIMES:g} times chance, or "
        f"below {LEAST:g} where that is more. A figure begins to fall at the first setting, from the mildest on, whose "
        "interval lies wholly on the worse side of the mildest setting's. The useful range: private, and detection, "
        "where it was measured, has not begun to fall."
    )


def sweeps(document: Document, table: Table) -> list[Plot]:
    """Privacy and each utility figure against the dial, for each data set.

    Methods whose dials are not the same thing (``table.dial`` names several) stand over the setting's place, from the
    mildest on.
    """
    if table.dial is None:
        return []
    looks, plots, every = styles(document), [], swept(document, table)
    for data in [name for name in datasets(document) if any(one.data == name for one in every)]:
        own = [one for one in every if one.data == data]
        people = document.people.get(data)
        most = limit(people.chance if people else float("nan"))
        where = f", {data}" if len({one.data for one in every}) > 1 else ""
        alike = ";" not in table.dial
        legend = [
            Entry(one.label if alike else f"{one.label}, {one.dial[0]:g} to {one.dial[-1]:g}", looks[one.label])
            for one in own
        ]
        dial = table.dial if alike else None
        paint = functools.partial(_paint, document=document, own=own, looks=looks, dial=dial)
        met = met_by_all(document, table) or leaks(document, table)
        worst = " and ".join(map(document.title_of, met))
        worst = f"The largest of {worst}" if len(met) > 1 else worst
        caption = f"{worst}; dotted: the limit, {most:.3g}. Filled: private. Bands: 95 %."
        name = f"{table.name}-{data}-sweep"
        privacy = functools.partial(paint, column=None, most=most)
        plots.append(draw(f"{name}-privacy", f"Identified{where}", caption, privacy, legend))
        for column in keeps(document, table):
            if any(_known(document.figure(point.line, column)) for one in own for point in one.points):
                utility = functools.partial(paint, column=column, most=None)
                plots.append(
                    draw(
                        f"{name}-{column.metric}",
                        f"{document.title_of(column)}{where}",
                        "Filled: private. Bands: 95 %.",
                        utility,
                        legend,
                    )
                )
    return plots


def _paint(
    axes: Axes,
    document: Document,
    own: Sequence[Swept],
    looks: dict[str, Style],
    dial: str | None,
    column: Column | None,
    most: float | None,
) -> None:
    for one in own:
        figures = [point.identified if column is None else document.figure(point.line, column) for point in one.points]
        shown = [
            (setting, figure, private)
            for setting, figure, private in zip(_across(one, dial), figures, one.private, strict=True)
            if figure is not None and figure.value is not None
        ]
        if shown:
            _line(axes, shown, looks[one.label])
    if most is not None:
        axes.axhline(most, color=GREY, linestyle=":", linewidth=1.2)
        axes.set_ylim(-0.02, 1.02)
    settings = sorted({setting for one in own for setting in _across(one, dial)})
    if dial is not None and settings[0] > 0 and settings[-1] / settings[0] >= 8:
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
    if len(settings) <= 8:
        axes.xaxis.set_major_locator(FixedLocator(settings))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(dial or "setting, 1: the mildest")
    axes.set_title("identified ↓" if column is None else document.heading(column), loc="left")


def _across(one: Swept, dial: str | None) -> Sequence[float]:
    return one.dial if dial is not None else [float(place + 1) for place in range(len(one.dial))]


def _line(axes: Axes, shown: Sequence[tuple[float, Estimate, bool]], look: Style) -> None:
    xs = [setting for setting, _, _ in shown]
    ys = [float(figure.value or 0.0) for _, figure, _ in shown]
    low = [y if figure.low is None else figure.low for y, (_, figure, _) in zip(ys, shown, strict=True)]
    high = [y if figure.high is None else figure.high for y, (_, figure, _) in zip(ys, shown, strict=True)]
    axes.fill_between(xs, low, high, color=look.colour, alpha=0.18, linewidth=0)
    axes.plot(xs, ys, linestyle=look.dash, color=look.colour)
    for filled in (True, False):
        part = [place for place, (_, _, private) in enumerate(shown) if private == filled]
        axes.plot(
            [xs[place] for place in part],
            [ys[place] for place in part],
            linestyle="",
            marker=look.marker,
            color=look.colour,
            markerfacecolor=look.colour if filled else "none",
            clip_on=False,
            zorder=3,
        )


def _begins(figures: Sequence[Estimate | None], higher: bool) -> int | None:
    """The first place whose interval lies wholly on the worse side of the first's; None where none does."""
    spans = [(figure.low, figure.high) if figure else (None, None) for figure in figures]
    (low, high), *rest = spans
    if low is None or high is None:
        return None
    for place, (bottom, top) in enumerate(rest, 1):
        if bottom is not None and top is not None and (top < low if higher else bottom > high):
            return place
    return None


def _known(figure: Estimate | None) -> bool:
    return figure is not None and figure.value is not None
