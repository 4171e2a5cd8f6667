"""What a training answers to the sweeper that started it: the figures that ``monitor`` names, as they were last.

    python train.py experiment=fiva +sweep=optuna monitor=val/l1 'model.lr=tag(log,interval(1e-4,1e-3))'

A training validates on the background split, so no search ever sees the people that are evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hydra.core.hydra_config import HydraConfig
from torch import Tensor

from anon.apps.multirun import ForAllJobs

OPTUNA = "OptunaSweeper"


def check_monitor(monitor: str | Sequence[str] | None) -> None:
    """Refuse, before the first of many trainings, a search that would be told nothing.

    Raises:
        ForAllJobs: Optuna started this training, and ``monitor`` names no figure.
    """
    if not monitor and HydraConfig.initialized() and str(HydraConfig.get().sweeper.get("_target_")).endswith(OPTUNA):
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
