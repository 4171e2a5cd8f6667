"""Does a person stay one person over the frames of a clip: M_tc_mu and M_tc_sigma (FIVA, eq. 7).

D is the full N x N matrix of cosine distances between the frames of a clip, zero diagonal included:

    mu = mean over clips of mean(D)        sigma = mean over clips of sqrt(1/N² ΣΣ (D_ij - mean(D))²)

The deviation is the population's, so two frames at distance d give mu = sigma = d / 2.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


def temporal_consistency(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the distances within each clip, (M,) each.

    Args:
        z: (M, N, D) unit embeddings of N frames of M clips.

    >>> mu, sigma = temporal_consistency(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))  # distance 1
    >>> mu, sigma
    (tensor([0.5000]), tensor([0.5000]))
    """
    distance = 1.0 - z @ z.mT  # (M, N, N)
    distance = distance * (1.0 - torch.eye(z.shape[1], device=z.device))
    flat = distance.flatten(1)
    return flat.mean(1), flat.std(1, correction=0)


class TemporalConsistency(Metric):
    """M_tc over clips; the class of :func:`temporal_consistency`.

    >>> metric = TemporalConsistency()
    >>> metric.update(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    >>> {name: value.item() for name, value in metric.compute().items()}
    {'mu': 0.25, 'sigma': 0.25}
    """

    full_state_update = False
    higher_is_better = False
    mu: Tensor
    sigma: Tensor
    clips: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("mu", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("sigma", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, z: Tensor) -> None:
        """z (M, N, D) unit norm."""
        mu, sigma = temporal_consistency(z)
        self.mu += mu.sum()
        self.sigma += sigma.sum()
        self.clips += len(mu)

    def compute(self) -> dict[str, Tensor]:
        """{"mu", "sigma"}; NaN without clips."""
        return {"mu": self.mu / self.clips, "sigma": self.sigma / self.clips}
