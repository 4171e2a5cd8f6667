"""Does a person stay one person over the frames of a clip: M_tc_mu and M_tc_sigma (FIVA, eq. 7), identity invariance.

D is the full N x N matrix of cosine distances between the frames of a clip, zero diagonal included:

    mu = mean over clips of mean(D)        sigma = mean over clips of sqrt(1/N² ΣΣ (D_ij - mean(D))²)

The deviation is the population's, so two frames at distance d give mu = sigma = d / 2.

The identity invariance score (Balaji et al., as the book's section 3.3 tells it) is the distance between every two
successive frames, averaged over the clip: it sees flicker, and not the slow drift that mu sees.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anon.errors import UserError
from anon.identity.verification import distance as identity_distance
from anon.metrics.states import FaceMean, FaceMeans


def temporal_consistency(z: Tensor, metric: str = "cosine") -> tuple[Tensor, Tensor]:
    """Mean and deviation of the distances within each clip, (M,) each.

    Args:
        z: (M, N, D) embeddings of N frames of M clips; unit vectors for "cosine".
        metric: the judge's; see :func:`anon.identity.verification.distance`. The paper's is cosine.

    >>> mu, sigma = temporal_consistency(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))  # distance 1
    >>> mu, sigma
    (tensor([0.5000]), tensor([0.5000]))
    """
    # (M, N, N)
    distance = 1.0 - z @ z.mT if metric == "cosine" else identity_distance(z[:, :, None], z[:, None], metric)
    distance = distance * (1.0 - torch.eye(z.shape[1], device=z.device))
    flat = distance.flatten(1)
    return flat.mean(1), flat.std(1, correction=0)


class TemporalConsistency(FaceMeans):
    """M_tc over clips; the class of :func:`temporal_consistency`.

    >>> metric = TemporalConsistency()
    >>> metric.update(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    >>> {name: value.item() for name, value in metric.compute().items()}
    {'mu': 0.25, 'sigma': 0.25}
    """

    higher_is_better = False
    names = ("mu", "sigma")

    def each(self, *inputs: Any, **named: Any) -> dict[str, Tensor]:
        """z (M, N, D) unit norm -> (M,) each."""
        return dict(zip(self.names, temporal_consistency(*inputs, **named), strict=True))


def identity_invariance(z: Tensor, metric: str = "cosine") -> Tensor:
    """Mean distance of successive frames, (M,); 0: the same face in all of them.

    Args:
        z: (M, N, D) embeddings of N frames of M clips, in order; unit vectors for "cosine".
        metric: the judge's; see :func:`anon.identity.verification.distance`.

    >>> identity_invariance(torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]))  # distances 1 and 0
    tensor([0.5000])

    Raises:
        UserError: clips of one frame.
    """
    if z.shape[1] < 2:
        raise UserError(f"Identity invariance compares successive frames, and the clips have {z.shape[1]}.")
    return identity_distance(z[:, 1:], z[:, :-1], metric).mean(1)


class IdentityInvariance(FaceMean):
    """Mean of :func:`identity_invariance` over clips.

    >>> score = IdentityInvariance()
    >>> score.update(torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]))
    >>> score.compute()
    tensor(0.5000)
    """

    higher_is_better = False

    def __init__(self, metric: str = "cosine") -> None:
        super().__init__()
        self.metric = metric

    def each(self, *inputs: Tensor) -> Tensor:
        """z (M, N, D) -> (M,)."""
        return identity_invariance(inputs[0], self.metric)
