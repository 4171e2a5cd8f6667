"""Counting batches: when a run stops and when it is saved, so that a killed run continues where it was.

Lightning counts optimizer steps, and an adversarial model takes two a batch; a ``step`` here is one batch, everywhere.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint


def steps_done(trainer: pl.Trainer) -> int:
    """Batches trained so far, over all epochs and resumed runs."""
    return trainer.fit_loop.total_batch_idx + 1


def validates_now(trainer: pl.Trainer) -> bool:
    """At the end of a batch: whether a validation follows it."""
    epoch, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    if fetcher is None or not epoch._should_check_val_fx(fetcher):
        return False
    epoch.val_loop.setup_data()  # at the first time; it knows of no batches before
    return not epoch.val_loop.skip


def log_now(trainer: pl.Trainer) -> None:
    """Log the figures of the batch at hand, which Lightning does once more after the callbacks of its end.

    The loggers of :mod:`anon.apps.loggers` take equal figures of a step once.
    """
    trainer._logger_connector.update_train_step_metrics()


def forget_logged(trainer: pl.Trainer) -> None:
    """Drop what earlier batches logged for themselves, which is none of the figures of the batch to come.

    Lightning keeps it, and writes it once more with the step at which training stops; a run continued after the last
    figures would not have that row.
    """
    for result in (trainer.fit_loop.epoch_loop._results or {}).values():
        if not (result.meta.on_epoch or result.has_reset):
            result.reset()


class StopAfter(Callback):
    """Stops training after ``steps`` batches, however many optimizers; None: at the trainer's own limits."""

    def __init__(self, steps: int | None) -> None:
        self.steps = math.inf if steps is None else steps

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = steps_done(trainer) >= self.steps  # resumed, and nothing is left to do

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        trainer.should_stop = trainer.should_stop or steps_done(trainer) >= self.steps


class LastCheckpoint(Checkpoint):
    """Keeps one checkpoint, ``path``: every ``every`` batches and when training stops.

    With ``keep_every``, copies named ``step_0001000.ckpt`` stay beside it, to evaluate a training over its time.

    A checkpoint stands for all that came before it, figures included: the batch's are logged first, and where its
    validation is due, that is done first. So a run that is killed at any moment and continued logs what the unbroken
    one logs. It also holds the state of the random generators (rank 0's), so that it draws what that would have drawn.
    Lightning runs ``Checkpoint`` callbacks after all others.
    """

    def __init__(self, path: str, every: int, keep_every: int | None = None) -> None:
        self.path = Path(path)
        self.every, self.keep_every = every, keep_every
        self._random: dict[str, Any] | None = None
        self._saved_at = -1
        self._due: list[Path] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = steps_done(trainer)
        if trainer.should_stop or done % self.every == 0:
            self._due.append(self.path)
        if self.keep_every is not None and done % self.keep_every == 0:
            self._due.append(self.path.with_name(f"step_{done:07d}.ckpt"))
        if self._due and not validates_now(trainer):
            log_now(trainer)
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._saved_at != steps_done(trainer):  # stopped by the trainer's own limits
            self._due.append(self.path)
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        due, self._due = self._due, []
        for path in due:
            self._saved_at = steps_done(trainer) if path == self.path else self._saved_at
            trainer.save_checkpoint(path, weights_only=False)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.validating:  # as at the end of the batch, or a run continued at the end of an epoch skips one
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
            for counts in (progress["total"], progress["current"]):
                counts["completed"] = counts["processed"] - 1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Lightning counts batches for its loggers apart, and differently after each way of being restarted.
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.fit_loop.total_batch_idx
        forget_logged(trainer)
        if self._random is not None and trainer.is_global_zero:
            _set_random_state(self._random)
        self._random = None

    def forget_random_state(self) -> None:
        """Of the checkpoint that was restored: the generators go on as they are."""
        self._random = None

    def state_dict(self) -> dict[str, Any]:
        return {"random": _random_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict["random"]


def _random_state() -> dict[str, Any]:
    """The state of every global generator, in types that ``torch.load(weights_only=True)`` reads."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached),
        "python": (version, list(internal), gauss),
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
