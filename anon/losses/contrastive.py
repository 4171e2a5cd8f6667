"""Class-weighted supervised contrastive loss (Khosla et al., NeurIPS 2020, eq. 2, "L_out"), and the weights.

    L_i = -1/|P(i)| · sum over p in P(i) of log( exp(z_i·z_p/τ) / sum over a ≠ i of exp(z_i·z_a/τ) )
    L   = sum_i w[y_i]·L_i / sum_i w[y_i]

P(i) are the other members of i's class in the batch. An anchor without one counts for nothing, but others still flee
it. With equal weights this is Khosla's loss; with those of :func:`inverse_frequency` rare classes count as much.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def supervised_contrastive(z: Tensor, labels: Tensor, weights: Tensor | None = None, tau: float = 0.1) -> Tensor:
    """The loss of one batch, () in natural-log units; 0 where no class has two members.

    Args:
        z: (B, D) unit norm.
        labels: (B,) int64; faces of unknown class (below 0) are left out altogether.
        weights: (classes,) weight of an anchor by its class; None: all alike.
        tau: temperature.

    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> supervised_contrastive(z, torch.tensor([0, 0, 1]), tau=1.0)  # both anchors: log(1 + exp(-1))
    tensor(0.3133)
    """
    z, labels = z[labels >= 0], labels[labels >= 0]
    other = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (labels[:, None] == labels[None]) & other  # (B, B), anchors in rows
    similarity = (z @ z.T / tau).masked_fill(~other, float("-inf"))
    log_share = similarity - similarity.logsumexp(1, keepdim=True)
    members = positive.sum(1)
    each = -log_share.masked_fill(~positive, 0.0).sum(1) / members.clamp(min=1)  # (B,)
    weight = torch.ones_like(each) if weights is None else weights.to(each)[labels]
    weight = weight * (members > 0)
    if not bool((weight > 0).any()):
        return z.sum() * 0.0
    return (torch.where(weight > 0, each, 0.0) * weight).sum() / weight.sum()


def inverse_frequency(counts: Tensor) -> Tensor:
    """Weights (C,) that make all classes count alike: N / (C'·n_c), C' the classes that occur; 0 for those that do not.

    >>> inverse_frequency(torch.tensor([6, 2, 0]))
    tensor([0.6667, 2.0000, 0.0000])
    """
    counts = counts.float()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum().clamp(min=1) * counts.clamp(min=1)), 0.0)


class SupervisedContrastive(nn.Module):
    """:func:`supervised_contrastive` with a fixed temperature."""

    def __init__(self, tau: float = 0.1) -> None:
        super().__init__()
        self.tau = tau

    def forward(self, z: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        return supervised_contrastive(z, labels, weights, self.tau)
