"""Who is given whose face, where a list says so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from anon.errors import UserError
from anon.evaluation.harness.donors import partners
from anon.evaluation.harness.subjects import paired

#: Three people of three, two and two pictures; the last two pictures of each probe.
LABELS = torch.tensor([0, 0, 0, 1, 1, 2, 2])
PROBES = torch.tensor([1, 2, 3, 4, 5, 6])


def people() -> SimpleNamespace:
    faces = SimpleNamespace(labels=LABELS, names=["a", "b", "c"])
    items = SimpleNamespace(faces=faces, indices=PROBES, labels=LABELS[PROBES])
    return SimpleNamespace(items=items, probes=torch.arange(len(PROBES)), name="three")


def test_each_is_given_the_pictures_of_their_partner_in_turn() -> None:
    found = paired(people(), people(), {"a": "c", "b": "a", "c": "b"})  # type: ignore[arg-type]
    assert found.tolist() == [5, 6, 1, 2, 3, 4]


@pytest.mark.parametrize(("named", "lacking"), [({"a": "b", "b": "a"}, 1), ({"a": "d", "b": "a", "c": "c"}, 2)])
def test_everyone_needs_somebody_else(named: dict[str, str], lacking: int) -> None:
    with pytest.raises(UserError, match=f"for {lacking} of the 3 evaluated people of three"):
        paired(people(), people(), named)  # type: ignore[arg-type]


def test_lists_of_pairs_swap_both_ways_and_a_csv_one(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text('[["071", "054"]]')
    (tmp_path / "val.json").write_text('[["000", "003"]]')
    (tmp_path / "swaps.csv").write_text("target,source\n071,054\n")
    assert partners(tmp_path / "test.json") == {"071": "054", "054": "071"}
    assert partners(tmp_path) == {"071": "054", "054": "071", "000": "003", "003": "000"}
    assert partners(tmp_path / "swaps.csv") == {"071": "054"}


def test_names_are_compared_as_people_are(tmp_path: Path) -> None:
    """The data set writes Anna_B where the list writes "anna b"; they are one person, who gets a face."""
    (tmp_path / "swaps.csv").write_text("target,source\nanna b,C\nC,ANNA-B\n")
    faces = SimpleNamespace(labels=torch.tensor([0, 0, 1, 1]), names=["Anna_B", "c"])
    items = SimpleNamespace(faces=faces, indices=torch.tensor([1, 3]), labels=torch.tensor([0, 1]))
    two = SimpleNamespace(items=items, probes=torch.arange(2), name="two")
    assert paired(two, two, partners(tmp_path / "swaps.csv")).tolist() == [3, 1]  # type: ignore[arg-type]


def test_a_person_under_two_spellings_is_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "swaps.csv").write_text("target,source\na,A\nb,a\nc,b\n")
    with pytest.raises(UserError, match="for 1 of the 3 evaluated people of three"):
        paired(people(), people(), partners(tmp_path / "swaps.csv"))  # type: ignore[arg-type]
