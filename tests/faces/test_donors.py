"""Donors of a data set: who learns, who validates, who everybody else is, and who cannot be one."""

from __future__ import annotations

import pytest

from anon.errors import UserError
from anon.faces.datamodule import FaceData
from anon.faces.donors import Donors
from tests.faces.test_couple import Set


def data(*donors: str) -> Donors:
    """Anna (30) and Cleo (3 pictures) train; Berta and Dora (40 each) are in every other split."""
    return Donors(FaceData(lambda split: Set(split), "set", 16, True, batch_size=4), donors)  # type: ignore[arg-type]


def test_half_of_what_trains_are_donors() -> None:
    """28 of Berta's and of Dora's 40 train (Dora's clips as wholes: 20); 33 of others are 16 each, so 28 are taken."""
    faces = data("Berta", "Dora").faces("train")
    assert faces.names == ["Berta", "Dora", "Anna", "Cleo"]
    assert [int((faces.labels == label).sum()) for label in range(4)] == [28, 28, 30, 3]
    assert faces.frames[faces.labels == 0].tolist() == list(range(28))
    dora = faces.labels == 1
    assert set(faces.videos[dora].tolist()) == {0, 1}  # 20 pictures, eight of them twice
    batch = faces.__getitems__([0, 28, 56, 88])  # type: ignore[attr-defined]
    assert batch["identity"].tolist() == [0, 1, 2, 3] and batch["image"].shape == (4, 3, 16, 16)
    assert batch["image"][:, 0, 0, 0].tolist() == pytest.approx([0.0, 0.5, 0.0, 0.52])  # Cleo's third


def test_few_pictures_of_a_donor_are_repeated() -> None:
    """Anna is a donor and the only one besides Cleo who trains: 21 of hers are more than Cleo's 3."""
    faces = data("Anna").faces("train")
    assert faces.names == ["Anna", "Cleo"]
    assert [int((faces.labels == label).sum()) for label in range(2)] == [21, 3]


def test_strangers_validate_beside_what_donors_have_not_trained_on() -> None:
    faces = data("Berta").faces("background")
    assert faces.names == ["Berta", "Dora"]
    assert faces.frames[faces.labels == 0].tolist() == [28, 29, 30, 31]
    assert int((faces.labels == 1).sum()) == 12  # of her 40


@pytest.mark.parametrize(
    ("donors", "told"),
    [
        (("Berta", "Berta"), "names somebody twice"),
        ((), "is empty"),
        (("Emil",), "donors is nobody of set, which has 4 people in the splits background, train"),
        (("Cleo",), "has 3 pictures and needs 20"),
    ],
)
def test_who_can_be_no_donor(donors: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=told):
        data(*donors).faces("train")


def test_real_people_are_not_listed() -> None:
    given = data("Emil")
    given.data.synthetic = False
    with pytest.raises(UserError) as caught:
        given.faces("train")
    assert "the names of its folders" in str(caught.value) and "Berta" not in str(caught.value)


def test_nobody_is_evaluated() -> None:
    with pytest.raises(UserError, match="no split 'evaluation'"):
        data("Berta").faces("evaluation")
