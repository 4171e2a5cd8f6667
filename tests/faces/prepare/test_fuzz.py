"""No hostile input ends the run, hangs it, or is taken for a face."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest
from PIL import Image

from anon.faces.packed import Pack
from anon.faces.points import OURS
from anon.faces.prepare.__main__ import main
from anon.faces.prepare.options import Options, fingerprint
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from anon.faces.video import is_still, is_video
from tests.faces.prepare.fuzz import write
from tests.faces.prepare.material import POINTS, photographs


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_points(tmp_path: Path, count: int) -> None:
    """Every file has points, so whatever can be read becomes a face: nothing else may."""
    photographs(tmp_path / "rendered", 1, 1)
    expected = write(tmp_path / "root", count, seed=count, picture=Image.open(tmp_path / "rendered" / "p00" / "0.png"))
    with open(tmp_path / "points.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *(f"{point}_{axis}" for point in OURS for axis in "xy")])
        table.writerows([name, *POINTS.flatten().tolist()] for name in expected)
    start = time.monotonic()
    given = ["--root", str(tmp_path / "root"), "--points", str(tmp_path / "points.csv"), "--out", str(tmp_path / "out")]
    assert main([*given, "--size", "64", "--min-size", "8", "--workers", "2", "--timeout", "60", "--unit", "100"]) == 0
    assert time.monotonic() - start < 120 + count
    _check(tmp_path, {name: usable and _photograph(tmp_path / "root" / name) for name, usable in expected.items()})


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_detector(tmp_path: Path, real: Path, count: int) -> None:
    pytest.importorskip("anon.faces.detection.yunet")
    weights = real / "models" / "yunet" / "yunet_n_dynamic.onnx"
    detector = {"_target_": "anon.faces.detection.yunet.YuNet", "weights": str(weights)}
    picture = Image.open(sorted((real / "faces" / "london").glob("*/neutral.jpg"))[0]).resize((160, 160))
    expected = write(tmp_path / "root", count, seed=count + 1, picture=picture)
    options = Options(size=64, detector=detector, weights=fingerprint(detector), unit=200)
    report = prepare(of_folder(tmp_path / "root", None), "fuzz", tmp_path / "out", options, workers=2)
    assert report is not None and report["inputs"] == count
    assert not {"crashed", "timeout"} & set(report["rejected inputs"])
    _check(tmp_path, expected)


def _check(place: Path, expected: dict[str, bool | None]) -> None:
    packed = set(Pack(place / "out").files())
    with open(place / "out" / "files.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    outcomes = {row["file"].removeprefix("'"): row["outcome"] for row in rows}
    rejected = {file: outcome for file, outcome in outcomes.items() if outcome != "kept"}
    assert set(outcomes) == set(expected) and len(rows) == len(expected)  # every file has its line
    assert packed == set(outcomes) - set(rejected)
    wrong = [name for name, usable in expected.items() if usable is not None and usable != (name in packed)]
    assert not wrong, [(name, rejected.get(name, "packed")) for name in wrong]


def _photograph(file: Path) -> bool:
    return not is_video(file) or is_still(file)
