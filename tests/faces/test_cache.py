"""Faces that are kept: by what is in the photographs, checked when they are opened, made anew when that is asked for.

The kind: a cache that knows its sources by name, size and time, and reads back whatever lies in it. Instances: decoded
photographs, rendered faces; the evaluation's own store and packed shards have tests beside theirs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anon import checksums
from anon.errors import UserError
from anon.faces import contents as remembering
from anon.faces.cache import cache_folder, caching, switched_off
from anon.faces.contents import UNREADABLE, contents
from anon.faces.folder import FolderFaces
from anon.faces.synthetic import shards
from anon.faces.synthetic.dataset import SyntheticFaces, identity_name, people_of

PERSON = identity_name(people_of("train", 1)[0])


def photograph(root: Path, grey: int) -> Path:
    """One picture without compression: its size does not tell what is in it."""
    file = root / PERSON / "a.bmp"
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (grey,) * 3).save(file)
    return file


def grey(root: Path, cache: Path) -> int:
    """As the data set shows it, 0 to 255."""
    return round((float(FolderFaces(root, "train", 32, cache=cache)[0]["image"].mean()) + 1) * 127.5)


@pytest.mark.parametrize("settled", [-10.0, 3.0])  # the disk's clock has gone on; it may not have
def test_a_picture_that_changed_under_its_name_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: float
) -> None:
    monkeypatch.setattr(remembering, "_SETTLED", settled)
    file = photograph(tmp_path / "root", 10)
    stat = file.stat()
    assert grey(tmp_path / "root", tmp_path / "cache") == 10
    time.sleep(0.02)
    photograph(tmp_path / "root", 200)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert grey(tmp_path / "root", tmp_path / "cache") == 200


def test_two_roots_of_equal_names_sizes_and_times(tmp_path: Path) -> None:
    for root, shade in (("one", 10), ("other", 200)):
        os.utime(photograph(tmp_path / root, shade), (1e9, 1e9))
    assert grey(tmp_path / "one", tmp_path / "cache") == 10 and grey(tmp_path / "other", tmp_path / "cache") == 200


def test_the_same_pictures_elsewhere_or_of_another_time_are_decoded_once(tmp_path: Path) -> None:
    for root in ("one", "other"):
        photograph(tmp_path / root, 10)
        assert grey(tmp_path / root, tmp_path / "cache") == 10
    (tmp_path / "one" / PERSON / "a.bmp").touch()
    assert grey(tmp_path / "one", tmp_path / "cache") == 10
    assert len([path for path in (tmp_path / "cache" / "folder").iterdir() if path.is_dir()]) == 1


def test_photographs_are_read_again_only_where_something_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    of_file = checksums.of_file
    monkeypatch.setattr(checksums, "of_file", lambda path: (read.append(path), of_file(path))[1])
    monkeypatch.setattr(remembering, "_SETTLED", -10.0)
    files = [tmp_path / name for name in ("a", "b", "none")]
    for file in files[:2]:
        file.write_bytes(file.name.encode())
    memory = tmp_path / "memory.npy"
    found = contents(files, memory)
    assert found == [of_file(files[0]), of_file(files[1]), UNREADABLE] and read == files[:2]
    assert contents(files, memory) == found and len(read) == 2
    time.sleep(0.02)
    files[1].write_bytes(b"c")
    assert contents(files, memory) == [found[0], of_file(files[1]), UNREADABLE] and read[2:] == [files[1]]
    memory.write_bytes(memory.read_bytes()[:-1])  # what was remembered is worth one more reading
    assert contents(files, memory)[0] == found[0] and len(read) == 5


@pytest.mark.parametrize("cut", [False, True])
def test_damaged_photographs_are_decoded_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], cut: bool) -> None:
    root, cache = tmp_path / "root", tmp_path / "cache"
    photograph(root, 10)
    folder = FolderFaces(root, "train", 32, cache=cache).folder
    for name in sorted(path.name for path in folder.iterdir()):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2] if cut else whole[:-1] + bytes([whole[-1] ^ 1]))
        assert grey(root, cache) == 10 and (folder / name).read_bytes() == whole, name
        assert capsys.readouterr().err == f"'{folder}' is damaged and is made again\n", name
    (folder / "faces.npy").unlink()
    assert grey(root, cache) == 10


def faces(cache: Path) -> SyntheticFaces:
    return SyntheticFaces("train", size=16, identities=1, images=5, cache=cache)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("ending", [".npy", ".safetensors"])
def test_damaged_rendered_faces_are_rendered_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ending: str, cut: bool
) -> None:
    whole = faces(tmp_path)
    samples = whole.__getitems__(range(5))
    drawn, write = list[Path](), shards._write
    monkeypatch.setattr(shards, "_write", lambda shard, *rest: (drawn.append(shard.path), write(shard, *rest)))
    path = whole.shards[1].path
    content = path.with_suffix(ending).read_bytes()
    damage = content[: len(content) // 2] if cut else content[:-1] + bytes([content[-1] ^ 1])
    path.with_suffix(ending).write_bytes(damage)
    capsys.readouterr()
    again = faces(tmp_path).__getitems__(range(5))
    assert all(torch.equal(samples[name], again[name]) for name in samples)  # type: ignore[literal-required]
    assert drawn == [path] and f"'{path}' is damaged and is made again\n" in capsys.readouterr().err
    faces(tmp_path).__getitems__([0])
    assert drawn == [path]


def test_the_folder_of_rendered_faces_is_of_the_code_that_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = shards.folder(tmp_path, 16, 0)
    monkeypatch.setattr(shards, "code", lambda *definitions: f"{'+'.join(each.__name__ for each in definitions)}")
    assert shards.folder(tmp_path, 16, 0).name == "draw-seed0-16px" != before.name


def state(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_switched_off_nothing_is_read_or_left(tmp_path: Path) -> None:
    photograph(tmp_path / "root", 10)
    cache = tmp_path / "cache"
    assert grey(tmp_path / "root", cache) == 10
    faces(cache).prepare()
    for path in cache.rglob("*.npy"):  # would show if it were read
        path.write_bytes(b"")
    before = state(cache)
    with caching("off"):
        away = cache_folder(cache)
        assert switched_off() and away != cache and away.is_dir()
        assert grey(tmp_path / "root", cache) == 10
        assert np.isfinite(float(faces(cache)[0]["image"].mean()))
        with caching("on"):  # a run inside a run
            assert cache_folder(cache) == away
    assert state(cache) == before and not away.exists() and not switched_off() and cache_folder(cache) == cache


def test_refreshed_faces_are_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photograph(tmp_path / "root", 10)
    cache = tmp_path / "cache"
    for _ in range(2):
        folder = FolderFaces(tmp_path / "root", "train", 32, cache=cache).folder
        faces(cache).prepare()
    before = state(cache)
    time.sleep(0.02)
    drawn, write = list[Path](), shards._write
    monkeypatch.setattr(shards, "_write", lambda shard, *rest: (drawn.append(shard.path), write(shard, *rest)))
    with caching("refresh"):
        for _ in range(2):
            assert grey(tmp_path / "root", cache) == 10
            faces(cache).prepare()
    kept = [path for path in before if path.suffix == ".npy" and path.parent.name != "contents"]
    assert folder / "faces.npy" in kept and all(path.stat().st_mtime_ns > before[path] for path in kept)
    assert len(drawn) == 2 and grey(tmp_path / "root", cache) == 10


@pytest.mark.parametrize("mode", ["never", "ON", 3])
def test_a_word_that_means_nothing(mode: object) -> None:
    with pytest.raises(UserError, match=f"cache={mode} is none of on, off, refresh"), caching(mode):
        raise AssertionError("it ran")


def test_yaml_reads_the_words_as_truths() -> None:
    with caching(True):
        assert not switched_off()
    with caching(False):
        assert switched_off()
