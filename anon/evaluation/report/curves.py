"""Verification and time: ROC, DET, distributions of distances with the threshold, distance over a clip's frames."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from anon.evaluation.document import Curve, Document, Histogram
from anon.evaluation.estimates import short
from anon.evaluation.report.drawing import BLUE, DASHES, GREY, ORANGE, Entry, Plot, Style, draw, plainly, series, styles
from anon.evaluation.report.sheet import UNCHANGED, datasets

MOST = 7  # curves in a plot besides that of the unchanged faces
TALL = 320  # points: both axes of a DET have the same scale

_RATES = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_ENDS = (0.00005, 0.995)  # of a DET: a rate of 0 or 1 has no normal deviate


def errors(document: Document) -> list[Plot]:
    """ROC (1 - FRR over log FAR) and DET (FRR over FAR, both as normal deviates; Martin et al., Eurospeech 1997)."""
    plots = []
    for name, where, curves, looks in _plots(document, "errors"):
        judge = document.judges.get(document.lines[curves[0].line].data)
        wanted = judge.far if judge else None
        legend = [Entry(curve.label, look, marker=False) for curve, look in zip(curves, looks, strict=True)]
        known = f" Dotted: the FAR of the threshold, {wanted:g}." if wanted else ""
        paint = functools.partial(_roc, curves=curves, looks=looks, wanted=wanted)
        caption = f"Share of genuine pairs accepted over the share of impostor pairs accepted.{known}"
        plots.append(draw(f"{name}-roc", f"ROC{where}", caption, paint, legend))
        paint = functools.partial(_det, curves=curves, looks=looks, wanted=wanted)
        caption = f"Share of genuine pairs rejected over the share of impostor pairs accepted, normal deviates.{known}"
        plots.append(draw(f"{name}-det", f"DET{where}", caption, paint, legend, TALL))
    return plots


def temporal(document: Document) -> list[Plot]:
    """Distance of each frame to the clip's first."""
    plots = []
    for name, where, curves, looks in _plots(document, "temporal"):
        legend = [Entry(curve.label, look, marker=False) for curve, look in zip(curves, looks, strict=True)]
        caption = "Mean cosine distance of the judge between a frame and the first of its clip. Bands: 95 %."
        paint = functools.partial(_over_time, curves=curves, looks=looks)
        plots.append(draw(name, f"Identity over time{where}", caption, paint, legend))
    return plots


def distributions(document: Document) -> list[Plot]:
    """One plot for each histogram."""
    plots = []
    several = len(datasets(document)) > 1
    for number, histogram in enumerate(document.histograms):
        looks = [Style(colour, "", dash) for colour, dash in ((BLUE, "-"), (ORANGE, "--"), (GREY, ":"))]
        looks += series(max(0, len(histogram.densities) - len(looks)))
        entries = list(zip(histogram.densities, looks, strict=False))
        legend = [Entry(name, look, marker=False) for name, look in entries]
        where = f", {document.lines[histogram.line].data}" if several else ""
        paint = functools.partial(_distances, histogram=histogram, looks=looks)
        caption = (
            f"Dotted: the threshold, {short(histogram.threshold)}; what lies left of it counts as {histogram.below}."
        )
        plots.append(draw(f"histogram-{number}", f"{histogram.label}{where}", caption, paint, legend, 220))
    return plots


def _plots(document: Document, kind: str) -> Iterator[tuple[str, str, list[Curve], list[Style]]]:
    """Name, what it is of, curves and styles of each plot: those of one data set and attack, :data:`MOST` at a time.

    What changes no face is in every plot, to compare with. A method has the colour that it has everywhere.
    """
    looks = styles(document)
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in document.curves:
        line = document.lines[curve.line]
        if curve.plot == kind:
            groups.setdefault((line.data, line.attack), []).append(curve)
    several = len({data for data, _ in groups}) > 1
    for (data, attack), every in groups.items():
        same = [curve for curve in every if document.lines[curve.line].method in UNCHANGED]
        rest = [curve for curve in every if curve not in same]
        where = f"{f', {data}' if several else ''}{f', {attack}' if attack != 'none' else ''}"
        for start in range(0, max(1, len(rest)), MOST):
            curves = [*same, *rest[start : start + MOST]]
            own = [looks[plainly(document.lines[curve.line])] for curve in curves]
            dashed = [replace(look, dash=DASHES[place % len(DASHES)]) for place, look in enumerate(own)]
            part = f" ({start // MOST + 1})" if len(rest) > MOST else ""
            yield f"{kind}-{data}-{attack}-{start}", f"{where}{part}", curves, dashed


