"""Is the changed face still verified as the person: EER and TAR of probes against everybody's average (LFW's question).

A genuine pair is a probe and its own person's enrolled average, an impostor pair a probe and another's. With an attack
the probes are what the adversary sees, and the averages those that he enrolled. Plots: FRR over FAR (for ROC and DET),
and the densities of distances around the threshold.

People are resampled on both sides. A resample holds person i ``w_i`` times. A probe of i against i's own entry then
counts ``w_i`` times and against j's entry ``w_i w_j`` times (once more for people who are enrolled and never probe, who
are not resampled):

    FRR(t) = 1 - sum_i w_i A_i(t) / sum_i w_i P_i        FAR(t) = sum_ij w_i w_j B_ij(t) / sum_ij w_i w_j P_i

with A_i(t) of the P_i probes of i accepted, and B_ij(t) of them accepted as j. Between the thresholds of a grid, fine
at small distances, both are taken as straight, as in :mod:`anon.evaluation.judges.thresholds`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from anon.evaluation.document import Curve, Histogram
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import ATTACKED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.intervals import columns, densities, resampled
from anon.identity.contract import DISTANCES
from anon.identity.verification import distances, equal_error_rate, threshold_at_far
from anon.metrics.verification import error_tradeoff


class Verification:
    """The measure.

    Args:
        far: at which TAR is told; None: the protocol's. One that the pairs cannot tell makes TAR absent.
        points: of the curve, at most; false accept rates from 1 over the impostor pairs on.
        bins: of the histogram.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {  # the judge's errors are what an anonymizer wants
        "EER": share("EER", "privacy", True),
        "TAR": share("TAR", "privacy", False),
    }

    def __init__(self, far: float | None = None, points: int = 120, bins: int = 60) -> None:
        self.far, self.points, self.bins = far, points, bins

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """``EER`` and ``TAR``, with people resampled on both sides."""
        distance, own = _pairs(context, ATTACKED)
        genuine, impostor = distance[own], distance[~own]
        if len(genuine) == 0 or len(impostor) == 0:
            return dict.fromkeys(("EER", "TAR"), Estimate.absent("n/a (needs two enrolled people)"))
        far = context.stages.suite.far if self.far is None else self.far
        known = context.bootstrap.people
        place = columns(context.bootstrap, context.gallery.people).clamp_max(len(known) - 1)
        entries = torch.where(known[place] == context.gallery.people, place, -1)
        people = columns(context.bootstrap, context.labels)
        draws = resampled_errors(distance, own, people, entries, context.bootstrap.weights, far)
        figures = {"EER": resampled(equal_error_rate(genuine, impostor)[0], draws.eer, context.labels, share=True)}
        if len(impostor) * far < 1:
            return figures | {"TAR": Estimate.absent(f"n/a ({len(impostor):,} impostor pairs cannot tell FAR {far:g})")}
        tar = float((genuine < threshold_at_far(impostor, far)[0]).double().mean())
        return figures | {"TAR": resampled(tar, draws.tar, context.labels, share=True)}

    def plots(self, context: MeasureContext, label: str, line: int) -> list[Curve | Histogram]:
        """The curve of errors and the densities, if there are pairs of both kinds."""
        distance, own = _pairs(context, ATTACKED)
        genuine, impostor = distance[own], distance[~own]
        if len(genuine) == 0 or len(impostor) == 0:
            return []
        return [
            _curve(genuine, impostor, self.points, label, line),
            self._densities(context, genuine, impostor, label, line),
        ]

    def _densities(
        self, context: MeasureContext, genuine: Tensor, impostor: Tensor, label: str, line: int
    ) -> Histogram:
        parts = {"other people": impostor}
        if context.unchanged:
            parts = {f"same person, {'unchanged' if context.one.attack == NONE else 'attacked'}": genuine} | parts
        else:
            if not context.rethresholded:  # unchanged faces have no place in a gallery of the adversary's making
                distance, own = _pairs(context, TARGET)
                parts = {"same person, unchanged": distance[own]} | parts
            parts = {"same person, changed": genuine} | parts
        edges, shares = densities(parts, self.bins)
        return Histogram(label, line, edges, shares, context.gallery.threshold, DISTANCES[context.gallery.metric])


