"""What the dial of a method does: privacy and each utility figure against it, and the range that is of use.

Private: every adversary was measured, and the upper end of the 95 % interval of each one's figure is below
:data:`TIMES` times chance, or below :data:`LEAST` where that is more. Begins to fall: the first setting, from the
mildest on, whose 95 % interval lies wholly on the worse side of the mildest setting's. The mildest is that end of the
dial at which more are identified. The useful range is where the method is private and the face is still detected as at
the mildest setting.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from anon.evaluation.document import Document, Table
from anon.evaluation.document.estimates import Estimate, known
from anon.evaluation.report.drawing import GREY, Entry, Plot, Style, banded, draw, mark, plainly, styles
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
    falls: dict[str, float]  # utility figure -> the setting from which on it falls
    unmeasured: frozenset[str]  # utility figures that are not known at any setting

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
    groups: dict[tuple[str, str], list[Point]] = {}
    fair = {point.line: point.identified for point in points(document, table, met_by_all(document, table))}
    for point in points(document, table, leaks(document, table)):
        line = document.lines[point.line]
        if line.dial is not None:
            point = replace(point, identified=fair.get(point.line, point.identified))
            groups.setdefault((line.data, plainly(line)), []).append(point)
    return [_swept(document, table, *place, own) for place, own in groups.items() if len(own) > 1]


def _swept(document: Document, table: Table, data: str, label: str, own: list[Point]) -> Swept:
    own.sort(key=lambda point: float(document.lines[point.line].dial or 0.0))
    if own[0].value < own[-1].value:
        own.reverse()  # the mildest first
    dial = tuple(float(document.lines[point.line].dial or 0.0) for point in own)
    most = _limit(document, data)
    falls, unmeasured = {}, set()
    for column in keeps(document, table):
        figures = [document.figure(point.line, column) for point in own]
        if not any(map(known, figures)):
            unmeasured.add(column.metric)
        start = _begins(figures, bool(document.info(column).higher_is_better))
        if start is not None:
            falls[column.metric] = dial[start]
    private = tuple(point.bound < most and not point.unknown for point in own)
    return Swept(data, label, dial, tuple(own), private, falls, frozenset(unmeasured))


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
    plots: list[Plot] = []
    every = swept(document, table)
    several = len({one.data for one in every}) > 1
    for data in datasets(document):
        own = [one for one in every if one.data == data]
        plots += _sweeps(document, table, own, f", {data}" if several else "") if own else []
    return plots


def _sweeps(document: Document, table: Table, own: Sequence[Swept], where: str) -> Iterator[Plot]:
    """The plots of one data set: privacy, then what is kept."""
    looks, most = styles(document), _limit(document, own[0].data)
    dial = None if ";" in (table.dial or "") else table.dial
    ranges = ["" if dial is not None else f", {one.dial[0]:g} to {one.dial[-1]:g}" for one in own]
    legend = [Entry(f"{one.label}{ends}", looks[one.label]) for one, ends in zip(own, ranges, strict=True)]
    met = met_by_all(document, table) or leaks(document, table)
    worst = " and ".join(map(document.title_of, met))
    about = f"{'The largest of ' if len(met) > 1 else ''}{worst}; dotted: the limit, {most:.3g}. "
    identified: list[list[Estimate | None]] = [[point.identified for point in one.points] for one in own]
    panels = [("privacy", "Identified", about, "identified ↓", identified)]
    for column in keeps(document, table):
        kept = [[document.figure(point.line, column) for point in one.points] for one in own]
        if any(known(figure) for figures in kept for figure in figures):
            panels.append((column.metric, document.title_of(column), "", document.heading(column), kept))
    for name, title, caption, up, figures in panels:
        paint = functools.partial(
            _paint,
            own=own,
            figures=figures,
            looks=looks,
            one_dial=dial is not None,
            limit=most if figures is identified else None,
        )
        name = f"{table.name}-{own[0].data}-sweep-{name}"
        caption += "Filled: private. Bands: 95 %."
        yield draw(name, f"{title}{where}", caption, paint, legend, dial or "setting, 1: the mildest", up)


def _paint(
    axes: Axes,
    own: Sequence[Swept],
    figures: Sequence[Sequence[Estimate | None]],
    looks: dict[str, Style],
    one_dial: bool,
    limit: float | None,
) -> None:
    over = [one.dial if one_dial else tuple(map(float, range(1, len(one.dial) + 1))) for one in own]
    for one, settings, along in zip(own, over, figures, strict=True):
        shown = [(x, figure, met) for x, figure, met in zip(settings, along, one.private, strict=True) if known(figure)]
        if shown:
            xs, ys = [x for x, _, _ in shown], [figure.number for _, figure, _ in shown]
            low, high = zip(*(figure.span for _, figure, _ in shown), strict=True)
            banded(axes, looks[one.label], xs, ys, (low, high))
            for filled in (True, False):
                marked = [place for place, (_, _, met) in enumerate(shown) if met == filled]
                mark(axes, [xs[place] for place in marked], [ys[place] for place in marked], looks[one.label], filled)
    if limit is not None:
        axes.axhline(limit, color=GREY, linestyle=":", linewidth=1.2)
        axes.set_ylim(-0.02, 1.02)
    ticks = sorted({setting for settings in over for setting in settings})
    if one_dial and ticks[0] > 0 and ticks[-1] / ticks[0] >= 8:
        axes.set_xscale("log")
        axes.minorticks_off()
    if len(ticks) <= 8:
        axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter("{x:g}")


def _limit(document: Document, data: str) -> float:
    """:func:`limit` for the people of a data set."""
    people = document.people.get(data)
    return limit(people.chance if people else float("nan"))


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
