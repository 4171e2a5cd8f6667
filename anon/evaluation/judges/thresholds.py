"""A recognizer's threshold and equal error rate with 95 % intervals, by resampling people (percentile bootstrap).

A resample holds person i ``w_i`` times. A genuine pair of i then counts ``w_i`` times and an impostor pair of i and j
``w_i w_j`` times, so that

    FRR(t) = 1 - sum_i w_i B_ii(t) / sum_i w_i P_ii        FAR(t) = sum_ij w_i w_j B_ij(t) / sum_ij w_i w_j P_ij

with B_ij(t) of the P_ij pairs of i and j below t: pictures of both, or probes of i against j's enrolled average.
Between the thresholds of a grid, which is fine where the rates matter, FAR and FRR are taken as straight.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.intervals.shares import spread_ends
from anon.evaluation.judges.gallery import templates
from anon.evaluation.protocol import Calibrating, Calibration, calibrate, calibration
from anon.identity.verification import distances, equal_error_rate, pair_distances

GRID = 48  # thresholds evenly over all distances, and as many again at small FARs
BLOCK = 512  # rows of distances at a time
LEVELS = 16  # quantiles of the resampled thresholds that a figure's interval is made of


class Calibrated(NamedTuple):
    """The threshold at the wanted FAR and the equal error rate, with intervals, over n people's pictures."""

    threshold: Estimate
    eer: Estimate
    found: Calibration


def as_given(found: Calibration) -> Calibrated:
    """A threshold that was not made here, without an equal error rate where none was told."""
    eer = Estimate.absent("n/a (the threshold was given)") if math.isnan(found.eer) else Estimate(found.eer)
    return Calibrated(Estimate(found.threshold, found.low, found.high), eer, found)


def calibrated(
    z: Tensor, labels: Tensor, far: float, who: str, resamples: int = 1000, seed: int = 0, metric: str = "cosine"
) -> Calibrated:
    """:func:`anon.evaluation.protocol.calibrate` with intervals: pictures against each other.

    Args:
        z: (N, D) embeddings of people (N,) who are evaluated nowhere, unit vectors for "cosine".
        far: at which the threshold is taken.
        who: the recognizer, in errors.
        resamples, seed: of the bootstrap.
        metric: the recognizer's.

    Raises:
        UserError: see :func:`anon.evaluation.protocol.calibrate`.
    """
    found = calibrate(z, labels, far, who, metric)
    people = labels.unique(return_inverse=True)[1]
    grid = _grid(*pair_distances(z, labels, metric=metric), far, found.threshold)
    bootstrap = Bootstrap(labels, resamples, seed)
    below = _below(z, people, z, people, grid, len(bootstrap.people), once=True, metric=metric)
    return _resampled(found, below, grid, far, bootstrap, len(labels))


def calibrated_probes(
    z: Tensor,
    labels: Tensor,
    videos: Tensor,
    roles: Calibrating,
    far: float,
    who: str,
    resamples: int = 1000,
    seed: int = 0,
    metric: str = "cosine",
) -> Calibrated:
    """The threshold of *probes against enrolled averages*, as an evaluation compares them.

    Args:
        z: (N, D) embeddings of people (N,) who are evaluated nowhere, in clips (N,), -1 for stills.
        roles: places among these: who is enrolled and who probes.
        far, who, resamples, seed, metric: see :func:`calibrated`.

    Raises:
        UserError: fewer probes against averages of other people than the FAR needs, or nobody who probes.
    """
    entries, owners = templates(z[roles.enrol], labels[roles.enrol], videos[roles.enrol], metric)
    probes, whose = z[roles.probe], labels[roles.probe]
    apart, own = distances(probes, entries, metric), whose[:, None] == owners[None]
    found = calibration(apart[own], apart[~own], far, who)
    grid = _grid(apart[own], apart[~own], far, found.threshold)
    bootstrap = Bootstrap(labels, resamples, seed)
    rows, columns = (torch.searchsorted(bootstrap.people, part) for part in (whose, owners))
    below = _below(probes, rows, entries, columns, grid, len(bootstrap.people), metric=metric)
    return _resampled(found, below, grid, far, bootstrap, len(whose))


