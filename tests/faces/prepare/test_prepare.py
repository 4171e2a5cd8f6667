"""Packing: the same bytes however it is run, what is rejected and why, workers that crash and hang."""

from __future__ import annotations

import json
import os
import random
import signal
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from anon.errors import UserError
from anon.faces.alignment import align
from anon.faces.collections.contract import Item
from anon.faces.contract import to_float, to_uint8
from anon.faces.images import read_image
from anon.faces.packed import Pack, PackedFaces
from anon.faces.points import read_points
from anon.faces.prepare.__main__ import main
from anon.faces.prepare.extract import Account, extract
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_collection, of_folder, units
from anon.faces.prepare.workers import Limits
from tests.faces.prepare.material import CRASH, HANG, MISBEHAVING, NOTHING, Misbehaving, command, content, photographs

LIMITS = Limits(seconds=3.0, memory=0.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photographs of six people in ``root``, their points in ``root.csv``."""
    root = tmp_path_factory.mktemp("photos") / "root"
    photographs(root, 6, 2)
    return root


@pytest.fixture(scope="module")
def unbroken(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photographs packed in one go by one worker."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    assert _run(*_arguments(photos, out), "--workers", 1) == 0
    return out


def _run(*arguments: object) -> int:
    """The command in this process; its workers are others."""
    return main([str(argument) for argument in arguments])


def _arguments(root: Path, out: Path) -> list[object]:
    return ["--root", root, "--points", f"{root}.csv", "--out", out, "--size", 64, "--min-size", 8, "--unit", 5]


def test_faces_are_the_aligned_photographs(photos: Path, unbroken: Path, tmp_path: Path) -> None:
    table = read_points(Path(f"{photos}.csv"))
    options = Options(size=64, min_size=8, codec="png")
    prepare(of_folder(photos, table), "x", tmp_path / "out", options)
    pack = Pack(tmp_path / "out")
    assert sorted(pack.files()) == sorted(table)
    for row, name in enumerate(pack.files()):
        image = to_float(read_image(photos / name))[None]
        expected = to_uint8(align(image, torch.from_numpy(table[name])[None], 64)[0])
        assert (torch.tensor(pack.frame(row)).int() - expected.int()).abs().max() <= 1  # warped from a part of it
    lossy = Pack(unbroken)
    error = np.mean([(lossy.frame(i).astype(float) - pack.frame(i)) ** 2 for i in range(12)])
    assert 10 * np.log10(255**2 / error) > 38  # dB


def test_webdataset_streams_the_shards(unbroken: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(unbroken.glob("shard-*.tar"))]
    assert len(urls) == 3  # 5 + 5 + 2
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    pack = Pack(unbroken)
    assert len(samples) == pack.count == 12
    for row, sample in enumerate(samples):
        assert np.array_equal(sample["jpg"], pack.frame(row))
        assert sample["json"]["identity"] == pack.info["names"][pack.columns["label"][row]]
        assert sample["json"]["file"] == pack.files()[row]
        assert np.allclose(sample["json"]["landmarks"], pack.columns["landmarks"][row])


def test_members_carry_no_time_and_no_owner(unbroken: Path) -> None:
    for path in unbroken.glob("shard-*.tar"):
        with tarfile.open(path) as archive:
            assert {(member.mtime, member.uid, member.gid, member.uname) for member in archive} == {(0, 0, 0, "")}


def test_two_workers_write_the_same_bytes(photos: Path, unbroken: Path, tmp_path: Path) -> None:
    assert _run(*_arguments(photos, tmp_path / "two"), "--workers", 2) == 0
    assert content(tmp_path / "two") == content(unbroken)


@pytest.mark.slow
def test_an_array_writes_the_same_bytes(
    photos: Path,
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for task, told in (("5", "the task that finishes last"), ("6", "12 faces of 6 people from 12 inputs, 0 rejected")):
        monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
        assert _run(*_arguments(photos, tmp_path / "array"), "--workers", 1) == 0
        assert told in capsys.readouterr().out
    assert content(tmp_path / "array") == content(unbroken)


def test_killed_and_rerun_writes_the_same_bytes(photos: Path, unbroken: Path, tmp_path: Path) -> None:
    """Killed after the first unit, and the state after a kill between shard and unit written by hand."""
    out = tmp_path / "out"
    process = command(*_arguments(photos, out), "--workers", 1)
    while process.poll() is None and not any(out.glob("units/*.json")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (out / "shard-000001.tar").write_bytes(b"half")
    assert _run(*_arguments(photos, out), "--workers", 1) == 0
    assert content(out) == content(unbroken)
    times = {path: path.stat().st_mtime_ns for path in out.glob("shard-*.tar")}
    assert _run(*_arguments(photos, out), "--workers", 1) == 0
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("shard-*.tar")}  # nothing was packed again


@pytest.mark.slow
def test_killed_at_three_random_moments(tmp_path: Path) -> None:
    """Work that is done before its kill comes is compared, and begun anew."""
    root = tmp_path / "root"
    photographs(root, 40, 3)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert command(*_arguments(root, whole), "--workers", 2).wait() == 0
    moments, kills, finished = random.Random(0), 0, 0
    while kills < 3:
        wanted = len(list(broken.glob("*.tar"))) + moments.randint(1, 4)
        process = command(*_arguments(root, broken), "--workers", 2)
        while len(list(broken.glob("*.tar"))) < wanted and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0.0, 0.1))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if (broken / "index.json").exists():  # the last file that is written
            assert content(broken) == content(whole)
            finished += 1
            assert finished < 10, "packing is too quick to be killed"
            broken = tmp_path / f"broken{finished}"
        else:
            assert process.returncode == -signal.SIGKILL
            kills += 1
    assert _run(*_arguments(root, broken), "--workers", 1) == 0
    assert len(content(whole)) > 20 and content(broken) == content(whole)


def test_other_options_or_inputs_into_the_same_folder_are_refused(photos: Path, unbroken: Path) -> None:
    sources = of_folder(photos, read_points(Path(f"{photos}.csv")))
    with pytest.raises(UserError, match=r"other options \(codec, size\)"):
        prepare(sources, "x", unbroken, Options(size=128, min_size=8, unit=5, codec="png"))
    with pytest.raises(UserError, match="other inputs"):
        prepare(sources[1:], "x", unbroken, Options(size=64, min_size=8, unit=5))


@pytest.mark.slow
def test_a_crash_and_a_hang_cost_one_input_each(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for i, first in enumerate([(9, 9, 9), CRASH, (8, 8, 8), HANG, NOTHING, (7, 7, 7)]):
        _picture(root / "somebody" / f"{i}.png", first)
    _picture(root / "else" / "0.png", (6, 6, 6))
    options = Options(size=64, detector=MISBEHAVING, min_size=32, unit=4)
    report = prepare(of_folder(root, None), "x", tmp_path / "out", options, workers=2, limits=LIMITS)
    assert report is not None and report["faces"] == 4
    assert report["rejected inputs"] == {"crashed": 1, "no face": 1, "timeout": 1}
    assert (tmp_path / "out" / "files.csv").read_text().splitlines() == [
        "file,identity,kind,outcome,kept,found,note",
        "else/0.png,else,photograph,kept,1,1,",
        "somebody/0.png,somebody,photograph,kept,1,1,",
        "somebody/1.png,somebody,photograph,crashed,0,0,",
        "somebody/2.png,somebody,photograph,kept,1,1,",
        "somebody/3.png,somebody,photograph,timeout,0,0,",
        "somebody/4.png,somebody,photograph,no face,0,0,",
        "somebody/5.png,somebody,photograph,kept,1,1,",
    ]
    pack = Pack(tmp_path / "out")
    assert [name[-5] for name in pack.files()] == ["0", "0", "2", "5"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["shard-000000.tar", "shard-000001.tar"]


@pytest.mark.parametrize(
    ("first", "changed", "reason"),
    [
        (NOTHING, {}, "no face"),
        ((1, 1, 1), {"min_size": 60.0}, "too small"),
        ((1, 1, 1), {"score": 0.95}, "low score"),
        ((1, 1, 1), {"detector": None}, "without points"),
        ((1, 1, 1), {}, None),
    ],
)
def test_reasons(tmp_path: Path, first: tuple[int, int, int], changed: dict[str, Any], reason: str | None) -> None:
    _picture(tmp_path / "root" / "a" / "0.png", first)
    (source,) = of_folder(tmp_path / "root", None)
    options = replace(Options(size=64, detector=MISBEHAVING), **changed)
    account = Account()
    faces = list(extract(source, options, Misbehaving() if options.detector else None, account, lambda: None))
    assert (account.reason, len(faces)) == (reason, int(reason is None))


class _Collection:
    name = "small"

    def __init__(self, root: Path, items: list[Item]) -> None:
        self.root, self._items = root, items

    def items(self) -> list[Item]:
        return self._items


def test_collections_bring_splits_points_and_labels(tmp_path: Path) -> None:
    _picture(tmp_path / "photo.png", (3, 3, 3))
    points = ((30.0, 40.0), (62.0, 40.0), (46.0, 56.0), (34.0, 74.0), (58.0, 74.0))
    marks = [[30.0, 40.0]] * 68
    items = [
        Item("photo.png", "a", official="test", points=points, labels={"pose": [1.0, 2, 3], "fold": 4, "name": "x"}),
        Item("photo.png", "b", official="val", points=points, labels={"pose": [4.0, 5, 6]}),
        Item("photo.png", "c", official="train", points=points, labels={"pose": [7.0, 8, 9]}),
        Item("photo.png", "c", official="test", points=points, labels={"pose": [7.0, 8, 9], "landmarks68": marks}),
    ]
    sources = of_collection(_Collection(tmp_path, items), None)
    assert [source.split for source in sources] == ["evaluation", "background", "evaluation", "evaluation"]
    report = prepare(sources, "small", tmp_path / "out", Options(size=64, min_size=8))
    assert report is not None and report["people in several official splits"] == 1
    faces = PackedFaces(tmp_path / "out", "evaluation")
    assert faces.names == ["a", "c"] and faces.labels.tolist() == [0, 1, 1] and faces.frames.tolist() == [0, 0, 1]
    assert faces[0]["pose"].tolist() == [1, 2, 3] and set(faces[0]) == {
        *("image", "identity", "video", "frame", "landmarks", "pose")  # fold and name: not of every face
    }
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as archive:
        last = json.load(archive.extractfile("00000003-000000.json"))  # type: ignore[arg-type]
    assert last["labels"]["landmarks68"][0] == pytest.approx(last["landmarks"][0], abs=2e-3)  # moved with the crop


def test_units_are_cut_by_work(tmp_path: Path) -> None:
    items = [Item(f"{i}", "a", video=i in (3, 4)) for i in range(8)]
    sources = of_collection(_Collection(tmp_path, items), None)
    assert units(sources, 64) == [range(0, 4), range(4, 5), range(5, 8)]


def test_messages_of_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in (
        (("--root", photos), "Give --detector"),
        (("--root", tmp_path / "no", "--points", f"{photos}.csv"), "cannot be read"),
        (("--root", photos, "--detector", "none"), "There is no detector named 'none'"),
        (("--root", photos, "--collection", "none"), "There is no collection named 'none'"),
        (("--root", photos, "--points", f"{photos}.csv", "--every", 0), "--every 0 must be 1 to"),
    ):
        assert _run(*arguments, "--out", tmp_path / "out") == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and told in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_usable_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "a" / "0.jpg").write_bytes(b"text")
    (tmp_path / "points.csv").write_text(
        "file,re_x,re_y,le_x,le_y,n_x,n_y,rm_x,rm_y,lm_x,lm_y\na/0.jpg,30,40,62,40,46,56,34,74,58,74\n"
    )
    given = ("--root", tmp_path / "root", "--points", tmp_path / "points.csv", "--out", tmp_path / "out")
    assert _run(*given, "--workers", 1) == 2
    assert "None of the 1 inputs gave a face: 1 not an image; see " in capsys.readouterr().err


def test_clips_show_one_person_each(real: Path, tmp_path: Path) -> None:
    pytest.importorskip("anon.faces.detection.yunet")
    detector = {
        "_target_": "anon.faces.detection.yunet.YuNet",
        "weights": str(real / "models" / "yunet" / "yunet_n_dynamic.onnx"),
    }
    root = tmp_path / "root" / "two"
    root.mkdir(parents=True)
    (root / "clip.gif").symlink_to(real / "clips" / "intel" / "head-pose-face-detection-female-and-male.gif")
    options = Options(size=112, every=5, detector=detector)
    report = prepare(of_folder(root.parent, None), "x", tmp_path / "out", options)
    assert report is not None and report["pictures and frames read"] == 12  # 56 frames
    pack = Pack(tmp_path / "out")
    assert 8 <= pack.count <= 12 and report["faces beside the chosen one"] > 0
    assert set(pack.columns["frame"].tolist()) <= set(range(0, 56, 5))
    with tarfile.open(tmp_path / "out" / "shard-000000.tar") as archive:
        names = [name for name in archive.getnames() if name.endswith("jpg")]
    assert len(set(names)) == pack.count


def _picture(path: Path, first: tuple[int, int, int]) -> None:
    """96 x 96 noise whose first pixel is ``first``."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    pixels[0, 0] = first
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
