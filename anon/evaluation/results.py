"""Files of an evaluation, each replaced atomically; what results.json holds is :mod:`anon.evaluation.document`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from anon import printable
from anon.errors import UserError
from anon.faces.cache import owners_only


def plain(cfg: Mapping[str, Any] | DictConfig | None) -> Any:
    """A configuration as plain values, every interpolation resolved."""
    return OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg


def write(path: Path, content: str | bytes, owners: bool = False) -> None:
    """Replace a file, of text (UTF-8) or of bytes: readers see the old content or the new one.

    Args:
        owners: it shows faces that belong to somebody, so its owner alone may read it.

    Raises:
        UserError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb", opener=owners_only if owners else None) as file:
            file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"The results cannot be written to '{path}' ({error.strerror}).") from error


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns also line up as plain text; a cell is one line."""
    body = [[printable.flat(cell) for cell in line] for line in body]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(head), line(["-" * width for width in widths]), *(line(cells) for cells in body)]
