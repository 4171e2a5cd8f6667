"""Writes docs/configuration.md from ``conf/``: ``python docs/configuration.py``.

A group's sentence is the first line of its README.md, a choice's the first sentence of the comment at its beginning;
its settings are the values that it gives itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Configuration

*Made by `python docs/configuration.py`; a test sees that it is up to date.*

`train.py`, `evaluate.py` and `anonymize.py` are composed of the groups below by [Hydra](https://hydra.cc/docs/intro/):
`<group>=<choice>` takes a choice, `<group>.<setting>=<value>` sets a value of it, and a YAML of your own beside one
(`hydra.searchpath=[file://<folder with <group>/mine.yaml>]`) is one more. What nothing reads is refused.
"""


def page(conf: Path) -> str:
    """The page of all groups in ``conf``, as Markdown."""
    return "\n".join([HEAD, *(line for group in groups(conf) for line in section(group))])


def groups(conf: Path) -> list[Path]:
    """The folders of the project's own groups; ``hydra`` is Hydra's."""
    return sorted(path for path in conf.iterdir() if path.is_dir() and path.name != "hydra")


def section(group: Path) -> Iterator[str]:
    """One group: its sentence, and a table of its choices."""
    yield f"## {group.name}\n"
    yield (group / "README.md").read_text(encoding="utf-8").splitlines()[0] + "\n"
    yield "| choice | what it is | settings |\n|---|---|---|"
    for file in sorted(group.glob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        given = ", ".join(f"`{name}={value}`" for name, value in settings(yaml.safe_load(text) or {}))
        yield " | ".join(
            (f"| `{file.stem}`", told(text).replace("|", "\\|").replace("<", "&lt;"), given.replace("|", "\\|") + " |")
        )
    yield ""


def told(text: str) -> str:
    """The first sentence of the comment that a YAML begins with.

    >>> told("# @package _global_\\n# A mosaic of\\n# blocks. Else.\\nblocks: 8")
    'A mosaic of blocks.'
    """
    comment = re.match(r"(?:# @package .*\n)?((?:#.*\n?)*)", text)
    words = " ".join(line.lstrip("# ") for line in comment[1].splitlines()) if comment else ""
    return re.split(r"(?<=[.)])\s+(?=[A-Z`])|\s+python (?:train|evaluate)\.py", words, maxsplit=1)[0].removesuffix(":")


def settings(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values that a choice gives at its top level, as they are written on a command line."""
    for name, value in content.items():
        if name.startswith("_") or name in ("defaults", "title", "about", "origin", "train", "experiment"):
            continue
        if value is None or (isinstance(value, bool | int | float | str) and "${" not in str(value)):
            yield name, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


if __name__ == "__main__":
    (ROOT / "docs" / "configuration.md").write_text(page(ROOT / "conf"), encoding="utf-8")