def _roc(axes: Axes, curves: Sequence[Curve], looks: Sequence[Style], wanted: float | None) -> None:
    shown = []
    for curve, look in zip(curves, looks, strict=True):
        far, frr = np.asarray(curve.x), np.asarray(curve.y)
        seen = far > 0  # the axis is logarithmic
        shown += far[seen].tolist()
        axes.plot(far[seen], 1 - frr[seen], color=look.colour, linestyle=look.dash)
        if curve.low and curve.high:
            low, high = 1 - np.asarray(curve.high), 1 - np.asarray(curve.low)
            axes.fill_between(far[seen], low[seen], high[seen], color=look.colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(shown, default=1e-4), 1.0)
    powers = np.arange(np.floor(np.log10(min(shown, default=1e-4))), 1)
    axes.xaxis.set_major_locator(FixedLocator((10.0**powers).tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(-0.02, 1.02)
    if wanted:
        axes.axvline(wanted, color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xlabel("FAR")
    axes.set_title("1 - FRR", loc="left")


def _det(axes: Axes, curves: Sequence[Curve], looks: Sequence[Style], wanted: float | None) -> None:
    deviate = np.vectorize(NormalDist().inv_cdf, otypes=[float])
    for curve, look in zip(curves, looks, strict=True):
        far, frr = deviate(np.clip(curve.x, *_ENDS)), deviate(np.clip(curve.y, *_ENDS))
        axes.plot(far, frr, color=look.colour, linestyle=look.dash)
        if curve.low and curve.high:
            band = [deviate(np.clip(end, *_ENDS)) for end in (curve.low, curve.high)]
            axes.fill_between(far, *band, color=look.colour, alpha=0.15, linewidth=0)
    ticks = deviate(np.asarray(_RATES)).tolist()
    ends = deviate(np.asarray(_ENDS)).tolist()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * NormalDist().cdf(value):.3g}"))
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    if wanted:
        axes.axvline(float(deviate(wanted)), color=GREY, linestyle=":", linewidth=1.2)
    axes.set_xlabel("FAR, %")
    axes.set_title("FRR, %", loc="left")


def _over_time(axes: Axes, curves: Sequence[Curve], looks: Sequence[Style]) -> None:
    for curve, look in zip(curves, looks, strict=True):
        if curve.low and curve.high:
            axes.fill_between(curve.x, curve.low, curve.high, color=look.colour, alpha=0.18, linewidth=0)
        axes.plot(curve.x, curve.y, color=look.colour, linestyle=look.dash)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("frame")
    axes.set_title("cosine distance to the first frame", loc="left")


def _distances(axes: Axes, histogram: Histogram, looks: Sequence[Style]) -> None:
    for look, densities in zip(looks, histogram.densities.values(), strict=False):
        axes.stairs(densities, histogram.edges, color=look.colour, fill=True, alpha=0.22, linewidth=0)
        axes.stairs(densities, histogram.edges, color=look.colour, linestyle=look.dash, linewidth=1.5)
    axes.axvline(histogram.threshold, color=GREY, linestyle=":", linewidth=1.5)
    axes.set_xlim(histogram.edges[0], histogram.edges[-1])
    axes.set_ylim(bottom=0.0)
    axes.set_yticks([])
    axes.set_xlabel(histogram.distance)
    axes.set_title("density", loc="left")
