"""report.html: one file that holds everything, asks no network for anything and runs no script.

All text that comes from data is escaped; plots are SVG in the page, pictures are WebP as data URIs.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from anon.errors import UserError
from anon.evaluation.document import Document, Table
from anon.evaluation.report import curves
from anon.evaluation.report.bygroup import by_group
from anon.evaluation.report.drawing import Plot
from anon.evaluation.report.panel import by_judge, facts, worst_of
from anon.evaluation.report.privacy import keeps
from anon.evaluation.report.sheet import Sheet, about_paper, datasets, measured, pieces, sheet, told_differences
from anon.evaluation.report.summary import summary
from anon.evaluation.report.sweep import rule, sweeps, swept
from anon.evaluation.report.tradeoff import tradeoffs
from anon.plain import read_bytes
from anon.printable import visible

PNG = b"\x89PNG\r\n\x1a\n"
MAX_PICTURE = 64 * 1024**2  # bytes
SHOWN = 12  # plots of a section; more are folded away
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Grid:
    """Plain rows below a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A table of the document with what belongs to it."""

    anchor: str
    sheet: Sheet
    plots: Sequence[Plot]
    ranges: Grid | None
    rule: str
    differences: Grid | None
    others: Grid | None
    by_judge: Sheet | None = None


@dataclass(frozen=True)
class Picture:
    """A grid of faces as data URI, or what is the matter with it. ``width``: of the picture, pixels."""

    caption: str
    uri: str
    missing: str = ""
    width: int = 0


def page(document: Document, folder: Path) -> tuple[str, dict[str, Plot]]:
    """The page, with the pictures that the document names, from ``folder``; and its plots by name.

    Raises:
        UserError: a table names published numbers that there are none of.
    """
    found = summary(document)
    sections = [_section(document, table, number) for number, table in enumerate(document.tables)]
    gatherings = [
        ("errors", "Verification errors", curves.errors(document)),
        ("distances", "Distances", curves.distributions(document)),
        ("time", "Identity over time", curves.temporal(document)),
    ]
    plots = _named((section.sheet.table.name, section.plots) for section in sections)
    plots |= _named((anchor, own) for anchor, _, own in gatherings)
    first = next((part for part in sections if part.sheet.table is found.table and part.plots), None)
    if first is not None:  # it stands beside the faces
        sections[sections.index(first)] = replace(first, plots=first.plots[1:])
    names = main_grids(document, found.table)
    pictures = {name: picture(folder, name, caption) for name, caption in document.pictures.items()}
    html = rendered(
        HERE,
        {"commands": _commands, "about_paper": about_paper},
        document=document,
        datasets=datasets(document),
        measured=measured(document),
        judges=facts(document),
        worst=worst_of(document),
        summary=found,
        sections=sections,
        shown=SHOWN,
        gatherings=gatherings,
        faces=[pictures[name] for name in names],
        tradeoff=first.plots[:1] if first is not None else [],
        pictures=[one for name, one in pictures.items() if name not in names],
        config=_json(document.config),
        made={name: value if isinstance(value, str) else _json(value) for name, value in document.made.items()},
    )
    return visible(html), plots


def rendered(folder: Path, filters: Mapping[str, Callable[..., str]], **values: object) -> str:
    """The page of the template in a folder, in the style of the report; text is escaped."""
    rendering = Environment(
        loader=FileSystemLoader([folder, HERE], encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rendering.filters |= filters
    style = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return rendering.get_template("page.html.j2").render(style=style, **values)


def _named(groups: Iterable[tuple[str, Sequence[Plot]]]) -> dict[str, Plot]:
    """Plots by a name that a file can have."""
    found: dict[str, Plot] = {}
    for group, plots in groups:
        for plot in plots:
            stem = re.sub(r"[^a-z0-9]+", "-", f"{group}-{plot.title}".lower()).strip("-")[:80]
            names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
            found[next(name for name in names if name not in found)] = plot
    return found


def main_grids(document: Document, table: Table | None) -> list[str]:
    """Names of the grids of the main table; the first of all where it has none of its own."""
    own = [name for name in document.pictures if table is not None and name.startswith(f"grid_{table.name}")]
    return own or list(document.pictures)[:1]


def _section(document: Document, table: Table, number: int) -> Section:
    ranges = _ranges(document, table) if table.dial is not None else None
    told, own = told_differences(document, table), by_judge(document, table)
    return Section(
        anchor=f"table-{number + 1}",
        sheet=sheet(document, table),
        plots=[*tradeoffs(document, table), *sweeps(document, table), *by_group(document, table)],
        ranges=ranges,
        rule=rule(document, table) if ranges else "",
        differences=Grid(["", "figure", "minus", "difference [95 %]", "leaves 0 out"], told) if told else None,
        others=_others(document, table),
        by_judge=None if own is None else sheet(document, own),
    )


def _ranges(document: Document, table: Table) -> Grid | None:
    """Where the dial of each method is of use, and where what begins to fall."""
    found = swept(document, table)
    if not found:
        return None
    columns = keeps(document, table)
    rows = []
    for one in found:
        private = [setting for setting, met in zip(one.dial, one.private, strict=True) if met]
        falls = {name: "not measured" for name in one.unmeasured} | {name: f"{at:g}" for name, at in one.falls.items()}
        told = (falls.get(column.metric, "nowhere") for column in columns)
        label = f"{one.label}, {one.data}" if len({one.data for one in found}) > 1 else one.label
        rows.append([label, _settings(private), _settings(one.useful), *told])
    falling = (f"{document.title_of(column)} falls from" for column in columns)
    return Grid(["", "private at", "useful range", *falling], rows)


def _settings(settings: Sequence[float]) -> str:
    return ", ".join(f"{setting:g}" for setting in sorted(settings)) or "none"


def _others(document: Document, table: Table) -> Grid | None:
    """All figures of the table's lines that are no columns; the longer side goes down."""
    own = {column.metric for column in table.columns if column.attack in (None, "none")}
    lines = [document.lines[number] for number in table.lines if document.lines[number].needs is None]
    names = list(dict.fromkeys(name for line in lines for name in line.metrics if name not in own))
    if not names:
        return None
    several = len({line.data for line in lines}) > 1
    labels = [f"{line.label}, {line.data}" if several else line.label for line in lines]
    cells = [[line.metrics[name].text() if name in line.metrics else "" for name in names] for line in lines]
    grid = [["", *names], *([label, *row] for label, row in zip(labels, cells, strict=True))]
    head, *rows = grid if len(lines) > len(names) else map(list, zip(*grid, strict=True))
    return Grid(head, rows)


