"""The loader against raw decoding, on a small packed data set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from anon.faces.points import read_points
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from benchmarks import loader
from tests.faces.prepare.material import photographs


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photographs of twelve people at 64 px."""
    place = tmp_path_factory.mktemp("place")
    table = photographs(place / "photos", 12, 2, size=96)
    prepare(of_folder(place / "photos", read_points(table)), "small", place / "packed", Options(size=64, min_size=8))
    return place / "packed"


def test_the_ratios_are_those_of_the_rates(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "BATCH", 2)
    lines = loader.against_decoding(pack, 64, workers=1, windows=1, seconds=0.3)
    ours, raw, floats = (float(re.search(r"median (\d+)", line)[1]) for line in lines[:3])  # type: ignore[index]
    shares = [float(re.search(r"(\d+) % of raw", line)[1]) for line in lines[3:]]  # type: ignore[index]
    assert min(ours, floats, raw) > 0
    assert shares == [pytest.approx(100 * ours / raw, abs=1.5), pytest.approx(100 * floats / raw, abs=1.5)]


def test_batches_are_those_that_go_to_the_device(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "BATCH", 2)
    assert next(loader.packed(pack, 64, 0, 1))["image"].dtype == torch.uint8


def test_decoding_reads_faces_of_the_asked_for_size(pack: Path) -> None:
    assert loader.decode(pack, 64, 0.05, 0) > 0 and loader.decode(pack, 48, 0.05, 1) > 0
