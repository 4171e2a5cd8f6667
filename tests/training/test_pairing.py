"""Pairs: who is whose source."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.training.pairing import AlternatingPairs, MixedPairs


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixed_pairs_are_one_in_five_and_at_least_one() -> None:
    counts = []
    for seed in range(300):
        index, same = MixedPairs(0.2)(10, 0, _rng(seed))
        assert same.any()
        assert torch.equal(index == torch.arange(10), same)  # a face is its own source iff the pair is same
        counts.append(int(same.sum()))
    # Binomial(10, .2) with its zeros (.8^10 = .107) made ones: mean 2.107, deviation 1.2 / sqrt(300)
    assert sum(counts) / 300 == pytest.approx(2.107, abs=0.25)


def test_every_face_is_the_source_of_one_other() -> None:
    index, same = MixedPairs(0.0)(9, 0, _rng())
    assert not same.any() and sorted(index.tolist()) == list(range(9))


def test_all_pairs_are_same_before_a_step() -> None:
    pairs = MixedPairs(0.5, after=3)
    index, same = pairs(40, 2, _rng())
    assert same.all() and index.tolist() == list(range(40))
    assert 10 < int(pairs(40, 3, _rng())[1].sum()) < 30


def test_steps_alternate() -> None:
    pairs = AlternatingPairs()
    index, same = pairs(6, 4, _rng())
    assert same.all() and index.tolist() == list(range(6))
    index, same = pairs(6, 5, _rng())
    assert not same.any() and all(source != face for face, source in enumerate(index.tolist()))


def test_the_same_draws_give_the_same_pairs() -> None:
    one, two = (MixedPairs()(12, 3, _rng(7)) for _ in range(2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="a probability"):
        MixedPairs(1.5)
    with pytest.raises(UserError, match="batch of two"):
        AlternatingPairs()(1, 1, _rng())
    with pytest.raises(UserError, match="not -1"):
        MixedPairs(after=-1)
