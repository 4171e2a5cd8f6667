"""What another tool made of a folder's photographs: matched by path, in the crop of the original, all accounted for."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anon.errors import UserError
from anon.faces.alignment import similarity, template, transform
from anon.faces.contract import to_float
from anon.faces.counterparts import LENGTH, MISSING, SEVERAL, SHAPE, Results
from anon.faces.folder import FolderFaces
from anon.faces.points import OURS

PEOPLE, PICTURES = ("ann", "bob", "cat"), 3


def picture(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """Smooth colours, so that a change of size changes little."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    for i, name in enumerate(PEOPLE):
        (tmp_path / "originals" / name).mkdir(parents=True)
        for number in range(PICTURES):
            picture(10 * i + number).save(tmp_path / "originals" / name / f"{number}.png")
    return tmp_path / "originals"


@pytest.fixture
def copies(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals, tmp_path / "results"))


def faces(root: Path, **options: object) -> FolderFaces:
    return FolderFaces(root, "everyone", **{"size": 64, **options})  # type: ignore[arg-type]


def pictures(faces: FolderFaces) -> torch.Tensor:
    return faces.raw_batch(list(range(len(faces))))["image"]


def test_copies_are_the_originals(originals: Path, copies: Path) -> None:
    own = faces(originals)
    found = own.counterparts(Results(copies, "here"))
    assert len(found) == 9 and not found.failed and found.resized == 0
    assert torch.equal(found.images(range(9)), pictures(own))


def test_any_format_at_the_same_path(originals: Path, copies: Path) -> None:
    """An exact name comes first; without one, the only picture of the name with another ending."""
    Image.new("RGB", (96, 96), (200, 10, 10)).save(copies / "ann" / "0.webp", lossless=True)
    (copies / "ann" / "0.png").unlink()
    Image.new("RGB", (96, 96), (10, 200, 10)).save(copies / "ann" / "1.bmp")  # beside 1.png, which is exact
    found = faces(originals).counterparts(Results(copies, "here"))
    assert not found.failed
    assert found.images([0])[0, 0, 0].tolist() == [200, 10, 10]
    assert found.images([1])[0, 0, 0].tolist() != [10, 200, 10]


def test_two_originals_of_one_name_do_not_share_a_result(originals: Path, copies: Path) -> None:
    picture(77).save(originals / "ann" / "0.bmp")
    found = faces(originals).counterparts(Results(copies, "here"))
    assert found.failed == {MISSING: 1} and found.reasons[0] == MISSING  # 0.bmp; 0.png is that of 0.png


def test_what_cannot_be_used_is_counted_and_the_original_stands_in(originals: Path, copies: Path) -> None:
    (copies / "ann" / "0.png").unlink()
    (copies / "ann" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    picture(1, (96, 60)).save(copies / "ann" / "2.png")
    (copies / "bob" / "0.png").unlink()
    for ending in ("webp", "bmp"):
        picture(2).save(copies / "bob" / f"0.{ending}")
    (copies / "bob" / "1.png").write_bytes(b"")
    own = faces(originals)
    found = own.counterparts(Results(copies, "here"))
    assert found.failed == {MISSING: 1, "not an image": 1, SHAPE: 1, SEVERAL: 1, "empty": 1}
    assert torch.equal(found.images([0, 1, 2, 3, 4]), pictures(own)[:5])
    with open(found.listing, encoding="utf-8") as listing:
        rows = list(csv.reader(listing))
    assert rows[0] == ["file", "reason"] and ["ann/0.png", MISSING] in rows and len(rows) == 6


def test_another_size_is_the_same_crop(originals: Path, copies: Path, tmp_path: Path) -> None:
    """The face is cut out by the original's points, in the result's pixels, not where the result's face would be."""
    points = torch.tensor(template(112).numpy()) * 0.5 + torch.tensor([21.0, 18.0])
    table = tmp_path / "points.csv"
    columns = [f"{point}_{axis}" for point in OURS for axis in "xy"]
    with open(table, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *columns])
        for name in PEOPLE:
            for number in range(PICTURES):
                writer.writerow([f"{name}/{number}.png", *points.flatten().tolist()])
    own = faces(originals, points=table)
    assert torch.allclose(transform(similarity(points[None], template(64)), points[None])[0], template(64), atol=1e-3)
    for name in PEOPLE:
        for number in range(PICTURES):
            path = copies / name / f"{number}.png"
            Image.open(path).resize((192, 192), Image.Resampling.BICUBIC).save(path)
    found = own.counterparts(Results(copies, "here"))
    assert found.resized == 9 and not found.failed
    apart = (to_float(found.images(range(9))) - to_float(pictures(own))).abs().mean()
    assert float(apart) < 0.01
    shifted = to_float(pictures(own)).roll(1, -1)
    assert float((to_float(found.images(range(9))) - shifted).abs().mean()) > 3 * float(apart)


