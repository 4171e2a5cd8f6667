"""Intervals of shares against Clopper and Pearson's, the sign test's, and distributions worked out by hand.

Kind: an interval that knows nothing of what was not seen. The percentile bootstrap printed [.000, .028] for nobody of
128 and [.000, .001] for one hit, and called one hit in each of four people different from none. Its other instances:
EER and TAR near 0 and 1, the AUC of a detector, the EER of a calibration, differences, and thresholds taken as known.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import beta, binomtest

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.intervals.bootstrap import Bootstrap, apart, linearized
from anon.evaluation.intervals.shares import difference_ends, share_ends, spread_ends, unseen


def found_once(hit: int, people: int = 128, of: int = 16) -> torch.Tensor:
    x = torch.zeros(people, dtype=torch.float64)
    x[:hit] = 1 / of
    return x


@pytest.mark.parametrize(("hit", "people"), [(0, 128), (1, 128), (3, 10), (64, 128), (127, 128), (8, 8)])
def test_people_who_are_found_always_or_never_are_clopper_and_pearsons(hit, people):
    low, high = share_ends(found_once(hit, people, of=1))
    assert low == pytest.approx(beta.ppf(0.025, hit, people - hit + 1) if hit else 0.0, abs=1e-8)
    assert high == pytest.approx(beta.ppf(0.975, hit + 1, people - hit) if hit < people else 1.0, abs=1e-8)


def test_the_first_hits_do_not_close_the_interval():
    """0: 1 - .025^(1/128) = .0284. With h people once each the unseen one has v = (1 + h/16) / (1 + h)."""
    ends = [share_ends(found_once(hit)) for hit in range(7)]
    assert ends[0] == (0.0, pytest.approx(0.0284, abs=1e-4)) and ends[0][1] <= 0.03
    for (low, high), (next_low, next_high) in itertools.pairwise(ends):
        assert next_low > low and next_high > high / 2  # the percentiles fell to a twentieth
    assert unseen(found_once(1)[None]).item() == pytest.approx((1 + 1 / 16) / 2)
    # one person: G_1 / 16 + v G_0 over a sum of about 129, so two exponentials of these means
    fast, slow, high = 1 / 16 / 129, 17 / 32 / 129, ends[1][1]
    beyond = (slow * np.exp(-high / slow) - fast * np.exp(-high / fast)) / (slow - fast)
    assert beyond == pytest.approx(0.025, rel=0.15)


def test_found_and_missed_are_treated_alike():
    x = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low, high = share_ends(x)
    assert share_ends(1 - x) == (pytest.approx(1 - high), pytest.approx(1 - low))


@pytest.mark.parametrize("plus", range(2, 10))
@pytest.mark.parametrize("minus", [0, 1, 2])
def test_equal_differences_are_a_sign_test(plus, minus):
    """The interval leaves 0 out exactly where the two-sided sign test is below 5 %: 4 to 0 is .125, 6 to 0 .031."""
    d = found_once(plus + minus)
    d[plus:] *= -1
    low, high = difference_ends(d)
    p = binomtest(plus, plus + minus).pvalue
    assert (low > 0 or high < 0) == (p < 0.05), (low, high, p)


def test_one_hit_in_each_of_four_people_is_not_different_from_none():
    people = torch.arange(128).repeat_interleave(16)
    hits = torch.zeros(2048)
    hits[[0, 16, 32, 48]] = 1
    bootstrap = Bootstrap(people)
    some, none = (bootstrap.mean(values, people, share=True) for values in (hits, torch.zeros(2048)))
    difference = apart(some, none)
    assert difference.value == pytest.approx(4 / 2048) and difference.low < 0 < difference.high
    assert apart(none, none).low == -apart(none, none).high == pytest.approx(-0.0284, abs=1e-4)
    assert apart(some, Estimate.absent("no")) is None and apart(some, Estimate(0.5)) is None


def test_numbers_that_are_no_shares_are_compared_by_resamples():
    people = torch.arange(30)
    values = torch.rand(30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bootstrap = Bootstrap(people)
    difference = apart(bootstrap.mean(values + 2, people), bootstrap.mean(values, people))
    assert (difference.value, difference.low, difference.high) == (pytest.approx(2), pytest.approx(2), pytest.approx(2))


def test_unequal_numbers_of_probes():
    """Two of person 0's four are found and person 1's one: 3 / 5; values .6 + (top - .6 bottom) / 2.5."""
    each = linearized(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([4.0, 1.0, 0.0]))
    assert each[0, :2].tolist() == pytest.approx([0.6 - 0.16, 0.6 + 0.16]) and bool(each[0, 2].isnan())
    two = torch.tensor([2.0, 1.0]), torch.tensor([4.0, 1.0]), torch.tensor([0, 1])
    figure = Bootstrap(torch.arange(3)).ratio(*two, share=True)
    assert figure.value == pytest.approx(0.6) and 0 <= figure.low < 0.6 < figure.high <= 1


def test_the_thresholds_spread_is_in_the_interval():
    """Of 100 people one in ten is found at .4, nobody at .3, half at .5."""
    people = torch.arange(100)
    distance = torch.full((100,), 0.9)
    distance[:50], distance[:10] = 0.45, 0.35
    bootstrap = Bootstrap(people)
    known = bootstrap.below(distance, 0.4, None, people)
    same = bootstrap.below(distance, 0.4, torch.full((16,), 0.4), people)
    spread = bootstrap.below(distance, 0.4, torch.linspace(0.3, 0.5, 16), people)
    assert known.value == same.value == spread.value == pytest.approx(0.1)
    assert (same.low, same.high) == (pytest.approx(known.low), pytest.approx(known.high))
    assert known.low == pytest.approx(beta.ppf(0.025, 10, 91)) and known.high == pytest.approx(beta.ppf(0.975, 11, 90))
    assert spread.low < known.low and spread.high > 0.5
    own = bootstrap.below(distance, torch.where(people < 5, 0.3, 0.4), None, people)  # each with one of its own
    assert own.value == pytest.approx(0.05)


def test_rates_that_are_no_means_over_people():
    """Of ten people an EER of 0 in all resamples is at most .308."""
    assert spread_ends(0.0, torch.zeros(50), 10) == (0.0, pytest.approx(0.3085, abs=1e-4))
    assert spread_ends(1.0, torch.ones(50), 10) == (pytest.approx(0.6915, abs=1e-4), 1.0)
    # a mean of 0 and 1 over I people has the variance p (1 - p) / I: nearly Clopper and Pearson's
    deviation = (0.1 * 0.9 / 100) ** 0.5
    low, high = spread_ends(0.1, torch.tensor([0.1 - deviation, 0.1 + deviation], dtype=torch.float64), 100)
    assert low == pytest.approx(beta.ppf(0.025, 10, 91), abs=2e-3)
    assert high == pytest.approx(beta.ppf(0.975, 11, 90), abs=2e-3)
    assert spread_ends(0.5, torch.full((50,), 0.5), 10) == (0.5, 0.5)


def test_of_few_people_the_percentiles_are_moved_out():
    """Of 8 people t is 2.365 in the place of 1.96: Phi(-2.365 sqrt(8/7)) = .57 % beyond each end."""
    draws = torch.linspace(0, 1, 10001, dtype=torch.float64)
    assert Bootstrap.interval(draws, 8) == (pytest.approx(0.0057, abs=1e-4), pytest.approx(0.9943, abs=1e-4))
    assert Bootstrap.interval(draws) == (pytest.approx(0.025), pytest.approx(0.975))


@pytest.mark.parametrize(("rate", "correlation"), [(0.003, 0.8), (0.003, 0.3), (0.01, 0.3), (0.05, 0.8)])
def test_coverage_where_the_bootstrap_fails(rate, correlation):
    """200 repetitions of benchmarks/coverage.py, which has the whole table: .93 less two deviations of .018."""
    rng = np.random.default_rng(0)
    size = 1 / correlation - 1
    own = rng.beta(rate * size, (1 - rate) * size, (200, 128))
    ends = [share_ends(torch.from_numpy(row)) for row in rng.binomial(16, own) / 16]
    assert sum(low <= rate <= high for low, high in ends) / 200 > 0.93 - 0.036
    assert sum(high - low for low, high in ends) / 200 < 0.09
