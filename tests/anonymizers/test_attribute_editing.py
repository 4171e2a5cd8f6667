"""Attribute anonymizers on pictures whose attributes are seen in single pixels, which their editor sets."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from anon.anonymizers.attributes.anonymous_net import AnonymousNet
from anon.anonymizers.attributes.edited import first_pictures
from anon.anonymizers.attributes.private import DPkAnonymity
from anon.attributes.selection import Anonymity, anonymity, joint
from anon.errors import Failed, UserError
from anon.faces.contract import Collated, Label, Sample
from anon.faces.splits import EmptySplit
from anon.generators.editing.contract import Editor

NAMES = ("Black", "Blond", "Bald", "Male")
SIDE = 4


class Pixels(nn.Module):
    """Reads attribute c off pixel c of the first row of the red channel; the features are all four."""

    attributes = NAMES

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spelled", torch.zeros(1))

    def features(self, images: Tensor) -> Tensor:
        return images[:, 0, 0]

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.features(images), (self.features(images) > 0).float()


class Set(Editor):
    """Writes what is wanted into these pixels, and leaves all others."""

    def condition(self, own: Tensor, wanted: Tensor) -> Tensor:
        return wanted

    def draw(self, target: Tensor, condition: Tensor) -> Tensor:
        out = target.clone()
        out[:, 0, 0] = 2 * condition - 1
        return out


class Faces(Collated):
    """Pictures of codes (N, 4): the code in the pixels, and a shade that tells pictures apart."""

    synthetic = True

    def __init__(self, codes: Tensor, people: Tensor) -> None:
        self.codes, self.labels = codes, people
        self.names = [str(person) for person in range(int(people.max()) + 1)]
        self.videos, self.frames = torch.full((len(codes),), -1), torch.arange(len(codes))
        self.images = (torch.arange(len(codes)) / 255.0)[:, None, None, None].expand(-1, 3, SIDE, SIDE).clone()
        self.images[:, 0, 0] = 2.0 * codes - 1
        self.given = {name: Label(codes[:, at].long(), ("0", "1")) for at, name in enumerate(NAMES)}

    def __getitems__(self, indices: list[int]) -> Sample:
        return self.sample(indices, self.images[indices])


def data(**splits: Faces) -> SimpleNamespace:
    def faces(split: str) -> Faces:
        if split not in splits:
            raise EmptySplit(f"nobody is in {split}")
        return splits[split]

    return SimpleNamespace(faces=faces, name="pixels")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


#: Twenty training people: half black-haired, half blond, none bald, all male.
HALF = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]]).repeat(10, 1)


def private(**options: object) -> DPkAnonymity:
    given = {"k": 4, "epsilon": 50.0, "gamma": 1.0, "groups": [["Black", "Blond"]], **options}
    people = Faces(HALF, torch.arange(20))
    return DPkAnonymity(Pixels(), Set(NAMES), data(train=people), **given)  # type: ignore[arg-type]


def test_with_a_large_budget_a_face_becomes_its_neighbours() -> None:
    """A bald woman with black hair: the four nearest are black-haired, none bald, all male."""
    face = torch.zeros(1, 3, SIDE, SIDE)
    face[:, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    made = private()
    out = made(face, rng=rng())
    assert out[0, 0, 0].tolist() == [1.0, -1.0, -1.0, 1.0]
    assert torch.equal(out[:, 1:], face[:, 1:])
    blond = face.clone()
    blond[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    assert made(blond, rng=rng())[0, 0, 0].tolist() == [-1.0, 1.0, -1.0, 1.0]


def test_without_a_budget_all_is_even() -> None:
    made = private(epsilon=0)
    faces = torch.zeros(2000, 3, SIDE, SIDE)
    found = (made(faces, rng=rng())[:, 0, 0] > 0).float()
    assert float((found.mean(0) - 0.5).abs().max()) < 0.04
    assert bool((found[:, :2].sum(1) == 1).all())  # of a group exactly one


def test_what_is_not_protected_stays_as_it_is_read() -> None:
    face = torch.zeros(1, 3, SIDE, SIDE)
    face[:, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    made = private(protected=["Black", "Blond"])
    assert made(face, rng=rng())[0, 0, 0].tolist() == [1.0, -1.0, 1.0, -1.0]
    assert tuple(made.attributes.shape) == (20, 2)


def test_a_reference_is_a_person() -> None:
    """The first picture of each; a person with more has no more votes."""
    assert first_pictures(Faces(HALF, torch.arange(20) // 4)).tolist() == [0, 4, 8, 12, 16]


def test_the_notes_say_what_one_release_spends() -> None:
    """Three draws at eps .1: .3 of a reference person; .1 * 4 / 2 for each of two, and of a group of two as much."""
    (note,) = private(epsilon=0.1).notes()
    assert "0.3-private for each of 20 reference people and 0.6-private between any two faces" in note


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"k": 21}, "among 1 of 20 training people"),
        ({"k": 4, "gamma": 0.19}, "among 0.19 of 20 training people"),
        ({"gamma": 0}, "share gamma"),
        ({"epsilon": -1}, "budget epsilon"),
        ({"groups": [["Black", "Red"]]}, "exclude each other"),
        ({"protected": ["Young"]}, "no 'Young'"),
        ({"tau": 0}, "tau"),
    ],
)
def test_settings_that_are_none(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        private(**options)


def test_who_is_not_labelled_does_not_vote_against() -> None:
    people = Faces(HALF, torch.arange(20))
    known, values = torch.arange(20) >= 10, HALF[:, 3].clone()
    people.given["Male"] = Label(torch.where(known, values, -1.0).long(), ("0", "1"))
    options = {"epsilon": 50.0, "gamma": 1.0}
    made = DPkAnonymity(Pixels(), Set(NAMES), data(train=people), k=4, **options)  # type: ignore[arg-type]
    assert tuple(made.attributes.shape) == (10, 4) and bool((made.attributes[:, 3] == 1).all())
    with pytest.raises(UserError, match="among 1 of 10 training people whose attributes are known"):
        DPkAnonymity(Pixels(), Set(NAMES), data(train=people), k=11, **options)  # type: ignore[arg-type]


def test_a_draw_needs_a_generator_and_another_classifier_is_refused() -> None:
    with pytest.raises(UserError, match="needs rng"):
        private()(torch.zeros(1, 3, SIDE, SIDE))
    other = Set(NAMES[::-1])
    with pytest.raises(UserError, match="train both on the same attributes"):
        DPkAnonymity(Pixels(), other, data(train=Faces(HALF, torch.arange(20))))  # type: ignore[arg-type]


#: Twelve people: Black/not, Bald; one bald blond alone; Male every other.
CODES = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 1]] * 3 + [[0, 1, 0, 0], [0, 1, 0, 1]] * 2 + [[0, 1, 1, 0], [1, 0, 1, 1]])
OTHERS = torch.tensor([[1, 0, 0, 0], [0, 1, 1, 1]])


def network(**options: object) -> AnonymousNet:
    given = {"identifying": ["Black", "Blond", "Bald"], "sensitive": ["Male"], "k": 3, "l": 2, "t": 0.2, **options}
    sets = data(evaluation=Faces(CODES.float(), torch.arange(12)), train=Faces(OTHERS.float(), torch.arange(2)))
    return AnonymousNet(Pixels(), Set(NAMES), sets, **given)  # type: ignore[arg-type]


def test_a_released_set_is_k_anonymous_as_its_pictures_are_read_again() -> None:
    """Counted on the pictures that come out, by the classifier: classes of six and six, half of each male."""
    made, faces = network(), Faces(CODES.float(), torch.arange(12))
    out = made(faces.images)
    again = Pixels().read(out)[1]
    reached = anonymity(again[:, :3], joint(again[:, 3:]), faces.labels)
    assert reached.k >= 3 and reached.l == 2 and reached.t <= 0.2
    assert torch.equal(again[:, 3], CODES[:, 3].float())  # what is sensitive stays
    assert again[10].tolist() == [0, 1, 0, 0] and again[11].tolist() == [1, 0, 0, 1]  # the lonely ones join the nearest
    assert made.before == Anonymity(1, 1, 0.5) and made.after == reached
    assert "k 1, l 1, t 0.50 as they are read and k 5, l 2" in made.notes()[0]


def test_a_picture_of_no_set_and_a_set_that_is_too_small_are_refused() -> None:
    made = network()
    with pytest.raises(Failed, match="the set has 2 people"):
        made(Faces(OTHERS.float(), torch.arange(2)).images[1:])
    with pytest.raises(UserError, match="k=13"):
        network(k=13)
    with pytest.raises(UserError, match="identifying or sensitive"):
        network(sensitive=["Bald"])
    with pytest.raises(UserError, match="from 0 to 1"):
        network(t=1.5)


def test_a_stranger_has_no_code() -> None:
    made = network(k=2, l=1, t=1.0)
    with pytest.raises(Failed, match="in none of pixels"):
        made(torch.full((1, 3, SIDE, SIDE), -0.5))


def test_the_perturbation_lies_over_what_is_drawn() -> None:
    class Cloaked:
        def __init__(self, data: object) -> None:
            self.data = data

        def __call__(self, images: Tensor, rng: object = None) -> Tensor:
            return (images + 0.25).clamp(-1, 1)

    faces = Faces(CODES.float(), torch.arange(12))
    made = network(cloak=functools.partial(Cloaked))
    torch.testing.assert_close(made(faces.images)[:, 1], faces.images[:, 1] + 0.25)
