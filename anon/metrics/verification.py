"""Verification over batches: EER, TAR at a wanted FAR, AUC, accuracy, both errors (ROC and DET), protection success.

Most figures are those of :mod:`anon.identity.verification`; the classes keep the embeddings, since pairs are made of
faces of different batches and processes. The DET curve (Martin et al., Eurospeech 1997) is FRR over FAR with both axes
in normal deviates, ``torch.special.ndtri(rate)``; the ROC curve is ``1 - FRR`` over FAR.

An accuracy is that of a list with as many genuine as impostor pairs, as LFW's is (Huang et al., UMass TR 07-49, 2007):
``(TAR + 1 - FAR) / 2``, so that .5 is chance however many strangers the gallery holds.

The protection success rate (PSR) is the share of the genuine pairs accepted *before* the change that are rejected after
it. Four other figures have that name in the field; docs/metrics.md tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError
from anon.identity.verification import equal_error_rate, finite_distances, pair_distances, roc, threshold_at_far
from anon.metrics.detection import roc_auc
from anon.metrics.states import Kept, KnownMean


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


def balanced_accuracy(genuine: Tensor, impostor: Tensor, threshold: float) -> float:
    """Share of right verdicts at a threshold on equally many pairs of each kind, of distances (N,) and (M,).

    >>> balanced_accuracy(torch.tensor([0.1, 0.6]), torch.tensor([0.4, 0.7, 0.8, 0.9]), threshold=0.5)
    0.625
    """
    accepted = [float((finite_distances(part) < threshold).double().mean()) for part in (genuine, impostor)]
    return (accepted[0] + 1.0 - accepted[1]) / 2


def best_accuracy(genuine: Tensor, impostor: Tensor) -> tuple[float, float]:
    """The largest :func:`balanced_accuracy` of all thresholds, and the strictest threshold that has it.

    The threshold is chosen on the pairs that it judges, so this is what the best informed adversary reaches.

    >>> best_accuracy(torch.tensor([0.1, 0.6]), torch.tensor([0.4, 0.75, 0.8, 0.9]))  # below .75: both, and one of four
    (0.875, 0.75)

    Raises:
        UserError: no genuine or no impostor pair.
    """
    rates = roc(genuine, impostor)
    right = (rates.tar + 1.0 - rates.far) / 2
    place = int(right.argmax())
    return float(right[place]), float(rates.thresholds[place])


def protected(before: Tensor, after: Tensor, threshold: float) -> Tensor:
    """Whose changed face is rejected though the unchanged one was accepted, (B,): 1 or 0, NaN where neither was.

    Args:
        before, after: distances (B,) of the unchanged and of the changed face to the same enrolled one.
        threshold: a pair is accepted below it.

    >>> protected(torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0.8, 0.3, 0.9]), threshold=0.5)
    tensor([1., 0., nan])
    """
    rejected = (finite_distances(after) >= threshold).float()
    return torch.where(finite_distances(before) < threshold, rejected, torch.nan)


class ProtectionSuccess(KnownMean):
    """PSR: the mean of :func:`protected` over the pairs that were accepted before; its state ``faces`` counts them.

    >>> rate = ProtectionSuccess(threshold=0.5)
    >>> rate.update(torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0.8, 0.3, 0.9]))
    >>> rate.compute(), rate.faces
    (tensor(0.5000), tensor(2))
    """

    higher_is_better = True

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def each(self, *inputs: Tensor) -> Tensor:
        """Distances before and after (B,) -> :func:`protected`."""
        before, after = inputs
        return protected(before, after, self.threshold)


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
    """EER, TAR at ``far``, AUC and the best accuracy over all pairs of faces.

    Args:
        far: the wanted false accept rate.
        metric: as above.

    >>> metric = VerificationRates(far=0.5)
    >>> metric.update(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), torch.tensor([7, 7, 8]))
    >>> {name: round(value, 4) for name, value in metric.compute().items()}
    {'eer': 0.0, 'eer_threshold': 0.4, 'tar': 1.0, 'threshold': 1.0, 'far': 0.5, 'auc': 1.0, 'best_accuracy': 1.0}
    """

    def __init__(self, far: float = 1e-3, metric: str = "cosine") -> None:
        super().__init__(metric)
        self.far = far

    def compute(self) -> dict[str, float]:
        """eer, eer_threshold, tar, the threshold of tar with the FAR that it achieves, auc and best_accuracy.

        Raises:
            UserError: no faces, or too few pairs for the wanted rate.
        """
        genuine, impostor = self._pairs()
        eer, eer_threshold = equal_error_rate(genuine, impostor)
        threshold, achieved = threshold_at_far(impostor, self.far)
        tar = float((genuine < threshold).double().mean())
        figures = {"eer": eer, "eer_threshold": eer_threshold, "tar": tar, "threshold": threshold, "far": achieved}
        best, _ = best_accuracy(genuine, impostor)
        return figures | {"auc": roc_auc(genuine, impostor), "best_accuracy": best}


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
