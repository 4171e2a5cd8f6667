"""The files that people have: every one has its line, whoever is seen in it and wherever it lies.

The kind: a file is left out without a word. Seen first: a flat folder was refused, loose files and those in sub-folders
were dropped, an album inside a person's folder became a video and lost three of five photographs. Found beside them:
hidden files and folders, links that lead back, formats that are not read (HEIC, .ts, .mpg, .wmv, .3gp), rows of a table
of people that name nobody, two files whose names spell one person, several faces of one picture that were one person,
the packed set itself below its own root; and in ``data=folder`` the same files, and a summary that nobody saw.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from anon.errors import UserError
from anon.faces.datamodule import folder_data
from anon.faces.images import ImageError, read_image
from anon.faces.packed import Pack, PackedFaces
from anon.faces.points import OURS, read_points
from anon.faces.prepare.__main__ import main
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import survey
from anon.faces.splits import SPLITS, split_of
from tests.faces.prepare.material import POINTS, content

HEADER = ["file", *(f"{point}_{axis}" for point in OURS for axis in "xy")]


def picture(path: Path, seed: int = 0, kind: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(0, 256, (96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    Image.fromarray(pixels.numpy()).save(path, kind)


def packed(root: Path, out: Path, *more: object) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code of the command, with points for every file, and the lines of files.csv."""
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        below = (path.relative_to(root) for path in sorted(root.rglob("*")) if not path.is_dir())
        table.writerows([str(name), *POINTS.flatten().tolist()] for name in below)
    given = ("--root", root, "--points", out.with_suffix(".csv"), "--out", out, "--size", 64, "--min-size", 8, *more)
    code = main([str(word) for word in (*given, "--workers", 1)])
    with open(out / "files.csv", newline="") as file:
        return code, {row["file"]: row for row in csv.DictReader(file)}


def people(lines: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: row["identity"] for name, row in lines.items() if row["outcome"] == "kept"}


def test_a_flat_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each picture is its own person, said in one line; also those whose names would spell one person."""
    root = tmp_path / "root"
    names = ["IMG 1.png", "IMG-1.png", "img_1.png", "other.jpg"]
    for seed, name in enumerate(names):
        picture(root / name, seed)
    (root / "notes.txt").write_text("nothing")
    code, lines = packed(root, tmp_path / "out")
    said = capsys.readouterr()
    assert code == 0 and set(lines) == {*names, "notes.txt"}
    assert sorted(people(lines).values()) == ["IMG 1.png", "IMG-1.png (2)", "img_1.png (3)", "other.jpg"]
    assert lines["notes.txt"] | {"identity": ""} == {
        **{"file": "notes.txt", "identity": "", "kind": "other", "outcome": "not an image"},
        **{"kept": "0", "found": "0", "note": ""},
    }
    assert "has no folders, so each of the 5 files is a person of its own (--identities none)" in said.err
    assert said.err.count("--identities none") == 1 and "4 faces of 4 people from 5 inputs, 1 rejected" in said.out
    assert "\n  1 not an image\n" in said.out
    assert len(Pack(tmp_path / "out").info["names"]) == 4
    assert (tmp_path / "out" / "files.csv").stat().st_mode & 0o777 == 0o600


def test_albums_loose_and_hidden_files(tmp_path: Path) -> None:
    """An album inside a person's folder is five photographs; nothing is missing from the account."""
    root = tmp_path / "root"
    names = [f"ann/album/{i}.png" for i in range(5)] + ["ann/0.png", "bob/x/y/z.png", "loose.png"]
    for seed, name in enumerate([*names, "bob/.hidden.png"]):
        picture(root / name, seed)
    (root / ".DS_Store").touch()
    (root / "bob" / ".cache").mkdir()
    (root / "bob" / "again").symlink_to("..")
    code, lines = packed(root, tmp_path / "out")
    assert code == 0
    assert people(lines) == {name: name.split("/")[0] for name in names if "/" in name}
    assert {name: (row["kind"], row["outcome"]) for name, row in lines.items() if row["outcome"] != "kept"} == {
        "loose.png": ("photograph", "in no person's folder"),
        "bob/.hidden.png": ("hidden", "hidden"),
        ".DS_Store": ("hidden", "hidden"),
        "bob/.cache": ("hidden", "hidden"),
        "bob/again": ("folder", "a link to a folder that is listed already"),
    }
    assert Pack(tmp_path / "out").columns["video"].tolist() == [-1] * 7


