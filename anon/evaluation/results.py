"""Result files, each replaced atomically, and the form of those that are one table of rows (schema 1).

The ladder, LFW, the transfer of attacks and the share of noise write this form; suites write
:mod:`anon.evaluation.document`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from anon import printable
from anon.errors import UserError
from anon.evaluation.figures import Row
from anon.faces.cache import owners_only

SCHEMA = 1


@dataclass(frozen=True)
class Results:
    """A finished evaluation. ``notes`` are sentences that a reader of the table must know."""

    seed: int
    rows: Sequence[Row]
    judge: str
    threshold: float
    far: float
    counts: Mapping[str, int | float]
    config: Mapping[str, Any]
    commit: str | None
    notes: Sequence[str] = ()


def as_json(results: Results) -> str:
    """results.json: plain JSON, numbers that are not finite are null with a reason."""
    content = {
        "schema": SCHEMA,
        "seed": results.seed,
        "rows": [row.as_dict() for row in results.rows],
        "judge": results.judge,
        "threshold": results.threshold,
        "far": results.far,
        "counts": dict(results.counts),
        "config": dict(results.config),
        "commit": results.commit,
        "notes": list(results.notes),
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(results: Results) -> str:
    """One line a figure: what was done to the faces, metric, value, low, high, n, reason."""
    names = ("method", "policy", "defense", "attack", "adversary", "data", "split")
    lines: list[list[object]] = [[*names, "metric", "value", "low", "high", "n", "reason"]]
    for row in results.rows:
        for metric, figure in row.metrics.items():
            place = [getattr(row, name) for name in names]
            lines.append([*place, metric, figure.value, figure.low, figure.high, figure.n, figure.reason])
    return printable.as_csv(lines)


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