def picture(folder: Path, name: str, caption: str) -> Picture:
    """A results.json may come from elsewhere, so only a PNG that lies in the folder itself is put into the page.

    It is put in as WebP, a tenth of the size.
    """
    file = folder / name
    if Path(name).name != name or os.path.islink(file) or not os.path.isfile(file):  # os.path: any name is no error
        return Picture(caption, "", f"The folder of this report has no picture '{name[:80]}'.")
    try:
        content = read_bytes(file, MAX_PICTURE)
    except UserError:
        return Picture(caption, "", f"'{name}' cannot be read, or is too large.")
    if not content.startswith(PNG):
        return Picture(caption, "", f"'{name}' is no PNG.")
    buffer = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as grid:
            width = grid.width
            grid.convert("RGB").save(buffer, "WEBP", quality=82, method=4)
    except (OSError, ValueError, Image.DecompressionBombError):
        return Picture(caption, "", f"'{name}' is a damaged PNG.")
    return Picture(caption, f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", width=width)


def _commands(text: str) -> Markup:
    """Text with its commands in code type."""
    parts = (Markup("<code>{}</code>").format(part) if code else escape(part) for code, part in pieces(text))
    return Markup("").join(parts)


def _json(value: object) -> str:
    if isinstance(value, Mapping) and not value:
        return ""
    return json.dumps(value, indent=1, ensure_ascii=False, default=str)