def test_animations(tmp_path: Path) -> None:
    """A GIF of one picture was a video, so its points counted for nothing; others give their first picture."""
    one, two = (Image.effect_noise((160, 160), 99) for _ in range(2))
    (tmp_path / "root" / "ann").mkdir(parents=True)
    one.save(tmp_path / "root" / "ann" / "still.gif")
    for name in ("moves.gif", "moves.png", "moves.webp"):
        one.save(tmp_path / "root" / "ann" / name, save_all=True, append_images=[two], duration=0)
    found = {source.file: source.video for source in survey(tmp_path / "root").sources}
    assert found == {"ann/still.gif": False, "ann/moves.gif": True, "ann/moves.png": False, "ann/moves.webp": False}
    code, lines = packed(tmp_path / "root", tmp_path / "out")
    assert code == 0 and {name: (row["kind"], row["outcome"]) for name, row in lines.items()} == {
        name: ("video", "without points") if video else ("photograph", "kept") for name, video in found.items()
    }


def test_one_folder_around_all_of_them_is_said(tmp_path: Path) -> None:
    """What an unpacked archive looks like: one person, unless somebody says otherwise."""
    for seed, name in enumerate(["all/ann/0.png", "all/bob/0.png"]):
        picture(tmp_path / "root" / name, seed)
    inputs = survey(tmp_path / "root")
    assert {source.identity for source in inputs.sources} == {"all"}
    assert inputs.note is not None and "all of the 2 files are one person" in inputs.note
    assert survey(tmp_path / "root", identities="folder").note is None
    assert survey(tmp_path / "root" / "all").note is None


