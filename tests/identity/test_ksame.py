"""k-Same of identity vectors: the bound of the vector, on closed sets."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from anon.errors import Failed, UserError
from anon.identity.ksame import KSameEmbedding
from anon.provenance import UNSHARED, made_of


def people(split: str, count: int = 12, pictures: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of people with some pictures each."""
    rng = torch.Generator().manual_seed(sum(split.encode()))
    labels = torch.arange(count).repeat_interleave(pictures)
    own = torch.randn(count, 16, generator=rng)[labels] + 0.3 * torch.randn(len(labels), 16, generator=rng)
    return F.normalize(own), labels


def best(wanted: torch.Tensor, labels: torch.Tensor) -> float:
    """The share that the best recognizer of wanted identities names rightly: for each vector its commonest person."""
    _, place = (wanted * 1e4).round().unique(dim=0, return_inverse=True)
    return sum(int(labels[place == at].bincount().max()) for at in place.unique()) / len(labels)


def test_the_mean_of_k_people_by_hand() -> None:
    """At 0°, 40°, 180° and 220° two and two are near; the middles are at 20° and 200°."""
    angle = torch.deg2rad(torch.tensor([0.0, 180.0, 40.0, 220.0]))
    z = torch.stack([angle.cos(), angle.sin()], 1)
    middle = torch.deg2rad(torch.tensor([20.0, 200.0, 20.0, 200.0]))
    expected = torch.stack([middle.cos(), middle.sin()], 1)
    torch.testing.assert_close(KSameEmbedding(lambda split: (z, torch.arange(4)), k=2)(z), expected)
    paired = KSameEmbedding(lambda split: (z, torch.arange(4)), k=2, furthest=True)(z)
    torch.testing.assert_close(paired, expected[[1, 0, 3, 2]])


@pytest.mark.parametrize("furthest", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_nobody_is_told_from_k(k: int, furthest: bool) -> None:
    z, labels = people("evaluation")
    wanted = KSameEmbedding(people, k, furthest=furthest)(z)
    torch.testing.assert_close(wanted.norm(dim=1), torch.ones(len(z)))
    assert best(wanted, labels) <= 1 / k
    assert best(z, labels) == 1.0  # who it is, without it


def test_several_pictures_of_a_person_break_clusters_of_pictures() -> None:
    """The known break (Newton et al. assume one image a subject): clusters hold one person alone."""
    z, labels = people("evaluation")
    assert best(KSameEmbedding(people, 3, unit="picture")(z), labels) > 0.5


def test_each_split_is_a_set_of_its_own() -> None:
    policy = KSameEmbedding(people, 3)
    for split in ("attacker", "evaluation", "train"):
        z, labels = people(split)
        assert best(policy(z.flip(0)), labels.flip(0)) <= 1 / 3
        assert best(copy.deepcopy(policy)(z), labels) <= 1 / 3


def test_a_closed_set_refuses_others() -> None:
    z, _ = people("evaluation")
    with pytest.raises(Failed, match="closed set, and 1 faces are in none"):
        KSameEmbedding(people, 3)(torch.cat([z[:2], -z[:1]]))


def test_too_few_people() -> None:
    with pytest.raises(UserError, match=r"k=9 needs 9 people and the set 'evaluation' has 4"):
        KSameEmbedding(lambda split: people(split, 4), 9)
    with pytest.raises(UserError, match=r"k=3 needs 6 people \(two clusters\)"):
        KSameEmbedding(lambda split: people(split, 4), 3, furthest=True)
    few = KSameEmbedding(lambda split: people(split, 4 if split == "attacker" else 9), 5)
    with pytest.raises(Failed, match=r"k=5 needs 5 people and the set 'attacker' has 4"):
        few(people("attacker", 4)[0])


def test_its_content_is_of_the_pictures_not_of_who_gives_them() -> None:
    one, again = (made_of(KSameEmbedding(lambda split: people(split), 3)) for _ in range(2))
    assert one == again and not one.startswith(UNSHARED)
    assert made_of(KSameEmbedding(lambda split: people(split, 11), 3)) != one != made_of(KSameEmbedding(people, 4))
