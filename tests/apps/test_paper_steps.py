"""``scale=paper`` of every experiment that has one: a step of the published networks at the published size, from the
command line, on a few rendered faces and with untrained recognizers."""

from __future__ import annotations

import csv
import math

import pytest
from omegaconf import OmegaConf

from tests.apps.conftest import Command, folder_of
from tests.apps.test_configs import TRAINED
from tests.conftest import ROOT

SCALES = ROOT / "conf" / "experiment_scale"
PAPER = sorted(path.stem.removesuffix("_paper") for path in SCALES.glob("*_paper.yaml"))
FEW = ("data.identities={train: 3, background: 2, attacker: 3, evaluation: 2}", "data.images=4", "data.clips=0")
SHORT = ("data.batch_size=2", "data.workers=0", "trainer.limit_val_batches=0", "trainer.log_every_n_steps=1")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [name for name in PAPER if name in TRAINED])
def test_paper_scale_takes_a_step_of_finite_losses(train: Command, experiment: str) -> None:
    trained = OmegaConf.load(ROOT / "conf" / "experiment" / f"{experiment}.yaml")
    length = "trainer.max_epochs=1" if trained.get("steps", 0) is None else "steps=1"
    untrained = ["encoder.weights=random"] if "encoder" in OmegaConf.load(SCALES / f"{experiment}_paper.yaml") else []
    words = (f"experiment={experiment}", "scale=paper", *FEW, *SHORT, length, *untrained, "logger=csv")
    folder = folder_of(train(*words))
    with (folder / "metrics.csv").open() as file:
        losses = {key: float(value) for row in csv.DictReader(file) for key, value in row.items() if value}
    assert any(key.startswith("train/") for key in losses), losses
    assert [key for key, value in losses.items() if not math.isfinite(value)] == []
    assert (folder / "checkpoints" / "last.ckpt").is_file()