def test_frames_where_it_is_said(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for seed, name in enumerate(["ann/clip/1.png", "ann/clip/2.png", "ann/0.png"]):
        picture(root / name, seed)
    inputs = survey(root, None, frames=True)
    assert [(source.file, source.video) for source in inputs.sources] == [("ann/0.png", False), ("ann/clip", True)]
    code, lines = packed(root, tmp_path / "out", "--frames")
    assert code == 0 and set(lines) == {"ann/0.png", "ann/clip"} and lines["ann/clip"]["kind"] == "frames"
    with pytest.raises(UserError, match="--frames reads <root>/<person>"):
        survey(root, None, "none", frames=True)


@pytest.mark.slow
def test_identities_by_pattern_and_by_table(tmp_path: Path) -> None:
    root = tmp_path / "root"
    names = ["Ann_0001.png", "Ann_0002.png", "deep/Bob_0001.png", "deep/who.png"]
    for seed, name in enumerate(names):
        picture(root / name, seed)
    rule = r"pattern=(?P<identity>[^/]+)_\d{4}[.]png$"
    code, lines = packed(root, tmp_path / "pattern", "--identities", rule)
    assert code == 0 and people(lines) == {names[0]: "Ann", names[1]: "Ann", names[2]: "Bob"}
    assert lines["deep/who.png"]["outcome"] == "not matched by the pattern of --identities"

    table = tmp_path / "who.csv"
    table.write_text("file,identity,more\n./Ann_0001.png,Cy,\ndeep\\who.png,Cy,\ndeep/Bob_0001.png,,\nelse.png,Di,\n")
    code, lines = packed(root, tmp_path / "table", "--identities", f"csv={table}")
    assert code == 0 and people(lines) == {"Ann_0001.png": "Cy", "deep/who.png": "Cy"}
    assert lines["deep/Bob_0001.png"]["outcome"] == "not in the table of --identities"

    code, lines = packed(root, tmp_path / "none", "--identities", "none")
    assert code == 0 and people(lines) == {name: name for name in names}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("people", "is none of folder, none, pattern="),
        ("pattern=(", "is no regular expression"),
        ("pattern=(.+)", "needs a group (?P<identity>...)"),
        ("pattern=(?P<identity>zzz)", "None of the 1 files of --root"),
        ("csv=missing.csv", "cannot be read: No such file"),
        ("csv={place}/columns.csv", "needs the columns file and identity"),
        ("csv={place}/twice.csv", "names two people for 1 files"),
        ("csv={place}/strangers.csv", "None of the 1 rows"),
        ("csv={place}/binary.csv", "it is not a UTF-8 CSV"),
    ],
)
def test_rules_that_cannot_be_used(tmp_path: Path, rule: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    picture(tmp_path / "root" / "a" / "0.png")
    (tmp_path / "columns.csv").write_text("file,who\na/0.png,Ann\n")
    (tmp_path / "twice.csv").write_text("file,identity\na/0.png,Ann\n./a/0.png,Bob\n")
    (tmp_path / "strangers.csv").write_text("file,identity\nb/0.png,Ann\n")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    (tmp_path / "points.csv").write_text(
        ",".join(HEADER) + "\na/0.png," + ",".join(map(str, POINTS.flatten().tolist()))
    )
    given = ("--root", tmp_path / "root", "--points", tmp_path / "points.csv", "--out", tmp_path / "out")
    assert main([*map(str, given), "--identities", rule.format(place=tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and told in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_every_face_of_a_picture_of_strangers_is_its_own_person(tmp_path: Path) -> None:
    picture(tmp_path / "root" / "a.png")
    options = Options(size=64, faces="all", detector={"_target_": "tests.faces.prepare.test_accounts.Three"})
    inputs = survey(tmp_path / "root")
    report = prepare(inputs.sources, "x", tmp_path / "out", options, aside=inputs.aside)
    assert report is not None and (report["faces"], report["people"]) == (3, 3)
    pack = Pack(tmp_path / "out")
    assert pack.info["names"] == ["a.png", "a.png#2", "a.png#3"] and pack.columns["label"].tolist() == [0, 1, 2]
    assert set(pack.columns["split"].tolist()) == {SPLITS.index(split_of("a.png"))}
    assert len(PackedFaces(tmp_path / "out", split_of("a.png"))) == 3


class Three:
    """The same face three times."""

    name, has_points = "three", True

    def detect(self, frame: torch.Tensor):
        from anon.faces.detection.contract import Detections

        boxes = torch.tensor([[20.0, 20.0, 72.0, 90.0]]).repeat(3, 1)
        return Detections(boxes, POINTS.repeat(3, 1, 1), torch.tensor([0.9, 0.8, 0.7]))


def test_the_packed_set_is_no_input_of_its_own(tmp_path: Path) -> None:
    """Below its root, packed twice: the second time it is finished already."""
    for seed in range(3):
        picture(tmp_path / "root" / "a" / f"{seed}.png", seed)
    first = packed(tmp_path / "root", tmp_path / "root" / "packed")
    before = content(tmp_path / "root" / "packed")
    (tmp_path / "root" / "packed.csv").unlink()
    assert first[0] == 0 and set(people(first[1])) == {f"a/{seed}.png" for seed in range(3)}
    assert main(["--root", str(tmp_path / "root"), "--out", str(tmp_path / "root" / "packed"), "--verify"]) == 0
    assert content(tmp_path / "root" / "packed") == before


def test_a_folder_of_data_names_what_it_skips_and_refuses_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """153 of 213 damaged photographs were skipped below the log level. What is no photograph by name is no damage."""
    root = tmp_path / "root"
    who = next(name for name in map(str, range(99)) if split_of(name) == "train")
    for seed in range(18):
        picture(root / who / "album" / f"{seed}.png", seed)
    picture(root / who / "own.png", 20)
    (root / who / "18.jpg").write_bytes(b"damaged")
    (root / who / "clip.mp4").write_bytes(b"video")
    for number in range(9):
        (root / who / f"{number}.json").write_text("{}")
    faces = folder_data(str(root), 32, 4, cache=tmp_path / "cache").faces("train")
    assert len(faces) == 19
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "30 files, 19 faces of 1 people; skipped 11: 10 not an image" in said
    assert "1 a video, which anon prepare reads" in said
    for number in range(3):
        os.truncate(root / who / "album" / f"{number}.png", 50)
    for _ in range(2):  # from the cache, too
        with pytest.raises(UserError, match=r"4 of 20 photographs cannot be used, more than data.max_damaged=0.1"):
            folder_data(str(root), 32, 4, cache=tmp_path / "cache").faces("train")
    assert len(folder_data(str(root), 32, 4, cache=tmp_path / "cache", max_damaged=0.2).faces("train")) == 16
    with pytest.raises(UserError, match="must be 0 to 1"):
        folder_data(str(root), 32, 4, cache=tmp_path / "cache", max_damaged=3).faces("train")


def test_heic_is_named_with_its_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ISO 14496-12: a box of 24 bytes, its brand and those that it is compatible with."""
    from anon.faces import images

    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    monkeypatch.setattr(images, "_formats", lambda: ("JPEG", "PNG"))
    picture(tmp_path / "root" / "a" / "0.png")
    (tmp_path / "root" / "a" / "1.HEIC").write_bytes(heic)
    (tmp_path / "root" / "a" / "2.png").write_bytes(heic)
    for name in ("1.HEIC", "2.png"):
        with pytest.raises(images.ImageError, match=r"HEIC, for which pillow-heif is missing [(]pip"):
            images.read_image(tmp_path / "root" / "a" / name)
    monkeypatch.setattr(images, "_formats", lambda: ("JPEG", "HEIF"))
    with pytest.raises(images.ImageError, match="not an image"):
        images.read_image(tmp_path / "root" / "a" / "1.HEIC")


def test_points_of_nobody(tmp_path: Path) -> None:
    picture(tmp_path / "root" / "a" / "0.png")
    (tmp_path / "points.csv").write_text(
        ",".join(HEADER) + "\nb/0.png," + ",".join(map(str, POINTS.flatten().tolist()))
    )
    with pytest.raises(UserError, match="None of the 1 rows of --points names one of the 1 inputs"):
        survey(tmp_path / "root", read_points(tmp_path / "points.csv"))


def test_the_command_ends_with_a_sentence(tmp_path: Path) -> None:
    """An empty root, and one of hidden files only."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".hidden.png").touch()
    with pytest.raises(UserError, match="holds nothing to read"):
        survey(tmp_path / "root")


def test_a_packed_set_has_a_folder_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--out`` among the photographs lost a person without a line; into the root itself, or the folder that one stood
    in where a variable was empty, it filled them with shards."""
    root = tmp_path / "photos"
    for person in ("anna", "ben"):
        for number in range(2):
            picture(root / person / f"{number}.jpg", number)
    for out, said in (
        (root / "anna", "holds what is no packed set's ('0.jpg', ...)"),
        (root, "holds what is no packed set's ('anna', ...)"),
        ("", "--out: it is empty"),
    ):
        words = ["--root", str(root), "--out", str(out), "--points", str(tmp_path / "points.csv")]
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in root.rglob("*")) == ["0.jpg", "0.jpg", "1.jpg", "1.jpg", "anna", "ben"]


def test_too_little_memory_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a worker's limit good photographs were counted as damaged."""
    picture(tmp_path / "a.png")

    def load(self: Image.Image) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(ImageError, match="too large for the memory there is"):
        read_image(tmp_path / "a.png")
