"""OpenFace's CSV: units, directions, failures, damage."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from anon.attributes.openface import OpenFaceTable
from anon.errors import UserError
from anon.metrics.action_units import action_unit_correlation, action_unit_rmse

HEADER = "frame, face_id, timestamp, confidence, success, gaze_angle_x, gaze_angle_y, "
HEADER += "pose_Rx, pose_Ry, pose_Rz, AU01_r, AU12_r, AU12_c"


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    file = folder / "clip.csv"
    file.write_text("\n".join((header, *rows)))
    return file


def test_rows_come_back_in_our_units(tmp_path: Path) -> None:
    r = math.radians(10)
    file = table(
        tmp_path, f"1, 0, 0.0, 0.98, 1, {r}, {r}, {r}, 0, 0, 1.5, 3.0, 1", "2, 0, 0.04, 0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0"
    )
    found = OpenFaceTable({"a/clip.mp4": file})
    assert found.units == ("AU01", "AU12") and len(found) == 2 and found.reads == ("pose", "gaze", "action_units")
    read = found.lookup([("a/clip.mp4", 1), ("a/clip.mp4", 2), ("b.mp4", 1)])
    torch.testing.assert_close(read["gaze"][0], torch.tensor([10.0, -10.0]))  # y up
    torch.testing.assert_close(read["pose"][0], torch.tensor([0.0, 10.0, 0.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(read["action_units"][0], torch.tensor([1.5, 3.0]))
    assert all(bool(value[1:].isnan().all()) for value in read.values())


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        (["1, 0, 0, 0.9"], HEADER),
        (["1, 0, 0, 0.9, 1, x, 0, 0, 0, 0, 0, 0, 0"], HEADER),
        (["inf, 0, 0, 0.9, 1, 0, 0, 0, 0, 0, 0, 0, 0"], HEADER),
        (["1,2"], "file,score"),
        ([], ""),
    ],
)
def test_damage_is_refused(tmp_path: Path, rows: list[str], header: str) -> None:
    with pytest.raises(UserError):
        OpenFaceTable({"clip": table(tmp_path, *rows, header=header)})


def test_binary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01" * 50)
    with pytest.raises(UserError):
        OpenFaceTable({"clip": tmp_path / "x.csv"})


def test_action_units_by_hand() -> None:
    nan = float("nan")
    target = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [nan, 0.0]])
    changed = torch.tensor([[3.0, 1.0], [2.0, 3.0], [1.0, 1.0], [5.0, 5.0]])
    # unit 1: errors 3, 0, 3: sqrt(6); unit 2: 0, 2, 0: sqrt(4/3)
    torch.testing.assert_close(action_unit_rmse(changed, target), torch.tensor((6**0.5 + (4 / 3) ** 0.5) / 2))
    found = action_unit_correlation(changed, target)
    torch.testing.assert_close(found[0], torch.tensor(-1.0))
    assert bool(found[1].isnan())
