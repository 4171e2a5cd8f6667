"""debug=fast, overfit and profile: each from the command line on a few faces."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import mean

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from anon.errors import UserError
from anon.training.callbacks.debugging import OneBatch, Profile
from tests.apps.conftest import Command, folder_of

SMALL = [
    "experiment=fiva",
    "data.identities.train=4",
    "data.identities.background=2",
    "data.images=4",
    "data.batch_size=4",
    "generator.widths=[8,16]",
    "discriminator.base=4",
    "logger=csv",
]


class Seen(LightningModule):
    """Remembers what it was trained on; spoils its batch as a step may."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[float]] = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch["image"].flatten().tolist())
        assert "extra" not in batch
        loss = self.layer(batch["image"].clone()).square().mean()
        batch["image"].zero_()
        batch["extra"] = 0
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def trainer(*callbacks, steps: int) -> Trainer:
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", max_steps=steps, callbacks=list(callbacks), **quiet)


def rows(count: int) -> DataLoader:
    return DataLoader([{"image": torch.tensor([float(row)])} for row in range(count)], batch_size=2)


def column(folder: Path, name: str) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_one_batch_comes_again_and_again() -> None:
    model = Seen()
    trainer(OneBatch(), steps=7).fit(model, rows(6))
    assert model.seen == [[0.0, 1.0]] * 7
    other = Seen()
    trainer(steps=3).fit(other, rows(6))
    assert other.seen == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def test_batches_that_cannot_be_replaced(train: Command) -> None:
    done = train("experiment=tiny", "debug=overfit")
    assert done.code == 2 and "debug=overfit needs batches that are dicts" in done.err


def test_a_profile_of_too_few_steps(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes 6 steps; raise steps"):
        trainer(Profile(str(tmp_path), wait=2, warmup=1, active=3), steps=2).fit(Seen(), rows(6))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="active of at least 1"):
        Profile(str(tmp_path), active=0)


def test_a_profile_records_the_steps_asked_for(tmp_path: Path) -> None:
    """Steps count from 0: one to warm up, two recorded, the others not looked at."""
    trainer(Profile(str(tmp_path), wait=0, warmup=1, active=2), steps=5).fit(Seen(), rows(6))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep#")}
    assert steps == {"ProfilerStep#1", "ProfilerStep#2"}


def test_fast_connects_everything(train: Command) -> None:
    folder = folder_of(train(*SMALL, "debug=fast"))
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert column(folder, "step")[-1] == 3
    assert column(folder, "val/l1")


@pytest.mark.slow
def test_overfit_learns_its_batch(train: Command) -> None:
    """The weighted objective without the adversary, which learns too: a third of it is gone after 100 steps."""
    folder = folder_of(train(*SMALL, "debug=overfit", "callbacks.stop.steps=100", "trainer.log_every_n_steps=5"))
    weights = {"train/identity": 5.0, "train/ifsr": 4.0, "train/pixel": 7.0, "train/mask": 0.5}
    losses = [column(folder, name) for name in weights]
    total = [sum(w * loss for w, loss in zip(weights.values(), at, strict=True)) for at in zip(*losses, strict=True)]
    assert len(total) == 20
    assert mean(total[-3:]) < 0.65 * mean(total[:3])
    assert mean(total[7:13]) < mean(total[:6])
    with (folder / "metrics.csv").open() as file:
        assert "val/" not in file.readline()  # the batch alone


@pytest.mark.slow
def test_profile_writes_a_trace_and_a_table(train: Command) -> None:
    done = train(*SMALL, "debug=profile")
    folder = folder_of(done)
    table, trace = folder / "profile" / "table.txt", folder / "profile" / "trace.json"
    (told,) = (line for line in done.out.splitlines() if line.startswith("profile: "))
    assert str(table) in told and str(trace) in told
    assert "aten::convolution_backward" in table.read_text()
    events = json.loads(trace.read_text())["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep#")}
    assert steps == {f"ProfilerStep#{step}" for step in range(7, 12)}  # 5 waited, 2 to warm up
    assert not [path for path in (folder / "profile").iterdir() if path not in (table, trace)]
