"""Points of photographs as a CSV, so that a folder of them is data without being packed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from anon.errors import UserError
from anon.faces.alignment import template
from anon.faces.detection.contract import Detections
from anon.faces.points import read_points
from anon.faces.prepare.points import main, write_points


class Fixed:
    """A face in the middle of bright pictures, at the template of a crop of 64; another, smaller one beside it."""

    name, has_points = "fixed", True

    def detect_batch(self, frames):
        found = []
        for frame in frames:
            corner = torch.tensor([frame.shape[1] / 2 - 32, frame.shape[0] / 2 - 32])
            points = torch.stack([template(64) * 0.4 + torch.tensor([2.0, 2.0]), template(64) + corner])
            boxes = torch.stack([torch.cat([each.amin(0), each.amax(0)]) for each in points])
            count = 2 if float(frame.float().mean()) > 60 else 0
            found.append(Detections(boxes[:count], points[:count], torch.tensor([0.9, 0.8])[:count]))
        return found


def test_each_photograph_has_its_row(tmp_path: Path) -> None:
    for name, colour in (("ann/1.png", 200), ("ann/2.png", 10), ("@bob/ü.png", 200)):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (120, 100), colour).save(tmp_path / "faces" / name)
    (tmp_path / "faces" / "@bob" / "3.png").write_bytes(b"no picture")
    (tmp_path / "faces" / "notes.txt").write_text("x")
    count, without = write_points(tmp_path / "faces", tmp_path / "points.csv", Fixed())
    assert count == 2 and without == {"without a face": 1, "not an image": 1}
    table = read_points(tmp_path / "points.csv")
    assert sorted(table) == ["@bob/ü.png", "ann/1.png"]
    assert torch.allclose(torch.from_numpy(table["ann/1.png"]), template(64) + torch.tensor([28.0, 18.0]), atol=1e-3)


def test_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no photographs"):
        write_points(tmp_path / "empty", tmp_path / "points.csv", Fixed())
    Image.new("L", (120, 100), 1).save(tmp_path / "empty" / "dark.png")
    with pytest.raises(UserError, match=r"No face was found in the 1 photographs .*\(1 without a face\)"):
        write_points(tmp_path / "empty", tmp_path / "points.csv", Fixed())
    assert main([str(tmp_path / "empty"), str(tmp_path / "points.csv"), "--detector", "yunett"]) == 2
    assert "There is no detector named 'yunett'" in capsys.readouterr().err


def test_real_photographs(real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = real / "models" / "yunet" / "yunet_n_dynamic.onnx"
    words = [
        str(real / "faces" / "london"),
        str(tmp_path / "points.csv"),
        "--detector",
        "yunet",
        "--weights",
        str(weights),
    ]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[0] == "68 photographs with points"
    assert len(read_points(tmp_path / "points.csv")) == 68
