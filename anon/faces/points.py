"""Five points a photograph, from a CSV: one row a face, ``file`` and ten coordinates in pixels.

Two spellings of the columns are read. Ours, left and right *as seen in the image*: ``left_eye_x, left_eye_y,
right_eye_x, ...`` for left_eye, right_eye, nose, left_mouth, right_mouth. And YuNet's, right and left *of the person*:
``re_x, re_y, le_x, ...`` for re, le, n, rm, lm, so that ``re`` is the eye on the image's left. Further columns are
ignored; of several rows for one file the first counts.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import numpy as np
import torch

from anon import plain
from anon.errors import UserError
from anon.faces.alignment import template

OURS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
YUNET = ("re", "le", "n", "rm", "lm")


def file_key(name: str) -> str:
    """One spelling of a relative path: forward slashes, composed letters (macOS decomposes them), no ``./``."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def read_points(path: Path) -> dict[str, np.ndarray]:
    """The usable rows: ``file_key(file)`` to float32 ``(5, 2)``; those with missing or coinciding points are left out.

    Raises:
        UserError: no such file, not a CSV, wrong columns, no usable row, or left and right swapped throughout.
    """
    try:
        with io.TextIOWrapper(plain.opened(path), "utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            columns = _columns(header, path)
            table: dict[str, np.ndarray] = {}
            for row in reader:
                points = _row(row, columns)
                if points is not None and row["file"]:
                    table.setdefault(file_key(row["file"].strip()), points)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a UTF-8 CSV"
        raise UserError(f"data.points='{path}' cannot be read: {reason}.") from error
    if not table:
        raise UserError(f"data.points='{path}' has no row with a file and ten finite coordinates.")
    mirrored = _mirrored(np.stack(list(table.values())))
    if mirrored > len(table) / 2:
        raise UserError(
            f"In data.points='{path}' {mirrored:,} of {len(table):,} faces are mirrored: left and right are swapped. "
            f"'{OURS[0]}' is the eye on the image's left, which is the person's right eye ('{YUNET[0]}')."
        )
    return table


def _columns(header: list[str], path: Path) -> list[str]:
    for spelling in (OURS, YUNET):
        wanted = [f"{point}_{axis}" for point in spelling for axis in "xy"]
        if "file" in header and set(wanted) <= set(header):
            return wanted
    raise UserError(
        f"data.points='{path}' needs the columns file,{','.join(f'{p}_x,{p}_y' for p in OURS)} "
        f"(or {','.join(f'{p}_x,{p}_y' for p in YUNET)})."
    )


def _row(row: dict[str, str], columns: list[str]) -> np.ndarray | None:
    try:
        points = np.array([float(row[name]) for name in columns], dtype=np.float32).reshape(5, 2)
    except (TypeError, ValueError):  # a short row holds None, a bad one text
        return None
    return points if np.isfinite(points).all() and np.ptp(points, axis=0).max() >= 1.0 else None


def _mirrored(points: np.ndarray) -> int:
    """How many of ``(N, 5, 2)`` faces fit the template better when mirrored: det of the cross-covariance < 0."""
    target = template(112).numpy()
    centred = points - points.mean(1, keepdims=True)
    covariance = torch.from_numpy(np.einsum("nki,kj->nij", centred, target - target.mean(0)))
    return int((covariance.det() < 0).sum())
