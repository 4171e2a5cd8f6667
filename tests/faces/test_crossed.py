"""Rendered people crossed with scenes: what a triple shares and what not, against the renderer itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.errors import UserError
from anon.faces.contract import to_float
from anon.faces.synthetic.crossed import CrossedFaces, crossed_synthetic_data, triples
from anon.faces.synthetic.dataset import people_of
from anon.faces.synthetic.parameters import people, stills
from anon.faces.synthetic.render import render


def test_triples_by_hand() -> None:
    """Four people in groups of two with three scenes: rows 0-2 and 3-5 share theirs, 6-8 and 9-11 theirs."""
    found = triples(people=5, scenes=3, group=2)
    rows = set(zip(*(part.tolist() for part in found), strict=True))
    assert len(rows) == len(found.truth) == 4 * 3 * 2
    assert {row for row in rows if row[0] == 4} == {(4, 5, 1), (4, 3, 1)}  # the second person, the second scene
    assert {row for row in rows if row[0] == 6} == {(6, 7, 9), (6, 8, 9)}


def test_a_triple_is_what_the_renderer_makes(tmp_path: Path) -> None:
    faces = CrossedFaces("train", size=16, identities=4, images=2, group=2, cache=tmp_path)
    numbers = people_of("train", 4)
    assert len(faces) == 4 * 2 and faces.names == [f"synthetic-{number:06d}" for number in numbers]
    place = faces.rows.truth.tolist().index(3)  # the second person, the second scene
    sample = faces[place]

    def drawn(person: int, scene: int) -> torch.Tensor:
        mood = stills([numbers[0]], [scene])  # of the group's first person
        return to_float(render(people([numbers[person]]), mood, 16).images)[0]

    assert torch.equal(sample["image"], drawn(1, 1))
    assert torch.equal(sample["source"], drawn(1, 0))
    assert torch.equal(sample["driving"], drawn(0, 1))
    assert int(sample["identity"]) == 1 and int(sample["frame"]) == 1 and int(sample["video"]) == -1
    again = CrossedFaces("train", size=16, identities=4, images=2, group=2, cache=tmp_path)
    again._render = None  # it is read, not rendered
    assert torch.equal(again[place]["driving"], sample["driving"])


def test_splits_have_nobody_in_common_and_a_split_its_own_numbers(tmp_path: Path) -> None:
    counts = {"train": 4, "background": 2, "attacker": 2, "evaluation": 2}
    data = crossed_synthetic_data(16, counts, 2, group=2, batch_size=4, cache=tmp_path)
    names = [set(data.faces(split).names) for split in counts]
    assert [len(each) for each in names] == [4, 2, 2, 2] and len(set.union(*names)) == 10
    assert data.synthetic and data.name == "synthetic"


@pytest.mark.parametrize(
    "wrong", [{"split": "test"}, {"images": 1}, {"group": 1}, {"identities": 3, "group": 4}, {"size": 8}]
)
def test_what_makes_no_triple_is_refused(wrong: dict, tmp_path: Path) -> None:
    given = {"split": "train", "size": 16, "identities": 4, "images": 2, "group": 2, **wrong}
    with pytest.raises(UserError, match=r"Unknown split|Crossed faces need"):
        CrossedFaces(**given, cache=tmp_path)
