"""Run by test_ddp.py: two steps of FIVA in two gloo processes; each rank saves its weights and what it saw."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

import anon  # noqa: F401  before Lightning: it mends torchvision
from tests.training import small

if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, strategy = Path(sys.argv[1]), sys.argv[2]
    module = small.module()
    seen: list[torch.Tensor] = []
    module.generator.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    trainer = small.trainer(folder, 2, strategy=strategy, devices=2)
    trainer.fit(module, datamodule=small.data())
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    torch.save({"state": module.state_dict(), "seen": torch.stack(seen)}, folder / f"rank{rank}.pt")
