"""Five points a photograph, from a CSV: one row a face, ``file`` and ten coordinates in pixels.

Two spellings of the columns are read. Ours, left and right *as seen in the image*: ``left_eye_x, left_eye_y,
right_eye_x, ...`` for left_eye, right_eye, nose, left_mouth, right_mouth. And YuNet's, right and left *of the person*:
``re_x, re_y, le_x, ...`` for re, le, n, rm, lm, so that ``re`` is the eye on the image's left. Further columns are
ignored; of several rows for one file the first counts.

Points that cannot be a face's would give a wrong crop without a word, so every face is compared with the template
(:func:`faults`), those of a table, of an annotation and of a detector alike.
"""

from __future__ import annotations

import collections
import csv
import io
import itertools
import unicodedata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anon import plain
from anon.errors import UserError
from anon.faces.alignment import misfit, share_inside, template
from anon.faces.splits import tell_once

OURS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
YUNET = ("re", "le", "n", "rm", "lm")

WITHOUT = "without points"
MIRRORED, ORDER, NO_FACE = "mirrored points", "points in another order", "points of no face"
SHARES, OUTSIDE = "points in shares of the picture, not pixels", "points outside the image"
#: Largest misfit (:func:`anon.faces.alignment.misfit`) of a face. LFW's 5,149 reach .556 (99.9 % .453), London's .231,
#: rendered ones .391 at a yaw of 45 degrees, .668 at 75, .753 at 90; LFW's mirrored begin at .799 (1 % .956).
MOST_MISFIT = 0.77
#: Points that fit badly, and much better in another order, are in the wrong one. Of LFW's and the rendered faces with a
#: misfit above .35 the best order has .739 of it and more; of any wrong order 99.6 % and more are found out, but for
#: the three that look like a head on its side or upside down.
_ENOUGH, _BETTER = 0.35, 0.6
#: Of the aligned crop, inside the image: a picture that is cut out along a tight square around the face has .47 of it.
LEAST_INSIDE = 0.4
_ORDERS = torch.tensor(list(itertools.permutations(range(5))))  # (120, 5)
_SWAPPED = [1, 0, 2, 4, 3]
_PIXELS = 2.0  # coordinates that never exceed it are no pixels: no face is that small
_MOST_FAULTY = 0.1  # of the rows of a table, before it is refused


class FivePoints(dict[str, np.ndarray]):
    """:func:`file_key` of a file to its float32 ``(5, 2)``; ``faulty`` has the reasons of rows that are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.faulty: dict[str, str] = {}

    def lacking(self, file: str) -> str:
        """Why a file has no points here."""
        return self.faulty.get(file_key(file), WITHOUT)


def file_key(name: str) -> str:
    """One spelling of a relative path: forward slashes, composed letters (macOS decomposes them), no ``./``."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./")


