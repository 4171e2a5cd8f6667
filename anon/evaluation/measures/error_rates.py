"""Errors of verifying probes against enrolled people, with people resampled on both sides.

A resample holds person i ``w_i`` times. A probe of i against i's own entry then counts ``w_i`` times and against j's
entry ``w_i w_j`` times (once more for people who are enrolled and never probe, who are not resampled):

    FRR(t) = 1 - sum_i w_i A_i(t) / sum_i w_i P_i        FAR(t) = sum_ij w_i w_j B_ij(t) / sum_ij w_i w_j P_i

with A_i(t) of the P_i probes of i accepted, and B_ij(t) of them accepted as j. Between the thresholds of a grid, fine
at small distances, both are taken as straight, as in :mod:`anon.evaluation.thresholds`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


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
