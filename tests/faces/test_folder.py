"""Folder data: what is read, what is skipped, what is said about it; against insightface on real photographs."""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anon.errors import UserError
from anon.faces.cache import built_once
from anon.faces.contract import FaceSet, check_images, to_uint8
from anon.faces.folder import FolderFaces
from anon.faces.points import read_points
from anon.faces.splits import SPLITS, EmptySplit, split_of

FACE = (30.0, 40.0, 70.0, 40.0, 50.0, 60.0, 35.0, 80.0, 65.0, 80.0)  # left eye, right eye, nose, mouth; as seen
OURS = "file," + ",".join(f"{p}_x,{p}_y" for p in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth"))
YUNET = "file,re_x,re_y,le_x,le_y,n_x,n_y,rm_x,rm_y,lm_x,lm_y"


def people(split: str, count: int) -> list[str]:
    """Names that the hash puts into ``split``."""
    names = (f"person{i}" for i in itertools.count())
    return list(itertools.islice((name for name in names if split_of(name) == split), count))


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training people with two and one usable images and one file of every bad kind; one evaluation person."""
    first, second = people("train", 2)
    folder = tmp_path / "photos"
    save(folder / first / "a.png", (255, 0, 0))
    save(folder / first / "b.jpg", (0, 0, 0), (80, 40))
    save(folder / second / "c.bmp", (0, 0, 255))
    save(folder / second / "tiny.png", (1, 2, 3), (12, 12))
    (folder / second / "notes.txt").write_text("nothing to see")
    save(folder / second / "broken.png", (3, 3, 3), (400, 400))
    os.truncate(folder / second / "broken.png", 120)
    (folder / second / "empty.jpg").touch()
    os.mkfifo(folder / second / "pipe.jpg")
    (folder / second / ".DS_Store").write_text("ignored")
    save(folder / second / "nested" / "d.png", (9, 9, 9))
    save(folder / people("evaluation", 1)[0] / "e.png", (0, 255, 0))
    return folder


def test_what_is_read_and_what_is_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, by the first rank, whatever the log level, and also of a set that is read from the cache."""
    (root / "loose.png").touch()
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.setenv(name, "1")
        FolderFaces(root, "train", 32, cache=tmp_path / "cache", max_damaged=1)
        monkeypatch.delenv(name)
    assert capsys.readouterr().err == ""
    for _ in range(2):
        faces = FolderFaces(root, "train", 32, cache=tmp_path / "cache", max_damaged=1)
    assert isinstance(faces, FaceSet) and not faces.synthetic
    assert faces.names == people("train", 2) and faces.labels.tolist() == [0, 0, 1, 1]
    assert faces.videos.tolist() == [-1] * 4 and faces.frames.tolist() == [0, 1, 0, 1]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("photos (train): 9 files, 4 faces of 2 people; skipped 5: ")
    assert line.endswith("; 1 in no identity's folder are not read.")
    for reason in ("1 smaller than 16 px", "1 not an image", "1 damaged", "1 empty", "1 not a regular file"):
        assert reason in line
    assert not any(name in line for name in (*faces.names, "tiny", "broken"))
    listing = Path(line.split("listed in ")[1].split(")")[0])
    with open(listing, newline="") as file:
        assert {Path(row["file"]).name for row in csv.DictReader(file)} == {
            *("tiny.png", "notes.txt", "broken.png", "empty.jpg", "pipe.jpg")
        }


def test_samples(root: Path, tmp_path: Path) -> None:
    faces = FolderFaces(root, "train", 32, cache=tmp_path / "cache", max_damaged=1)
    sample = faces[2]
    assert set(sample) == {"image", "identity", "video", "frame"}
    assert sample["image"].shape == (3, 32, 32) and sample["image"].dtype == torch.float32
    assert sample["image"][:, 3, 3].tolist() == [-1, -1, 1] and sample["identity"].item() == 1
    batch = faces.__getitems__([2, 0])
    check_images(batch["image"])
    assert batch["image"][1, :, 3, 3].tolist() == [1, -1, -1] and batch["identity"].tolist() == [1, 0]


def test_without_points_the_centre_is_cut_out_and_averaged(tmp_path: Path) -> None:
    name = people("train", 1)[0]
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[:, :32], pixels[:, 96:] = 255, 255  # outside the middle square
    pixels[::2, 32:96] = 200  # stripes, 2 pixels each: their mean is 100
    (tmp_path / "r" / name).mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "r" / name / "a.png")
    image = to_uint8(FolderFaces(tmp_path / "r", "train", 16, cache=tmp_path / "c")[0]["image"]).int()
    assert (image[1:-1] - 100).abs().max() <= 1


