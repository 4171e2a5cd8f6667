"""How far a face's look moved, in units of how different two people look.

The look is a vector (N, K) whose Euclidean distance says how different two faces look, such as
:class:`anon.attributes.look.LookRegressor` reads it. 1: as different as two people; the floor: what two pictures of one
person differ by, pose, light and the reader's errors being what they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.metrics.states import Kept


def mean_distances(look: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean distance of every face (N,) to the other faces of its own person, and to those of everybody else.

    NaN where there is no such face.

    Args:
        look: (N, K).
        labels: (N,) identities.

    >>> look = torch.tensor([[0.0], [1.0], [4.0]])
    >>> mean_distances(look, torch.tensor([0, 0, 1]))
    (tensor([1., 1., nan]), tensor([4.0000, 3.0000, 3.5000]))
    """
    apart = torch.cdist(look.double(), look.double())  # by a matrix product, whose rounding single precision shows
    same = labels[:, None] == labels
    own = same & ~torch.eye(len(look), dtype=torch.bool, device=look.device)

    def mean(chosen: Tensor) -> Tensor:
        return (torch.where(chosen, apart, 0.0).sum(1) / chosen.sum(1)).float()  # 0 / 0 is NaN

    return mean(own), mean(~same)


def look_moved(changed: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    """Mean distance of changed faces to their originals over that of two different people's originals, ().

    Args:
        changed, target: (N, K) looks of the faces after and before.
        labels: (N,) identities.

    >>> target = torch.tensor([[0.0], [4.0]])
    >>> look_moved(target + 1.0, target, torch.tensor([0, 1]))
    tensor(0.2500)
    """
    return (changed - target).norm(dim=1).mean() / mean_distances(target, labels)[1].nanmean()


class LookMoved(Kept):
    """:func:`look_moved` of all faces that were seen; ``update(changed, target, labels)``."""

    higher_is_better = True
    parts = ("changed", "target", "labels")
    empty = "LookMoved has seen no {name} faces."

    def compute(self) -> Tensor:
        """() float32."""
        return look_moved(*self.kept())
