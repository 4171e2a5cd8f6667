"""Exponential moving average of a generator's weights, the copy that is evaluated, shown and shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA(nn.Module):
    """A frozen copy of ``model`` in eval mode, ``.model``, that follows it.

    Args:
        model: what is averaged; the copy starts equal to it.
        decay: share of the old average kept at each update. Early on it is less, ``(1 + n) / (10 + n)`` at update n,
            so that the random start does not linger (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, number: int) -> None:
        """Move towards ``model`` after its optimizer step ``number``, counted from 0 over the whole training."""
        weight = 1.0 - min(self.decay, (1.0 + number) / (10.0 + number))
        ours = [parameter.detach() for parameter in self.model.parameters()]
        theirs = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_lerp_(ours, theirs, weight)
        for mine, other in zip(self.model.buffers(), model.buffers(), strict=True):
            if mine.is_floating_point():  # a batch norm's statistics belong to the averaged weights
                mine.lerp_(other, weight)
            else:
                mine.copy_(other)

    def train(self, mode: bool = True) -> EMA:
        """Stays in evaluation mode."""
        return super().train(False)
