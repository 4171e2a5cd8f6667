"""Attributes drawn from the votes of neighbours: differential private k-anonymity of attributes (dp k-anonymity).

    1  each reference face is kept with probability gamma, independently (Poisson subsample)
    2  the k kept faces nearest to X, by the features of a classifier, vote with their attributes: v_1 .. v_c
    3  an attribute becomes 1 with    p = exp(eps v / 2D) / (exp(eps v / 2D) + exp(eps (k - v) / 2D))
       of a group that excludes each other exactly one does, with    p_j = exp(eps v_j / 2D) / sum_i exp(eps v_i / 2D)

Cao, Liu, Wen, Zhu, Xie & Song, *Hiding among your neighbors*, IEEE BMSB 2022; eqs. 4.4 to 4.6 and algorithm 1 of Wen et
al., *Face De-identification*, Springer 2024. ``tau`` caps what a neighbour may vote in all (eq. 4.4, of Private-kNN).
D is the sensitivity: 1 in their experiments, 2 tau in their text.

**What is guaranteed, and of what.** Two things, both of the drawn attributes alone, and of one release:

- *Of the reference faces* (:func:`of_references`): whether any one of them was among those that could vote changes the
  probability of any outcome by a factor exp(E) at most. One face that comes or goes exchanges one voter for another, so
  the votes change by 1 in each of the M draws at most, and by 2 tau in all: E = eps min(M, 2 tau) / D, and
  log(1 + gamma (exp(E) - 1)) with the subsample. The book composes nothing and prints eps; with D = 1 it is M eps.
- *Of the face X* (:func:`of_faces`): whoever X is, each draw keeps some chance of every outcome, for votes lie in
  [0, k]. Any two faces have an outcome with probabilities within exp of the sum of eps k / 2D over the attributes
  (groups a little more). At the published k = 100, eps = .05 that is 2.5 for each attribute and more than 20 in all:
  next to nothing.

**None of it is of the picture**: attributes that are not drawn, pose, outline and all else of X are released as they
are, and a recognizer may find X by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Groups = Sequence[Sequence[int]]


def poisson(count: int, references: int, gamma: float, rng: torch.Generator) -> Tensor:
    """Which of the ``references`` are kept for each of ``count`` faces, (count, references) bool."""
    return torch.rand(count, references, generator=rng, device=rng.device) < gamma


def votes(
    features: Tensor, references: Tensor, attributes: Tensor, kept: Tensor, k: int, tau: float | None = None
) -> Tensor:
    """Votes (B, c) of the k nearest kept references, or of all where fewer are kept.

    Args:
        features: (B, D) of the faces.
        references: (N, D).
        attributes: (N, c) of 0 and 1.
        kept: (B, N) bool.
        tau: what a neighbour may vote in all; None: for each attribute that it has.
    """
    told = attributes
    if tau is not None:
        told = told * (tau / told.sum(1, keepdim=True).clamp(min=1e-9)).clamp(max=1.0)
    distance = torch.cdist(features, references).masked_fill(~kept, math.inf)
    nearest = distance.topk(min(k, len(references)), largest=False)
    weight = nearest.values.isfinite().to(told)  # (B, k), 0 where fewer were kept
    return (told[nearest.indices] * weight[..., None]).sum(1)


def chances(votes: Tensor, k: int, epsilon: float, sensitivity: float, groups: Groups = ()) -> Tensor:
    """Probabilities (B, c) that attributes become 1, by votes (B, c) of k neighbours (eqs. 4.5 and 4.6).

    >>> p = chances(torch.tensor([[0.0, 25.0, 50.0, 90.0, 100.0]]), 100, 0.05, 1.0)
    >>> [round(each, 4) for each in p[0].tolist()]
    [0.0759, 0.2227, 0.5, 0.8808, 0.9241]
    """
    scale = epsilon / (2.0 * sensitivity)
    found = (scale * (2.0 * votes - k)).sigmoid()
    for group in groups:
        found[:, list(group)] = (scale * votes[:, list(group)]).softmax(1)
    return found


def drawn(chances: Tensor, groups: Groups, rng: torch.Generator) -> Tensor:
    """Attributes (B, c) of 0 and 1: each by itself, of a group exactly one."""
    uniform = torch.rand(chances.shape, generator=rng, device=rng.device).to(chances)
    found = (uniform < chances).to(chances)
    for group in groups:
        places = list(group)
        ends = chances[:, places].cumsum(1)
        chosen = (uniform[:, places[:1]] * ends[:, -1:] >= ends[:, :-1]).sum(1)  # one number for the whole group
        found[:, places] = torch.nn.functional.one_hot(chosen, len(places)).to(found)
    return found


def of_references(
    epsilon: float, sensitivity: float, draws: int, tau: float | None = None, gamma: float = 1.0
) -> float:
    """The budget that one release spends of each reference face; see the module.

    Args:
        draws: M, attributes that are drawn by themselves and groups.

    >>> round(of_references(0.05, 1.0, 10), 3), round(of_references(0.05, 1.0, 10, gamma=0.05), 3)
    (0.5, 0.032)
    """
    exponent = epsilon * min(float(draws), math.inf if tau is None else 2.0 * tau) / sensitivity
    return math.log1p(gamma * math.expm1(exponent))


def of_faces(epsilon: float, sensitivity: float, k: int, alone: int, groups: Sequence[int] = ()) -> float:
    """The largest logarithm of the ratio of an outcome's probabilities for two faces; see the module.

    Args:
        alone: attributes that are drawn by themselves.
        groups: how many attributes each group has.

    >>> of_faces(0.05, 1.0, 100, 8)
    20.0
    """
    reach = epsilon * k / (2.0 * sensitivity)
    each = [reach + math.log((1 + (m - 1) * math.exp(reach)) / (math.exp(reach) + m - 1)) for m in groups]
    return alone * reach + sum(each)
