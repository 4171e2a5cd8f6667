"""Whose identity each target shall get in a training step: the pairs of target-oriented swappers.

A source is another face of the same batch, so its embedding is known already; a *same pair* is a target with its own
identity, which has a right answer, the target itself (for a swapper; FIVA flees it). Both classes are called with the
number of faces, the index of the step and a generator on the faces' device, and return ``index`` (B,) int64, the source
of each target, and ``same`` (B,) bool. Where pairs differ, no face is its own source.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.errors import UserError


class MixedPairs:
    """Each face is a same pair with probability ``share``, at least one a batch is (FaceDancer's pair sampling).

    FaceDancer's share is 0.2; FaceShifter's published re-implementations take 0.2 to 0.5. Before step ``after`` all
    pairs are same: FIVA first learns to flee and then whom to become. With both from the beginning it copies its input
    for long.
    """

    def __init__(self, share: float = 0.2, after: int = 0) -> None:
        if not 0.0 <= share <= 1.0:
            raise UserError(f"the share of same pairs is a probability, not {share}.")
        if after < 0:
            raise UserError(f"pairs of different faces begin after a number of steps, not {after}.")
        self.share, self.after = share, int(after)

    def __call__(self, count: int, step: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        same = torch.rand(count, generator=rng, device=rng.device) < (self.share if step >= self.after else 1.0)
        if self.share > 0:
            same[0] |= ~same.any()  # the batch is shuffled, so the first face is any face
        return _sources(count, same, rng), same


class AlternatingPairs:
    """Same pairs in one step, different ones in the next (SimSwap)."""

    def __call__(self, count: int, step: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        same = torch.full((count,), step % 2 == 0, device=rng.device)
        return _sources(count, same, rng), same


def _sources(count: int, same: Tensor, rng: torch.Generator) -> Tensor:
    """Each face's source: itself where ``same``, else its neighbour on one random circle through all faces."""
    if count < 2 and not bool(same.all()):
        raise UserError("pairs of different faces need a batch of two or more; raise data.batch_size.")
    circle = torch.randperm(count, generator=rng, device=rng.device)
    index = torch.empty_like(circle)
    index[circle] = circle.roll(1)
    return torch.where(same, torch.arange(count, device=index.device), index)
