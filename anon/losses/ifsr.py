"""Interpreted feature similarity regularization (IFSR; FaceDancer section 3.4, FIVA section 3.4).

    d_l = mean over the batch of 1 - cos(flatten f_l(X_t), flatten f_l(X_c))
    L = sum over l of relu(d_l - s·m_l)

f_l are feature maps of the identity encoder, m_l margins measured from a trained swapper. FaceDancer scales them by
s = 1.2; FIVA takes one map per resolution and margins of 0. Deep maps hold the identity and must be left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def map_distances(target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
    """d_l of L pairs of maps (B, C_l, H_l, W_l) -> (L,), each in [0, 2]."""
    return torch.stack([map_distance(f_t, f_c).mean() for f_t, f_c in zip(target, changed, strict=True)])


def map_distance(one: Tensor, other: Tensor) -> Tensor:
    """1 - cos of flattened maps (B, ...) -> (B,), 0 to 2.

    Summed where they lie: torch's cosine wants them flat, which copies maps in channels_last, and divides whole maps.
    """
    one, other, inner = one.float(), other.float(), tuple(range(1, one.ndim))
    norms = torch.linalg.vector_norm(one, dim=inner) * torch.linalg.vector_norm(other, dim=inner)
    return 1.0 - (one * other).sum(inner) / norms.clamp(min=1e-8)


def ifsr(
    target: Sequence[Tensor], changed: Sequence[Tensor], margins: Tensor | None = None, scale: float = 1.2
) -> Tensor:
    """``sum over l of relu(d_l - scale·margins[l])``, margins (L,) on the maps' device; None: all 0."""
    distances = map_distances(target, changed)
    if margins is None:
        return distances.sum()  # distances are never negative
    if len(margins) != len(distances):
        raise ValueError(f"ifsr got {len(distances)} maps and {len(margins)} margins.")
    return F.relu(distances - scale * margins).sum()


class IFSR(nn.Module):
    """:func:`ifsr` with its margins, which lie on the device: nothing is sent there in a step."""

    margins: Tensor | None

    def __init__(self, margins: Sequence[float] | None = None, scale: float = 1.2) -> None:
        super().__init__()
        known = None if margins is None else torch.tensor([float(margin) for margin in margins])
        self.register_buffer("margins", known, persistent=False)
        self.scale = scale

    def forward(self, target: Sequence[Tensor], changed: Sequence[Tensor]) -> Tensor:
        return ifsr(target, changed, self.margins, self.scale)
