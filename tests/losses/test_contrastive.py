"""The class-weighted supervised contrastive loss against numbers worked out by hand and the formula written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.losses.contrastive import SupervisedContrastive, inverse_frequency, supervised_contrastive

UP, RIGHT, DOWN = [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]


def written_out(z: Tensor, labels: Tensor, weights: Tensor, tau: float) -> float:
    total, weight = 0.0, 0.0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if not positives:
            continue
        below = sum(math.exp(float(z[i] @ z[a]) / tau) for a in others)
        loss = -sum(math.log(math.exp(float(z[i] @ z[p]) / tau) / below) for p in positives) / len(positives)
        total += float(weights[labels[i]]) * loss
        weight += float(weights[labels[i]])
    return total / weight


def test_two_pairs_by_hand() -> None:
    z = torch.tensor([UP, UP, DOWN, DOWN])
    # each anchor: one positive at cosine 1, two negatives at -1
    loss = supervised_contrastive(z, torch.tensor([0, 0, 1, 1]), tau=0.5)
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-4)), rel=1e-5)


def test_a_class_of_one_flees_but_does_not_count() -> None:
    z = torch.tensor([UP, UP, RIGHT])
    loss = supervised_contrastive(z, torch.tensor([0, 0, 1]), torch.tensor([1.0, 1000.0]), tau=1.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)  # of the two anchors of class 0 alone


def test_weights_weigh_anchors_by_class() -> None:
    z = torch.tensor([UP, UP, DOWN, RIGHT])
    labels = torch.tensor([0, 0, 1, 1])
    near = math.log(math.e + math.exp(-1) + 1) - 1  # anchors of class 0: cosines 1, -1, 0
    down = math.log(2 * math.exp(-1) + 1)  # positive at cosine 0; -1, -1
    right = math.log(3)  # all at cosine 0
    loss = supervised_contrastive(z, labels, torch.tensor([1.0, 3.0]), tau=1.0)
    assert loss.item() == pytest.approx((2 * near + 3 * (down + right)) / 8, rel=1e-5)


@pytest.mark.parametrize("tau", [0.07, 0.5])
def test_agrees_with_the_formula_written_out(tau: float) -> None:
    rng = torch.Generator().manual_seed(0)
    z = F.normalize(torch.randn(24, 6, generator=rng))
    labels = torch.randint(0, 5, (24,), generator=rng)
    labels[0] = 5  # alone in its class
    weights = torch.rand(6, generator=rng) + 0.1
    loss = SupervisedContrastive(tau)(z, labels, weights)
    assert loss.item() == pytest.approx(written_out(z, labels, weights, tau), rel=1e-4)


def test_unknown_classes_are_left_out_altogether() -> None:
    z = torch.tensor([UP, UP, RIGHT, DOWN, DOWN])
    labels = torch.tensor([0, 0, -1, 1, 1])
    assert torch.equal(supervised_contrastive(z, labels), supervised_contrastive(z[labels >= 0], labels[labels >= 0]))


@pytest.mark.parametrize("labels", [[0, 1, 2], [-1, -1, -1], [-1, 0, -1]])
def test_without_a_pair_it_is_zero_and_so_is_its_gradient(labels: list[int]) -> None:
    z = torch.tensor([UP, UP, RIGHT], requires_grad=True)
    loss = supervised_contrastive(z, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0.0 and torch.equal(z.grad, torch.zeros(3, 2))  # type: ignore[arg-type]


def test_gradient_is_finite_where_all_is_alike() -> None:
    z = torch.tensor([UP, UP, UP, UP], requires_grad=True)
    supervised_contrastive(z, torch.tensor([0, 0, 1, 2]), tau=0.01).backward()
    assert bool(torch.isfinite(z.grad).all())  # type: ignore[arg-type]


def test_inverse_frequency_makes_classes_count_alike() -> None:
    counts = torch.tensor([60, 30, 0, 10])
    weights = inverse_frequency(counts)
    torch.testing.assert_close(weights * counts, torch.tensor([100 / 3, 100 / 3, 0.0, 100 / 3]))
