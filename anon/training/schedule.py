"""How a learning rate goes over a training."""

from __future__ import annotations

import math


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
