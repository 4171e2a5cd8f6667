"""What is shown and kept while a run goes on."""

from __future__ import annotations

import io
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console

from anon.training.callbacks.progress import StepProgress, _clock
from anon.training.callbacks.steps import LastCheckpoint, StopAfter
from tests.apps.tiny import Tiny, TinyData


def fitted(tmp_path: Path, *callbacks: pl.Callback) -> pl.Trainer:
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        callbacks=[*callbacks, LastCheckpoint(str(tmp_path / "last.ckpt"), every=100)],
        logger=False,
        limit_val_batches=0,
        enable_model_summary=False,
    )
    trainer.fit(Tiny(), datamodule=TinyData())
    return trainer


def test_steps_are_batches_not_optimizer_steps(tmp_path: Path) -> None:
    trainer = fitted(tmp_path, StopAfter(5), StepProgress(5, console=Console(file=io.StringIO())))
    assert trainer.global_step == 10  # two optimizers
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == 5


def test_lines_without_a_terminal_say_how_far_and_how_long(tmp_path: Path) -> None:
    told = io.StringIO()
    fitted(tmp_path, StopAfter(20), StepProgress(20, seconds=3600, console=Console(file=told)))
    first, last = told.getvalue().splitlines()
    assert first.startswith("step 1/20 (5 %)")
    assert "left" in first
    assert "loss=" in first
    assert last.startswith("step 20/20 (100 %)")


def test_a_terminal_gets_one_bar_with_the_time_left(tmp_path: Path) -> None:
    told = io.StringIO()
    fitted(tmp_path, StopAfter(3), StepProgress(3, console=Console(file=told, force_terminal=True, width=120)))
    assert "3/3" in told.getvalue()
    assert "left" in told.getvalue()


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_clock(seconds: float, shown: str) -> None:
    assert _clock(seconds) == shown


def test_random_state_survives_a_checkpoint(tmp_path: Path) -> None:
    keeper = LastCheckpoint(str(tmp_path / "x"), every=1)
    path = tmp_path / "state"
    torch.save(keeper.state_dict(), path)
    drawn = torch.rand(3), np.random.rand(3), random.random()
    keeper.load_state_dict(torch.load(path, weights_only=True))

    class _Zero:
        is_global_zero = True
        fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(_results={}), total_batch_idx=0)

    keeper.on_train_batch_start(_Zero(), None, None, 0)  # type: ignore[arg-type]
    assert torch.equal(torch.rand(3), drawn[0])
    assert np.array_equal(np.random.rand(3), drawn[1])
    assert random.random() == drawn[2]
