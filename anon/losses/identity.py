"""Identity losses on embeddings of unit norm, (B, D) each."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def cosine_loss(z: Tensor, z_wanted: Tensor) -> Tensor:
    """A swapper's loss, mean of ``1 - cos(z, z_wanted)`` (FaceDancer; FIVA eq. 6), in [0, 2]."""
    return (1.0 - F.cosine_similarity(z, z_wanted)).mean()


def counterfactual_cosine(z_target: Tensor, z_raw: Tensor, z_blended: Tensor) -> Tensor:
    """FIVA eq. 4, mean of ``2 + cos(I(X_t), I(X_a)) + cos(I(X_t), I(X_â))``, in [0, 4].

    >>> import torch
    >>> up, right = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    >>> counterfactual_cosine(up, right, -up).item()
    1.0
    """
    return (2.0 + F.cosine_similarity(z_target, z_raw) + F.cosine_similarity(z_target, z_blended)).mean()


class Cosine(nn.Module):
    """:func:`cosine_loss`."""

    def forward(self, z: Tensor, z_wanted: Tensor) -> Tensor:
        return cosine_loss(z, z_wanted)


class CounterfactualCosine(nn.Module):
    """:func:`counterfactual_cosine`."""

    def forward(self, z_target: Tensor, z_raw: Tensor, z_blended: Tensor) -> Tensor:
        return counterfactual_cosine(z_target, z_raw, z_blended)
