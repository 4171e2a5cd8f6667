"""The linear adversary: what a matrix, learned in closed form, makes of an anonymized face's embedding.

It owns pairs, as the reconstruction attack does (FIVA, ICCVW 2023, section 3.2): photographs of its own people and what
the published software made of them. Where a trained network has to be believed to be trained well, ridge regression
(Hoerl & Kennard, Technometrics 1970) has one best answer:

    W, b = argmin sum_i |W c_i + b - z_i|² + λ |W|²        c_i, z_i: the judge's embeddings of changed and original

λ is the one whose predictions are nearest, as the judge compares, for people left out of the fit (five folds of them).
Negation is one such matrix, W = -1: this adversary finds it, or any other rotation or scaling of identities, by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from anon.attacks.contract import Attack
from anon.errors import UserError
from anon.identity.verification import distance

FOLDS = 5
RIDGES = tuple(10.0**power for power in range(-6, 3))  # shares of the mean squared singular value


class Pairs(NamedTuple):
    """Embeddings (N, D) by the judge of changed and of original faces, whose they are (N,), and the judge's metric."""

    changed: Tensor
    original: Tensor
    people: Tensor
    metric: str = "cosine"


class Linear(Attack):
    """``probe(z) = W z + b``, to unit length where the judge compares directions.

    Args:
        pairs: gives what the adversary learns from; asked once, when the first probe is looked at.
        ridge: λ, as a share of the mean squared singular value of the changed embeddings; None: see above.
    """

    def __init__(self, pairs: Callable[[], Pairs], ridge: float | None = None) -> None:
        super().__init__()
        if ridge is not None and not ridge >= 0:
            raise UserError(f"The ridge of a linear attack is a number from 0 on, not {ridge}.")
        self.pairs, self.ridge = pairs, ridge
        self._map: tuple[Tensor, Tensor] | None = None
        self._metric = "cosine"

    def probe(self, z: Tensor) -> Tensor:
        """z (B, D) of changed faces -> (B, D), where the originals are expected."""
        if self._map is None:
            pairs = self.pairs()
            ridge = best_ridge(pairs) if self.ridge is None else self.ridge
            self._map, self._metric = fit(pairs.changed, pairs.original, (ridge,))[0], pairs.metric
        weight, bias = (part.to(z) for part in self._map)
        found = z @ weight + bias
        return F.normalize(found) if self._metric == "cosine" else found


def fit(changed: Tensor, original: Tensor, ridges: tuple[float, ...]) -> list[tuple[Tensor, Tensor]]:
    """Weight (D, E) and bias (E,) for each ridge, float64, by one singular value decomposition.

    Args:
        changed, original: (N, D) and (N, E).

    >>> z = torch.eye(3, dtype=torch.float64)
    >>> weight, bias = fit(-z, z, (0.0,))[0]  # whoever fled to -z is at -(-z)
    >>> torch.allclose(-z @ weight + bias, z)
    True
    """
    x, y = changed.double(), original.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    u, s, vt = torch.linalg.svd(x - mean_x, full_matrices=False)
    s = torch.where(s > 1e-9 * s.max().clamp_min(1e-30), s, torch.zeros_like(s))
    scale, along = s.square().mean(), u.T @ (y - mean_y)
    found = []
    for ridge in ridges:
        filtered = torch.where(s > 0, s / (s.square() + ridge * scale), 0.0)
        weight = vt.T @ (filtered[:, None] * along)
        found.append((weight, mean_y - mean_x @ weight))
    return found


def best_ridge(pairs: Pairs) -> float:
    """The ridge of :data:`RIDGES` whose predictions are nearest to the originals of people who were left out.

    Raises:
        UserError: pairs of one person alone.
    """
    people, place = pairs.people.unique(return_inverse=True)
    if len(people) < 2:
        raise UserError("A linear attack learns from pairs of two people or more.")
    fold = place % min(FOLDS, len(people))
    score = torch.zeros(len(RIDGES), dtype=torch.float64)
    for number in fold.unique():
        out = fold == number
        x, y = pairs.changed[out].double(), pairs.original[out].double()
        for at, (weight, bias) in enumerate(fit(pairs.changed[~out], pairs.original[~out], RIDGES)):
            found = x @ weight + bias
            near = F.cosine_similarity(found, y) if pairs.metric == "cosine" else -distance(found, y, pairs.metric)
            score[at] += near.sum()
    return RIDGES[int(score.argmax())]
