"""k, l and t of tables that can be counted by hand, and what is selected of them."""

from __future__ import annotations

import pytest
import torch

from anon.attributes.selection import Anonymity, anonymities, anonymity, classes_of, joint, select
from anon.errors import UserError

#: Eight pictures of seven people: codes 00 (four), 01 (three, of two people) and 11 (one).
CODES = torch.tensor([[0, 0], [0, 0], [0, 0], [0, 0], [0, 1], [0, 1], [0, 1], [1, 1]])
SENSITIVE = torch.tensor([0, 0, 1, 1, 0, 0, 0, 1])
PEOPLE = torch.tensor([0, 1, 2, 3, 4, 5, 5, 6])


def test_each_class_by_hand() -> None:
    """Of the set 3/8 have the value 1: 00 has 1/2 of it, 01 none, 11 all."""
    found = anonymities(classes_of(CODES), SENSITIVE, PEOPLE)
    assert found == [Anonymity(4, 2, 1 / 8), Anonymity(2, 1, 3 / 8), Anonymity(1, 1, 5 / 8)]
    assert anonymity(CODES, SENSITIVE, PEOPLE) == Anonymity(1, 1, 5 / 8)


def test_three_values_are_half_the_sum_of_differences() -> None:
    """Shares 1/2, 1/4, 1/4 of all; a class of the first value alone: (1/2 + 1/4 + 1/4) / 2."""
    found = anonymities(torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 2]), torch.arange(4))
    assert found[0].t == pytest.approx(0.5)


def test_those_without_a_class_of_k_go_to_the_nearest() -> None:
    """k = 2: 11 joins 01, one bit away, and the others stay."""
    found = select(CODES, SENSITIVE, PEOPLE, 2)
    assert found.tolist() == [[0, 0]] * 4 + [[0, 1]] * 4


def test_a_weight_makes_another_code_nearer() -> None:
    """01 is out with k = 3; 11 is two bits from 00, which is all that is left."""
    assert select(CODES, SENSITIVE, PEOPLE, 3).tolist() == [[0, 0]] * 8
    codes = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0], [1, 1]])
    people, same = torch.arange(5), torch.zeros(5, dtype=torch.int64)
    assert select(codes, same, people, 2, weights=torch.tensor([1.0, 5.0]))[4].tolist() == [0, 1]
    assert select(codes, same, people, 2, weights=torch.tensor([5.0, 1.0]))[4].tolist() == [1, 0]


def test_diversity_closes_a_class_of_one_value() -> None:
    """01 has two people and one value: with l = 2 only 00 stays."""
    assert select(CODES, SENSITIVE, PEOPLE, 2, l=2).tolist() == [[0, 0]] * 8


def test_closeness_is_counted_again_when_others_have_joined() -> None:
    """00 and 11 are close as they stand (both 1/2 of the value 1); five of the value 1 join 11, and it is no more."""
    codes = torch.tensor([[0, 0]] * 4 + [[1, 1]] * 2 + [[0, 1]] * 2)
    sensitive = torch.tensor([0, 1, 0, 1, 0, 1, 1, 1])
    people = torch.arange(8)
    assert anonymities(classes_of(codes), sensitive, people)[0].t == pytest.approx(1 / 8)
    found = select(codes, sensitive, people, 2, t=0.13)
    assert anonymity(found, sensitive, people).t <= 0.13
    loose = select(codes, sensitive, people, 2, t=0.5)
    assert len(loose.unique(dim=0)) > len(found.unique(dim=0))


@pytest.mark.parametrize("seed", range(5))
def test_what_is_selected_has_what_was_asked(seed: int) -> None:
    """Random sets with several pictures of a person; who had a code that stays has it still."""
    rng = torch.Generator().manual_seed(seed)
    codes = (torch.rand(60, 4, generator=rng) < torch.tensor([0.5, 0.3, 0.2, 0.1])).long()
    values = torch.randint(0, 4, (60,), generator=rng)
    people = torch.arange(60) // 2
    found = select(codes, values, people, 5, 2, 0.35)
    reached = anonymity(found, values, people)
    assert reached.k >= 5 and reached.l >= 2 and reached.t <= 0.35 + 1e-9
    kept = {tuple(code) for code in found.tolist()}
    stay = [row for row in range(60) if tuple(codes[row].tolist()) in kept]
    assert stay and torch.equal(found[stay], codes[stay])


def test_whoever_knows_the_attributes_names_one_of_k() -> None:
    """The best guess from a code before to the code after is right for one person of a class: at most 1 / k."""
    people = torch.arange(8)
    found = select(CODES, SENSITIVE, people, 4)
    names = [people[(found == code).all(1)] for code in found.unique(dim=0)]
    assert all(len(each) >= 4 for each in names)
    assert len(names) / len(people) <= 1 / 4


def test_what_no_set_can_have_is_refused() -> None:
    with pytest.raises(UserError, match="the set has 7 people and 2 values"):
        select(CODES, SENSITIVE, PEOPLE, 8)
    with pytest.raises(UserError, match="l=3"):
        select(CODES, SENSITIVE, PEOPLE, 2, l=3)


def test_two_bits_are_four_values() -> None:
    assert joint(torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]])).tolist() == [0, 1, 2, 3]