def _resampled(found: Calibration, below: Tensor, grid: Tensor, far: float, bootstrap: Bootstrap, n: int) -> Calibrated:
    weights = bootstrap.weights.to(below)  # (R, I)
    own = below.diagonal(dim1=1, dim2=2)  # (T, I)
    rejected = 1.0 - (own @ weights.T) / (own[-1] @ weights.T)  # (T, R)
    between = below * ~torch.eye(below.shape[1], dtype=torch.bool)  # the pairs of two people
    accepted = torch.stack([((weights @ level) * weights).sum(1) for level in between])
    accepted = accepted / accepted[-1]
    rates = _cross(accepted - rejected, 0.0, accepted)
    limits = _cross(accepted, far, grid.to(below)[:, None].expand_as(accepted)).double()
    limits = limits[limits.isfinite()]
    low, high = Bootstrap.interval(limits)
    found = found._replace(low=low, high=high, levels=levels_of(limits))
    eer = Estimate(found.eer, *spread_ends(found.eer, rates.double(), len(weights[0])), n=n)
    return Calibrated(Estimate(found.threshold, low, high, n=n), eer, found)


def levels_of(thresholds: Tensor) -> tuple[float, ...]:
    """Quantiles of resampled thresholds (R,), evenly between 0 and 1."""
    quantiles = (torch.arange(LEVELS, dtype=torch.float64) + 0.5) / LEVELS
    return tuple(thresholds.quantile(quantiles).tolist())


def _grid(genuine: Tensor, impostor: Tensor, far: float, threshold: float) -> Tensor:
    """(T,) thresholds: nothing is below the first and everything below the last."""
    top = max(float(genuine.max()), float(impostor.max()))
    bottom = min(float(genuine.min()), float(impostor.min()))
    shares = torch.logspace(math.log10(far / 16), min(0.0, math.log10(far * 64)), GRID, dtype=torch.float64)
    ranks = (shares * (len(impostor) - 1)).round().long()
    even = torch.linspace(bottom, top, GRID, dtype=torch.float64)
    fine = impostor.double().sort().values[ranks]
    points = torch.tensor([threshold, equal_error_rate(genuine, impostor)[1], top + 1e-6], dtype=torch.float64)
    return torch.cat([even, fine, points.clamp(max=top + 1e-6)]).unique()


def _below(
    z: Tensor,
    people: Tensor,
    others: Tensor,
    owners: Tensor,
    grid: Tensor,
    count: int,
    once: bool = False,
    metric: str = "cosine",
) -> Tensor:
    """B (T, I, I): pairs of rows of persons i and of others of persons j below each threshold.

    Args:
        z, people: (N, D) and their persons (N,), from 0 to ``count``.
        others, owners: (M, D) and their persons (M,).
        once: both are the same, and every pair counts once.
    """
    levels = len(grid)
    found = torch.zeros((levels + 1) * count * count)
    places = torch.arange(len(others))
    for rows in torch.arange(len(z)).split(BLOCK):
        level = torch.searchsorted(
            grid, distances(z[rows], others, metric).double(), right=True
        )  # the first grid value above
        cell = (level * count + people[rows][:, None]) * count + owners[None, :]
        chosen = cell[places[None, :] > rows[:, None]] if once else cell.flatten()
        found += torch.bincount(chosen, minlength=len(found))
    return found.view(levels + 1, count, count)[:levels].cumsum_(0)


def _cross(rising: Tensor, level: float, values: Tensor) -> Tensor:
    """``values`` (T, R) where ``rising`` (T, R) reaches ``level``, on straight lines between the rows -> (R,)."""
    after = (rising < level).sum(0).clamp(1, len(rising) - 1)[None]
    before = after - 1
    below, above = rising.gather(0, before), rising.gather(0, after)
    share = ((level - below) / (above - below).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.lerp(values.gather(0, before), values.gather(0, after), share)[0]
