"""A label read off an embedding, for fake identities that keep it: skin tone, gender, age, whatever the data say.

A policy sees who a face is, and nothing else. So the label is read from z, by ridge regression on the training people
who are the anchors (Hoerl & Kennard, Technometrics 1970; one-hot targets, the group with the largest value), whose
labels the data know. How well that works is known too: each person left out in turn, in closed form.

What is kept is told: an anonymized face of a matched fake says that label of the person, by design.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError

RIDGES = tuple(10.0**power for power in range(-5, 3))  # shares of the mean squared singular value


class Kinds(NamedTuple):
    """``of`` (N,) int64: the group that each person is in, -1 unknown; ``names`` of the groups."""

    of: Tensor
    names: tuple[str, ...]


class LabelReader(nn.Module):
    """Which group of a label an embedding belongs to.

    Args:
        people: (N, D) unit vectors.
        kinds: their groups.
        label: its name, for sentences.

    Raises:
        UserError: a group of fewer than two people, of whom no anchor could be mixed.
    """

    of: Tensor
    weight: Tensor

    def __init__(self, people: Tensor, kinds: Kinds, label: str) -> None:
        super().__init__()
        counts = torch.bincount(kinds.of[kinds.of >= 0], minlength=len(kinds.names)).tolist()
        few = next((name for name, count in zip(kinds.names, counts, strict=True) if count < 2), None)
        if few is not None or not counts:
            raise UserError(
                f"policy.matched='{label}' needs two training people of each group to mix, and '{few or label}' has "
                "fewer: take more people (suite.anchors, data) or another label."
            )
        known = kinds.of >= 0
        own = F.one_hot(kinds.of[known], len(kinds.names)).double()
        weight, self._right = _fitted(people[known.to(people.device)].double().cpu(), own)
        self.register_buffer("of", kinds.of.to(people.device))
        self.register_buffer("weight", weight.float().to(people.device))

    @property
    def right(self) -> float:
        """The share of the people whose group is read rightly when the fit leaves them out."""
        return self._right

    def forward(self, z: Tensor) -> Tensor:
        """z (B, D) -> groups (B,)."""
        return (F.pad(z, (0, 1), value=1.0) @ self.weight).argmax(1)


def _fitted(z: Tensor, own: Tensor) -> tuple[Tensor, float]:
    """Weights (D + 1, C), the constant's last, by the ridge with the least error on who is left out; whom it read."""
    u, s, vt = torch.linalg.svd(F.pad(z, (0, 1), value=1.0), full_matrices=False)
    scale = s.square().mean()
    best: tuple[float, Tensor, float] | None = None
    for ridge in RIDGES:
        kept = s.square() / (s.square() + ridge * scale)
        leverage = (u.square() * kept).sum(1, keepdim=True)
        without = (u @ (kept[:, None] * (u.T @ own)) - leverage * own) / (1.0 - leverage).clamp_min(1e-9)
        error = float((without - own).square().mean())
        if best is None or error < best[0]:
            right = float((without.argmax(1) == own.argmax(1)).double().mean())
            best = error, vt.T @ ((s / (s.square() + ridge * scale))[:, None] * (u.T @ own)), right
    assert best is not None
    return best[1], best[2]
