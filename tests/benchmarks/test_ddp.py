"""The rate that a run tells, and the command that makes it tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from anon.apps.config import composed
from benchmarks.ddp import RATE, command, rate


def test_the_rate_is_of_the_later_steps(tmp_path: Path) -> None:
    """Steps 2 and 4 of 12 are the first third; a row of validation has no rate."""
    file = tmp_path / "metrics.csv"
    file.write_text(f"step,{RATE},val/l1\n2,1.0,\n4,2.0,\n6,10.0,\n8,30.0,\n9,,0.5\n12,20.0,\n")
    assert rate(file) == 20.0  # the median of 10, 30 and 20
    file.write_text("step,train/loss\n1,2.0\n")
    with pytest.raises(ValueError, match="has no train/images_per_s"):
        rate(file)


def test_the_processes_have_the_same_batch() -> None:
    one, two = (composed("train", command(number, 30, Path("runs"))[4:]) for number in (1, 2))
    assert (one.trainer.devices, two.trainer.devices) == (1, 2)
    assert one.data.batch_size == two.data.batch_size and one.trainer.log_every_n_steps == 3
