"""How a learning rate goes over a training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def warm_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at a ``step`` of ``steps``.

    Up linearly over a share ``warmup`` of the steps, then down along half a cosine to 1 %.

    >>> [round(warm_cosine(step, 110, 0.1), 3) for step in (0, 10, 11, 110)]
    [0.091, 1.0, 1.0, 0.01]
    """
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    progress = min(1.0, (step - rise) / max(1, steps - rise))
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(network: nn.Module, steps: int, lr: float, weight_decay: float, warmup: float) -> dict[str, Any]:
    """AdamW whose rate rises to ``lr`` over a share ``warmup`` of the steps and falls again (Smith & Topin, 2018).

    In the form in which Lightning takes it from ``configure_optimizers``.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=warmup)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def decayed(step: int, decay: float, every: int, staircase: bool) -> float:
    """Share of the learning rate that is multiplied by ``decay`` after so many steps, at once or smoothly.

    >>> decayed(150, 0.5, 100, True), round(decayed(150, 0.5, 100, False), 4)
    (0.5, 0.3536)
    """
    return decay ** (step // every if staircase else step / every)


def ramps(step: int, warmup: int, cooldown: int, steps: int | None) -> float:
    """Share of the rate while it rises in the first steps and falls to 0 in the last of ``steps``.

    >>> ramps(0, 4, 10, 100), ramps(50, 4, 10, 100), ramps(95, 4, 10, 100), ramps(95, 0, 0, None)
    (0.25, 1.0, 0.5, 1.0)
    """
    rising = (step + 1) / warmup if step < warmup else 1.0
    return rising * (min(1.0, max(0.0, (steps - step) / cooldown)) if cooldown and steps is not None else 1.0)
