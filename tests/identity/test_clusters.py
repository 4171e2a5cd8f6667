"""Clusters of k-Same, by hand and as the guarantee wants them."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.identity.clusters import check_enough, check_k, clusters, squared_distances, units_of


def line(*places: float) -> torch.Tensor:
    return torch.tensor(places).float()[:, None]


def test_nearest_by_hand() -> None:
    """0 takes 1 (k = 2), 9 takes 8, and of the rest (three are fewer than 2k) all are one cluster."""
    found = clusters(line(0, 9, 1, 8, 4, 5, 20), 2)
    assert found.of.tolist() == [0, 1, 0, 1, 2, 2, 2] and found.shown.tolist() == [0, 1, 2]


def test_furthest_by_hand() -> None:
    """0 and 1 are paired with 9 and 8, who are furthest from them; 4 and 5 with 6 and 7. Each shows the other's."""
    found = clusters(line(0, 4, 1, 9, 5, 8, 6, 7), 2, furthest=True)
    assert found.of.tolist() == [0, 2, 0, 1, 2, 1, 3, 3] and found.shown.tolist() == [1, 0, 3, 2]


@pytest.mark.parametrize("furthest", [False, True])
@pytest.mark.parametrize("k", [2, 3, 7])
def test_every_cluster_has_k_and_every_one_is_in_one(k: int, furthest: bool) -> None:
    for count in range(2 * k, 9 * k):
        vectors = torch.randn(count, 5, generator=torch.Generator().manual_seed(count))
        found = clusters(vectors, k, furthest)
        sizes = torch.bincount(found.of)
        assert int(sizes.min()) >= k and int(sizes.max()) < 2 * k + furthest and int(sizes.sum()) == count
        shown = torch.arange(len(sizes))
        assert bool((found.shown != shown).all()) if furthest else torch.equal(found.shown, shown)
        assert torch.equal(found.shown[found.shown], shown)  # pairs


def test_parts_are_clustered_each_by_itself() -> None:
    """1 is nearest to 0, but in the other part."""
    found = clusters(line(0, 1, 50, 51), 2, parts=[torch.tensor([0, 2]), torch.tensor([1, 3])])
    assert found.of.tolist() == [0, 1, 0, 1]


def test_distances_of_large_numbers() -> None:
    """Pictures far from 0 differ by little: (1000, 1000) and (1001, 1002) by 5."""
    found = squared_distances(torch.tensor([[1000.0, 1000.0], [1001.0, 1002.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 5.0], [5.0, 0.0]]))


def test_pictures_of_two_people_are_no_five_people() -> None:
    """Kind: k pictures that hide nobody, for they are of one person."""
    _, owners = units_of(torch.tensor([0, 0, 0, 1, 1]), "picture")
    with pytest.raises(UserError, match=r"^k-Same with k=3 needs 3 people and the set 'x' has 2: take a smaller k"):
        check_enough(owners, 3, False, "the set 'x'")
    with pytest.raises(UserError, match=r"needs 4 people \(two clusters\) and the set 'x' has 2"):
        check_enough(owners, 2, True, "the set 'x'")
    check_enough(owners, 2, False, "the set 'x'")


@pytest.mark.parametrize(("k", "unit"), [(1, "person"), (True, "person"), (2.0, "person"), (2, "face")])
def test_refuses_what_cannot_be(k: object, unit: str) -> None:
    with pytest.raises(UserError):
        check_k(k, unit)  # type: ignore[arg-type]
