"""What OpenFace 2 saw (Baltrusaitis et al., FG 2018), from the CSV of its ``FeatureExtraction``, in our units.

OpenFace is not run here: it writes one row a frame (``FaceLandmarkImg``: one a face), with success, confidence, head
pose in radians, gaze angles in radians, 68 landmarks in pixels and 17 action units from 0 to 5. Column names may carry
leading spaces. Missing columns are left out; frames that failed are NaN.
"""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import torch
from torch import Tensor

from anon.attributes.rotations import from_openface
from anon.errors import UserError
from anon.faces.points import file_key
from anon.plain import opened

MAX_BYTES, MAX_ROWS = 1024**3, 2_000_000
_POSE = ("pose_Rx", "pose_Ry", "pose_Rz")
_GAZE = ("gaze_angle_x", "gaze_angle_y")
_LANDMARKS = tuple(f"{axis}_{number}" for number in range(68) for axis in "xy")

Key = tuple[str, int]  # file, frame


class OpenFaceTable:
    """Attributes by (file, frame); ``units`` names the action units in their order, such as ``AU01``.

    Args:
        paths: CSVs by the file that they describe (the video's name, or the picture's).
        confidence: rows below count as failed.

    Raises:
        UserError: no such file, too large, or not OpenFace's CSV.
    """

    name = "openface"

    def __init__(self, paths: dict[str, str | Path], confidence: float = 0.0) -> None:
        self.units: tuple[str, ...] = ()
        self._rows: dict[Key, int] = {}
        columns: tuple[str, ...] | None = None
        values: list[list[float]] = []
        for file, path in paths.items():
            header, rows = _read(Path(path).expanduser(), confidence)
            if columns is not None and header != columns:
                raise UserError(
                    f"'{path}' has other OpenFace columns than the files before it; write all the same way."
                )
            columns = header
            for frame, row in rows:
                self._rows.setdefault((file_key(file), frame), len(values))
                values.append(row)
        self._columns = columns or ()
        self.units = tuple(name[:-2] for name in self._columns if _is_unit(name))
        self._values = torch.tensor(values, dtype=torch.float32).view(-1, len(self._columns))
        self.reads: tuple[str, ...] = tuple(self._parts())

    def __len__(self) -> int:
        return len(self._rows)

    def lookup(self, keys: list[Key]) -> dict[str, Tensor]:
        """``pose`` (B, 3), ``gaze`` (B, 2), ``landmarks`` (B, 68, 2), ``action_units`` (B, A); NaN where unknown."""
        rows = [self._rows.get((file_key(file), frame), -1) for file, frame in keys]
        known = torch.tensor([row >= 0 for row in rows], dtype=torch.bool)
        table = torch.full((len(keys), len(self._columns)), float("nan"))
        table[known] = self._values[[row for row in rows if row >= 0]]
        found = {name: table[:, places] for name, places in self._parts().items()}
        if "pose" in found:
            found["pose"] = from_openface(found["pose"])
        if "gaze" in found:  # radians, y down
            found["gaze"] = torch.rad2deg(found["gaze"]) * torch.tensor([1.0, -1.0])
        if "landmarks" in found:
            found["landmarks"] = found["landmarks"].view(-1, 68, 2)
        return found

    def _parts(self) -> dict[str, list[int]]:
        """The columns of every attribute that the files have."""
        place = {name: number for number, name in enumerate(self._columns)}
        wanted = {"pose": _POSE, "gaze": _GAZE, "landmarks": _LANDMARKS}
        parts = {key: [place[name] for name in names] for key, names in wanted.items() if set(names) <= set(place)}
        units = [number for name, number in place.items() if _is_unit(name)]
        return parts | ({"action_units": units} if units else {})


def _is_unit(name: str) -> bool:
    return name.startswith("AU") and name.endswith("_r")


def _read(path: Path, confidence: float) -> tuple[tuple[str, ...], list[tuple[int, list[float]]]]:
    """The columns that are used and, for every frame, their values."""
    if not path.is_file():
        raise UserError(f"No OpenFace CSV at '{path}'; run OpenFace's FeatureExtraction on the video.")
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"'{path}' is larger than {MAX_BYTES} bytes.")
    rows: list[tuple[int, list[float]]] = []
    try:
        with io.TextIOWrapper(opened(path), "utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            columns = tuple(
                name for name in dict.fromkeys(header) if name in (*_POSE, *_GAZE, *_LANDMARKS) or _is_unit(name)
            )
            if not columns or not {"success", "confidence"} & set(header):
                raise UserError(f"'{path}' is not a CSV of OpenFace's FeatureExtraction: it lacks its columns.")
            places = [header.index(name) for name in columns]
            for number, row in enumerate(reader, start=1):
                if not row:
                    continue
                if number > MAX_ROWS or len(row) < len(header):
                    raise UserError(f"'{path}' is cut off or damaged in row {number}; run OpenFace again.")
                cells = dict(zip(header, row, strict=False))
                fine = float(cells.get("success", "1")) > 0 and float(cells.get("confidence", "1")) >= confidence
                values = [_finite(row[place]) if fine else math.nan for place in places]
                frame = float(cells.get("frame", str(number)))
                rows.append((int(frame), values))
    except (ValueError, OverflowError) as error:
        raise UserError(f"'{path}' holds text where OpenFace writes numbers; run OpenFace again.") from error
    except (OSError, csv.Error) as error:
        raise UserError(f"'{path}' cannot be read as a CSV.") from error
    return columns, rows


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) and abs(value) < 1e6 else math.nan
