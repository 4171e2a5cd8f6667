"""Is the changed face still verified as the person: EER and TAR of probes against everybody's average (LFW's question).

A genuine pair is a probe and its own person's enrolled average, an impostor pair a probe and another's. With an attack
the probes are what the adversary sees, and the averages those that he enrolled. Plots: FRR over FAR (for ROC and DET),
and the densities of distances around the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document import Curve, Histogram
from anon.evaluation.estimates import Estimate
from anon.evaluation.harness.context import ATTACKED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.error_rates import resampled_errors
from anon.evaluation.measures.histograms import densities
from anon.evaluation.measures.intervals import columns, resampled
from anon.evaluation.metric_info import MetricInfo, share
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
        return Histogram(label, line, edges, shares, context.gallery.threshold)


def _pairs(context: MeasureContext, of: str) -> tuple[Tensor, Tensor]:
    """Distances (P, G) of the probes to everybody's average, and where the average is the probe's own person's."""
    gallery = context.gallery
    return distances(context.z(of), gallery.averages), context.labels[:, None] == gallery.people[None]


def _curve(genuine: Tensor, impostor: Tensor, points: int, label: str, line: int) -> Curve:
    least = math.log10(1.0 / len(impostor))
    wanted = [10 ** (least * (1 - step / (points - 1))) for step in range(points)]
    found = error_tradeoff(genuine, impostor, wanted)
    far, frr = torch.stack([found.far, found.frr]).unique_consecutive(dim=1)
    shown = far > 0  # the smallest distances may be equal, and then the smallest rate is none
    return Curve("errors", label, line, tuple(far[shown].tolist()), tuple(frr[shown].tolist()))
