"""The k-Same family: the bound of 1/k, the known break, and closed sets."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from anon.anonymizers.ksame import KSame
from anon.anonymizers.plugged import as_anonymizer
from anon.anonymizers.spaces import Appearance, Eigenfaces, Space, warped
from anon.apps.config import composed
from anon.attacks.victim import compare, describe
from anon.errors import Failed, UserError
from anon.faces.contract import Label, in_eight_bits
from anon.faces.splits import EmptySplit

SIDE = 12


class Faces:
    """People who are patterns, with pictures that differ a little; a label of theirs, and one of their pictures."""

    synthetic = True

    def __init__(self, split: str, people: int, pictures: int, points: bool = True) -> None:
        rng = torch.Generator().manual_seed(sum(split.encode()))
        self.names = [f"{split}-{number}" for number in range(people)]
        self.labels = torch.arange(people).repeat_interleave(pictures)
        self.videos = torch.full_like(self.labels, -1)
        self.frames = torch.arange(pictures).repeat(people)
        own = torch.rand(people, 3, SIDE, SIDE, generator=rng)[self.labels]
        noise = torch.rand(len(self.labels), 3, SIDE, SIDE, generator=rng)
        self.images = in_eight_bits((own * 1.6 - 0.8) + 0.2 * noise - 0.1)
        self.landmarks = torch.tensor([[3.0, 4], [8, 4], [6, 6], [4, 9], [8, 9]]) + torch.rand(
            len(self.labels), 5, 2, generator=rng
        )
        self.points = points

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        found = {"image": self.images[index], "identity": self.labels[index]}
        return found | ({"landmarks": self.landmarks[index]} if self.points else {})

    def annotations(self) -> dict[str, Label]:
        return {
            "half": Label((self.labels < len(self.names) // 2).long(), ("second", "first")),
            "picture": Label(self.frames % 2, ("even", "odd")),
            "unknown": Label(torch.full_like(self.labels, -1), ("a", "b")),
        }


class Data:
    name = "patterns"

    def __init__(self, people: int = 12, pictures: int = 1, attackers: int | None = None, **options: Any) -> None:
        self.sets = {"evaluation": Faces("evaluation", people, pictures, **options)}
        if attackers is not None:
            self.sets["attacker"] = Faces("attacker", attackers, pictures)

    def faces(self, split: str) -> Faces:
        if split not in self.sets:
            raise EmptySplit(f"nobody is in {split}.")
        return self.sets[split]


def best(released: torch.Tensor, labels: torch.Tensor) -> float:
    """The share that the best of all recognizers names rightly: for each different picture its commonest person."""
    _, place = released.flatten(1).unique(dim=0, return_inverse=True)
    return sum(int(labels[place == at].bincount().max()) for at in place.unique()) / len(labels)


SPACES: dict[str, Space | None] = {"pixels": None, "eigenfaces": Eigenfaces(8), "appearance": Appearance()}
WAYS: dict[str, dict[str, Any]] = {name: {"space": space} for name, space in SPACES.items()}
WAYS |= {f"furthest {name}": {"furthest": True, "space": space} for name, space in SPACES.items()}
WAYS["of a label"] = {"label": "half"}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("k", [2, 3])
def test_no_recognizer_is_right_more_often_than_one_in_k(k: int, way: dict[str, Any]) -> None:
    """The guarantee, on sets with one picture of each person, whichever the unit; 13 is no multiple of k."""
    data = Data(13)
    faces = data.faces("evaluation")
    for unit in ("person", "picture"):
        released = KSame(data, k, unit, **way)(faces.images)
        assert released.shape == faces.images.shape and float(released.abs().max()) <= 1.0
        assert best(released, faces.labels) <= 1 / k
    assert best(faces.images, faces.labels) == 1.0  # without it


def test_several_pictures_of_a_person_break_it() -> None:
    """The known break: a person's pictures are nearest to each other, so clusters hide nobody; by people they do."""
    data = Data(12, pictures=4)
    faces = data.faces("evaluation")
    assert best(KSame(data, 4, "picture")(faces.images), faces.labels) > 0.9
    assert best(KSame(data, 4, "person")(faces.images), faces.labels) <= 1 / 4


def test_the_mean_of_k_by_hand() -> None:
    data = Data(4)
    faces = data.faces("evaluation")
    level = torch.tensor([-0.8, 0.8, -0.6, 0.6])
    faces.images = in_eight_bits(level[:, None, None, None].expand(4, 3, SIDE, SIDE).clone())
    low, high = float(faces.images[[0, 2]].mean()), float(faces.images[[1, 3]].mean())
    found = KSame(data, 2)(faces.images)[:, 0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([low, high, low, high]))
    found = KSame(data, 2, furthest=True)(faces.images)[:, 0, 0, 0]
    torch.testing.assert_close(found, torch.tensor([high, low, high, low]))


def test_eigenfaces_are_numpys_and_all_of_them_change_nothing() -> None:
    """With every component the mean of projections is the projection of the mean: k-Same-Pixel."""
    data = Data(12)
    images = data.faces("evaluation").images
    torch.testing.assert_close(KSame(data, 3, space=Eigenfaces(11))(images), KSame(data, 3)(images), atol=1e-5, rtol=0)
    space = Eigenfaces(3)
    vectors = space.fit(space.encode(images, {}))
    flat = images.flatten(1).double().numpy()
    flat = flat - flat.mean(0)
    u, s, _ = np.linalg.svd(flat, full_matrices=False)
    expected = torch.from_numpy(abs(u[:, :3] * s[:3])).flip(1).float()
    torch.testing.assert_close(vectors.abs(), expected, atol=1e-4, rtol=0)


