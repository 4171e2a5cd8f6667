"""95 % intervals by resampling *identities*: a person's faces are alike, so faces are not independent.

Means of what is no share have the percentile bootstrap (Efron 1979), whose percentiles are moved out as far as
Student's t is wider than the normal distribution (Hesterberg, The American Statistician 2015): of few people 2.5 % are
too few. Shares have the intervals of :mod:`anon.evaluation.intervals.shares`, which hold where few people or nobody is
found. One set of resamples serves all figures of a table, and shares keep every person's own value, so differences are
paired.
"""

from __future__ import annotations

import torch
from scipy import special
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.intervals.shares import TAIL, difference_ends, share_ends


class Bootstrap:
    """Resampled multiplicities of the identities, and the intervals that they give.

    Args:
        labels: the identities of the evaluation, in any order and number.
        resamples: how many.
        seed: of the draws.
    """

    def __init__(self, labels: Tensor, resamples: int = 1000, seed: int = 0) -> None:
        self.people = labels.cpu().unique()
        count = len(self.people)
        rng = torch.Generator().manual_seed(seed)
        drawn = torch.randint(count, (resamples, count), generator=rng)
        ones = torch.ones_like(drawn, dtype=torch.float64)
        self.weights = torch.zeros(resamples, count, dtype=torch.float64).scatter_add_(1, drawn, ones)  # (R, I)

    def mean(self, values: Tensor, labels: Tensor, share: bool = False) -> Estimate:
        """The mean of ``values`` (N,) of faces with identities ``labels`` (N,).

        Args:
            share: values are 0 or 1, see :mod:`anon.evaluation.intervals.shares`.
        """
        return self.ratio(values, torch.ones_like(values, dtype=torch.float64), labels, share)

    def below(self, distance: Tensor, threshold: float | Tensor, levels: Tensor | None, labels: Tensor) -> Estimate:
        """The share of faces whose distance is below a threshold that is not known exactly.

        Args:
            distance: (N,) of the faces, infinite for those who cannot be found.
            threshold: one, or one for each face, (N,).
            levels: (K,) or (K, N) thresholds of resampled background people: the interval holds the share's spread
                over them; None: the threshold is known.
            labels: (N,) identities.
        """
        if len(labels) == 0:
            return Estimate.absent("nothing to measure")
        place, distance = self._place(labels), distance.cpu()
        hits = (distance < threshold).double()[None]  # (1, N)
        uncertain = hits
        if levels is not None and len(levels):
            uncertain = (distance < levels.reshape(len(levels), -1)).double()  # (K, N)
        bottom = self._sums(torch.ones(1, len(labels), dtype=torch.float64), place)[0]
        return self._share(self._sums(hits, place), self._sums(uncertain, place), bottom, len(labels))

    def ratio(self, above: Tensor, below: Tensor, labels: Tensor, share: bool = False) -> Estimate:
        """``sum(above) / sum(below)`` over faces (N,), resampled together."""
        if len(labels) == 0:
            return Estimate.absent("nothing to measure")
        place = self._place(labels)
        top, bottom = self._sums(torch.stack([above.cpu().double(), below.cpu().double()]), place)
        if share:
            return self._share(top[None], top[None], bottom, len(labels))
        value = float(top.sum() / bottom.sum())
        if int((bottom != 0).sum()) < 2:
            return Estimate(value, n=len(labels))
        draws = (self.weights @ top) / (self.weights @ bottom)
        low, high = self.interval(draws, int((bottom != 0).sum()))
        return Estimate(value, low, high, n=len(labels), draws=draws)

    def _share(self, top: Tensor, uncertain: Tensor, bottom: Tensor, n: int) -> Estimate:
        """Of what is found of each person, (1, I) at the threshold and (K, I) at others, of ``bottom`` (I,)."""
        value = float(top.sum() / bottom.sum())
        known = bottom != 0
        if int(known.sum()) < 2:
            return Estimate(value, n=n)
        each = linearized(uncertain, bottom)
        low, high = share_ends(each[:, known])
        return Estimate(value, min(low, value), max(high, value), n=n, each=each)

    def _place(self, labels: Tensor) -> Tensor:
        return torch.searchsorted(self.people, labels.cpu())

    def _sums(self, values: Tensor, place: Tensor) -> Tensor:
        """(K, N) of faces -> (K, I) of people."""
        return torch.zeros(len(values), len(self.people), dtype=torch.float64).index_add_(1, place, values)

    @staticmethod
    def interval(resampled: Tensor, people: int | None = None, tail: float = TAIL) -> tuple[float, float]:
        """The 2.5 and 97.5 percentiles; resamples that hold nobody with a value (NaN) do not count.

        Args:
            people: how many were resampled, two at least, for the correction; None: very many.
            tail: share beyond each end, in the place of 2.5 %.
        """
        if people is not None:
            tail = float(special.ndtr(special.stdtrit(people - 1, tail) * (people / (people - 1)) ** 0.5))
        edges = torch.tensor([tail, 1 - tail], dtype=resampled.dtype)
        low, high = resampled.nanquantile(edges).tolist()
        return low, high


def linearized(top: Tensor, bottom: Tensor) -> Tensor:
    """Each person's value (K, I) of the ratios ``sum(top) / sum(bottom)`` (K,); NaN of a person with nothing below.

    Their mean is the ratio, and their spread that of the ratio to the first order; where ``bottom`` is the same for
    everybody they are ``top / bottom``.

    >>> linearized(torch.tensor([[1.0, 0.0]]), torch.tensor([1.0, 3.0]))
    tensor([[ 0.6250, -0.1250]])
    """
    known = bottom != 0
    ratio = top.sum(1, keepdim=True) / bottom.sum()
    each = ratio + (top - ratio * bottom) / (bottom.sum() / known.sum())
    return torch.where(known, each, torch.nan)


def apart(one: Estimate, other: Estimate) -> Estimate | None:
    """``one`` minus ``other`` on the same people, paired; None where they cannot be compared.

    Shares are compared person by person, other figures resample by resample.
    """
    if one.value is None or other.value is None:
        return None
    if one.each is not None and other.each is not None:
        each = one.each - other.each  # (K, I); the same background people are resampled for both thresholds
        low, high = difference_ends(each[:, each.isfinite().all(0)])
    elif one.draws is not None and other.draws is not None:
        low, high = Bootstrap.interval(one.draws - other.draws)
    else:
        return None
    value = one.value - other.value
    return Estimate(value, min(low, value), max(high, value), n=min(one.n, other.n))
