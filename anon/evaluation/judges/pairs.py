"""The figures of verifying pairs: thresholds of the other folds, insightface's VAL, and what a reader must know.

No pair is judged by a threshold that it helped to choose: that of a fold is taken over the mismatched pairs of the
*unchanged* photographs of the other folds, which LFW's official list keeps apart by people.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate, short
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.thresholds import Calibrated, levels_of
from anon.evaluation.protocol import Calibration
from anon.faces.collections.pairs import Pairs
from anon.identity.verification import distance, equal_error_rate

RESAMPLED = 64  # thresholds of resampled people, over which the figures' intervals are taken


class Validation(NamedTuple):
    """Over the folds: mean true accept rate, its population deviation, and the mean false accept rate."""

    val: float
    deviation: float
    far: float


class Scale(NamedTuple):
    """What all rows share: embeddings of the unchanged photographs, the thresholds, and the resampled people."""

    pairs: Pairs
    real: Tensor  # (F, D)
    thresholds: Tensor  # (K + 1, folds) of the unchanged photographs, see :func:`fold_thresholds`
    far: float
    bootstrap: Bootstrap
    metric: str = "cosine"  # the judge's

    def apart(self, z: Tensor) -> Tensor:
        """Distances (P,) of the unchanged first photographs to the second ones, which have embeddings (F, D)."""
        return distances(self.real, z, self.pairs, self.metric)


def check_pairs(pairs: Pairs, far: float) -> None:
    """See that the folds can have thresholds, before any photograph is read.

    Raises:
        UserError: one fold, or too few mismatched pairs for the FAR.
    """
    if pairs.folds < 2:
        raise UserError(f"{pairs.view} has one set of pairs, and the accuracy needs two folds or more.")
    apart = pairs.fold[~pairs.same]
    learning = len(apart) - int(apart.bincount(minlength=pairs.folds).max())
    if learning * far < 1:
        raise UserError(
            f"A threshold at FAR {far:g} needs {math.ceil(1 / far):,} mismatched pairs outside of the fold that it "
            f"judges, and {pairs.view} has {learning:,}; raise suite.far."
        )


def distances(real: Tensor, z: Tensor, pairs: Pairs, metric: str = "cosine") -> Tensor:
    """Distances (P,) float64 between the unchanged first and the second photograph of each pair.

    Args:
        real, z: (F, D) embeddings of the set's photographs, unchanged and changed.
        metric: the judge's.
    """
    return distance(real[pairs.first].double(), z[pairs.second].double(), metric)


def fold_thresholds(distance: Tensor, pairs: Pairs, far: float, bootstrap: Bootstrap) -> Tensor:
    """Thresholds (K + 1, folds) float64: for each fold the largest whose FAR on the *other* folds is at most ``far``.

    The first row has every pair once; in the others (:data:`RESAMPLED` of them) a mismatched pair of persons i and j
    counts ``w_i w_j`` times, as :class:`anon.evaluation.intervals.bootstrap.Bootstrap` draws people.

    Args:
        distance: (P,) of the pairs.
    """
    apart, order = distance[~pairs.same].double().sort()
    fold, people = pairs.fold[~pairs.same][order], pairs.people[~pairs.same][order]
    drawn = bootstrap.weights[:RESAMPLED]  # (K, I)
    drawn = torch.cat([torch.ones_like(drawn[:1]), drawn])
    first, second = (drawn[:, torch.searchsorted(bootstrap.people, part)] for part in people.T.contiguous())
    found = []
    for number in range(pairs.folds):
        weights = (first * second)[:, fold != number].cumsum(1)  # (K + 1, pairs of the other folds)
        place = (weights <= far * weights[:, -1:] + 1e-9).sum(1).clamp(max=weights.shape[1] - 1)
        found.append(apart[fold != number][place])
    return torch.stack(found, 1)


def scale_of(pairs: Pairs, real: Tensor, far: float, bootstrap: Bootstrap, metric: str = "cosine") -> Scale:
    """The scale of unchanged photographs with embeddings (F, D) by a judge with this metric."""
    thresholds = fold_thresholds(distances(real, real, pairs, metric), pairs, far, bootstrap)
    return Scale(pairs, real, thresholds, far, bootstrap, metric)


def calibrated_pairs(scale: Scale) -> Calibrated:
    """The judge on the unchanged pairs: mean threshold of the folds, equal error rate, FAR that the folds achieved."""
    pairs, thresholds = scale.pairs, scale.thresholds
    unchanged = scale.apart(scale.real)
    eer, _ = equal_error_rate(unchanged[pairs.same], unchanged[~pairs.same])
    accepted = unchanged < thresholds[0][pairs.fold]
    means = thresholds.mean(1)  # (K + 1,)
    low, high = Bootstrap.interval(means[1:])
    found = Calibration(
        threshold=float(means[0]),
        far=float(accepted[~pairs.same].double().mean()),
        eer=eer,
        impostor_pairs=int((~pairs.same).sum()),
        low=low,
        high=high,
        levels=levels_of(means[1:]),
    )
    return Calibrated(Estimate(found.threshold, low, high), Estimate(eer), found)


def val_at_far(squared: Tensor, same: Tensor, far: float = 1e-3, folds: int = 10) -> Validation:
    """VAL at a FAR as insightface measures LFW: on the other folds the threshold is interpolated, 0 to 4 by .001.

    Args:
        squared, same: see :func:`anon.identity.verification.kfold_accuracy`.

    Where the wanted rate is exactly that of several thresholds, the largest counts; insightface's ``slinear`` does not
    define it, and with SciPy 1.10 and later refuses such curves altogether.
    """
    thresholds = torch.arange(4000, dtype=torch.float64) * 0.001  # as NumPy has them; see kfold_accuracy
    accepted = squared.double()[:, None] < thresholds  # (P, 4000)
    fold = torch.arange(len(squared)) * folds // len(squared)
    vals, fars = [], []
    for number in range(folds):
        test = fold == number
        curve = accepted[~test & ~same].double().mean(0)
        reached = float(curve[-1]) >= far
        threshold = float(np.interp(far, curve.numpy(), thresholds.numpy())) if reached else 0.0
        below = squared.double() < threshold
        vals.append(below[test & same].double().mean())
        fars.append(below[test & ~same].double().mean())
    stacked = torch.stack(vals)
    return Validation(float(stacked.mean()), float(stacked.std(correction=0)), float(torch.stack(fars).mean()))


def pair_notes(scale: Scale, found: Calibration, photographs: int, placed: dict[str, int]) -> list[str]:
    """What a reader must know of the pairs: how many, their thresholds, whether folds share people.

    Args:
        found: :func:`calibrated_pairs` of the scale.
        photographs: of the pairs.
        placed: how many of them had given, detected and no points, empty where the set does not tell.
    """
    pairs, limits, roles = scale.pairs, scale.thresholds[0], scale.pairs.roles()
    owners = pairs.people.new_zeros(len(scale.real))
    owners[pairs.first], owners[pairs.second] = pairs.people[:, 0], pairs.people[:, 1]
    points = ", ".join(f"{count:,} {where}" for where, count in placed.items())
    notes = [
        f"Pairs of {pairs.view}: {int(pairs.same.sum()):,} matched and {found.impostor_pairs:,} mismatched in "
        f"{pairs.folds} folds, {len(pairs.people.unique()):,} people, {photographs:,} photographs"
        + (f" (points: {points})." if points else "."),
        f"A fold's threshold is taken at FAR {scale.far:g} on the other folds' mismatched pairs of unchanged "
        f"photographs: {short(found.threshold)} on average ({short(float(limits.min()))} to "
        f"{short(float(limits.max()))}), FAR {found.far:.2g} on the pairs that it judges.",
        f"ID of the pairs: {len(roles.probe):,} second photographs of {len(owners[roles.probe].unique()):,} people "
        f"against {len(roles.enrol):,} enrolled ones of {len(owners[roles.enrol].unique()):,} people.",
    ]
    groups = [len(pairs.people[pairs.fold == number].unique()) for number in range(pairs.folds)]
    if sum(groups) > len(pairs.people.unique()):
        notes.append(f"The folds of {pairs.view} share people, so a fold's threshold knows some whom it judges.")
    return notes
