"""Many jobs of one command: one that fails is told, the next one goes on, and the end says which failed.

    python train.py -m experiment=fiva seed=0,1,2,3
    python train.py -m hydra/launcher=parallel experiment=fiva seed=0,1,2,3    # two at a time

Jobs may run in other processes, even on other machines: what failed is in ``failed.jsonl`` in the multirun's folder.
The exit code is 0 where none failed, 2 where every failure is a mistake that the user can mend, and else 1. Ctrl-C and
the signals that ask a training to stop end all jobs of the process that they reach.

A sweeper that searches is told the figures that ``monitor`` names, as they were last. A training validates on the
background split, so no search ever sees the people that are evaluated.

    python train.py experiment=fiva +sweep=optuna monitor=val/l1 'model.lr=tag(log,interval(1e-4,1e-3))'
"""

from __future__ import annotations

import json
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from anon.apps.launch.failures import explain, is_mistake
from anon.commands import shortened
from anon.errors import UserError

FAILED = "failed.jsonl"
_started: list[Path] = []  # folders of the multiruns that this process has started


class ForAllJobs(UserError):
    """A mistake that every other job would make as well: the multirun ends at once."""


class Failures(Callback):
    """Hydra's callback (``hydra.callbacks``): notes where the multirun that begins keeps what fails."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(str(config.hydra.sweep.dir)).absolute()
        with suppress(OSError):  # those of an earlier one in the same folder
            (folder / FAILED).unlink(missing_ok=True)
        _started.append(folder)


def in_multirun() -> bool:
    """Whether this is a job of many."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def attempt(task: Callable[[], object], show_traceback: bool = False) -> object:
    """The answer of one job; None where it fails, which is told and noted.

    Raises:
        ForAllJobs: by the task.
    """
    try:
        return task()
    except ForAllJobs:
        raise
    except Exception as error:  # a bug of one job does not end the others, either
        mistake = is_mistake(error)
        sentence = shortened((explain(error) if mistake else None) or f"{type(error).__name__}: {error}")
        if show_traceback or not mistake:
            traceback.print_exc()
        hydra: Any = HydraConfig.get()
        number = OmegaConf.select(hydra, "job.num", default=0)
        job = {"job": number, "overrides": list(hydra.overrides.task), "error": sentence}
        print(f"error: {_told(job)}; the multirun goes on.", file=sys.stderr, flush=True)
        folder = Path(str(hydra.sweep.dir)).absolute()
        with suppress(OSError):  # told it is already
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / FAILED).open("a", encoding="utf-8") as lines:  # one write: jobs may fail at the same time
                lines.write(json.dumps({**job, "mistake": mistake}) + "\n")
        return None


def failures() -> int:
    """Say on stderr which jobs of this process's multiruns failed; returns the exit code that this comes to."""
    jobs: list[dict[str, Any]] = []
    for folder in _started:
        with suppress(OSError):
            jobs += [json.loads(line) for line in (folder / FAILED).read_text(encoding="utf-8").splitlines()]
    _started.clear()
    if not jobs:
        return 0
    print(f"{len(jobs)} job{'s' if len(jobs) > 1 else ''} of this multirun failed:", file=sys.stderr)
    for job in sorted(jobs, key=lambda job: job["job"]):
        print(f"  {_told(job)}", file=sys.stderr)
    return 2 if all(job["mistake"] for job in jobs) else 1


def _told(job: dict[str, Any]) -> str:
    return f"job {job['job']} ({' '.join(job['overrides'])}) failed: {job['error'].rstrip('.')}"


def check_monitor(monitor: str | Sequence[str] | None) -> None:
    """Refuse, before the first of many trainings, a search that would be told nothing.

    Raises:
        ForAllJobs: Optuna started this training, and ``monitor`` names no figure.
    """
    sweeper = HydraConfig.get().sweeper if HydraConfig.initialized() else {}
    if not monitor and str(sweeper.get("_target_")).endswith("OptunaSweeper"):
        raise ForAllJobs("a search needs monitor=<figure of metrics.csv>, such as monitor=val/l1.")


def monitored(figures: Mapping[str, Tensor | float], monitor: str | Sequence[str] | None) -> float | list[float] | None:
    """The figures that the search is about: one number for a name, a list for a list.

    Args:
        figures: the last value of everything that was logged, ``trainer.callback_metrics``.
        monitor: names; None: nobody asks.

    Returns:
        None where a figure is not finite: Optuna notes such a trial as failed and goes on.

    Raises:
        ForAllJobs: a figure that was not logged.

    >>> monitored({"val/l1": 0.25, "val/cos_own": 0.5}, ["val/cos_own", "val/l1"])
    [0.5, 0.25]
    """
    if not monitor:
        return None
    names = [monitor] if isinstance(monitor, str) else list(monitor)
    for name in names:
        if name not in figures:
            raise ForAllJobs(f"monitor={name} was not logged; there are: {', '.join(sorted(figures)) or 'no figures'}.")
    values = [float(figures[name]) for name in names]
    if not all(math.isfinite(value) for value in values):
        return None
    return values[0] if isinstance(monitor, str) else values
