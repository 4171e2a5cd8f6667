"""The linear adversary against answers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anon.attacks.linear import RIDGES, Linear, Pairs, best_ridge, fit
from anon.errors import UserError


def embedded(people: int, pictures: int, dim: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(people).repeat_interleave(pictures)
    z = torch.randn(people, dim, generator=rng)[labels] + noise * torch.randn(len(labels), dim, generator=rng)
    return F.normalize(z), labels


def test_one_dimension_by_hand() -> None:
    """Centred x = (-1, 0, 1), y = (-2, 0, 2): s² = 2 is its own mean, so w = 4 / (2 + 2 λ)."""
    x, y = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[3.0], [5.0], [7.0]])
    for (weight, bias), ridge in zip(fit(x, y, (0.0, 1.0)), (0.0, 1.0), strict=True):
        assert float(weight) == pytest.approx(4 / (2 + 2 * ridge))
        assert float(bias) == pytest.approx(5.0 - 2.0 * float(weight))


def test_a_direction_that_nobody_shows_is_not_guessed() -> None:
    x = torch.tensor([[1.0, 0.5], [-1.0, 0.5]])
    ((weight, bias),) = fit(x, x, (0.0,))
    assert torch.allclose(weight, torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64))
    assert torch.allclose(bias, torch.tensor([0.0, 0.5], dtype=torch.float64))


def test_a_rotation_of_identities_is_undone_for_people_who_were_not_seen() -> None:
    rotation = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(1))).Q
    known, labels = embedded(60, 4, 16, 0.3)
    attack = Linear(lambda: Pairs(known @ rotation, known, labels))
    new, _ = embedded(20, 2, 16, 0.3, seed=9)
    found = attack.probe(new @ rotation)
    assert torch.allclose(found.norm(dim=1), torch.ones(len(new)))
    assert float((found * new).sum(1).min()) > 0.99
    assert float((new @ rotation * new).sum(1).mean()) < 0.5  # where nobody undoes it


def test_the_ridge_is_chosen_by_people_who_are_left_out() -> None:
    """What is mostly noise would be learned by heart: no small one. What is all there: the least."""
    original, labels = embedded(12, 4, 32, 0.2)
    noise = F.normalize(torch.randn(len(labels), 32, generator=torch.Generator().manual_seed(3)))
    assert best_ridge(Pairs(F.normalize(0.5 * original + noise), original, labels)) >= 0.01
    known, labels = embedded(30, 4, 32, 0.2)
    assert best_ridge(Pairs(-known, known, labels)) == RIDGES[0]


def test_pairs_are_asked_for_once_and_only_when_needed() -> None:
    original, labels = embedded(6, 2, 8, 0.2)
    asked = []

    def pairs() -> Pairs:
        asked.append(1)
        return Pairs(-original, original, labels)

    attack = Linear(pairs, ridge=0.0)
    assert not asked
    assert torch.allclose(attack.probe(-original), original, atol=1e-5)
    attack.probe(original)
    assert asked == [1]


def test_refusals() -> None:
    z, _ = embedded(1, 3, 8, 0.1)
    with pytest.raises(UserError, match="two people"):
        best_ridge(Pairs(z, z, torch.zeros(3)))
    with pytest.raises(UserError, match="ridge"):
        Linear(lambda: Pairs(z, z, torch.zeros(3)), ridge=-1.0)
