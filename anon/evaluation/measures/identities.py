"""Of the identities themselves: how many people share a fake one or get several, and how far the fakes are.

``shared_identity`` counts collisions: the people whose first probe is given an identity that another person is given
too. ``several_identities`` counts the opposite fault of a tracker: of the people with two probes or more, those whose
probes were given more than one (Sampling, which remembers nobody, gives nearly everybody several).

``wanted_cosine`` is the sampling's m, ``achieved_cosine`` the mean cosine of the conditioning encoder's z to the fake
that each probe got, ``achieved_cosine_sd`` its standard deviation over the probes, and ``extreme_anchor`` the share of
the probes for whom no anchor has m, so that Sampling gives the most extreme one.

``diversity`` is how different the published faces of different people are, over how different these people are: mean
distance by the judge, of everybody's first probe. Near 0 all get one face, which is no identity; 1 is as among people.

``impostor_correlation`` is Pearson's correlation of both recognizers' scores between unchanged faces of different
people; a judge near 1 tells little that the encoder does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import PUBLISHED, TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.intervals import columns, resampled
from anon.evaluation.protocol import first_of_each
from anon.identity.policies import sampling_of
from anon.identity.verification import distances
from anon.metrics.correlation import ImpostorCorrelation, correlation, pair_sums

PLACES = 1e4  # fakes that agree to four decimals are one: the same mix may be summed in another order


class Identities:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "shared_identity": share("shared", "privacy", False, judged=False),  # of the encoder's space, as those below
        "several_identities": share("several", "privacy", False, judged=False),
        "wanted_cosine": MetricInfo("wanted", "privacy", low=-1.0, high=1.0, judged=False),
        "achieved_cosine": MetricInfo("achieved", "privacy", low=-1.0, high=1.0, judged=False),
        "achieved_cosine_sd": MetricInfo("deviation", "privacy", low=0.0, high=1.0, judged=False),
        "extreme_anchor": share("extreme", "privacy", False, judged=False),
        "diversity": MetricInfo("diversity", "privacy", True, low=0.0),
        "impostor_correlation": MetricInfo(
            "impostor correlation", "privacy", ImpostorCorrelation.higher_is_better, low=-1.0, high=1.0
        ),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """Figures of fakes, and ``impostor_correlation`` where an encoder conditions and all probes are measured."""
        if context.unchanged:
            return {}
        one, wanted = context.one, context.beside("wanted")
        if wanted is None:
            absent = Estimate.absent("n/a (no fake identity)")
            figures = {"shared_identity": absent, "several_identities": absent}
        else:
            _, which = (wanted * PLACES).round().unique(dim=0, return_inverse=True)
            figures = {"shared_identity": _shared(context, which), "several_identities": _several(context, which)}
            figures |= _cosines(context, wanted)
        if one.attack == NONE:
            figures["diversity"] = _diversity(context)
        whole = not context.stages.is_swept(one) and one.defense == NONE and one.attack == NONE
        return figures | ({"impostor_correlation": _correlation(context)} if whole and context.method.encoder else {})


def _shared(context: MeasureContext, which: Tensor) -> Estimate:
    first = first_of_each(context.labels, 1)
    _, place, counts = which[first].unique(return_inverse=True, return_counts=True)
    return context.bootstrap.mean((counts[place] > 1).double(), context.labels[first], share=True)


def _several(context: MeasureContext, which: Tensor) -> Estimate:
    people, place, rows = context.labels.unique(return_inverse=True, return_counts=True)
    fakes = torch.stack([place, which], 1).unique(dim=0)[:, 0].bincount(minlength=len(people))
    often = rows > 1
    if not bool(often.any()):
        return Estimate.absent("n/a (one probe of each person)")
    return context.bootstrap.mean((fakes[often] > 1).double(), people[often], share=True)


def _diversity(context: MeasureContext) -> Estimate:
    first = first_of_each(context.labels, 1)
    labels = context.labels[first]
    if len(labels) < 2:
        return Estimate.absent("n/a (one person)")
    fakes, people = (_to_others(context.z(of)[first], context.metric) for of in (PUBLISHED, TARGET))
    if not bool((people > 0).any()):
        return Estimate.absent("n/a (the judge finds all people alike)")
    return context.bootstrap.ratio(fakes, people, labels)


def _to_others(z: Tensor, metric: str) -> Tensor:
    """Mean distance of each of N embeddings to the N - 1 others, (N,)."""
    apart = distances(z, z, metric)
    return (apart.sum(1) - apart.diagonal()) / (len(z) - 1)


def _cosines(context: MeasureContext, wanted: Tensor) -> dict[str, Estimate]:
    sampling, found = sampling_of(getattr(context.method.pristine, "policy", None)), context.by_encoder(TARGET)
    if sampling is None or found is None:
        return {}
    z = found[0].to(wanted)
    cosine = (z * wanted).sum(1).double()
    device = sampling.people.device
    missed = torch.cat([sampling.missed(part.to(device)).cpu() for part in z.split(context.stages.suite.batch_size)])
    return {
        "wanted_cosine": Estimate(float(sampling.m), n=len(cosine)),
        "achieved_cosine": context.mean(cosine),
        "achieved_cosine_sd": Estimate(float(cosine.std(correction=0)), n=len(cosine)),
        "extreme_anchor": context.mean(missed.double(), share=True),
    }


def _correlation(context: MeasureContext) -> Estimate:
    found = context.by_encoder(TARGET)
    people, place = columns(context.bootstrap, context.labels).unique(return_inverse=True)
    if found is None or len(people) < 2:
        return Estimate.absent("n/a (one person)")
    sums = pair_sums(context.z(TARGET), found[0], place, metric=context.metric)
    draws = correlation(sums, context.bootstrap.weights[:, people])
    return resampled(float(correlation(sums)), draws, context.labels)
