"""Verification and time: ROC, DET, distributions of distances with the threshold, distance over a clip's frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter

from anon.evaluation.document import Curve, Document, Histogram
from anon.evaluation.document.estimates import short
from anon.evaluation.report import drawing
from anon.evaluation.report.drawing import DASHES, GREY, Entry, Plot, Style, banded, draw, plainly
from anon.evaluation.report.sheet import UNCHANGED, datasets
from anon.identity.contract import DISTANCES

MOST = 7  # curves in a plot besides that of the unchanged faces
TALL = 320  # points: both axes of a DET have the same scale

_RATES = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.99)
_ENDS = (0.00005, 0.995)  # of a DET: a rate of 0 or 1 has no normal deviate


def errors(document: Document) -> list[Plot]:
    """ROC (1 - FRR over log FAR) and DET (FRR over FAR, both as normal deviates; Martin et al., Eurospeech 1997)."""
    plots = []
    for name, where, curves, legend in _plots(document, "errors"):
        judge = document.judges.get(document.lines[curves[0].line].data)
        wanted = judge.far if judge and judge.far else None
        plots += [_roc(name, where, curves, legend, wanted), _det(name, where, curves, legend, wanted)]
    return plots


def temporal(document: Document) -> list[Plot]:
    """Distance of each frame to the clip's first."""
    return [
        _over_time(*plot, DISTANCES[judge.metric] if judge and judge.metric in DISTANCES else "distance")
        for plot in _plots(document, "temporal")
        for judge in [document.judges.get(document.lines[plot[2][0].line].data)]
    ]


def distributions(document: Document) -> list[Plot]:
    """One plot for each histogram."""
    several = len(datasets(document)) > 1
    return [
        _distances(f"histogram-{number}", f", {document.lines[each.line].data}" if several else "", each)
        for number, each in enumerate(document.histograms)
    ]


def _plots(document: Document, kind: str) -> Iterator[tuple[str, str, list[Curve], list[Entry]]]:
    """Name, what it is of, curves and legend of each plot: those of one data set and attack, :data:`MOST` at a time.

    What changes no face is in every plot, to compare with. A method has the colour that it has everywhere.
    """
    looks = drawing.styles(document)
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
            legend = [
                Entry(curve.label, replace(looks[plainly(document.lines[curve.line])], dash=dash), marker=False)
                for curve, dash in zip(curves, DASHES * len(curves), strict=False)
            ]
            part = f" ({start // MOST + 1})" if len(rest) > MOST else ""
            yield f"{kind}-{data}-{attack}-{start}", f"{where}{part}", curves, legend


def _roc(name: str, where: str, curves: Sequence[Curve], legend: Sequence[Entry], wanted: float | None) -> Plot:
    least = min((rate for curve in curves for rate in curve.x if rate > 0), default=1e-4)

    def paint(axes: Axes) -> None:
        for curve, entry in zip(curves, legend, strict=True):
            seen = np.asarray(curve.x) > 0  # the axis is logarithmic
            accepted, low, high = (
                1 - np.asarray(rates)[seen[: len(rates)]] for rates in (curve.y, curve.high, curve.low)
            )
            banded(axes, entry.style, np.asarray(curve.x)[seen], accepted, (low, high), alpha=0.15)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xlim(least, 1.0)
        axes.xaxis.set_major_locator(FixedLocator((10.0 ** np.arange(np.floor(np.log10(least)), 1)).tolist()))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(-0.02, 1.02)
        _mark(axes, wanted)

    caption = f"Share of genuine pairs accepted over the share of impostor pairs accepted.{_known(wanted)}"
    return draw(f"{name}-roc", f"ROC{where}", caption, paint, legend, "FAR", "1 - FRR")


def _det(name: str, where: str, curves: Sequence[Curve], legend: Sequence[Entry], wanted: float | None) -> Plot:
    normal = np.vectorize(NormalDist().inv_cdf, otypes=[float])

    def deviates(rates: Sequence[float]) -> np.ndarray:
        return normal(np.clip(rates, *_ENDS)) if rates else np.empty(0)

    def paint(axes: Axes) -> None:
        for curve, entry in zip(curves, legend, strict=True):
            far, frr, low, high = map(deviates, (curve.x, curve.y, curve.low, curve.high))
            banded(axes, entry.style, far, frr, (low, high), alpha=0.15)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(FixedLocator(normal(_RATES).tolist()))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * NormalDist().cdf(value):.3g}"))
        axes.set_xlim(*normal(_ENDS))
        axes.set_ylim(*normal(_ENDS))
        _mark(axes, None if wanted is None else float(normal(wanted)))

    caption = "Share of genuine pairs rejected over the share of impostor pairs accepted, normal deviates."
    return draw(f"{name}-det", f"DET{where}", f"{caption}{_known(wanted)}", paint, legend, "FAR, %", "FRR, %", TALL)


def _known(wanted: float | None) -> str:
    return f" Dotted: the FAR of the threshold, {wanted:g}." if wanted is not None else ""


def _mark(axes: Axes, place: float | None) -> None:
    if place is not None:
        axes.axvline(place, color=GREY, linestyle=":", linewidth=1.2)


def _over_time(name: str, where: str, curves: Sequence[Curve], legend: Sequence[Entry], apart: str) -> Plot:
    def paint(axes: Axes) -> None:
        for curve, entry in zip(curves, legend, strict=True):
            banded(axes, entry.style, curve.x, curve.y, (curve.low, curve.high))
        axes.set_ylim(bottom=0.0)

    caption = f"Mean {apart} of the judge between a frame and the first of its clip. Bands: 95 %."
    up = f"{apart} to the first frame"
    return draw(name, f"Identity over time{where}", caption, paint, legend, "frame", up)


def _distances(name: str, where: str, histogram: Histogram) -> Plot:
    looks = [Style(colour, "", dash) for colour, dash in ((drawing.BLUE, "-"), (drawing.ORANGE, "--"), (GREY, ":"))]
    looks += drawing.series(max(0, len(histogram.densities) - len(looks)))
    legend = [Entry(name, look, marker=False) for name, look in zip(histogram.densities, looks, strict=False)]

    def paint(axes: Axes) -> None:
        for entry, densities in zip(legend, histogram.densities.values(), strict=True):
            colour = entry.style.colour
            axes.stairs(densities, histogram.edges, color=colour, fill=True, alpha=0.22, linewidth=0)
            axes.stairs(densities, histogram.edges, color=colour, linestyle=entry.style.dash, linewidth=1.5)
        axes.axvline(histogram.threshold, color=GREY, linestyle=":", linewidth=1.5)
        axes.set_xlim(histogram.edges[0], histogram.edges[-1])
        axes.set_ylim(bottom=0.0)
        axes.set_yticks([])

    caption = f"Dotted: the threshold, {short(histogram.threshold)}; what lies left of it counts as {histogram.below}."
    return draw(name, f"{histogram.label}{where}", caption, paint, legend, histogram.distance, "density", 220)
