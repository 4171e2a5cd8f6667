"""A model and a data set of a few numbers, to test runs, checkpoints and ranks without faces."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from anon.errors import UserError


class Tiny(pl.LightningModule):
    """Least squares with two optimizers and noise from the global generator.

    ``stop_at`` raises Ctrl-C, or kills the process with no chance to clean up, at that step.
    """

    def __init__(self, width: int = 3, stop_at: int | None = None, by: str = "interrupt") -> None:
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = torch.nn.Linear(width, 1), torch.nn.Linear(width, 1)
        self.stop_at, self.by = stop_at, by

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        if self.stop_at is not None and self.trainer.fit_loop.total_batch_idx == self.stop_at:
            if self.by == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        for optimizer, layer in zip(self.optimizers(), (self.first, self.second), strict=True):
            loss = (layer(batch + 0.1 * torch.randn_like(batch)) - batch.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.log("loss", loss.detach(), prog_bar=True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(layer.parameters(), lr=0.05) for layer in (self.first, self.second)]


class TinyData(pl.LightningDataModule):
    """64 rows in a fixed order, read once."""

    def __init__(self, name: str = "tiny", width: int = 3, broken: bool = False) -> None:
        super().__init__()
        self.name, self.width, self.broken = name, width, broken

    def train_dataloader(self) -> Any:
        if self.broken:
            raise UserError("the folder /no/such/faces does not exist.")
        rows = torch.randn(64, self.width, generator=torch.Generator().manual_seed(0))
        return _Continued(rows, batch_size=4, generator=torch.Generator().manual_seed(1))


class _Continued(DataLoader):
    """A loader in a fixed order that continues where the checkpoint was written."""

    start = 0
    given = 0

    def __iter__(self) -> Any:
        self.given, self.start = self.start, 0
        for index, batch in enumerate(super().__iter__()):
            if index >= self.given:
                self.given += 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["given"]
