"""A walk over a folder: every file once, in one order, and it ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anon.errors import UserError
from anon.faces.tree import DEEPEST, HIDDEN, files_below

LINK = "a link to a folder that is listed already"


def found(root: Path, without: Path | None = None) -> dict[str, str | None]:
    return {entry.file: entry.aside for entry in files_below(root, "the root", without)}


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_at_any_depth_in_one_order(tmp_path: Path) -> None:
    write(tmp_path, "b.jpg", "a/2.jpg", "a/10.jpg", "a/album/deep/1.jpg", "c/1.jpg", ".hidden", "a/.thumbs/1.jpg")
    (tmp_path / "empty").mkdir()
    assert list(found(tmp_path).items()) == [
        *((".hidden", HIDDEN), ("a/.thumbs", HIDDEN), ("a/10.jpg", None), ("a/2.jpg", None)),
        *(("a/album/deep/1.jpg", None), ("b.jpg", None), ("c/1.jpg", None)),
    ]


def test_links(tmp_path: Path) -> None:
    """To a person's folder elsewhere, to the root, to itself, to nothing, and twice to one folder."""
    write(tmp_path, "store/1.jpg", "root/a/2.jpg")
    root = tmp_path / "root"
    for name, target in (
        ("b", "../store"),
        ("c", "../store"),
        ("a/up", ".."),
        ("loop", "loop"),
        ("gone.jpg", "nowhere"),
    ):
        (root / name).symlink_to(target)
    assert found(root) == {"a/2.jpg": None, "a/up": LINK, "b/1.jpg": None, "c": LINK, "gone.jpg": None, "loop": None}


def test_links_to_links_end(tmp_path: Path) -> None:
    """Twenty folders with two links each to the next one: a million ways to the file in the last."""
    write(tmp_path, "20/1.jpg")
    for number in range(20):
        (tmp_path / f"{number}").mkdir()
        for name in "ab":
            (tmp_path / f"{number}" / name).symlink_to(tmp_path / f"{number + 1}")
    names = found(tmp_path)
    assert names["20/1.jpg"] is None and len(names) < 1000


def test_the_depth_is_bounded(tmp_path: Path) -> None:
    path = tmp_path
    for _ in range(DEEPEST + 1):
        path = path / "d"
    path.mkdir(parents=True)
    (path / "1.jpg").touch()
    write(tmp_path, "e/1.jpg")
    assert found(tmp_path) == {"/".join("d" * (DEEPEST + 1)): f"a folder below {DEEPEST} others", "e/1.jpg": None}


def test_what_is_written_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "a/1.jpg", "packed/mine/shard.tar")
    assert found(tmp_path, tmp_path / "packed/mine") == {"a/1.jpg": None}
    assert len(found(tmp_path, tmp_path / "not yet")) == 2


def test_names_are_spelled_the_same_everywhere(tmp_path: Path) -> None:
    write(tmp_path, "Jose\u0301/1.jpg")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.jpg", os.O_CREAT))
    assert list(found(tmp_path)) == ["Jos\u00e9/1.jpg", "\\udcff.jpg"]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the root cannot be read: No such file"):
        found(tmp_path / "missing")
