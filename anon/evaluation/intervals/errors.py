"""Error rates of verification in every resample of the people: EER, TAR at wanted FARs, AUC and accuracies.

People are resampled on both sides. A resample holds person i ``w_i`` times. A probe of i against i's own entry then
counts ``w_i`` times and against j's entry ``w_i w_j`` times (once more for people who are enrolled and never probe, who
are not resampled):

    FRR(t) = 1 - sum_i w_i A_i(t) / sum_i w_i P_i        FAR(t) = sum_ij w_i w_j B_ij(t) / sum_ij w_i w_j P_ij

with A_i(t) of the P_i probes of i accepted, and B_ij(t) of them accepted as j. Between the thresholds of a grid, fine
at small distances, both are taken as straight, as in :mod:`anon.evaluation.judges.thresholds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ErrorRates(NamedTuple):
    """Of each resample, float64: the equal error rate (R,), the true accept rates (F, R) at the wanted FARs, the area
    under the ROC curve (R,), and the accuracies ``(TAR + 1 - FAR) / 2`` (R,): the best of all thresholds, and that of a
    threshold from elsewhere.
    """

    eer: Tensor
    tar: Tensor
    auc: Tensor
    best: Tensor
    accuracy: Tensor


def resampled_errors(
    distance: Tensor,
    own: Tensor,
    people: Tensor,
    entries: Tensor,
    weights: Tensor,
    fars: Sequence[float],
    limits: Tensor,
    levels: int = 64,
) -> ErrorRates:
    """The rates of each resample.

    Args:
        distance: (P, G) of probes to enrolled people, one entry each.
        own: (P, G) bool, where the entry is the probe's own person.
        people: (P,) columns of ``weights`` of the probes.
        entries: (G,) columns of the enrolled, -1 for those who never probe.
        weights: (R, I) how often each person counts.
        fars: the F wanted false accept rates.
        limits: (K,) thresholds from elsewhere, equally likely; resample r meets number r modulo K.
        levels: thresholds evenly over all distances, and as many again by the ranks of impostors.
    """
    distance, limits = distance.double(), limits.double()
    grid = _grid(distance[own], distance[~own], min(fars), limits, levels)
    level = torch.searchsorted(grid, distance, right=True)  # (P, G), the first threshold above
    frr = _rejected(level, own, people, weights, len(grid))
    far = _accepted(level, own, people, entries, weights.float(), len(grid))
    right = (2.0 - frr - far) / 2
    rows = torch.searchsorted(grid, limits)[torch.arange(len(weights)) % len(limits)]
    area = (far.diff(dim=0) * (2.0 - frr[1:] - frr[:-1]) / 2).sum(0)
    return ErrorRates(
        eer=_where(far - frr, 0.0, far),
        tar=1.0 - torch.stack([_where(far, wanted, frr) for wanted in fars]),
        auc=area,
        best=right.amax(0),
        accuracy=right.gather(0, rows[None])[0],
    )


def _rejected(level: Tensor, own: Tensor, people: Tensor, weights: Tensor, count: int) -> Tensor:
    """FRR (T, R)."""
    people = people[:, None].expand_as(level)[own]
    cells = torch.bincount(level[own] * weights.shape[1] + people, minlength=count * weights.shape[1])
    accepted = cells.view(count, -1).cumsum(0).double() @ weights.T  # (T, R)
    return 1.0 - accepted / accepted[-1:]


def _accepted(level: Tensor, own: Tensor, people: Tensor, entries: Tensor, weights: Tensor, count: int) -> Tensor:
    """FAR (T, R): each step adds the pairs that it accepts to those of the steps below."""
    others = torch.where(entries[None] < 0, 1.0, weights[:, entries.clamp_min(0)])  # (R, G)
    pairs = torch.zeros(weights.shape[1], len(entries))  # of i's probes with j's entry
    cells = (people[:, None] * len(entries) + torch.arange(len(entries)))[~own]
    order = level[~own].argsort()
    sizes = torch.bincount(level[~own], minlength=count).tolist()
    rates = []
    for step in cells[order].split(sizes):
        pairs.view(-1).index_add_(0, step, torch.ones(len(step)))
        rates.append(((weights @ pairs) * others).sum(1))
    accepted = torch.stack(rates).double()
    return accepted / accepted[-1:]


def _grid(genuine: Tensor, impostor: Tensor, far: float, limits: Tensor, levels: int) -> Tensor:
    """(T,) rising, ``limits`` among them: nothing lies below the first, everything below the last."""
    bottom, top = min(genuine.min(), impostor.min()), max(genuine.max(), impostor.max())
    even = torch.linspace(float(bottom), float(top), levels, dtype=torch.float64)
    least = max(far / 16, 1.0 / len(impostor))
    shares = torch.logspace(math.log10(least), 0.0, levels, dtype=torch.float64)
    fine = impostor.sort().values[(shares * (len(impostor) - 1)).round().long()]
    return torch.cat([even, fine, limits, bottom[None], torch.nextafter(top, top + 1)[None]]).unique()


def _where(rising: Tensor, level: float, values: Tensor) -> Tensor:
    """``values`` (T, R) where ``rising`` (T, R) passes ``level``, on straight lines between the rows -> (R,)."""
    after = (rising <= level).sum(0).clamp(1, len(rising) - 1)[None]
    (low, high), (start, end) = ([part.gather(0, at) for at in (after - 1, after)] for part in (rising, values))
    share = ((level - low) / (high - low).clamp_min(1e-12)).clamp(0.0, 1.0)
    return torch.lerp(start, end, share)[0]
