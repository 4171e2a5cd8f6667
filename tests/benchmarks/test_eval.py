"""The harness's benchmark: batches against single faces, and a second run that makes nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from benchmarks import eval as benchmark

PEOPLE = {"train": 3, "background": 24, "evaluation": 4}
FEW = ["data.images=4", "data.size=32", "data.clips.evaluation=0", "suite.resamples=20", "suite.far=0.01"]
FEW += ["suite.grid_faces=0", "suite.calibration_images=4", "suite.anchors=3"]


def test_rates_are_of_the_faces_of_a_window() -> None:
    """640 faces in 10 batches of 10 ms are at most 6400 faces a second, one at a time at most 100."""

    def slow(size: int) -> None:
        time.sleep(0.01 * 640 / size if size > 1 else 0.3)

    row = benchmark.in_turns(640, {"slow": slow}, 1)[2].split("|")
    batched, single = (float(cell.split()[0]) for cell in row[2:4])
    assert 1000 < batched <= 6400 and 500 < single <= 640 / 0.3
    assert float(row[4]) == pytest.approx(batched / single, rel=0.1)


def test_every_part_runs_at_every_size(tmp_path: Path) -> None:
    count, jobs = benchmark.parts(benchmark.composed(tmp_path, PEOPLE, *FEW))
    assert count == 16 and len(jobs) == 4
    with torch.no_grad():
        for job in jobs.values():
            for size in (8, 1):
                job(size)


@pytest.mark.slow
def test_a_second_run_finds_everything(tmp_path: Path) -> None:
    said = []
    for name in ("first", "second"):
        config = benchmark.composed(tmp_path, PEOPLE, *FEW, f"output={tmp_path / name}")
        said.append(benchmark.whole(config))
    assert "made 0 " not in said[0][1] and "made 0 " in said[1][1]
    assert said[1][0] < said[0][0]