def read_points(path: Path) -> FivePoints:
    """The usable rows. Those without ten finite coordinates count as no rows; those that are no face's are left out.

    Raises:
        UserError: no such file, not a CSV, wrong columns, no usable row, or more rows than one in ten that are no
            face's: says what is wrong with them.
    """
    found: dict[str, np.ndarray] = {}
    try:
        with io.TextIOWrapper(plain.opened(path), "utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = header
            columns = _columns(header, path)
            for row in reader:
                points = _row(row, columns)
                if points is not None and row["file"]:
                    found.setdefault(file_key(row["file"].strip()), points)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a UTF-8 CSV"
        raise UserError(f"The points '{path}' cannot be read: {reason}.") from error
    if not found:
        raise UserError(f"The points '{path}' have no row with a file and ten finite coordinates.")
    table = FivePoints()
    reasons = faults(torch.from_numpy(np.stack(list(found.values()))))
    for (name, points), reason in zip(found.items(), reasons, strict=True):
        if reason is None:
            table[name] = points
        else:
            table.faulty[name] = reason
    _judge(path, table, found)
    return table


def faults(points: Tensor) -> list[str | None]:
    """For each of ``(N, 5, 2)`` why it cannot be a face's, or None."""
    target = template(112)
    proper = misfit(points, target)
    found: list[str | None] = [None if fits else NO_FACE for fits in (proper <= MOST_MISFIT).tolist()]  # NaN is not
    for part in (proper > _ENOUGH).nonzero().flatten().split(1024):
        ordered = misfit(points[part][:, _ORDERS].flatten(0, 1), target).view(-1, len(_ORDERS))  # (P, 120)
        least, best = ordered.min(1)
        for place in (least < _BETTER * proper[part]).nonzero().flatten().tolist():
            known = MIRRORED if _ORDERS[best[place]].tolist() == _SWAPPED else ORDER
            found[int(part[place])] = known if least[place] <= _ENOUGH else NO_FACE
    for place in (points.abs().amax((-2, -1)) <= _PIXELS).nonzero().flatten().tolist():
        found[place] = SHARES
    return found


def fault_in(points: Tensor, canvas: tuple[int, int]) -> str | None:
    """Why ``points`` (5, 2) cannot be those of a face in an image of ``canvas`` (H, W), or None."""
    (fault,) = faults(points[None])
    return fault or (None if share_inside(points, canvas) >= LEAST_INSIDE else OUTSIDE)


def _judge(path: Path, table: FivePoints, found: dict[str, np.ndarray]) -> None:
    """Refuse a table of which too much is wrong; else say in one line what was left out."""
    counts = collections.Counter(table.faulty.values())
    if not counts:
        return
    if len(table.faulty) <= _MOST_FAULTY * len(found):
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
        tell_once(f"The points '{path}': {len(table.faulty):,} of {len(found):,} rows are left out: {reasons}.")
        return
    worst = counts.most_common(1)[0][0]
    rows = torch.from_numpy(np.stack([found[name] for name, fault in table.faulty.items() if fault == worst]))
    raise UserError(f"In the points '{path}', {len(rows):,} of {len(found):,} rows {_mistake(rows, worst)}.")


def _mistake(points: Tensor, fault: str) -> str:
    """What such rows ``(N, 5, 2)`` have in common, and the way out."""
    if fault == SHARES:
        return (
            f"have no coordinate above {_PIXELS:g}: they are shares of the picture, and must be pixels; multiply x by "
            "its width and y by its height"
        )
    across = points[:, 1] - points[:, 0]
    if fault == MIRRORED and float((across[:, 0].abs() < across[:, 1].abs()).double().mean()) > 0.5:
        return "have x and y exchanged; name the columns the other way"
    as_seen = f"'{OURS[0]}' is the eye on the image's left, which is the person's right eye ('{YUNET[0]}')"
    if fault == MIRRORED:
        return f"are mirrored: left and right are swapped; {as_seen}"
    for order, mistake in (
        ([0, 1, 2, 4, 3], f"have the corners of the mouth exchanged; '{OURS[3]}' is the one on the image's left"),
        ([1, 0, 2, 3, 4], f"have the eyes exchanged; {as_seen}"),
    ):
        if fault == ORDER and faults(points[:, order]).count(None) > len(points) / 2:
            return mistake
    return f"are not the five points of a face; the order is {', '.join(OURS)}, as seen in the image"


def _columns(header: list[str], path: Path) -> list[str]:
    for spelling in (OURS, YUNET):
        wanted = [f"{point}_{axis}" for point in spelling for axis in "xy"]
        if "file" in header and set(wanted) <= set(header):
            return wanted
    raise UserError(
        f"The points '{path}' need the columns file,{','.join(f'{p}_x,{p}_y' for p in OURS)} "
        f"(or {','.join(f'{p}_x,{p}_y' for p in YUNET)})."
    )


def _row(row: dict[str, str], columns: list[str]) -> np.ndarray | None:
    """None where a face was not found: numbers are missing, or all points are one, as detectors write nothing."""
    try:
        points = np.array([float(row[name]) for name in columns], dtype=np.float32).reshape(5, 2)
    except (TypeError, ValueError):  # a short row holds None, a bad one text
        return None
    return points if np.isfinite(points).all() and np.ptp(points, axis=0).max() > 0.0 else None
