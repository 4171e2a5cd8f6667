"""The result files: results.json (the one format, schema 1), table.md and table.csv, each replaced atomically."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anon.errors import UserError
from anon.evaluation.figures import Row, short
from anon.evaluation.published import Published

SCHEMA = 1
TABLE1 = {
    "ID": "ID ↓",
    "negID": "¬ID ↓",
    "negID_rank1": "¬ID rank-1 ↓",
    "RA": "RA ↓",
    "M_tc_mu": "M_tc mu ↓",
    "M_tc_sigma": "M_tc sigma ↓",
}


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
        "rows": [_finite(row.as_dict()) for row in results.rows],
        "judge": results.judge,
        "threshold": results.threshold,
        "far": results.far,
        "counts": dict(results.counts),
        "config": dict(results.config),
        "commit": results.commit,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(results: Results) -> str:
    """One line a figure: what was done to the faces, metric, value, low, high, n, reason."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = ("method", "policy", "defense", "attack", "adversary", "data", "split")
    writer.writerow([*names, "metric", "value", "low", "high", "n", "reason"])
    for row in results.rows:
        for metric, figure in row.metrics.items():
            numbers = ["" if value is None else value for value in (figure.value, figure.low, figure.high)]
            writer.writerow([*(getattr(row, name) for name in names), metric, *numbers, figure.n, figure.reason or ""])
    return buffer.getvalue()


def as_markdown(results: Results, paper: Published) -> str:
    """Table 1 with the paper's row under ours, then everything else that was measured, and how."""
    counts, columns = results.counts, shown(results)
    lines = [f"# Table 1 on {results.rows[0].data}", ""]
    lines += [f"**{note}**\n" for note in results.notes]
    lines += markdown_table(["", *columns.values()], _table1_rows(results, paper, columns))
    lines += ["", f"Paper: {paper.source}; {paper.protocol}.", ""]
    lines += [
        f"Judge {results.judge}, hit below cosine distance {short(results.threshold)}: FAR {results.far:g} wanted, "
        f"{counts['far_background']:.2g} on {counts['background_pairs']:,} background pairs, "
        f"{counts['far_evaluation']:.2g} on {counts['impostor_pairs']:,} evaluation pairs. "
        f"{counts['identities']:,} identities, {counts['probes']:,} probes, a gallery of {counts['gallery']:,} people "
        f"({counts['distractors']:,} distractors; chance is {1 / counts['gallery']:.2g}), {counts['clips']:,} clips. "
        "Brackets: 95 %, bootstrap over identities.",
        "",
        "## Utility and robustness",
        "",
    ]
    methods = [row.method for row in results.rows]
    names = dict.fromkeys(name for row in results.rows for name in row.metrics if name not in columns)
    body = [
        [name, *(row.metrics[name].text() if name in row.metrics else "" for row in results.rows)] for name in names
    ]
    return "\n".join(lines + markdown_table(["", *methods], body)) + "\n"


def write(path: Path, content: str | bytes) -> None:
    """Replace a file, of text (UTF-8) or of bytes: readers see the old content or the new one.

    Raises:
        UserError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"The results cannot be written to '{path}' ({error.strerror}).") from error


def shown(results: Results) -> dict[str, str]:
    """The columns of table 1 that were measured: RA needs an attack."""
    return {name: title for name, title in TABLE1.items() if any(name in row.metrics for row in results.rows)}


def _table1_rows(results: Results, paper: Published, columns: Mapping[str, str]) -> list[list[str]]:
    body = []
    for row in results.rows:
        body.append([f"**{row.method}**", *(row.metrics[name].text() for name in columns)])
        printed = paper.rows.get(row.method)
        if printed is not None:
            body.append(["*paper*", *(short(printed[name]) if name in printed else "-" for name in columns)])
    return body


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns also line up as plain text."""
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return [line(head), line(["-" * width for width in widths]), *(line(cells) for cells in body)]


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    def plain(figure: dict[str, Any]) -> dict[str, Any]:
        numbers = {name: figure[name] for name in ("value", "low", "high")}
        clean = {name: None if value is None or not math.isfinite(value) else value for name, value in numbers.items()}
        reason = "not finite" if clean["value"] is None and figure["reason"] is None else figure["reason"]
        return {**clean, "reason": reason, "n": figure["n"]}

    return {**row, "metrics": {name: plain(figure) for name, figure in row["metrics"].items()}}
