"""``scale=paper`` of every experiment that has one: a step of the published networks at the published size, from the
command line, on a few rendered faces and with untrained recognizers."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps.config import composed
from tests.apps.conftest import Command, folder_of
from tests.apps.test_configs import TRAINED
from tests.conftest import ROOT
from tests.training import small

SCALES = ROOT / "conf" / "experiment_scale"
PAPER = sorted(path.stem.removesuffix("_paper") for path in SCALES.glob("*_paper.yaml"))
FEW = ("data.identities={train: 3, background: 40, attacker: 3, evaluation: 2}", "data.images=4", "data.clips=0")
SHORT = (
    "data.batch_size=2",
    "data.workers=0",
    "trainer.limit_val_batches=0",
    "trainer.log_every_n_steps=1",
    "trainer.precision=32-true",
)


def settled(words: Sequence[str], file: Path) -> Path:
    """Weights of the untrained recognizer whose activations stay finite: a hundred layers of a random start do not."""
    config = composed("train", (*words, "encoder.weights=random")).encoder
    encoder = instantiate(config)
    small.settle(encoder.backbone, torch.rand(4, 3, encoder.size, encoder.size) * 2 - 1)
    torch.save(encoder.backbone.state_dict(), file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [name for name in PAPER if name in TRAINED])
def test_paper_scale_takes_a_step_of_finite_losses(train: Command, experiment: str, tmp_path: Path) -> None:
    trained = OmegaConf.load(ROOT / "conf" / "experiment" / f"{experiment}.yaml")
    length = "trainer.max_epochs=1" if trained.get("steps", 0) is None else "steps=1"
    few = ("data.images=20",) if OmegaConf.select(composed("train", (f"experiment={experiment}",)), "subjects") else FEW
    words = [f"experiment={experiment}", "scale=paper", *few, *SHORT, length, "logger=csv"]
    if "encoder" in OmegaConf.load(SCALES / f"{experiment}_paper.yaml"):
        words.append(f"encoder.weights={settled(words, tmp_path / 'encoder.pt')}")
    folder = folder_of(train(*words))
    with (folder / "metrics.csv").open() as file:
        losses = {key: float(value) for row in csv.DictReader(file) for key, value in row.items() if value}
    assert any(key.startswith("train/") for key in losses), losses
    assert [key for key, value in losses.items() if not math.isfinite(value)] == []
    assert (folder / "checkpoints" / "last.ckpt").is_file()