def _pairs(context: MeasureContext, of: str) -> tuple[Tensor, Tensor]:
    """Distances (P, G) of the probes to everybody's average, and where the average is the probe's own person's."""
    gallery = context.gallery
    return distances(context.z(of), gallery.averages, gallery.metric), context.labels[:, None] == gallery.people[None]


def _curve(genuine: Tensor, impostor: Tensor, points: int, label: str, line: int) -> Curve:
    least = math.log10(1.0 / len(impostor))
    wanted = [10 ** (least * (1 - step / (points - 1))) for step in range(points)]
    found = error_tradeoff(genuine, impostor, wanted)
    far, frr = torch.stack([found.far, found.frr]).unique_consecutive(dim=1)
    shown = far > 0  # the smallest distances may be equal, and then the smallest rate is none
    return Curve("errors", label, line, tuple(far[shown].tolist()), tuple(frr[shown].tolist()))


class ErrorRates(NamedTuple):
    """Of each resample, (R,) float64: the equal error rate, and the true accept rate at the wanted FAR."""

    eer: Tensor
    tar: Tensor


def resampled_errors(
    distance: Tensor,
    own: Tensor,
    people: Tensor,
    entries: Tensor,
    weights: Tensor,
    far: float,
    levels: int = 48,
) -> ErrorRates:
    """EER and TAR at ``far`` of each resample.

    Args:
        distance: (P, G) of probes to enrolled people, one entry each.
        own: (P, G) bool, where the entry is the probe's own person.
        people: (P,) columns of ``weights`` of the probes.
        entries: (G,) columns of the enrolled, -1 for those who never probe.
        weights: (R, I) how often each person counts.
        far: the wanted false accept rate.
        levels: thresholds evenly over all distances, and as many again by the ranks of impostors.
    """
    distance = distance.double()
    grid = _grid(distance[own], distance[~own], far, levels)
    others = torch.where(entries[None] < 0, 1.0, weights.T[entries.clamp_min(0)].T)  # (R, G)
    totals = torch.zeros(weights.shape[1], distance.shape[1], dtype=torch.float64)
    totals.index_add_(0, people, (~own).double())
    rejected, accepted = [], []
    for limit in grid.tolist():
        below = distance < limit
        right = torch.zeros(weights.shape[1], dtype=torch.float64).index_add_(0, people, (below & own).sum(1).double())
        wrong = torch.zeros_like(totals).index_add_(0, people, (below & ~own).double())
        rejected.append(right @ weights.T)
        accepted.append(((weights @ wrong) * others).sum(1))
    mine = torch.zeros(weights.shape[1], dtype=torch.float64).index_add_(0, people, own.sum(1).double())
    frr = 1.0 - torch.stack(rejected) / (weights @ mine)
    rate = torch.stack(accepted) / ((weights @ totals) * others).sum(1)  # (T, R)
    return ErrorRates(_where(rate - frr, 0.0, rate), 1.0 - _where(rate, far, frr))


def _grid(genuine: Tensor, impostor: Tensor, far: float, levels: int) -> Tensor:
    """(T,) rising: nothing lies below the first, everything below the last."""
    bottom, top = min(genuine.min(), impostor.min()), max(genuine.max(), impostor.max())
    even = torch.linspace(float(bottom), float(top), levels, dtype=torch.float64)
    least = max(far / 16, 1.0 / len(impostor))
    shares = torch.logspace(math.log10(least), 0.0, levels, dtype=torch.float64)
    fine = impostor.sort().values[(shares * (len(impostor) - 1)).round().long()]
    return torch.cat([even, fine, torch.nextafter(top, top + 1)[None]]).unique()


def _where(rising: Tensor, level: float, values: Tensor) -> Tensor:
    """``values`` (T, R) where ``rising`` (T, R) passes ``level``, on straight lines between the rows -> (R,)."""
    after = (rising <= level).sum(0).clamp(1, len(rising) - 1)[None]
    (low, high), (start, end) = ([part.gather(0, at) for at in (after - 1, after)] for part in (rising, values))
    share = ((level - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.lerp(start, end, share)[0]
