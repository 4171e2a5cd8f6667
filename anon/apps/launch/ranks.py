"""The processes that one training starts beside itself (``trainer=ddp``; Lightning's launcher), in a multirun as well.

Lightning starts them with the command line of this process, which in a multirun is that of the whole sweep: each would
go through all its jobs, with the run folder of the first and, in a search, with proposals of its own. So they get the
configuration of the job at hand, as its run folder holds it. Launching also leaves its mark on this process, by which
the next job would take itself for one that somebody else has started; that is undone.

    python train.py -m experiment=fiva trainer=ddp seed=0,1

Where somebody kills this process, they end by themselves (:func:`end_with_rank_zero`).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from omegaconf import DictConfig

from anon.apps.config import CONFIG
from anon.apps.launch.multirun import in_multirun
from anon.errors import UserError

HANDED_DOWN = "ANON_RUN_DIR"  # in the environment of the ranks that rank 0 starts: the run folder,
_STARTED_BY = "ANON_RANK_0"  # and rank 0's process
_SHARDED = ("fsdp", "deepspeed", "modelparallel", "model_parallel")
_SET_BY_LAUNCHING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE", "OMP_NUM_THREADS")


def rank() -> int:
    """Rank of this process, from what torchrun, SLURM or Lightning's launcher put into the environment; 0 leads."""
    names = ("RANK",) if HANDED_DOWN in os.environ and "LOCAL_RANK" in os.environ else ("RANK", "SLURM_PROCID")
    for name in names:  # what Lightning starts inside a SLURM task has that task's number
        value = os.environ.get(name, "")
        if value.isdigit():
            return int(value)
    return int(os.environ.get("LOCAL_RANK", "0")) + int(os.environ.get("NODE_RANK", "0"))


def slurm_job() -> str | None:
    """The SLURM job that this process belongs to, as scontrol names it: ``41``, or ``40_7`` in an array."""
    array = [os.environ.get(name, "") for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")]
    return "_".join(array) if all(array) else os.environ.get("SLURM_JOB_ID") or None


def started_by_srun() -> bool:
    """Whether SLURM started this process as a task of a step; a script of sbatch or a shell of salloc is none.

    The numbers of tasks and ranks in the environment are then those of the allocation, and nobody else has them.
    """
    step = os.environ.get("SLURM_STEP_ID", os.environ.get("SLURM_STEPID", ""))
    return step.isdigit() and int(step) < 2**32 - 16  # above are the batch script's and its like


def requeued() -> bool:
    """Whether this SLURM job ran before: preempted, out of time or on a node that failed."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


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
    together = torch.distributed
    joined = together.is_available() and together.is_initialized()
    before = {name: os.environ.get(name) for name in (*_SET_BY_LAUNCHING, _STARTED_BY)}
    argv, threads = sys.argv, torch.get_num_threads()
    os.environ[_STARTED_BY] = str(os.getpid())
    if in_multirun():
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
        if together.is_available() and together.is_initialized() and not joined:
            together.destroy_process_group()
        torch.set_num_threads(threads)


def end_with_rank_zero(seconds: float = 20.0) -> None:
    """See that this process, if rank 0 started it, ends at most so many seconds after rank 0, whatever it is doing.

    A rank that trains hears of a lost connection and says so. One that joins would wait half an hour for a rank 0 that
    was killed.
    """
    parent = os.environ.get(_STARTED_BY, "")

    def watch() -> None:
        while str(os.getppid()) == parent:
            time.sleep(1.0)
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    if parent and HANDED_DOWN in os.environ:
        threading.Thread(target=watch, daemon=True).start()
