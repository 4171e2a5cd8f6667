"""95 % intervals of shares and of their paired differences, with people as the trials.

Person i has the value x_i, the share of the own probes that are found; the share is the mean over people. Its ends are
quantiles of a Bayesian bootstrap (Rubin 1981) with one person more, who stands for all whom nobody has seen:

    (sum_i G_i x_i + G_0 v) / (sum_i G_i + G_0),   G ~ Exp(1)        97.5 % of it is the upper end

Where everybody is found always or never, v = 1 gives Clopper and Pearson's exact interval with the people as trials;
v = 1 for all values is Gaffke's bound. That is several times too wide where many people are found once each, so

    v = (1 + h max x) / (1 + h),   h people with x > 0

The lower end is the upper one of 1 - x. A *difference* of two shares on the same people has values d_i in [-1, 1] and
v = max |d| at the upper end, -max |d| at the lower one (1 where all are 0): where all |d_i| are equal, 0 lies outside
exactly if the two-sided sign test is below 5 %.

P(mean < t) is P(sum of G_i (x_i - t) < 0): the positive and the negative terms are each replaced by a gamma variable of
their mean and variance, exact where they are equal, and the ratio of two gamma variables has a beta distribution.
Several rows of values (those at resampled thresholds) are a mixture: their probabilities are averaged.

``python benchmarks/coverage.py`` compares these intervals with others: docs/benchmarks/coverage.md.
"""

from __future__ import annotations

import torch
from scipy import special
from torch import Tensor

TAIL = 0.025  # beyond each end of a 95 % interval
POINTS, ROUNDS = 17, 8  # the quantile's place is found among so many points, so many times


def share_ends(values: Tensor, tail: float = TAIL) -> tuple[float, float]:
    """The interval of a share.

    Args:
        tail: share beyond each end.
        values: (K, I) float64 of I people, or (I,); their mean is the share. Where people have unequal numbers of
            probes, values may lie a little outside [0, 1] (:func:`anon.evaluation.intervals.bootstrap.linearized`).

    >>> low, high = share_ends(torch.tensor([0.0] * 9 + [1.0], dtype=torch.float64))  # one of ten people
    >>> round(low, 4), round(high, 4)  # as Clopper and Pearson have it
    (0.0025, 0.445)
    """
    values = torch.atleast_2d(values)
    low = 1.0 - _quantile(1.0 - values, unseen(1.0 - values), tail)
    high = _quantile(values, unseen(values), tail)
    return min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)


def difference_ends(values: Tensor) -> tuple[float, float]:
    """The interval of a difference of two shares from the people's own differences (K, I), or (I,).

    >>> four = torch.tensor([1 / 16] * 4 + [0.0] * 124, dtype=torch.float64)  # a sign test says p = .125
    >>> six = torch.tensor([1 / 16] * 6 + [0.0] * 122, dtype=torch.float64)  # p = .031
    >>> difference_ends(four)[0] < 0 < difference_ends(six)[0]
    True
    """
    values = torch.atleast_2d(values)
    most = values.abs().amax(1)
    most = torch.where(most > 0, most, 1.0)
    low, high = -_quantile(-values, most), _quantile(values, most)
    return max(low, -1.0), min(high, 1.0)


def unseen(values: Tensor) -> Tensor:
    """v (K,) of values (K, I): 1 where nobody is found, and with every one who is nearer to the most of anybody.

    >>> unseen(torch.tensor([[0.0, 0.0], [0.0, 0.5]]))
    tensor([1.0000, 0.7500])
    """
    found = (values > 0).sum(1)
    return (1.0 + found * values.amax(1).clamp(0.0, 1.0)) / (1.0 + found)


