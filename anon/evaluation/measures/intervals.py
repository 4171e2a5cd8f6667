"""Figures whose resamples are not plain means: intervals by resampling identities, for all measures."""

from __future__ import annotations

import torch
from torch import Tensor

from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.estimates import Estimate
from anon.evaluation.shares import spread_ends


def columns(bootstrap: Bootstrap, labels: Tensor) -> Tensor:
    """Columns (N,) of :attr:`Bootstrap.weights` of the people ``labels`` (N,), all of whom it knows."""
    return torch.searchsorted(bootstrap.people, labels)


def resampled(value: float, draws: Tensor, labels: Tensor, share: bool = False) -> Estimate:
    """A figure with the value of each resample, (R,).

    Args:
        labels: (N,) who the faces or clips are that it was measured on; one person has nobody to resample.
        share: the value lies in [0, 1], see :func:`anon.evaluation.shares.spread_ends`.
    """
    people = len(labels.unique())
    if people < 2:
        return Estimate(value, n=len(labels))
    low, high = spread_ends(value, draws, people) if share else Bootstrap.interval(draws, people)
    return Estimate(value, low, high, n=len(labels), draws=draws)


def around(value: float, draws: Tensor) -> Tensor:
    """Draws (R,) moved so that their mean is the value.

    Resampled people come with copies of themselves, which shifts a distance of distributions as a whole: its draws tell
    the spread and not the place (:mod:`anon.metrics.frechet`).

    >>> around(1.0, torch.tensor([4.0, 6.0]))
    tensor([0., 2.])
    """
    return draws - draws.nanmean() + value