def test_select_mixes_nobody_of_two_groups() -> None:
    """Halves of -0.8 and 0.8: within a half all pictures keep their level, without the label half of them do not."""
    data = Data(12)
    faces = data.faces("evaluation")
    faces.images = in_eight_bits(0.2 * faces.images + torch.where(faces.labels < 6, -0.7, 0.7)[:, None, None, None])
    found = KSame(data, 6, label="half")(faces.images).flatten(1).mean(1)
    assert bool(((found < 0) == (faces.labels < 6)).all())
    mixed = KSame(data, 7)(faces.images).flatten(1).mean(1)
    assert not bool(((mixed < 0) == (faces.labels < 6)).all())


def test_labels_that_cannot_be_kept() -> None:
    data = Data(12, pictures=2)
    with pytest.raises(UserError, match=r"'tone', which the set 'evaluation' of patterns does not have; it has half,"):
        KSame(data, 2, label="tone")
    with pytest.raises(UserError, match="differs between pictures of one person"):
        KSame(data, 2, label="picture")
    with pytest.raises(UserError, match="24 pictures of the set 'evaluation' of patterns have no 'unknown'"):
        KSame(data, 2, label="unknown")
    with pytest.raises(UserError, match=r"needs 7 people and the set 'evaluation' of patterns, half \w+, has 6"):
        KSame(data, 7, label="half")


def test_shapes_are_averaged_and_leave_no_ghost() -> None:
    """A dot moves with its point. The pixels' mean of two faces has two dots, each half; k-Same-M's one, midway."""
    data = Data(2)
    faces = data.faces("evaluation")
    faces.landmarks = torch.tensor([[3.0, 3], [8, 3], [6, 6], [3, 9], [8, 9]]).repeat(2, 1, 1)
    faces.landmarks[:, 2, 0] = torch.tensor([4.0, 7.0])  # the nose
    faces.images = torch.full((2, 3, SIDE, SIDE), -1.0)
    for row, column in enumerate((4, 7)):
        faces.images[row, :, 5:8, column - 1 : column + 2] = 1.0
    pixels, shaped = KSame(data, 2)(faces.images)[0, 0, 6], KSame(data, 2, space=Appearance())(faces.images)[0, 0, 6]
    assert float(pixels.max()) == pytest.approx(0.0, abs=0.01)  # each dot half
    assert float(shaped.max()) > 0.7 and int(shaped.argmax()) in (5, 6)  # one whole, between 4 and 7
    assert float(shaped[3]) < -0.3 and float(shaped[8]) < -0.3 and float(pixels[8]) > -0.1


def test_a_warp_to_itself_changes_nothing_and_a_shift_shifts() -> None:
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    square = torch.tensor([[0.0, 0], [8, 0], [8, 8], [0, 8]]).repeat(2, 1, 1)
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]])
    torch.testing.assert_close(warped(images, square, square, triangles), images, atol=1e-5, rtol=0)
    right = warped(images, square, square + torch.tensor([1.0, 0.0]), triangles)
    torch.testing.assert_close(right[..., 1:], images[..., :-1], atol=1e-5, rtol=0)


def test_data_without_points() -> None:
    with pytest.raises(UserError, match="these data have none"):
        KSame(Data(12, points=False), 2, space=Appearance())


def test_records_of_attacks_tell_one_from_another() -> None:
    """Kind: an attack that learned another method and is taken for one that learned this."""
    ways = ({}, {"space": Eigenfaces(8)}, {"space": Appearance()}, {"k": 3}, {"furthest": True}, {"label": "half"})
    records = [describe(as_anonymizer(KSame(Data(12), **{"k": 2, **way}), "method")) for way in ways]
    assert all(compare(records[0], record).stranger for record in records[1:])
    assert not compare(records[0], describe(as_anonymizer(KSame(Data(11), 2), "method"))).stranger  # of other people


def test_closed_sets() -> None:
    data = Data(12, attackers=3)
    anonymizer = as_anonymizer(KSame(data, 4), "method.anonymizer")
    images = data.faces("evaluation").images
    assert torch.equal(copy.deepcopy(anonymizer)(images[:2]), anonymizer(images)[:2])
    with pytest.raises(Failed, match="needs 4 people and the set 'attacker' of patterns has 3"):
        anonymizer(-images)
    with pytest.raises(Failed, match="this picture is in none of patterns"):
        anonymizer(-images)
    other = Data(12, attackers=5)
    both = torch.cat([other.faces("attacker").images, images])
    labels = torch.cat([other.faces("attacker").labels + 50, other.faces("evaluation").labels])
    assert best(KSame(other, 4)(both), labels) <= 1 / 4


def test_fewer_than_k_people_are_refused() -> None:
    with pytest.raises(UserError, match=r"^k-Same with k=5 needs 5 people and the set 'evaluation' of patterns has 4"):
        KSame(Data(4, pictures=3), 5, "picture")
    with pytest.raises(UserError, match="two clusters"):
        KSame(Data(9), 5, furthest=True)


@pytest.mark.parametrize("name", ["pixel", "eigen", "select", "furthest", "m"])
def test_configured_ones(name: str) -> None:
    given = composed("evaluate", (f"method=k_same_{name}",)).method.anonymizer
    if name == "select":
        given.label = "half"
    data = Data(12, pictures=2)
    faces = data.faces("evaluation")
    anonymizer = as_anonymizer(instantiate(given), "method.anonymizer", data)
    assert best(anonymizer(faces.images), faces.labels) <= 1 / 5