def spread_ends(value: float, draws: Tensor, people: int) -> tuple[float, float]:
    """The interval of a share that is no mean over people (EER, TAR, AUC), from the value of each resample (R,).

    The spread of the resamples stands for that of the people: so many with so much each as would have this mean and
    variance. The person who was not seen is added as above, a beta distribution has the result's mean and variance, and
    the interval holds the resamples' 2.5 and 97.5 % too.
    """
    known = draws[draws.isfinite()]
    variance = float(known.var(correction=0)) if len(known) else 0.0
    edges = known.quantile(torch.tensor([TAIL, 1.0 - TAIL], dtype=known.dtype)).tolist() if len(known) else [value] * 2
    if variance == 0.0 and 0.0 < value < 1.0:
        return min(edges[0], value), max(edges[1], value)  # whoever is asked: the same
    low, high = 1.0 - _beta_end(1.0 - value, variance, people), _beta_end(value, variance, people)
    return max(min(low, edges[0], value), 0.0), min(max(high, edges[1], value), 1.0)


def _beta_end(value: float, variance: float, people: int) -> float:
    most = min((people * variance + value * value) / value, 1.0) if value > 0 else 1.0  # E x² / E x
    found = people * value / most
    v = (1.0 + found * most) / (1.0 + found)
    count = people + 1
    mean = (people * value + v) / count
    spread = variance * people / (people + 2) + people * (v - value) ** 2 / (count**2 * (people + 2))
    if not 0.0 < mean < 1.0 or spread <= 0.0:
        return mean
    trials = max(mean * (1.0 - mean) / spread - 1.0, 1e-9)
    return float(special.betaincinv(mean * trials, (1.0 - mean) * trials, 1.0 - TAIL))


def _quantile(values: Tensor, v: Tensor, tail: float = TAIL) -> float:
    """1 - ``tail`` of the mixture over the rows of ``values`` (K, I) with the unseen person's ``v`` (K,)."""
    ordered = torch.cat([values.double(), v.double()[:, None]], 1).sort(1).values  # (K, I + 1)
    empty = ordered.new_zeros(len(ordered), 1)
    sums = torch.cat([empty, ordered.cumsum(1)], 1)  # of the smallest, (K, I + 2)
    squares = torch.cat([empty, ordered.square().cumsum(1)], 1)
    low, high = float(ordered.min()), float(ordered.max())
    for _ in range(ROUNDS):
        points = torch.linspace(low, high, POINTS, dtype=torch.float64)
        below = _below(points, ordered, sums, squares)  # (POINTS,) rising
        after = int((below < 1.0 - tail).sum().clamp(1, POINTS - 1))
        low, high = float(points[after - 1]), float(points[after])
    return (low + high) / 2


def _below(points: Tensor, ordered: Tensor, sums: Tensor, squares: Tensor) -> Tensor:
    """P(mean < t) of each of the points (T,), averaged over the rows."""
    at = points.expand(len(ordered), -1).contiguous()  # (K, T)
    count = torch.searchsorted(ordered, at)
    low, low_squares = sums.gather(1, count), squares.gather(1, count)

    def apart(sign: float, n: Tensor, total: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of |x - t|, and of its square, over n values with these sums."""
        return (sign * (total - n * at)).clamp_min(0.0), (square - 2 * at * total + n * at.square()).clamp_min(0.0)

    below, below2 = apart(-1.0, count, low, low_squares)
    above, above2 = apart(1.0, ordered.shape[1] - count, sums[:, -1:] - low, squares[:, -1:] - low_squares)
    tiny = 1e-300
    shape, other = above.square() / above2.clamp_min(tiny), below.square() / below2.clamp_min(tiny)
    scale, own = above2 / above.clamp_min(tiny), below2 / below.clamp_min(tiny)
    share = (own / (own + scale).clamp_min(tiny)).numpy()
    chance = torch.from_numpy(special.betainc(shape.clamp_min(tiny).numpy(), other.clamp_min(tiny).numpy(), share))
    chance = torch.where(above2 <= 1e-24, 1.0, torch.where(below2 <= 1e-24, 0.0, chance))
    return chance.mean(0)
