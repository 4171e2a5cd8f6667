"""A model and a data set of a few numbers, to test runs, checkpoints and ranks without faces."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from anon.errors import UserError


class Tiny(pl.LightningModule):
    """Least squares with two optimizers and noise from the global generator.

    ``stop_at`` raises Ctrl-C, or kills the process with no chance to clean up, at that step. With ``falls`` the rate
    falls to 0 over ``steps``; ``start`` is a file of weights to begin from; a step takes ``nap`` seconds.
    The first step waits until another run has come to the folder ``meet``, so that only runs at the same time end well.
    """

    def __init__(
        self,
        width: int = 3,
        stop_at: int | None = None,
        by: str = "interrupt",
        lr: float = 0.05,
        falls: bool = False,
        steps: int = 1,
        start: str | None = None,
        nap: float = 0.0,
        meet: str | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.first, self.second = torch.nn.Linear(width, 1), torch.nn.Linear(width, 1)
        self.stop_at, self.by, self.lr, self.falls, self.steps = stop_at, by, lr, falls, steps
        self.nap, self.meet = nap, meet
        if start is not None:
            self.first.weight.data.copy_(torch.load(start, weights_only=True))

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        if self.stop_at is not None and self.trainer.fit_loop.total_batch_idx == self.stop_at:
            if self.by == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt
        if self.meet is not None and self.trainer.fit_loop.total_batch_idx == 0:
            meet_another(Path(self.meet))
        time.sleep(self.nap)
        for optimizer, layer in zip(self.optimizers(), (self.first, self.second), strict=True):
            loss = (layer(batch + 0.1 * torch.randn_like(batch)) - batch.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            self.log("loss", loss.detach(), prog_bar=True)
        if self.falls:
            self.log("lr", self.optimizers()[0].param_groups[0]["lr"])
            for schedule in self.lr_schedulers():
                schedule.step()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/loss", (self.first(batch) - batch.sum(1, keepdim=True)).square().mean())

    def configure_optimizers(self) -> Any:
        made = [torch.optim.Adam(layer.parameters(), lr=self.lr) for layer in (self.first, self.second)]
        if not self.falls:
            return made
        return made, [torch.optim.lr_scheduler.LambdaLR(each, lambda at: 1 - at / self.steps) for each in made]


def meet_another(folder: Path, seconds: float = 120.0) -> None:
    """Come to a folder and wait there for another process, however slow the machine is.

    Raises:
        TimeoutError: nobody came.
    """
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + seconds
    while len(list(folder.iterdir())) < 2:
        if time.monotonic() > end:
            raise TimeoutError("no other run came at the same time")
        time.sleep(0.05)


class TinyData(pl.LightningDataModule):
    """64 rows in a fixed order, read once, drawn or from the file ``root``."""

    def __init__(
        self, name: str = "tiny", width: int = 3, broken: bool = False, batch_size: int = 4, root: str | None = None
    ) -> None:
        super().__init__()
        self.name, self.width, self.broken, self.batch_size, self.root = name, width, broken, batch_size, root

    def train_dataloader(self) -> Any:
        if self.broken:
            raise UserError("the folder /no/such/faces does not exist.")
        return _Continued(self.rows(), batch_size=self.batch_size, generator=torch.Generator().manual_seed(1))

    def val_dataloader(self) -> Any:
        return DataLoader(self.rows()[:8], batch_size=4)

    def rows(self) -> Any:
        if self.root is not None:
            return torch.load(self.root, weights_only=True)
        return torch.randn(64, self.width, generator=torch.Generator().manual_seed(0))


class _Continued(DataLoader):
    """A loader in a fixed order that continues where the checkpoint was written."""

    start = 0
    given = 0

    def __iter__(self) -> Any:
        self.given, self.start = self.start % len(self), 0  # a checkpoint of an epoch's end begins the next
        for index, batch in enumerate(super().__iter__()):
            if index >= self.given:
                self.given += 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.start = state["given"]
