"""A training that goes on with other settings than its checkpoint was made with: the optimizers take the new ones.

Restoring an optimizer restores its rates, betas and decay with its moments, and restoring a schedule its peak and its
length. Where the settings have changed, the moments and the step are the checkpoint's, and all else is as configured.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from anon.training.callbacks.steps import LastCheckpoint

_REACHED = ("last_epoch", "_step_count")  # of a schedule: how far it is


class GivenSettings(Callback):
    """Keeps the optimizers' settings as the model configures them, whatever the checkpoint holds.

    Args:
        seed: the seed has changed too: the random generators do not take the checkpoint's state.
    """

    def __init__(self, seed: bool = False) -> None:
        self.seed = seed
        self._groups: list[list[dict[str, Any]]] = []
        self._schedules: list[dict[str, Any]] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Before the checkpoint is restored."""
        self._groups = [
            [{name: copy.copy(group[name]) for name in group if name != "params"} for group in each.param_groups]
            for each in trainer.optimizers
        ]
        self._schedules = [copy.deepcopy(each.scheduler.state_dict()) for each in trainer.lr_scheduler_configs]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for optimizer, groups in zip(trainer.optimizers, self._groups, strict=True):
            for group, given in zip(optimizer.param_groups, groups, strict=True):
                group.update(given)
        for each, given in zip(trainer.lr_scheduler_configs, self._schedules, strict=True):
            schedule: Any = each.scheduler
            reached = schedule.state_dict()
            schedule.load_state_dict({**given, **{name: reached[name] for name in _REACHED if name in reached}})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # asked outside of its step()
                rates = getattr(schedule, "_get_closed_form_lr", schedule.get_lr)()
            for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            schedule._last_lr = list(rates)
        if self.seed:
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if isinstance(callback, LastCheckpoint):
                    callback.forget_random_state()
