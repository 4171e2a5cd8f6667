"""What several measures share: intervals of figures whose resamples are no plain means, and histograms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.intervals.shares import spread_ends


def columns(bootstrap: Bootstrap, labels: Tensor) -> Tensor:
    """Columns (N,) of :attr:`Bootstrap.weights` of the people ``labels`` (N,), all of whom it knows."""
    return torch.searchsorted(bootstrap.people, labels)


def resampled(value: float, draws: Tensor, labels: Tensor, share: bool = False) -> Estimate:
    """A figure with the value of each resample, (R,).

    Args:
        labels: (N,) who the faces or clips are that it was measured on; one person has nobody to resample.
        share: the value lies in [0, 1], see :func:`anon.evaluation.intervals.shares.spread_ends`.
    """
    people = len(labels.unique())
    if people < 2:
        return Estimate(value, n=len(labels))
    low, high = spread_ends(value, draws, people) if share else Bootstrap.interval(draws, people)
    return Estimate(value, low, high, n=len(labels), draws=draws)


def complement(figure: Estimate) -> Estimate:
    """Of a share what is left of 1, with its interval and the people's own values.

    >>> complement(Estimate(0.25, 0.125, 0.5, n=8))
    Estimate(value=0.75, low=0.5, high=0.875, reason=None, n=8)
    """
    if figure.value is None:
        return figure
    low, high = (None if end is None else 1.0 - end for end in (figure.high, figure.low))
    return Estimate(1.0 - figure.value, low, high, n=figure.n, each=None if figure.each is None else 1.0 - figure.each)


def around(value: float, draws: Tensor) -> Tensor:
    """Draws (R,) moved so that their mean is the value.

    Resampled people come with copies of themselves, which shifts a distance of distributions as a whole: its draws tell
    the spread and not the place (:mod:`anon.metrics.frechet`).

    >>> around(1.0, torch.tensor([4.0, 6.0]))
    tensor([0., 2.])
    """
    return draws - draws.nanmean() + value


def densities(parts: Mapping[str, Tensor], bins: int) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Edges (bins + 1) from the least to the largest of all values, and each part's density (bins), for
    :class:`anon.evaluation.document.Histogram`.

    >>> densities({"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.2])}, 2)
    ((0.0, 0.5, 1.0), {'a': (1.0, 1.0), 'b': (2.0, 0.0)})
    """
    every = torch.cat(list(parts.values())).double()
    low, high = float(every.min()), float(every.max())
    width = max(high - low, 1e-9) / bins
    found = {}
    for name, values in parts.items():
        place = ((values.double() - low) / width).long().clamp_(0, bins - 1)
        shares = torch.bincount(place, minlength=bins).double() / (len(values) * width)
        found[name] = tuple(shares.tolist())
    return tuple(low + width * step for step in range(bins + 1)), found
