"""Verification over batches: EER, TAR at a wanted FAR, and the curve of both errors (ROC and DET).

The figures are those of :mod:`anon.identity.verification`; the classes keep the embeddings, since pairs are made of
faces of different batches and processes. The DET curve (Martin et al., Eurospeech 1997) is FRR over FAR with both axes
in normal deviates, ``torch.special.ndtri(rate)``; the ROC curve is ``1 - FRR`` over FAR.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError
from anon.identity.verification import equal_error_rate, pair_distances, roc, threshold_at_far
from anon.metrics.states import Kept


class Errors(NamedTuple):
    """Points of the curve, thresholds rising: false accept and false reject rate at each, all (T,) float64."""

    thresholds: Tensor
    far: Tensor
    frr: Tensor


def error_tradeoff(genuine: Tensor, impostor: Tensor, fars: Sequence[float] | None = None) -> Errors:
    """FAR and FRR of distances (N,) and (M,), at every step or at wanted rates.

    Args:
        fars: false accept rates in [0, 1]; each gives the largest threshold that does not exceed it, and ``far`` is
            what that achieves. None: every step, of which there may be N + M.

    >>> genuine, impostor = torch.tensor([0.1, 0.6]), torch.tensor([0.5, 0.7])
    >>> error_tradeoff(genuine, impostor).frr.tolist()  # below .1, .5, .6, .7, infinity
    [1.0, 0.5, 0.5, 0.0, 0.0]
    >>> error_tradeoff(genuine, impostor, fars=(0.0, 0.5)).frr.tolist()
    [0.5, 0.0]

    Raises:
        UserError: no genuine or no impostor pair, or a wanted rate between 0 and 1 / M, which M pairs cannot tell.
    """
    rates = roc(genuine, impostor)
    if fars is None:
        return Errors(rates.thresholds, rates.far, 1.0 - rates.tar)
    unfit = [far for far in fars if not 0.0 <= far <= 1.0 or 0.0 < far < (1.0 - 1e-9) / len(impostor)]
    if unfit:
        raise UserError(f"{len(impostor)} impostor pairs cannot tell a false accept rate of {unfit[0]:g}.")
    wanted = torch.tensor(fars, dtype=torch.float64, device=rates.far.device) + 1e-9 / len(impostor)
    place = torch.searchsorted(rates.far, wanted, right=True) - 1
    return Errors(rates.thresholds[place], rates.far[place], 1.0 - rates.tar[place])


class _LabelledEmbeddings(Kept):
    """Keeps embeddings and whose they are.

    Args:
        metric: the judge's; see :func:`anon.identity.verification.distance`.
    """

    parts = ("z", "labels")  # embeddings (B, D) and the identities (B,)
    empty = "Verification needs faces, got none."

    def __init__(self, metric: str = "cosine") -> None:
        super().__init__()
        self.metric = metric

    def _pairs(self) -> tuple[Tensor, Tensor]:
        z, labels = self.kept()
        return pair_distances(z, labels, metric=self.metric)


class VerificationRates(_LabelledEmbeddings):
    """EER and TAR at ``far`` over all pairs of faces.

    Args:
        far: the wanted false accept rate.
        metric: as above.

    >>> metric = VerificationRates(far=0.5)
    >>> metric.update(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), torch.tensor([7, 7, 8]))
    >>> {name: round(value, 4) for name, value in metric.compute().items()}
    {'eer': 0.0, 'eer_threshold': 0.4, 'tar': 1.0, 'threshold': 1.0, 'far': 0.5}
    """

    def __init__(self, far: float = 1e-3, metric: str = "cosine") -> None:
        super().__init__(metric)
        self.far = far

    def compute(self) -> dict[str, float]:
        """eer, eer_threshold, tar, and the threshold of tar with the FAR that it achieves.

        Raises:
            UserError: no faces, or too few pairs for the wanted rate.
        """
        genuine, impostor = self._pairs()
        eer, eer_threshold = equal_error_rate(genuine, impostor)
        threshold, achieved = threshold_at_far(impostor, self.far)
        tar = float((genuine < threshold).double().mean())
        return {"eer": eer, "eer_threshold": eer_threshold, "tar": tar, "threshold": threshold, "far": achieved}


class ErrorTradeoff(_LabelledEmbeddings):
    """:func:`error_tradeoff` over all pairs of faces.

    Args:
        fars: as there.
        metric: as above.
    """

    def __init__(self, fars: Sequence[float] | None = None, metric: str = "cosine") -> None:
        super().__init__(metric)
        self.fars = fars

    def compute(self) -> Errors:
        """The points.

        Raises:
            UserError: no faces, no pairs of one kind, or too few for a wanted rate.
        """
        return error_tradeoff(*self._pairs(), self.fars)
