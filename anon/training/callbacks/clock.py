"""How long a training took: what an attack costs its adversary stands beside what it finds."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class TrainingClock(Callback):
    """Counts the seconds of training, over all resumed runs; validation counts, what was lost to a kill does not.

    They are in the checkpoints, as this callback's ``seconds`` (:func:`anon.apps.checkpoints.trained_minutes`).
    """

    def __init__(self) -> None:
        self._before = 0.0  # of the runs that this one continues
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._before + (0.0 if self._began is None else time.monotonic() - self._began)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._before, self._began = self.seconds, None

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = float(state_dict["seconds"])
