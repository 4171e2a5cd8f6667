"""compare.html: one file in the style of the report, without a script, that asks no network for anything."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from anon.evaluation.compare.sections import Section
from anon.evaluation.report.page import HERE as REPORT

SHOWN = 24  # curves; more are folded away
HERE = Path(__file__).parent


def page(title: str, sections: list[Section]) -> str:
    """The page."""
    loader = FileSystemLoader(HERE, encoding="utf-8")
    rendering = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rendering.filters["parted"] = parted
    style = Markup((REPORT / "page.css").read_text(encoding="utf-8"))
    return rendering.get_template("page.html.j2").render(style=style, title=title, sections=sections, shown=SHOWN)


def parted(text: str) -> Markup:
    """Text that may break after the marks that part a path or a key.

    >>> parted("model.lr")
    Markup('model.<wbr>lr')
    """
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[a-z][./_])(?=\w)", text))
