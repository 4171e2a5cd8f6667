"""Changed faces told from genuine ones by a distance that is larger for changed ones: AUC, EER, shares flagged.

FIVA (ICCVW 2023), section 3.6 and figure 5: the distance is the judge's, between a face and its reconstruction R(face);
whatever does not lie below a threshold (the paper's is 0.6) is called changed.

    AUC = P(d_changed > d_genuine) + P(d_changed = d_genuine) / 2        (Mann and Whitney; .5 is chance)
    EER = the share of wrong verdicts where it is the same for genuine and for changed faces, on the ROC curve with
          straight lines between its points (so ties weigh as in the AUC: distances that are all equal give .5)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError
from anon.identity.verification import finite_distances
from anon.metrics.states import Kept

THRESHOLD = 0.6  # cosine distance, FIVA, section 3.6


class Resampled(NamedTuple):
    """AUC and EER of each resample, (R,) float64; NaN where one kind of face was not drawn."""

    auc: Tensor
    eer: Tensor


def roc_auc(genuine: Tensor, changed: Tensor) -> float:
    """Area under the ROC curve of distances (N,) and (M,); a tie counts half.

    >>> roc_auc(torch.tensor([0.1, 0.5]), torch.tensor([0.5, 0.9]))  # pairs: right, right, tie, right
    0.875

    Raises:
        UserError: no genuine or no changed face.
    """
    if genuine.numel() == 0 or changed.numel() == 0:
        raise UserError(f"An AUC needs genuine and changed faces, got {genuine.numel()} and {changed.numel()}.")
    ordered, other = genuine.double().sort().values, changed.double()
    below = torch.searchsorted(ordered, other) + torch.searchsorted(ordered, other, right=True)
    return float(below.double().mean() / (2 * len(ordered)))


def equal_error(genuine: Tensor, changed: Tensor) -> float:
    """Equal error rate of distances (N,) and (M,); see the module for ties.

    >>> round(equal_error(torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.3, 0.8])), 4)
    0.3333

    Raises:
        UserError: no genuine or no changed face.
    """
    if genuine.numel() == 0 or changed.numel() == 0:
        raise UserError(f"An EER needs genuine and changed faces, got {genuine.numel()} and {changed.numel()}.")
    whose, others = (torch.zeros(len(part), dtype=torch.long, device=part.device) for part in (genuine, changed))
    return float(resampled_detection(genuine, changed, whose, others, genuine.new_ones(1, 1)).eer)


def flagged(distance: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """Which faces (N,) are called changed, (N,) bool: a distance below the threshold is a genuine face's.

    >>> flagged(torch.tensor([0.1, 0.6, 0.7]))
    tensor([False,  True,  True])
    """
    return finite_distances(distance) >= threshold


def resampled_detection(
    genuine: Tensor,
    changed: Tensor,
    genuine_people: Tensor,
    changed_people: Tensor,
    weights: Tensor,
    block: int = 128,
) -> Resampled:
    """:func:`roc_auc` and :func:`equal_error` with every person counted as often as each resample drew it.

    The distances are sorted once; a resample is a weighted histogram over their steps.

    Args:
        genuine, changed: distances (N,) and (M,).
        genuine_people, changed_people: whose they are, (N,) and (M,), columns of ``weights``.
        weights: (R, I) how often each person counts.
        block: resamples at a time.

    >>> near, far, whose = torch.tensor([0.1, 0.9]), torch.tensor([0.5, 0.8]), torch.tensor([0, 1])
    >>> resampled_detection(near, far, whose, whose, torch.tensor([[1.0, 1.0], [2.0, 0.0]])).auc
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    steps, place = torch.cat([genuine, changed]).double().unique(return_inverse=True)
    found = []
    for part in weights.double().split(block):
        same, other = (
            part.new_zeros(len(part), len(steps)).index_add_(1, where, part[:, people])  # (block, S)
            for where, people in ((place[: len(genuine)], genuine_people), (place[len(genuine) :], changed_people))
        )
        same_below, other_below = same.cumsum(1) - same, other.cumsum(1) - other
        same_all, other_all = same.sum(1, keepdim=True), other.sum(1, keepdim=True)
        auc = (other * (same_below + same / 2)).sum(1) / (same_all * other_all)[:, 0]
        # the last threshold is above all distances: nothing is called changed
        missed = torch.cat([other_below / other_all, other_all / other_all], 1)
        alarmed = 1.0 - torch.cat([same_below / same_all, same_all / same_all], 1)
        gap = missed - alarmed  # rises from -1 to 1
        after = (gap >= 0).int().argmax(1, keepdim=True).clamp_min(1)
        (low, high), (start, end) = ([values.gather(1, at) for at in (after - 1, after)] for values in (gap, missed))
        found.append((auc, (start + (end - start) * low / (low - high))[:, 0]))
    auc, eer = (torch.cat(parts) for parts in zip(*found, strict=True))
    return Resampled(auc, torch.where(auc.isnan(), auc, eer))


def resampled_median(values: Tensor, people: Tensor, weights: Tensor, block: int = 128) -> Tensor:
    """Lower median of ``values`` (N,) of ``people`` (N,), columns of ``weights`` (R, I), for each resample, (R,).

    >>> values, whose = torch.tensor([0.1, 0.2, 0.9]), torch.tensor([0, 0, 1])
    >>> resampled_median(values, whose, torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    tensor([0.2000, 0.9000])
    """
    ordered, order = values.sort()
    whose = people[order]
    places = []
    for part in weights.split(block):
        counted = part[:, whose].cumsum(1)  # (block, N)
        places.append((counted >= counted[:, -1:] / 2).int().argmax(1))
    return ordered[torch.cat(places)]


class ChangeDetection(Kept):
    """AUC, EER and the shares that are flagged, over batches; the class of the functions above.

    >>> metric = ChangeDetection(threshold=0.6)
    >>> metric.update(torch.tensor([0.1, 0.5, 0.5, 0.9]), torch.tensor([False, False, True, True]))
    >>> metric.compute()
    {'auc': 0.875, 'eer': 0.25, 'flagged_genuine': 0.0, 'flagged_changed': 0.5}
    """

    parts = ("distance", "changed")  # (B,), and whether each face is changed, (B,) bool
    empty = "An AUC needs genuine and changed faces, got 0 and 0."

    def __init__(self, threshold: float = THRESHOLD) -> None:
        super().__init__()
        self.threshold = threshold

    def compute(self) -> dict[str, float]:
        """auc, eer, flagged_genuine, flagged_changed, all in [0, 1].

        Raises:
            UserError: no genuine or no changed face.
        """
        distance, changed = self.kept()
        genuine, other = distance[~changed], distance[changed]
        return {
            "auc": roc_auc(genuine, other),
            "eer": equal_error(genuine, other),
            "flagged_genuine": float(flagged(genuine, self.threshold).double().mean()),
            "flagged_changed": float(flagged(other, self.threshold).double().mean()),
        }
