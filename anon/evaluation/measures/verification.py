"""Is the changed face still verified as the person: errors of probes against everybody's average (LFW's question).

    EER                    equal error rate
    TAR                    true accept rate at the suite's FAR; TAR_far<rate> at others
    AUC                    area under the ROC curve; .5 is blind, and below it whoever negates the embedding is not
    verification_accuracy  (TAR + 1 - FAR) / 2 at the calibrated threshold; best_accuracy at the best of all thresholds
    PSR                    protection success: of the pairs whose unchanged face is accepted at the calibrated
                           threshold, the share whose changed (or, with an attack, recovered) face is rejected
    TAR_unchanged          the share whose unchanged face is accepted there; PSR x TAR_unchanged is of all pairs

A genuine pair is a probe and its own person's enrolled average, an impostor pair a probe and another's. With an attack
the probes are what the adversary sees, and the averages those that he enrolled. EER, TAR, AUC and the best accuracy
take their thresholds from the pairs that are measured: an adversary who knows the method. The calibrated threshold is
that of ID, taken on unchanged background people; its spread is in the intervals. Plots: FRR over FAR (for ROC and DET),
and the densities of distances around the threshold.

People are resampled on both sides, see :mod:`anon.evaluation.intervals.errors`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from anon.evaluation.document import Curve, Histogram
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import ATTACKED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.intervals.errors import resampled_errors
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.measures.intervals import columns, complement, densities, resampled
from anon.identity.contract import DISTANCES
from anon.identity.verification import distance, distances, equal_error_rate, tar_at_far
from anon.metrics.detection import roc_auc
from anon.metrics.verification import (
    ProtectionSuccess,
    balanced_accuracy,
    best_accuracy,
    error_tradeoff,
    protected,
)


class Verification:
    """The measure.

    Args:
        far: at which ``TAR`` is told; None: the protocol's. One that the pairs cannot tell makes its TAR absent.
        fars: of ``TAR_far<rate>``.
        points: of the curve, at most; false accept rates from 1 over the impostor pairs on.
        bins: of the histogram.
    """

    def __init__(
        self,
        far: float | None = None,
        fars: Sequence[float] = (0.01, 0.001, 0.0001),
        points: int = 120,
        bins: int = 60,
    ) -> None:
        self.far, self.fars, self.points, self.bins = far, tuple(fars), points, bins

    @property
    def metrics(self) -> Mapping[str, MetricInfo]:
        """What it gives; the judge's errors are what an anonymizer wants."""
        higher = ProtectionSuccess.higher_is_better
        return {
            "EER": share("EER", "privacy", True),
            "TAR": share("TAR", "privacy", False),
            **{f"TAR_far{far:g}": share(f"TAR at FAR {far:g}", "privacy", False) for far in self.fars},
            "AUC": share("AUC", "privacy", None),  # .5 hides best
            "verification_accuracy": share("verification accuracy", "privacy", False),
            "best_accuracy": share("best accuracy", "privacy", False),
            "PSR": share("PSR", "privacy", higher),
            "PSR_mean": replace(share("PSR, mean of judges", "privacy", higher, judged=False), mean_of="PSR"),
            "TAR_unchanged": share("TAR of unchanged faces", "privacy", None),
        }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; PSR and TAR_unchanged of changed faces only."""
        every, own = _pairs(context, ATTACKED)
        genuine, impostor = every[own], every[~own]
        rates = {"TAR": context.stages.suite.far if self.far is None else self.far}
        rates |= {f"TAR_far{far:g}": far for far in self.fars}
        if len(genuine) == 0 or len(impostor) == 0:
            names = ("EER", *rates, "AUC", "verification_accuracy", "best_accuracy")
            return dict.fromkeys(names, Estimate.absent("n/a (needs two enrolled people)"))
        known, gallery = context.bootstrap.people, context.gallery
        place = columns(context.bootstrap, gallery.people).clamp_max(len(known) - 1)
        entries = torch.where(known[place] == gallery.people, place, -1)
        people = columns(context.bootstrap, context.labels)
        limits = torch.tensor([gallery.threshold])
        if gallery.levels is not None and len(gallery.levels):
            limits = gallery.levels  # the threshold's spread
        weights = context.bootstrap.weights
        draws = resampled_errors(every, own, people, entries, weights, list(rates.values()), limits)

        def figure(value: float, of_each: Tensor) -> Estimate:
            return resampled(value, of_each, context.labels, share=True)

        figures = {"EER": figure(equal_error_rate(genuine, impostor)[0], draws.eer)}
        for (name, far), of_each in zip(rates.items(), draws.tar, strict=True):
            if len(impostor) * far < 1 - 1e-9:
                figures[name] = Estimate.absent(f"n/a ({len(impostor):,} impostor pairs cannot tell FAR {far:g})")
            else:
                figures[name] = figure(tar_at_far(genuine, impostor, far), of_each)
        accuracy = balanced_accuracy(genuine, impostor, gallery.threshold)
        figures |= {
            "AUC": figure(roc_auc(genuine, impostor), draws.auc),
            "verification_accuracy": figure(accuracy, draws.accuracy),
            "best_accuracy": figure(best_accuracy(genuine, impostor)[0], draws.best),
        }
        return figures if context.unchanged else figures | _protection(context, genuine)

    def plots(self, context: MeasureContext, label: str, line: int) -> list[Curve | Histogram]:
        """The curve of errors and the densities, if there are pairs of both kinds."""
        every, own = _pairs(context, ATTACKED)
        genuine, impostor = every[own], every[~own]
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
                unchanged, _ = own_distances(context.z(TARGET), context.labels, context.gallery)
                parts = {"same person, unchanged": unchanged} | parts
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


def _protection(context: MeasureContext, after: Tensor) -> dict[str, Estimate]:
    """PSR and how many pairs it is of; who was accepted before is taken at the calibrated threshold itself.

    Args:
        after: (P,) distances of what the adversary sees to the own people's averages.
    """
    if context.rethresholded:  # an unchanged face has no place in a gallery of the adversary's making
        absent = Estimate.absent("n/a (an adversary who enrols for himself)")
        return {"PSR": absent, "TAR_unchanged": absent}
    before, labels = own_distances(context.z(TARGET), context.labels, context.gallery)
    unchanged = context.bootstrap.below(before, context.gallery.threshold, context.gallery.levels, labels)
    return {"TAR_unchanged": unchanged, "PSR": protection(context, context.gallery, before, after, labels)}


def own_distances(z: Tensor, labels: Tensor, gallery: Gallery) -> tuple[Tensor, Tensor]:
    """Distances (Q,) of the embeddings (R, D) of enrolled people to their own averages, and whose they are (Q,)."""
    row, entry = (labels[:, None] == gallery.people[None]).nonzero(as_tuple=True)
    return distance(z[row], gallery.averages[entry], gallery.metric), labels[row]


def protection(context: MeasureContext, gallery: Gallery, before: Tensor, after: Tensor, labels: Tensor) -> Estimate:
    """PSR: of the pairs that a gallery's threshold accepts before a change, the share that it rejects after it.

    Args:
        before, after: (Q,) distances of pairs of people ``labels`` (Q,).
    """
    accepted = ~protected(before, after, gallery.threshold).isnan()
    if not bool(accepted.any()):
        return Estimate.absent("n/a (no unchanged face is accepted)")
    return complement(context.bootstrap.below(after[accepted], gallery.threshold, gallery.levels, labels[accepted]))
