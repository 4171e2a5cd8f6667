from __future__ import annotations

import math

import pytest
import torch

from anon.evaluation.intervals.bootstrap import Bootstrap


def test_two_people_who_differ():
    """Resamples of {0, 1} have means 0, 1/2, 1 with chances 1/4, 1/2, 1/4: the interval is all of [0, 1]."""
    figure = Bootstrap(torch.tensor([3, 8])).mean(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([3, 3, 8]))
    assert (figure.value, figure.low, figure.high, figure.n) == (pytest.approx(1 / 3), 0.0, 1.0, 3)


def test_interval_of_many_people_is_the_normal_one():
    people = torch.arange(400)
    figure = Bootstrap(people, resamples=4000).mean((people % 2).double(), people)
    half = 1.96 * math.sqrt(0.25 / 400)
    assert figure.low == pytest.approx(0.5 - half, abs=0.006)
    assert figure.high == pytest.approx(0.5 + half, abs=0.006)


def test_people_are_resampled_not_faces():
    """Ten people with 100 equal faces each: as wide as ten faces, not as a thousand."""
    people = torch.arange(10)
    once = Bootstrap(people, seed=1).mean((people < 5).double(), people)
    faces = people.repeat_interleave(100)
    often = Bootstrap(faces, seed=1).mean((faces < 5).double(), faces)
    assert (once.low, once.high) == (often.low, often.high) and often.n == 1000
    assert once.high - once.low > 0.4


def test_nobody_hit_is_not_certainty():
    """Clopper and Pearson for 0 of 10: 1 - 0.025^(1/10) = 0.3085."""
    people = torch.arange(10)
    nobody = Bootstrap(people).mean(torch.zeros(10), people, share=True)
    assert (nobody.low, nobody.high) == (0.0, pytest.approx(0.3085, abs=1e-4))
    everybody = Bootstrap(people).mean(torch.ones(10), people, share=True)
    assert (everybody.low, everybody.high) == (pytest.approx(0.6915, abs=1e-4), 1.0)


def test_ratio_is_resampled_together():
    """Twice the error for everybody: the ratio is 2 in every resample."""
    people = torch.arange(20)
    own = torch.rand(20, generator=torch.Generator().manual_seed(0))
    figure = Bootstrap(people).ratio(2 * own, own, people)
    assert (figure.value, figure.low, figure.high) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_people_without_a_value_do_not_count():
    figure = Bootstrap(torch.arange(50)).mean(torch.tensor([1.0, 1.0]), torch.tensor([7, 9]))
    assert (figure.value, figure.low, figure.high) == (1.0, 1.0, 1.0)


def test_one_person_has_no_interval_and_nothing_no_value():
    one = Bootstrap(torch.tensor([4])).mean(torch.tensor([0.5, 0.7]), torch.tensor([4, 4]))
    assert one.value == pytest.approx(0.6) and one.low is None and one.high is None
    none = Bootstrap(torch.tensor([4])).mean(torch.empty(0), torch.empty(0, dtype=torch.long))
    assert none.value is None and none.reason


def test_seeded():
    people = torch.arange(30)
    values = torch.rand(30, generator=torch.Generator().manual_seed(0))
    assert Bootstrap(people, seed=5).mean(values, people) == Bootstrap(people, seed=5).mean(values, people)
    assert Bootstrap(people, seed=5).mean(values, people) != Bootstrap(people, seed=6).mean(values, people)