def test_splits_are_disjoint_and_complete(tmp_path: Path) -> None:
    names = [f"n{i}" for i in range(40)]
    for name in names:
        save(tmp_path / "r" / name / "a.png", (0, 0, 0), (16, 16))
    found = [FolderFaces(tmp_path / "r", split, 16, cache=tmp_path / "c").names for split in SPLITS]
    assert sorted(itertools.chain(*found)) == sorted(names)
    assert all(split_of(name) == split for split, part in zip(SPLITS, found, strict=True) for name in part)


def test_min_images(root: Path, tmp_path: Path) -> None:
    (root / people("train", 2)[1] / "nested" / "d.png").unlink()
    faces = FolderFaces(root, "train", 32, min_images=2, cache=tmp_path / "cache", max_damaged=1)
    assert faces.names == people("train", 1) and faces.labels.tolist() == [0, 0] and faces.frames.tolist() == [0, 1]
    with pytest.raises(UserError, match="min_images=3"):
        FolderFaces(root, "train", 32, min_images=3, cache=tmp_path / "cache", max_damaged=1)


def test_decoded_once_until_a_file_changes(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    from anon.faces import decoding

    read_image = decoding.read_image
    monkeypatch.setattr(decoding, "read_image", lambda path: (reads.append(path), read_image(path))[1])
    for _ in range(2):
        FolderFaces(root, "train", 32, cache=tmp_path / "cache", max_damaged=1)
    assert len(reads) == 9 and not any(path.name == "e.png" for path in reads)  # nothing of other splits
    save(root / people("train", 1)[0] / "a.png", (0, 255, 0), (50, 50))
    changed = FolderFaces(root, "train", 32, cache=tmp_path / "cache", max_damaged=1)
    assert len(reads) == 18 and changed[0]["image"][:, 3, 3].tolist() == [-1, 1, -1]


def _open(root: Path, cache: Path, results: multiprocessing.Queue) -> None:
    results.put(FolderFaces(root, "train", 32, cache=cache, max_damaged=1)[0]["image"].sum().item())


def test_two_processes_at_once(root: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    both = [context.Process(target=_open, args=(root, tmp_path / "cache", results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=60) for _ in both] == [-(32 * 32.0)] * 2  # red: 1 - 1 - 1
    for process in both:
        process.join()
    names = sorted(path.suffix for path in (tmp_path / "cache" / "folder").iterdir())
    assert names == ["", ".lock"]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    part = tmp_path / "faces.part"
    part.mkdir()
    (part / "half").touch()
    built = built_once(tmp_path / "faces", lambda folder: (folder / "whole").touch())
    assert sorted(path.name for path in built.iterdir()) == ["checksums.json", "whole"] and not part.exists()

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        built_once(tmp_path / "other", fail)
    assert {path.suffix for path in tmp_path.iterdir()} == {"", ".lock"} and not (tmp_path / "other").exists()


def test_roots_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    def message(folder: Path, split: str = "train", **options: object) -> str:
        with pytest.raises(UserError) as caught:
            FolderFaces(folder, split, 32, cache=tmp_path / "cache", **options)  # type: ignore[arg-type]
        return str(caught.value)

    (tmp_path / "empty").mkdir()
    save(tmp_path / "flat" / "a.png", (0, 0, 0))
    (tmp_path / "bare" / people("train", 1)[0]).mkdir(parents=True)
    bad = tmp_path / "bad" / people("train", 1)[0]
    bad.mkdir(parents=True)
    (bad / "a.jpg").write_text("no")
    assert "No such file" in message(tmp_path / "missing")
    assert "Not a directory" in message(tmp_path / "flat" / "a.png")
    assert "holds nothing" in message(tmp_path / "empty")
    assert "files but no folders" in message(tmp_path / "flat")
    assert "hold no files" in message(tmp_path / "bare")
    assert "Nothing usable" in message(tmp_path / "bad") and "1 not an image" in message(tmp_path / "bad")
    assert "Unknown split" in message(root, "test")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        FolderFaces(root, "train", 32, cache=tmp_path / "file")
    with pytest.raises(EmptySplit):
        FolderFaces(root, "attacker", 32, cache=tmp_path / "cache")


def table(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize("header", [OURS, YUNET])
def test_points_align_on_load(root: Path, tmp_path: Path, header: str) -> None:
    first, second = people("train", 2)
    save(root / first / "a.png", (255, 255, 255), (100, 100))
    row = ",".join(map(str, FACE))
    points = table(
        tmp_path / "p.csv", header, f"{first}/a.png,{row}", f"./{first}\\b.jpg,1,2,3", f"{second}/c.bmp,{row[:-4]}nan"
    )
    faces = FolderFaces(root, "train", 112, points=points, cache=tmp_path / "cache")
    assert faces.names == [first] and "8 without points" in faces.summary
    sample = faces[0]
    assert set(sample) == {"image", "identity", "video", "frame", "landmarks"}
    eyes = sample["landmarks"][:2]
    assert (eyes - torch.tensor([[38.3, 51.7], [73.5, 51.5]])).abs().max() < 4
    assert sample["image"][:, 60, 56].min() > 0.999


def test_points_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    row = ",".join(map(str, FACE))
    mirrored = ",".join(str(100 - value if i % 2 == 0 else value) for i, value in enumerate(FACE))
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    cases = {
        tmp_path / "missing.csv": "No such file",
        tmp_path / "binary.csv": "not a UTF-8 CSV",
        table(tmp_path / "columns.csv", "file,x1,y1", "a/b.png,1,2"): "need the columns",
        table(tmp_path / "rows.csv", OURS): "no row with a file",
        table(tmp_path / "text.csv", OURS, "a/b.png" + ",?" * 10): "no row with a file",
        table(tmp_path / "one.csv", OURS, "a/b.png" + ",5" * 10): "no row with a file",
        table(tmp_path / "swapped.csv", OURS, f"a/b.png,{mirrored}"): "left and right are swapped",
        table(tmp_path / "strangers.csv", OURS, f"a/b.png,{row}"): "None of the 1 rows",
    }
    for path, expected in cases.items():
        with pytest.raises(UserError) as caught:
            FolderFaces(root, "train", 32, points=path, cache=tmp_path / "cache")
        assert expected in str(caught.value) and "person" not in str(caught.value).replace("person's", "")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    for byte in range(0x80, 0xC0):  # some of these 64 folders fall into each split
        folder = os.path.join(os.fsencode(tmp_path / "r"), b"name" + bytes([byte]))
        os.makedirs(folder)
        Image.new("RGB", (16, 16)).save(os.path.join(folder, b"a\xff.png").decode("utf-8", "surrogateescape"))
    total = sum(len(FolderFaces(tmp_path / "r", split, 16, cache=tmp_path / "c")) for split in SPLITS)
    assert total == 64


def test_equals_insightface_on_real_photographs(real: Path, tmp_path: Path) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    csv_path = real / "faces" / "_meta" / "lfw_index.csv"
    lfw = real / "faces" / "lfw"
    chosen = [path.name for path in sorted(lfw.iterdir()) if path.is_dir() and split_of(path.name) == "train"][:3]
    for name in chosen:
        (tmp_path / "r").mkdir(exist_ok=True)
        (tmp_path / "r" / name).symlink_to(lfw / name)
    faces = FolderFaces(tmp_path / "r", "train", 112, points=csv_path, cache=tmp_path / "c")
    assert faces.names == chosen
    points = read_points(csv_path)
    files = [path for name in chosen for path in sorted((lfw / name).iterdir())]
    assert len(files) == len(faces) >= 3
    for index, file in enumerate(files):
        with Image.open(file) as image:
            frame = np.array(image)
        theirs = face_align.norm_crop(frame, points[f"{file.parent.name}/{file.name}"], 112).astype(int)
        ours = to_uint8(faces[index]["image"]).numpy().astype(int)
        assert np.abs(ours - theirs).mean() < 0.6


def test_links_to_themselves_refuse_nothing(tmp_path):
    """Such a link is no folder, and an unreadable photograph."""
    name = people("train", 1)[0]
    save(tmp_path / "r" / name / "1.png", (9, 9, 9))
    (tmp_path / "r" / "loop").symlink_to("loop")
    (tmp_path / "r" / name / "2.png").symlink_to("2.png")
    faces = FolderFaces(tmp_path / "r", "train", 32, cache=tmp_path / "c", max_damaged=0.5)
    assert len(faces) == 1 and "1 unreadable" in faces.summary
