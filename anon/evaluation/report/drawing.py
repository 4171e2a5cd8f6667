"""How the report's plots look: one size that a phone shows at its own scale, few inks, a style for each method.

Drawn by matplotlib as SVG with text as text. Ink and grid become the page's own colours, so a plot is as dark or light
as the page. Colours are those of Okabe and Ito ("Color Universal Design", 2008) that stand out on white and on black;
markers and dashes say the same again for those who see no colours.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Sheet
from matplotlib.lines import Line2D
from matplotlib.transforms import IdentityTransform

from anon.evaluation.document import Document, Line

WIDTH, HEIGHT = 336, 264  # points: a phone's width
INK, RULE = "#0a0b0c", "#dadbdc"  # in the SVG they become the page's
GREY = "#8a8a8a"  # on white and on black
BLUE, ORANGE = "#0072b2", "#e69f00"
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
DASHES = ("-", "--", ":", "-.")
SIZE = 10.5  # of text, points
ROW = 13  # height of a line of a legend, points

_LOOK: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": SIZE,
    "text.parse_math": False,  # a $ in a method's name is a $
    "axes.titlesize": SIZE,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.8,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "legend.frameon": False,
    "legend.fontsize": SIZE - 0.5,
    "figure.dpi": 72,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), SIZE - 1),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "axes.unicode_minus", "axes.formatter.useoffset"), False),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
}


@dataclass(frozen=True)
class Plot:
    """A plot of the page: ``svg`` is markup to be put in as it is, ``title`` and ``caption`` are text."""

    title: str
    svg: str
    caption: str = ""

    @property
    def file(self) -> str:
        """The plot as an SVG file of its own, black on what lies below it."""
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        svg = self.svg.replace("<svg ", f"<svg {spaces} ", 1)
        return svg.replace("currentColor", "#000000").replace("var(--rule)", RULE) + "\n"


@dataclass(frozen=True)
class Style:
    """How a method looks in every plot."""

    colour: str
    marker: str
    dash: str


@dataclass(frozen=True)
class Entry:
    """A line of a legend."""

    label: str
    style: Style
    marker: bool = True


def styles(document: Document) -> dict[str, Style]:
    """A style for each label (without attack and dial): a method keeps its colour, what was added to it the marker."""
    labels = dict.fromkeys((line.method, plainly(line)) for line in document.lines)
    methods = list(dict.fromkeys(method for method, _ in labels))
    seen: dict[str, int] = {}
    found: dict[str, Style] = {}
    for method, label in labels:
        if label in found:
            continue
        colour, own = methods.index(method), seen.get(method, 0)
        seen[method] = own + 1
        # The second round of colours begins with another marker, and so with another dash.
        shape = own + colour // len(COLOURS) * 2 + colour % len(COLOURS)
        dash = DASHES[(own + colour // len(COLOURS)) % len(DASHES)]
        found[label] = Style(COLOURS[colour % len(COLOURS)], MARKERS[shape % len(MARKERS)], dash)
    return found


def plainly(line: Line) -> str:
    """The label of a line, whatever the attack and the setting of its dial."""
    return replace(line, attack="none", dial=None).label


def series(count: int) -> list[Style]:
    """Styles for lines that are no methods."""
    return [
        Style(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], DASHES[(i + i // len(COLOURS)) % len(DASHES)])
        for i in range(count)
    ]


def draw(
    name: str,
    title: str,
    caption: str,
    paint: Callable[[Axes], None],
    legend: Sequence[Entry] = (),
    across: str = "",
    up: str = "",
    height: int = HEIGHT,
) -> Plot:
    """A plot whose axes ``paint`` fills; the legend stands below and makes it higher.

    Args:
        name: unlike that of any other plot of the page; the ids in the SVG come from it.
        across, up: what the axes are; ``up`` stands above them.
        height: of axes and labels, points.
    """
    key = f"p{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # names of methods and data may hold anything
    stroked = any(entry.style.dash for entry in legend)
    columns = 1 if any(len(entry.label) > (22 if stroked else 26) for entry in legend) else 2
    below = ROW * -(-len(legend) // columns) + (6 if legend else 0)
    total = height + below
    with matplotlib.rc_context({**_LOOK, "svg.hashsalt": key}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the browser has its own fonts
        sheet = Sheet(figsize=(WIDTH / 72, total / 72))
        FigureCanvasSVG(sheet)
        axes = sheet.add_axes((54 / WIDTH, (below + 46) / total, (WIDTH - 66) / WIDTH, (height - 60) / total))
        axes.set_xlabel(across)
        axes.set_title(up, loc="left")
        paint(axes)
        if legend:
            sheet.legend(
                handles=[_handle(entry) for entry in legend],
                loc="lower left",
                bbox_to_anchor=(0.02, 0.0),
                ncols=columns,
                borderaxespad=0.2,
                labelspacing=0.25,
                columnspacing=1.2,
                handlelength=2.2 if stroked else 1.0,
            )
        buffer = io.StringIO()
        sheet.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Plot(title, _inline(buffer.getvalue(), key), caption)


def banded(
    axes: Axes,
    style: Style,
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    band: tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray],
    alpha: float = 0.18,
) -> None:
    """A line in the style of a method over its band: the lower and the upper end, each empty where there is none."""
    if all(map(len, band)):
        axes.fill_between(xs, band[0], band[1], color=style.colour, alpha=alpha, linewidth=0)
    axes.plot(xs, ys, color=style.colour, linestyle=style.dash)


def mark(axes: Axes, xs: Sequence[float], ys: Sequence[float], style: Style, filled: bool) -> None:
    """The marks of a method, whole also where they lie on an edge of the axes."""
    axes.plot(
        xs,
        ys,
        style.marker,
        color=style.colour,
        markerfacecolor=style.colour if filled else "none",
        clip_on=False,
        zorder=3,
    )


def place_labels(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    labels: Sequence[str],
    strokes: Sequence[tuple[tuple[float, float], tuple[float, float]]] = (),
) -> None:
    """Write a label beside each point where it covers least; one that is far from its point gets a thin line to it.

    Call it when the limits of the axes are final. ``strokes``: lines, upright or level, that labels better leave free.
    """
    transform = axes.transData
    points = transform.transform(np.column_stack([xs, ys]))  # (N, 2) points of the sheet
    frame = axes.get_window_extent()
    dots = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    ends = [transform.transform(stroke) for stroke in strokes]
    lines = [(*(one.min(0) - 1.5), *(one.max(0) + 1.5)) for one in ends]
    taken = [*dots, *lines]
    for (x, y), label in sorted(zip(points.tolist(), labels, strict=True), key=lambda part: (-part[0][1], part[0][0])):
        text = label.replace(", ", ",\n") if len(label) > 20 else label
        rows = text.split("\n")
        wide, high = 0.56 * (SIZE - 1) * max(map(len, rows)), 1.15 * (SIZE - 1) * len(rows)
        best: tuple[float, tuple[float, float, float, float]] | None = None
        for reach in (7.0, 16.0, 28.0, 42.0, 58.0, 76.0):
            for angle in np.arange(16) * np.pi / 8:
                dx, dy = reach * np.cos(angle), reach * np.sin(angle)
                left = x + dx - (0.0 if dx > 1e-6 else wide if dx < -1e-6 else wide / 2)
                low = y + dy - (0.0 if dy > 1e-6 else high if dy < -1e-6 else high / 2)
                box = (left, low, left + wide, low + high)
                roomy = (left - 2, low, left + wide + 2, low + high)
                outside = max(0.0, frame.x0 - box[0]) + max(0.0, box[2] - frame.x1)
                outside += max(0.0, frame.y0 - box[1]) + max(0.0, box[3] - frame.y1)
                cost = sum(_overlap(roomy, other) for other in taken) + 60 * outside + 1.5 * reach
                if best is None or cost < best[0] - 1e-9:
                    best = cost, box
        assert best is not None
        box = best[1]
        taken.append(box)
        near = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
        if np.hypot(near[0] - x, near[1] - y) > 11:
            stroke = Line2D([x, near[0]], [y, near[1]], color=GREY, linewidth=0.6, transform=IdentityTransform())
            axes.add_artist(stroke).set_clip_on(False)
        axes.annotate(text, box[:2], xycoords="figure points", fontsize=SIZE - 1, va="bottom", linespacing=1.1)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Area that two boxes share, square points."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _handle(entry: Entry) -> Line2D:
    style = entry.style
    line = Line2D([], [], color=style.colour, marker=style.marker if entry.marker else "", label=entry.label)
    line.set_linestyle(style.dash or "none")  # type: ignore[arg-type]
    return line


def _inline(svg: str, name: str) -> str:
    """The SVG element alone, with ids of its own, scaled by the page and in the page's inks."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    return svg.replace(INK, "currentColor").replace(RULE, "var(--rule)").strip()
