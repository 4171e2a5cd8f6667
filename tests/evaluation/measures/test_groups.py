"""Figures by group against numbers by hand: who is in a group, the largest gap, and what its interval may say."""

from __future__ import annotations

import math

import pytest
import torch

from anon.errors import UserError
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.measures.groups import Groups, gap_of
from anon.faces.contract import Label
from tests.evaluation.measures.known_context import KnownContext

PEOPLE = 24


def found_of(hits, **given):
    """One probe a person at distance .2 of the own entry (found below .3) or at .5."""
    hits = torch.tensor(hits)
    cosine = torch.where(hits, 0.8, 0.5)[:, None]
    z = torch.eye(len(hits) + 1)[:-1] * cosine
    z[:, -1] = (1 - cosine[:, 0].square()).sqrt()  # towards nobody
    entries = torch.eye(len(hits) + 1)[:-1]
    people = torch.arange(len(hits))
    gallery = Gallery(entries, people, entries, people, 0.3)
    return KnownContext(people.tolist(), z={"target": z, "changed": z}, gallery=gallery, **given)


def test_groups_and_gap_by_hand():
    """Of twelve people with a beard nine are found, of twelve without three; the gap is a half."""
    hits = [True] * 9 + [False] * 3 + [True] * 3 + [False] * 9
    beard = Label(torch.tensor([1] * 12 + [0] * 12), ("no beard", "beard"))
    context = found_of(hits, annotations={"beard": beard})
    found = Groups(figures=("ID",), least=10)(context)
    assert {name: figure.value for name, figure in found.items()} == {
        "ID:beard=no beard": 0.25,
        "ID:beard=beard": 0.75,
        "ID_gap:beard": 0.5,
    }
    assert found["ID:beard=beard"].n == 12 and found["ID_gap:beard"].n == 24
    gap, low, high = found["ID_gap:beard"], found["ID:beard=no beard"], found["ID:beard=beard"]
    # one pair of groups: made of their own 95 % intervals (Zou and Donner)
    assert gap.low == pytest.approx(0.5 - math.hypot(0.75 - high.low, low.high - 0.25), abs=2e-3)
    assert gap.high == pytest.approx(0.5 + math.hypot(high.high - 0.75, 0.25 - low.low), abs=2e-3)
    assert 0 < gap.low < 0.5 < gap.high <= 1.0


def test_numbers_are_cut_at_stated_quantiles():
    """0 to 23 in thirds: the quantiles are 23 / 3 = 7.67 and 15.3; an unknown number is in no group."""
    numbers = torch.arange(PEOPLE).float()
    numbers[0] = torch.nan
    found = Groups(figures=("ID",), quantiles=(1 / 3, 2 / 3), least=2)(
        found_of([True] * 12 + [False] * 12, annotations={"age": Label(numbers)})
    )
    # the known are 1 to 23, cut at 1 + 22 / 3 = 8.333 and 15.7
    values = {name: (figure.value, figure.n) for name, figure in found.items()}
    assert values == {
        "ID:age=below 8.333": (1.0, 8),
        "ID:age=8.333 to 15.67": (3 / 7, 7),
        "ID:age=15.67 or more": (0.0, 8),
        "ID_gap:age": (1.0, 16),
    }


def test_a_gap_of_nobody_found_is_no_certainty():
    """Nobody of eleven and of thirteen is found: the gap is 0, and its interval is as wide as the groups' own allow."""
    parts = Label(torch.tensor([1] * 13 + [0] * 11), ("a", "b"))
    gap = Groups(figures=("ID",))(found_of([False] * PEOPLE, annotations={"part": parts}))["ID_gap:part"]
    assert gap.value == 0.0 and gap.n == 24  # of two groups, not of one twice
    bounds = [1 - 0.025 ** (1 / people) for people in (11, 13)]  # Clopper and Pearson: .285 and .247
    assert sorted((-gap.low, gap.high)) == pytest.approx(sorted(bounds), abs=5e-3)


def test_small_groups_and_no_labels():
    label = Label(torch.tensor([0] * 15 + [1] * 9), ("many", "few"))
    found = Groups(figures=("ID",), least=10)(found_of([True] * PEOPLE, annotations={"size": label}))
    assert found["ID:size=few"].reason == "n/a (9 people, fewer than 10)"
    assert found["ID:size=many"].value == 1.0
    assert found["ID_gap:size"].reason == "n/a (fewer than two groups of 10 people)"
    assert Groups()(found_of([True] * PEOPLE))["groups"].reason == "n/a (the data has no labels: data.labels=<csv>)"


def test_what_is_asked_for():
    label = {"half": Label(torch.tensor([1] * 12 + [0] * 12), ("a", "b"))}
    real = Groups()(found_of([True] * PEOPLE, annotations=label, method="real"))
    assert {name.split(":")[0] for name in real} == {"ID", "ID_gap", "pose_error_gap"}
    assert real["pose_error_gap:half"].reason.startswith("needs attributes=")
    attacked = Groups(figures=("ID", "RA"))(found_of([True] * PEOPLE, annotations=label, attack="mirror"))
    assert set(attacked) == {"RA:half=a", "RA:half=b", "RA_gap:half"}
    with pytest.raises(UserError, match=r"names 'ssin', which is not told by group; did you mean 'ssim'"):
        Groups(figures=("ssin",))


def test_a_mean_has_the_differences_of_the_same_resamples():
    """Draws 1 apart everywhere: the gap is 1 in every resample, whatever the groups' own spreads."""
    draws = torch.linspace(0, 1, 200, dtype=torch.float64)
    first, second = Estimate(1.5, 1.0, 2.0, n=20, draws=draws + 1), Estimate(0.5, 0.0, 1.0, n=30, draws=draws)
    gap = gap_of([(first, 10), (second, 12)], 10)
    assert (gap.value, gap.n) == (1.0, 50)
    assert gap.low == pytest.approx(1.0) and gap.high == pytest.approx(1.0)


def test_more_pairs_make_a_wider_interval():
    """Three groups have three pairs: the interval is that of .025 / 3 beyond each end."""
    spread = torch.arange(1000, dtype=torch.float64).div(1000)
    many = 10**6  # people, so that Student's t is the normal distribution
    two = [(Estimate(1.5, n=1, draws=spread + 1), many), (Estimate(0.0, n=1, draws=torch.zeros(1000).double()), many)]
    assert gap_of(two, 10).low == pytest.approx(1 + 0.025, abs=2e-3)
    three = [*two, (Estimate(0.5, n=1, draws=spread), many)]
    assert gap_of(three, 10).low == pytest.approx(1 + 0.025 / 3, abs=2e-3)
    assert gap_of(three, 10).high == pytest.approx(2 - 0.025 / 3, abs=2e-3)


def test_a_gap_of_shares_has_a_worst_judge():
    """Of a panel the line's gap is that of the judge who shows the largest."""
    metrics = Groups().metrics
    assert metrics["ID_gap:<label>"].has_worst and metrics["ID:<group>"].has_worst
