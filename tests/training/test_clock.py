"""How long a training took is in its checkpoint, over all its runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.apps.checkpoints import trained_minutes
from anon.training.callbacks import clock
from anon.training.callbacks.clock import TrainingClock


class Time:
    now = 100.0

    @classmethod
    def monotonic(cls) -> float:
        return cls.now


def test_seconds_add_up_over_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "time", Time)
    first = TrainingClock()
    assert first.seconds == 0.0
    first.on_train_start(None, None)  # type: ignore[arg-type]
    Time.now = 130.0
    kept = first.state_dict()  # a checkpoint, and 20 seconds that a kill takes
    Time.now = 150.0
    second = TrainingClock()
    second.load_state_dict(kept)
    second.on_train_start(None, None)  # type: ignore[arg-type]
    Time.now = 160.0
    assert second.state_dict() == {"seconds": 40.0}
    second.on_train_end(None, None)  # type: ignore[arg-type]
    Time.now = 999.0
    assert second.seconds == 40.0


@pytest.mark.parametrize(
    ("callbacks", "minutes"),
    [
        ({"TrainingClock": {"seconds": 90.0}}, 1.5),
        ({}, None),
        ({"TrainingClock": {"seconds": float("nan")}}, None),
        ({"TrainingClock": {"seconds": "ninety"}}, None),
        ([90.0], None),
    ],
)
def test_a_checkpoint_says_how_long_it_took(tmp_path: Path, callbacks, minutes) -> None:
    file = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}, "global_step": 1, "config": "experiment: parrot", "callbacks": callbacks}, file)
    assert trained_minutes(file) == minutes
