"""Private votes: the published probabilities, and the two guarantees by adding up every outcome of small sets."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from anon.attributes.private import chances, drawn, of_faces, of_references, poisson, votes

K, EPSILON = 2, 0.7
#: One attribute by itself and a group of two.
GROUPS = ((1, 2),)
#: Places of six references on a line, and what they have; each of a group exactly one.
PLACES = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
HAVE = torch.tensor([[1, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 0, 1]]).float()


@pytest.mark.parametrize(
    ("k", "epsilon", "wanted"),
    [
        (100, 0.05, [0.0759, 0.2227, 0.5, 0.8808, 0.9241]),
        (100, 0.10, [0.0067, 0.0759, 0.5, 0.9820, 0.9933]),
        (100, 0.0, [0.5] * 5),
    ],
)
def test_equation_4_5(k: int, epsilon: float, wanted: list[float]) -> None:
    """By hand: 1 / (1 + exp(-(2 v - k) epsilon / 2)) at v = 0, 25, 50, 90, 100."""
    found = chances(torch.tensor([[0.0, 25.0, 50.0, 90.0, 100.0]]), k, epsilon, 1.0)
    torch.testing.assert_close(found[0], torch.tensor(wanted), atol=5e-5, rtol=0)


def test_a_group_has_exactly_one_by_equation_4_6() -> None:
    """Three and one votes at eps / 2D = log(2): 8 to 2, so .8 and .2; counted over 4,000 draws."""
    p = chances(torch.tensor([[0.0, 3.0, 1.0]]), 4, 2 * math.log(2), 1.0, GROUPS)
    torch.testing.assert_close(p[0, 1:], torch.tensor([0.8, 0.2]))
    found = drawn(p.expand(4000, 3), GROUPS, torch.Generator().manual_seed(0))
    assert bool((found[:, 1:].sum(1) == 1).all())
    assert abs(float(found[:, 1].mean()) - 0.8) < 0.02
    assert abs(float(found[:, 0].mean()) - float(p[0, 0])) < 0.02


def test_the_nearest_of_those_who_were_kept_vote() -> None:
    """The face at 2.2 among all has its neighbours at 2 and 3; without the one at 2, at 3 and 1."""
    face = torch.tensor([[2.2]])
    everybody = torch.ones(1, 6, dtype=torch.bool)
    assert votes(face, PLACES, HAVE, everybody, 2).tolist() == [[2.0, 1.0, 1.0]]
    without = everybody.clone()
    without[0, 2] = False
    assert votes(face, PLACES, HAVE, without, 2).tolist() == [[1.0, 1.0, 1.0]]
    alone = torch.zeros_like(everybody)
    alone[0, 5] = True
    assert votes(face, PLACES, HAVE, alone, 2).tolist() == [[0.0, 0.0, 1.0]]  # fewer than k: nobody stands in


def test_tau_caps_a_voter_by_equation_4_4() -> None:
    """Two attributes and tau = 1: half a vote each."""
    everybody = torch.ones(1, 6, dtype=torch.bool)
    assert votes(torch.tensor([[0.1]]), PLACES, HAVE, everybody, 1, tau=1.0).tolist() == [[0.5, 0.5, 0.0]]
    assert votes(torch.tensor([[0.9]]), PLACES, HAVE, everybody, 1, tau=1.0).tolist() == [[0.0, 0.0, 1.0]]


def test_a_share_gamma_is_kept_each_by_itself() -> None:
    kept = poisson(2000, 10, 0.3, torch.Generator().manual_seed(0))
    assert abs(float(kept.float().mean()) - 0.3) < 0.01
    assert len(kept.sum(1).unique()) > 5  # not always the same number, which would be another mechanism


def outcomes() -> list[tuple[float, ...]]:
    """All that can be drawn: the single one or not, and one of the group."""
    return [(single, *group) for single in (0.0, 1.0) for group in ((1.0, 0.0), (0.0, 1.0))]


def exact(face: float, members: tuple[int, ...], gamma: float, tau: float | None = None) -> Tensor:
    """The probability of every outcome, over all subsamples of the references that there are."""
    total = torch.zeros(len(outcomes()), dtype=torch.float64)
    for size in range(len(members) + 1):
        for chosen in itertools.combinations(members, size):
            kept = torch.zeros(1, 6, dtype=torch.bool)
            kept[0, list(chosen)] = True
            p = chances(votes(torch.tensor([[face]]), PLACES, HAVE, kept, K, tau).double(), K, EPSILON, 1.0, GROUPS)[0]
            each = [(p[0] if one[0] else 1 - p[0]) * p[1 + int(one[2])] for one in outcomes()]
            total += gamma**size * (1 - gamma) ** (len(members) - size) * torch.stack(each)
    return total


@pytest.mark.parametrize("gamma", [1.0, 0.4])
@pytest.mark.parametrize("tau", [None, 0.75])
def test_the_guarantee_of_the_references_by_adding_up(gamma: float, tau: float | None) -> None:
    """Any one of the six taken out: no outcome's probability moves by more than the budget, at any face.

    Two draws: 2 eps without a cap, 1.5 eps with tau = .75. Eps alone, which is printed for it, is exceeded.
    """
    draws = 2
    budget = of_references(EPSILON, 1.0, draws, tau, gamma)
    worst = 0.0
    for face in (0.2, 1.4, 2.2, 4.6):
        whole = exact(face, tuple(range(6)), gamma, tau)
        assert abs(float(whole.sum()) - 1) < 1e-9
        for gone in range(6):
            without = exact(face, tuple(each for each in range(6) if each != gone), gamma, tau)
            worst = max(worst, float((whole.log() - without.log()).abs().max()))
    assert 0 < worst <= budget + 1e-9
    if gamma == 1.0 and tau is None:
        assert budget == pytest.approx(2 * EPSILON)
        assert worst > EPSILON  # the books' eps is that of one draw


def test_amplification_by_hand() -> None:
    """log(1 + gamma (e^E - 1)) with E = log 3 and gamma = 1/2 is log 2."""
    assert of_references(math.log(3), 1.0, 1, gamma=0.5) == pytest.approx(math.log(2))
    assert of_references(0.1, 1.0, 12, tau=2.0) == pytest.approx(0.4)  # 2 tau = 4 draws at most
    assert of_references(0.1, 4.0, 12, tau=2.0) == pytest.approx(0.1)  # their text's D = 2 tau: eps in all


def test_the_guarantee_of_the_face_is_reached_and_not_exceeded() -> None:
    """Of all votes that there can be, the two most unlike have outcomes exactly as far apart as is said."""
    bound = of_faces(EPSILON, 1.0, K, 1, [2])
    tables = []
    for counted in itertools.product(range(K + 1), repeat=3):
        p = chances(torch.tensor([counted], dtype=torch.float64), K, EPSILON, 1.0, GROUPS)[0]
        tables.append(torch.stack([(p[0] if one[0] else 1 - p[0]) * p[1 + int(one[2])] for one in outcomes()]))
    logs = torch.stack(tables).log()
    spread = float((logs[:, None] - logs[None]).abs().max())
    assert spread == pytest.approx(bound, abs=1e-9)


def test_at_the_published_setting_a_face_has_next_to_nothing() -> None:
    """k = 100, eps = .05: 8 draws of 2.5 each, and more for the groups of three and two."""
    assert of_faces(0.05, 1.0, 100, 8) == pytest.approx(20.0)
    assert of_faces(0.05, 1.0, 100, 8, [3, 2]) > 22.5
