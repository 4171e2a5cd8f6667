"""A hundred files as people have them, through ``prepare`` and ``train.py``: each has its line, twice the same faces.

The kind: material is accounted for by what was expected, not by what lies there. The other instances are in
tests/faces/prepare/test_accounts.py; this is the whole way, with a real detector and a judge that knows the people.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from anon.faces.contract import to_float
from anon.faces.packed import Pack
from anon.faces.prepare.__main__ import main
from anon.faces.splits import split_of
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.edgeface import EdgeFace
from tests.apps.conftest import Command, folder_of
from tests.apps.launch.test_exit_codes import refused
from tests.apps.test_learned import folder, named
from tests.faces.prepare.material import content

SIDE = 200
PHOTOGRAPHS = ("jpg", "png", "webp", "bmp", "tif", "ppm", "jp2", "tga", "jpeg", "avif")
VIDEOS = {"mp4": "mpeg4", "mov": "mpeg4", "mkv": "mpeg4", "avi": "mpeg4", "3gp": "mpeg4", "ts": "mpeg2video"}
VIDEOS |= {"mpg": "mpeg1video", "wmv": "wmv2", "flv": "flv"}


def faces(real: Path) -> dict[str, list[Image.Image]]:
    """24 people of the London set, neutral and smiling."""
    people = sorted(path for path in (real / "faces" / "london").iterdir())[:24]
    return {
        path.name: [Image.open(path / f"{mood}.jpg").resize((SIDE, SIDE)) for mood in ("neutral", "smiling")]
        for path in people
    }


def put(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def video(path: Path, image: Image.Image, codec: str) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = SIDE, SIDE, "yuv420p", 4_000_000
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")))
        container.mux(stream.encode(None))


def material(root: Path, people: dict[str, list[Image.Image]]) -> dict[str, str]:
    """Write a hundred files below ``root``; name -> outcome, with a star where the photograph is ambiguous."""
    names = list(people)
    wanted: dict[str, str] = {}
    for number, who in enumerate(names):  # 48 photographs of every format, half of them in albums
        for place, image in enumerate(people[who]):
            suffix = PHOTOGRAPHS[(2 * number + place) % len(PHOTOGRAPHS)]
            name = f"{who}/{'holidays/2024/' * place}{place}.{suffix}"
            put(root / name, image)
            wanted[name] = "kept"
    for number in range(6):
        who, other = people[names[number]], people[names[number + 6]]
        pair = Image.new("RGB", (2 * SIDE, SIDE))  # two of a size
        pair.paste(who[0], (0, 0))
        pair.paste(other[0].resize((SIDE * 9 // 10,) * 2), (SIDE, 0))
        put(root / names[number] / f"pair{number}.jpg", pair)
        wanted[f"{names[number]}/pair{number}.jpg"] = "kept*"
        cut = Image.new("RGB", (2 * SIDE, SIDE))  # a larger one that the border cuts
        cut.paste(other[1].resize((SIDE * 6 // 5,) * 2), (-SIDE * 2 // 5, -20))
        cut.paste(who[1], (SIDE, 0))
        put(root / names[number] / f"cut{number}.png", cut)
        wanted[f"{names[number]}/cut{number}.png"] = "kept*"
    for who, (suffix, codec) in zip(names, VIDEOS.items(), strict=False):
        video(root / who / f"clip.{suffix}", people[who][0], codec)
        wanted[f"{who}/clip.{suffix}"] = "kept"
    put(root / names[9] / "moving.gif", people[names[9]][0])
    wanted[f"{names[9]}/moving.gif"] = "kept"
    junk = root / names[0] / "junk"
    junk.mkdir()
    for name, data, outcome in (
        *(("notes.txt", b"who is who", "not an image"), ("who.json", b"{}", "not an image")),
        *(("page.pdf", b"%PDF-1.7", "not an image"), ("Thumbs.db", b"\xd0\xcf\x11\xe0" * 99, "not an image")),
        *(("raw.CR2", b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "not an image"), ("page.html", b"<p>", "not an image")),
        *(("empty.jpg", b"", "empty"), ("empty.mp4", b"", "empty"), ("text.mp4", b"text" * 99, "not a video")),
        ("text.jpg", b"text" * 99, "not an image"),
    ):
        (junk / name).write_bytes(data)
        wanted[f"{names[0]}/junk/{name}"] = outcome
    (junk / "half.png").write_bytes((root / names[0] / "cut0.png").read_bytes()[:9000])
    (junk / "half.jpg").write_bytes((root / names[0] / "pair0.jpg").read_bytes()[:3000])
    put(junk / "tiny.png", Image.new("RGB", (9, 9)))
    put(junk / "wall.jpg", Image.new("RGB", (SIDE, SIDE), (99, 99, 99)))
    put(junk / "small.png", people[names[0]][0].resize((48, 48)))
    (junk / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(junk / "pipe.jpg")
    (junk / "back").symlink_to("..")
    for name, outcome in (
        *(
            ("half.png", "damaged"),
            ("half.jpg", "damaged"),
            ("tiny.png", "smaller than 16 px"),
            ("wall.jpg", "no face"),
        ),
        *(("small.png", "too small"), ("gone.jpg", "unreadable"), ("pipe.jpg", "not a regular file")),
        ("back", "a link to a folder that is listed already"),
    ):
        wanted[f"{names[0]}/junk/{name}"] = outcome
    for name in ("IMG_0001.HEIC", "IMG_0002.heic"):
        (junk / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
        wanted[f"{names[0]}/junk/{name}"] = "not an image" if find_spec("pillow_heif") else "HEIC"
    for number in range(4):
        put(root / f"loose{number}.jpg", people[names[number]][0])
        wanted[f"loose{number}.jpg"] = "in no person's folder"
    for name in (".DS_Store", f"{names[1]}/._0.jpg", f"{names[2]}/.thumbnails"):
        (root / name).touch()
        wanted[name] = "hidden"
    while len(wanted) < 100:
        name = f"{names[-1]}/more{len(wanted)}.webp"
        put(root / name, people[names[-1]][len(wanted) % 2].rotate(len(wanted) % 30))
        wanted[name] = "kept"
    assert len(wanted) == 100
    return wanted


def test_a_training_says_what_it_skips_and_refuses_much(train: Command, tmp_path: Path) -> None:
    root = folder(tmp_path / "root", named("Ann", {"train": 5, "background": 1}), 0)
    pictures = sorted(path for path in root.rglob("*.png") if split_of(path.parent.name) == "train")
    words = ("experiment=fiva", "steps=1", "data=folder", f"data.root={root}", "data.size=32", "data.batch_size=4")
    for path in pictures[:3]:  # of 20
        path.write_bytes(path.read_bytes()[:200])
    refused(train(*words), "3 of 20 photographs cannot be used", "raise data.max_damaged", "3 damaged")
    ended = train(*words, "data.max_damaged=0.15")
    assert "root (train): 20 files, 17 faces of 5 people; skipped 3: 3 damaged (listed in " in ended.err
    assert folder_of(ended).is_dir()


@pytest.mark.slow
def test_a_hundred_files(real: Path, train: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = faces(real)
    wanted = material(tmp_path / "root", people)
    weights = str(real / "models/yunet/yunet_n_dynamic.onnx")
    given = [
        "--root",
        str(tmp_path / "root"),
        "--detector",
        "yunet",
        "--weights",
        weights,
        "--size",
        "112",
        "--unit",
        "30",
    ]
    for name, workers in (("once", "1"), ("twice", "2")):
        assert main([*given, "--out", str(tmp_path / name), "--name", "own", "--workers", workers]) == 0
    assert content(tmp_path / "once") == content(tmp_path / "twice")

    with open(tmp_path / "once" / "files.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 100 and {row["file"] for row in lines} == set(wanted)
    found = {row["file"]: row["outcome"] + "*" * row["note"].startswith("ambiguous") for row in lines}
    wrong = {name: (found[name], outcome) for name, outcome in wanted.items() if not found[name].startswith(outcome)}
    assert not wrong
    assert not {name for name, outcome in found.items() if outcome.endswith("*") and not wanted[name].endswith("*")}
    said = capsys.readouterr().out
    for reason, count in Counter(outcome for outcome in wanted.values() if not outcome.startswith("kept")).items():
        assert f"\n  {count} {reason}" in said

    # Who was packed is who the folder is named after, also beside a larger face that the border cuts.
    pack = Pack(tmp_path / "once")
    file = str(real / "models/edgeface_xs/derived_edgeface_xs_float32_state_dict.pt")
    judge = Judge(Encoder(EdgeFace(), 112, name="edgeface", weights=file))
    z = judge.embed(torch.stack([to_float(torch.tensor(pack.frame(row))) for row in range(pack.count)]))
    files = pack.files()
    labels = torch.from_numpy(np.array(pack.columns["label"]))
    own = {int(label): z[row] for row, label in enumerate(labels) if files[row].split("/")[1].startswith("0.")}
    assert len(own) == 24
    for row, name in enumerate(files):
        if Path(name).name.startswith(("cut", "holidays", "clip")):
            cosines = torch.stack([own[label] for label in sorted(own)]) @ z[row]
            assert int(cosines.argmax()) == int(labels[row]), name

    words = ("experiment=fiva", "data=packed", f"data.root={tmp_path / 'once'}", "data.size=64", "data.batch_size=4")
    run = folder_of(train(*words, "steps=2", "logger=csv"))
    assert (run / "checkpoints" / "last.ckpt").is_file()
