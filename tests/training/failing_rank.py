"""A model that fails on one rank, for test_ddp.py."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from anon.errors import UserError
from tests.apps.tiny import Tiny


class FailsOnOneRank(Tiny):
    """Raises in its sixth batch on rank ``fails``; every rank leaves its process id in ``folder`` first."""

    def __init__(self, fails: int, folder: str, steps: int) -> None:
        super().__init__(steps=steps)
        self.fails, self.folder = fails, Path(folder)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        if batch_idx == 0:
            (self.folder / f"rank{self.global_rank}").write_text(str(os.getpid()))
        if batch_idx == 5 and self.global_rank == self.fails:
            raise UserError(f"rank {self.fails} has a fault.")
        super().training_step(batch, batch_idx)
