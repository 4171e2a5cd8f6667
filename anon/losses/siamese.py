"""The contrastive loss of a siamese network (Hadsell, Chopra & LeCun, CVPR 2006, eq. 4), CIAGAN's identity loss."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def siamese(first: Tensor, second: Tensor, same: Tensor | None = None, margin: float = 3.0) -> Tensor:
    """Mean of ``½ d²`` over pairs of one person and ``½ relu(margin - d)²`` over pairs of two; d is Euclidean.

    Args:
        first, second: (B, D) raw embeddings.
        same: (B,) bool; None: all pairs shall be one person.

    >>> import torch
    >>> pair = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.6, 0.8]])  # 1 apart
    >>> siamese(*pair, torch.tensor([False])).item(), siamese(*pair).item()
    (2.0, 0.5)
    """
    square = (first.float() - second.float()).square().sum(1)
    together = 0.5 * square
    if same is None:
        return together.mean()
    apart = 0.5 * F.relu(margin - (square + 1e-12).sqrt()).square()
    return (together * same + apart * ~same).mean()


class Siamese(nn.Module):
    """:func:`siamese` of pairs that shall be one person: what is drawn, and a picture of whom it shall be."""

    def forward(self, drawn: Tensor, wanted: Tensor) -> Tensor:
        return siamese(drawn, wanted)
