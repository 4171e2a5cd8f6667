"""``data.everyone=true``: all people of a set are evaluated, and none of them is for anything else.

The kind: who is evaluated followed from the split of the names alone, so twenty people were four. Folders and packed
sets, the same people in both; trainings of them are refused.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from anon.errors import UserError
from anon.faces.datamodule import FaceData, folder_data, packed_data
from anon.faces.points import read_points
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_folder
from anon.faces.splits import SPLITS, EmptySplit, split_of
from tests.faces.prepare.material import photographs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine people with two photographs each, in ``photos`` and packed in ``packed``; people of every split."""
    place = tmp_path_factory.mktemp("place")
    table = photographs(place / "photos", 9, 2, size=160)
    options = Options(size=64, min_size=8, codec="webp", unit=9)
    prepare(of_folder(place / "photos", read_points(table)), "small", place / "packed", options)
    (place / "points").write_bytes(Path(table).read_bytes())
    return place


def both(place: Path, cache: Path, **options: bool) -> list[FaceData]:
    folder = folder_data(
        str(place / "photos"), 64, 2, points=str(place / "points"), cache=str(cache), name="mine", **options
    )
    return [folder, packed_data(str(place / "packed"), 2, name="mine", **options)]


def test_data_have_the_name_of_their_own(place: Path) -> None:
    """Reports called them "folder" and "packed"; of a path only the last part is told."""
    (place / "Zoë\n").mkdir(exist_ok=True)
    assert packed_data(str(place / "packed"), 2).name == "small"
    assert packed_data(str(place / "packed"), 2, size=32, name="mine").name == "mine"
    assert folder_data(f"{place}/photos/../photos/", 64, 2).name == "photos"
    assert folder_data(str(place / "Zoë\n"), 64, 2).name == "Zoë "


def test_everyone_is_evaluated_once(place: Path, tmp_path: Path) -> None:
    written = sorted(each.name for each in (place / "photos").iterdir() if each.is_dir())
    parts = {split: {name for name in written if split_of(name) == split} for split in SPLITS}
    assert len(written) == 9 and sum(map(bool, parts.values())) > 1
    for usual, whole in zip(both(place, tmp_path), both(place, tmp_path, everyone=True), strict=True):
        faces = whole.faces("evaluation")
        assert list(faces.names) == written and len(faces) == 18
        assert faces.labels.bincount().tolist() == [2] * 9
        if parts["evaluation"]:
            assert set(usual.faces("evaluation").names) == parts["evaluation"]


@pytest.mark.parametrize("split", ["train", "background", "attacker"])
def test_nobody_is_left_for_anything_else(place: Path, tmp_path: Path, split: str) -> None:
    for data in both(place, tmp_path, everyone=True):
        with pytest.raises(UserError, match=f"all people of mine, so nobody is left for '{split}'"):
            data.faces(split)


def test_a_training_on_them_is_refused_before_any_work(place: Path, tmp_path: Path) -> None:
    for data in both(place, tmp_path, everyone=True):
        for step in (data.prepare_data, data.train_dataloader):
            with pytest.raises(UserError, match="nothing is trained or tuned on them"):
                step()


def test_an_empty_split_names_the_way_out(tmp_path: Path) -> None:
    name = next(f"person{i}" for i in range(99) if split_of(f"person{i}") == "train")
    (tmp_path / "photos" / name).mkdir(parents=True)
    Image.new("RGB", (64, 64), (9, 9, 9)).save(tmp_path / "photos" / name / "a.png")
    data = folder_data(str(tmp_path / "photos"), 64, 2, cache=str(tmp_path / "cache"))
    with pytest.raises(EmptySplit, match=r"data\.everyone=true evaluates all of them"):
        data.faces("evaluation")
