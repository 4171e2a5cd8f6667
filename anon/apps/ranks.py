"""The processes that one training starts beside itself (``trainer=ddp``; Lightning's launcher), in a multirun as well.

Lightning starts them with the command line of this process, which in a multirun is that of the whole sweep: each would
go through all its jobs, with the run folder of the first and, in a search, with proposals of its own. So they get the
configuration of the job at hand, as its run folder holds it. Launching also leaves its mark on this process, by which
the next job would take itself for one that somebody else has started; that is undone.

    python train.py -m experiment=fiva trainer=ddp seed=0,1
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from anon.errors import UserError

CONFIG = "config.yaml"  # in a run folder: the resolved configuration
_SHARDED = ("fsdp", "deepspeed", "modelparallel", "model_parallel")
_SET_BY_LAUNCHING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS")


def check_strategy(trainer: DictConfig) -> None:
    """Before anything is made, refuse the strategies that cut a network into pieces.

    Raises:
        UserError: ``trainer.strategy`` is one of them, by its name or its class.
    """
    strategy = trainer.get("strategy") or "auto"
    name = strategy if isinstance(strategy, str) else str(strategy.get("_target_")).rpartition(".")[2]
    if any(word in name.lower() for word in _SHARDED):
        raise UserError(
            f"trainer.strategy={name} is not served: it cuts networks into pieces, and those of a training fit whole "
            "into any GPU, optimizers and average included; use trainer=ddp."
        )


@contextmanager
def own_ranks(folder: Path) -> Iterator[None]:
    """Inside, what is started trains in the run folder ``folder``; afterwards this process is as it was before."""
    joined = _joined()
    before = {name: os.environ.get(name) for name in _SET_BY_LAUNCHING}
    argv, threads = sys.argv, torch.get_num_threads()
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        logging = [f"hydra/{kind}_logging=quiet" for kind in ("job", "hydra")]
        sys.argv = [argv[0], "--config-dir", str(folder), "--config-name", CONFIG, *logging]
    try:
        yield
    finally:
        sys.argv = argv
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if _joined() and not joined:
            torch.distributed.destroy_process_group()
        torch.set_num_threads(threads)


def wait_for(started: Sequence[subprocess.Popen], seconds: float = 60.0) -> None:
    """Until these processes, which are done, have ended too, so that the next job finds their memory free."""
    for process in started:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _joined() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
