"""The parrot's own recognizer, and the anonymized faces that it learned from."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from anon.anonymizers.filters import Pixelate
from anon.apps.parrots import parrot_data
from anon.attacks.parrot import Parrot, ParrotFaces
from anon.defenses.gradient import FGSM
from anon.defenses.noise import UniformNoise
from anon.errors import UserError
from anon.faces.contract import to_float, to_uint8
from anon.faces.datamodule import synthetic_data
from anon.identity.judge import Judge
from tests.training import small


class Counts(nn.Module):
    """Gives back a picture that says how many faces this instance has seen before it."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        Counts.made += 1
        self.seen = 0

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        assert source is None and key is None and track is None and rng is not None
        levels = torch.arange(self.seen, self.seen + len(images)).float() / 127.5 - 1.0
        self.seen += len(images)
        return levels.view(-1, 1, 1, 1).expand_as(images)


def test_the_recognizer_is_the_judges_or_its_own() -> None:
    judge, own = Judge(small.encoder()), Judge(small.encoder())
    assert Parrot(Pixelate(2)).judge(judge) is judge
    assert Parrot(Pixelate(2), recognizer=own).judge(judge) is own


def test_every_picture_is_anonymized_once_and_a_person_by_several_instances() -> None:
    faces = small.Pictures()  # twelve people, two pictures each, one after the other
    Counts.made = 0
    changed = ParrotFaces(faces, Counts, runs=2)  # type: ignore[arg-type]
    assert len(changed) == 24 and Counts.made == 2
    seen = [round((float(changed[index]["image"].mean()) + 1.0) * 127.5) for index in range(24)]
    assert seen == [person for person in range(12) for _ in range(2)]  # the first pictures in one run, the second ...
    assert [int(changed[index]["identity"]) for index in range(24)] == faces.labels.tolist()
    alone = ParrotFaces(faces, Counts, runs=1)  # type: ignore[arg-type]
    assert [round((float(alone[index]["image"].mean()) + 1.0) * 127.5) for index in range(24)] == list(range(24))
    many = ParrotFaces(faces, Counts, runs=9)  # type: ignore[arg-type]  # more runs than anybody has pictures
    assert len(many) == 24


def test_clear_pictures_follow_the_changed_ones() -> None:
    faces = small.Pictures()
    mixed = ParrotFaces(faces, lambda: Pixelate(2), clear=0.25, seed=3)  # type: ignore[arg-type]
    assert len(mixed) == 30 == len(mixed.labels) == len(mixed.videos) == len(mixed.frames)
    wanted = to_float(to_uint8(Pixelate(2)(faces[7]["image"][None])))[0]
    assert torch.equal(mixed[7]["image"], wanted)
    for index in range(24, 30):
        assert torch.equal(mixed[index]["image"], faces[int(mixed.rows[index])]["image"])
        assert mixed[index]["identity"] == mixed.labels[index]
    assert len(set(mixed.rows[24:].tolist())) == 6
    for wrong in ({"runs": 0}, {"clear": 1.5}):
        with pytest.raises(UserError, match=r"attack\.runs >= 1 and attack\.clear in"):
            ParrotFaces(faces, lambda: Pixelate(2), **wrong)  # type: ignore[arg-type]


@pytest.fixture
def data(tmp_path):
    counts = {"train": 3, "background": 2, "attacker": 4, "evaluation": 5}
    return synthetic_data(32, counts, 2, 0, 1, batch_size=2, cache=tmp_path)


def test_it_learns_from_the_attackers_people_alone(data) -> None:
    given = []

    def victim(data):
        given.append(data)
        return Pixelate(4)

    learned = parrot_data(data, {"anonymizer": functools.partial(victim)}, clear=0.5)
    evaluated, trained = set(data.faces("evaluation").names), set(data.faces("train").names)
    for split, own, count in (("train", "attacker", 12), ("background", "background", 4)):
        faces = learned.faces(split)
        assert set(faces.names) == set(data.faces(own).names) and len(faces) == count
        assert not set(faces.names) & (evaluated | trained)
    assert given == [data]
    with pytest.raises(UserError, match="no split 'evaluation'"):
        learned.faces("evaluation")


def test_defended_pictures_and_gradient_defenses(data) -> None:
    plain, defended = (
        parrot_data(data, {"anonymizer": Pixelate(4)}, defense=defense).faces("train")[0]["image"]
        for defense in (None, UniformNoise(0.15))
    )
    assert 0.05 < float((plain - defended).abs().mean()) < 0.1
    with pytest.raises(UserError, match=r"attack\.against"):
        parrot_data(data, {"anonymizer": Pixelate(4)}, defense=functools.partial(FGSM, epsilon=0.1)).faces("train")