def test_a_video_gives_the_frames_of_a_folder(tmp_path: Path) -> None:
    """By number, not by letter: frame 10 comes after frame 9. One frame too many or too few, and no frame counts."""
    clip, results = tmp_path / "originals" / "ann" / "clip", tmp_path / "results" / "ann"
    clip.mkdir(parents=True)
    results.mkdir(parents=True)
    for number in range(12):
        picture(number).save(clip / f"frame{number}.png")
    greys = [Image.new("L", (96, 96), 20 * number) for number in range(13)]
    own = faces(tmp_path / "originals")
    greys[0].save(results / "clip.gif", save_all=True, append_images=greys[1:12], duration=40)
    found = own.counterparts(Results(tmp_path / "results", "here"))
    assert not found.failed
    order = [int(name.rpartition("frame")[2][:-4]) for name in sorted(f"frame{i}.png" for i in range(12))]
    assert [int(each) for each in found.images(range(12))[:, 32, 32, 0]] == [20 * number for number in order]
    greys[0].save(results / "clip.gif", save_all=True, append_images=greys[1:13], duration=40)
    assert own.counterparts(Results(tmp_path / "results", "here")).failed == {LENGTH: 12}


def test_a_changed_result_is_read_again(originals: Path, copies: Path) -> None:
    own = faces(originals)
    before = own.counterparts(Results(copies, "here")).images([0])
    Image.new("RGB", (96, 96), (1, 2, 3)).save(copies / "ann" / "0.png")
    after = own.counterparts(Results(copies, "here")).images([0])
    assert after[0, 0, 0].tolist() == [1, 2, 3] and not torch.equal(before, after)


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="holds no picture and no video"):
        Results(tmp_path, "here")


def test_swaps_are_found_by_their_published_names(tmp_path: Path) -> None:
    """``000_003`` is what became of 000 with the face of 003; a person who is called so is no swap."""
    for folder in ("originals/000", "originals/003", "originals/12_34", "results/000_003", "results/12_34"):
        (tmp_path / folder).mkdir(parents=True)
    for number, person in enumerate(("000", "003", "12_34")):
        picture(number).save(tmp_path / "originals" / person / "0.png")
    for number, person in enumerate(("000_003", "12_34")):
        Image.new("RGB", (96, 96), (50 * number, 9, 9)).save(tmp_path / "results" / person / "0.png")
    results = Results(tmp_path / "results", "here")
    found = faces(tmp_path / "originals").counterparts(results)
    assert results.swapped == {"000": "003"} and found.reasons == ["", MISSING, ""]
    assert found.images([0, 2])[:, 0, 0].tolist() == [[0, 9, 9], [50, 9, 9]]
    shutil.copytree(tmp_path / "results" / "000_003", tmp_path / "results" / "000_12")  # a second swap of 000
    again = faces(tmp_path / "originals").counterparts(Results(tmp_path / "results", "here"))
    assert again.reasons == [SEVERAL, MISSING, ""]
