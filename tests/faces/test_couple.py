"""Two people of a data set: who learns, who validates, who is evaluated, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anon.errors import UserError
from anon.faces.couple import TwoPeople
from anon.faces.datamodule import FaceData


class Set:
    """Anna has 30 stills, Berta 40, Cleo 3, Dora 4 clips of 10 frames; a picture's colour tells which it is."""

    synthetic = True

    def __init__(self, split: str) -> None:
        counts = {"Anna": 30, "Cleo": 3} if split == "train" else {"Berta": 40, "Dora": 40}
        self.names = list(counts)
        self.labels = torch.cat([torch.full((count,), label) for label, count in enumerate(counts.values())])
        self.frames = torch.cat([torch.arange(count) for count in counts.values()])
        self.videos = torch.full_like(self.frames, -1)
        if split != "train":
            dora = self.labels == 1
            self.videos[dora], self.frames[dora] = torch.arange(40) // 10, torch.arange(40) % 10

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = torch.full((3, 16, 16), float(self.frames[index]) / 100 + float(self.labels[index]) / 2)
        return {
            "image": image,
            "identity": self.labels[index],
            "video": self.videos[index],
            "frame": self.frames[index],
        }


def data(donor: str = "Anna", original: str = "Berta") -> TwoPeople:
    def sets(split: str) -> Any:
        return Set(split)

    return TwoPeople(FaceData(sets, "set", 16, True, batch_size=4), donor, original)


def frames(couple: TwoPeople, split: str, label: int) -> list[int]:
    faces = couple.faces(split)
    return faces.frames[faces.labels == label].tolist()


def test_pictures_are_divided_in_order() -> None:
    couple = data()
    assert frames(couple, "train", 1) == list(range(28))  # 70 % of 40
    assert frames(couple, "train", 0) == [*range(21), *range(7)]  # 21 of 30, some twice: as many of both
    assert frames(couple, "background", 0) == [21, 22, 23] and frames(couple, "background", 1) == [28, 29, 30, 31]
    assert frames(couple, "evaluation", 1) == list(range(28, 40))
    assert couple.faces("train").names == ["Anna", "Berta"]


def test_clips_stay_whole() -> None:
    couple = data("Anna", "Dora")
    parts = [couple.faces(split) for split in ("train", "background", "evaluation")]
    clips = [sorted(set(part.videos[part.labels == 1].tolist())) for part in parts]
    assert clips == [[0, 1], [2], [2, 3]]  # they end at 25, 50, 75 and 100 %


def test_roles_and_sources() -> None:
    couple = data()
    faces, roles = couple.faces("evaluation"), couple.roles
    assert faces.labels[roles.enrol].tolist() == [0] * 3 + [1] * 4
    assert faces.frames[roles.probe].tolist() == list(range(32, 40)) and torch.equal(roles.probe, roles.changed)
    assert not set(frames(couple, "train", 1)) & set(faces.frames[faces.labels == 1].tolist())


def test_a_batch_keeps_the_order_and_says_who_it_is() -> None:
    batch = data().faces("train").__getitems__([50, 0, 30])  # type: ignore[attr-defined]
    assert batch["identity"].tolist() == [1, 0, 1] and batch["frame"].tolist() == [22, 0, 2]
    assert torch.allclose(batch["image"][:, 0, 0, 0], torch.tensor([0.22, 0.0, 0.02]))


@pytest.mark.parametrize(
    ("donor", "original", "told"),
    [
        ("Anna", "anna", "one person; name two"),
        ("Anna", "Zoe", "subjects.original is nobody of set"),
        ("Cleo", "Berta", "subjects.donor has 3 pictures and needs 20"),
    ],
)
def test_who_cannot_be_learned(donor: str, original: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        data(donor, original).faces("train")


def test_real_people_are_not_listed() -> None:
    couple = data("Anna", "Zoe")
    couple.data.synthetic = False
    with pytest.raises(UserError) as caught:
        couple.faces("train")
    assert "Anna" not in str(caught.value) and "Zoe" not in str(caught.value)


def test_other_splits_are_refused() -> None:
    with pytest.raises(UserError, match="no split 'attacker'"):
        data().faces("attacker")
