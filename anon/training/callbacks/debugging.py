"""Callbacks for finding out what is wrong with a training: one batch over and over, and where the time goes.

python train.py experiment=fiva debug=overfit
python train.py experiment=fiva debug=profile
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.profiler import ProfilerActivity

from anon.errors import UserError


class OneBatch(Callback):
    """Every step trains on the first batch; a network that can learn must fit it, so its losses fall.

    Lightning's ``overfit_batches`` replaces the sampler of a DataLoader; our stream is none, and would go on.
    """

    def __init__(self) -> None:
        self._first: dict[str, Any] | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put the first batch's content into the batch that the step is about to see.

        Raises:
            UserError: the batch is no dict of tensors, so its content cannot be replaced.
        """
        if not isinstance(batch, dict):
            raise UserError("debug=overfit needs batches that are dicts; this experiment has others.")
        if self._first is None:
            self._first = _copied(batch)
        batch.clear()
        batch.update(_copied(self._first))  # a step may change what it is given


class Profile(Callback):
    """Records some steps with torch.profiler: a trace and a table of operators in ``folder``, rank 0's.

    Args:
        folder: gets ``trace.json`` (for ui.perfetto.dev or chrome://tracing) and ``table.txt``.
        wait, warmup, active: steps that run unobserved, that are observed and thrown away, and that are recorded.
        rows: operators in the table, those that take longest themselves.
    """

    def __init__(self, folder: str, wait: int = 5, warmup: int = 2, active: int = 5, rows: int = 40) -> None:
        if min(wait, warmup) < 0 or active < 1:
            raise UserError("a profile needs wait and warmup of at least 0 and active of at least 1 steps.")
        self.folder, self.rows = Path(folder), rows
        self.needed = wait + warmup + active
        self.schedule = torch.profiler.schedule(wait=wait, warmup=warmup, active=active, repeat=1)
        self._running: torch.profiler.profile | None = None
        self._on_gpu = self._written = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self._on_gpu = pl_module.device.type == "cuda"
            activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self._on_gpu
            self._running = torch.profiler.profile(
                activities=activities, schedule=self.schedule, on_trace_ready=self._write
            )
            self._running.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._running is not None:
            self._running.step()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()
        if trainer.is_global_zero and not self._written:
            raise UserError(f"the training ended before its profile, which takes {self.needed} steps; raise steps.")

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _write(self, profile: torch.profiler.profile) -> None:
        events = profile.key_averages()
        longest = "self_cuda_time_total" if self._on_gpu else "self_cpu_time_total"
        table = events.table(sort_by=longest, row_limit=self.rows, max_name_column_width=60)
        trace, listing = self.folder / "trace.json", self.folder / "table.txt"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            beside = self.folder / f".{os.getpid()}.json"
            profile.export_chrome_trace(str(beside))
            beside.replace(trace)
            beside.write_text(table + "\n", encoding="utf-8")
            beside.replace(listing)
        except OSError as error:
            raise UserError(f"the profile cannot be written to '{self.folder}' ({error.strerror}).") from error
        self._written = True
        print(f"profile: operators in {listing}, trace in {trace} (open it in ui.perfetto.dev)", flush=True)


def _copied(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in batch.items()}
