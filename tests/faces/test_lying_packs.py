"""Packed data sets that lie: one sentence and exit code 2 for each, no matter which part of the index does it.

The kind: an index is believed where it is merely well formed. Found beside the ones named (one person in two splits,
doubled names, a margin of NaN, absurd sizes): numbers that are booleans, nesting that overflows the reader's stack,
shards that are links, one face for two people, people without a face, columns of other types, points at infinity, and
escape sequences that the error message sent to the terminal.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from anon.apps.launch.failures import guarded
from anon.faces.packed import Pack, PackedFaces
from anon.faces.packed_index import VERSION
from anon.faces.splits import SPLITS

FACES = 6


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six faces of three people in one shard, written by hand."""
    root = tmp_path_factory.mktemp("sound")
    content, offsets, lengths = b"", [], []
    for number in range(FACES):
        image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8))
        image.save(root / "face.png")
        face = (root / "face.png").read_bytes()
        offsets.append(len(content) + 512)
        lengths.append(len(face))
        content += bytes(512) + face
    (root / "face.png").unlink()
    (root / "shard-000000.tar").write_bytes(content)
    integers = {"label": [0, 0, 1, 1, 2, 2], "input": range(FACES), "offset": offsets, "length": lengths}
    columns = {key: np.array(values, np.int64) for key, values in integers.items()}
    columns |= {"video": np.full(FACES, -1), "frame": np.array([0, 1] * 3), "split": np.array([0, 0, 0, 0, 3, 3], "u1")}
    columns |= {"shard": np.zeros(FACES, np.int32), "score": np.full(FACES, np.nan, np.float32)}
    columns |= {"landmarks": np.ones((FACES, 5, 2), np.float32)}
    save_file(columns, root / "index.safetensors")
    info = {"version": VERSION, "name": "made up", "size": 32, "margin": 0, "codec": "png", "faces": FACES}
    info |= {"shards": [{"name": "shard-000000.tar", "bytes": len(content)}], "splits": list(SPLITS)}
    (root / "index.json").write_text(json.dumps(info | {"names": ["Ann", "Bob", "Eve"]}))
    return root


def told(**changes: Any) -> Callable[[Path], None]:
    """Another value in index.json."""

    def apply(root: Path) -> None:
        info = json.loads((root / "index.json").read_text())
        (root / "index.json").write_text(json.dumps(info | changes))

    return apply


def column(key: str, value: Any, row: Any = 3) -> Callable[[Path], None]:
    """Another value in a column, or another column where ``row`` is None."""

    def apply(root: Path) -> None:
        columns = {name: values.copy() for name, values in load_file(root / "index.safetensors").items()}
        if row is None:
            columns[key] = value
        else:
            columns[key][row] = value
        save_file(columns, root / "index.safetensors")

    return apply


def linked(root: Path) -> None:
    shard = root / "shard-000000.tar"
    shard.rename(root.parent / "elsewhere.tar")
    shard.symlink_to(root.parent / "elsewhere.tar")


def shard(**changes: Any) -> Callable[[Path], None]:
    return told(shards=[{"name": "shard-000000.tar", "bytes": 1} | changes])


LIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a person in two splits": (column("split", 3, row=0), "a person is in two splits"),
    "a name twice": (told(names=["Ann", "Ann", "Eve"]), "names one person twice"),
    "a name in two spellings": (told(names=["Ann B", "ann_b", "Eve"]), "names one person twice, or in two spellings"),
    "a name that is empty": (told(names=["", "Bob", "Eve"]), "names that are none"),
    "a name that is a number": (told(names=[1, "Bob", "Eve"]), "names that are none"),
    "a name without end": (told(names=["A" * 5000, "Bob", "Eve"]), "names that are none"),
    "names that are a string": (told(names="abc"), "names that are none"),
    "a name without a face": (told(names=["Ann", "Bob", "Eve", "Fay"]), "people who have no face"),
    "a margin that is no number": (told(margin=float("nan")), "a margin that is none of 0 to 4"),
    "a margin without end": (told(margin=float("inf")), "a margin that is none of 0 to 4"),
    "a margin below nothing": (told(margin=-1.0), "a margin that is none of 0 to 4"),
    "a margin that is huge": (told(margin=10**400), "a margin that is none of 0 to 4"),
    "a size beyond memory": (told(size=10**9), "a size that is none of 32 to 2048 px"),
    "a size that is true": (told(size=True), "a size that is none of 32 to 2048 px"),
    "a size that is a fraction": (told(size=32.5), "a size that is none of 32 to 2048 px"),
    "faces that are true": (told(faces=True), "a number of faces that cannot be"),
    "faces beyond counting": (told(faces=10**30), "a number of faces that cannot be"),
    "one face more": (told(faces=FACES + 1), "does not fit index.json"),
    "splits in another order": (told(splits=list(SPLITS)[::-1]), "another version's"),
    "a shard elsewhere": (shard(name="../../etc/passwd"), "names a shard that is no file"),
    "a shard at the root": (shard(name="/dev/zero"), "names a shard that is no file"),
    "a shard that is a number": (shard(name=7), "names a shard that is no file"),
    "a shard that is a link": (linked, "'shard-000000.tar' is missing, a link, or of another size"),
    "a shard beyond counting": (shard(bytes=10**40), "a size of a shard that cannot be"),
    "a shard below nothing": (shard(bytes=-5), "a size of a shard that cannot be"),
    "a shard twice": (told(shards=[{"name": "shard-000000.tar", "bytes": 9}] * 2), "names a shard twice"),
    "no shards": (told(shards=[]), "names no shards"),
    "shards that are a number": (told(shards=5), "names no shards"),
    "escape sequences": (shard(name="\x1b[2J\x1b]0;owned\x07"), "names a shard that is no file"),
    "values without end": (
        lambda root: (root / "index.json").write_text("[" + ",".join(['{"":0}'] * 3_000_000) + "]"),
        "damaged or too large",
    ),
    "an index that is a list": (lambda root: (root / "index.json").write_text("[]"), "index.json is damaged"),
    "nesting": (lambda root: (root / "index.json").write_text("[" * 10**6), "index.json is damaged"),
    "a face before its shard": (column("offset", -512), "beyond the end"),
    "a face past its shard": (column("length", 1 << 62), "beyond the end"),
    "one face for two": (column("offset", 512, row=1), "one face for two"),
    "points at infinity": (column("landmarks", np.inf), "landmarks or scores that cannot be"),
    "points that are no numbers": (column("landmarks", np.nan), "landmarks or scores that cannot be"),
    "a score at infinity": (column("score", np.inf), "landmarks or scores that cannot be"),
    "an input below nothing": (column("input", -1), "has a input that"),
    "a frame below nothing": (column("frame", -1), "has a frame that"),
    "a split that is none": (column("split", 9), "has a split that"),
    "labels of another type": (column("labels.pose", np.ones(FACES), None), "a column that is none"),
    "a column of its own": (column("code", np.ones(FACES, np.int64), None), "a column that is none"),
    "a column of another length": (column("labels.pose", np.ones(5, np.float32), None), "does not fit index.json"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_sentence(sound: Path, tmp_path: Path, lie: str, capsys: pytest.CaptureFixture[str]) -> None:
    copy = Path(shutil.copytree(sound, tmp_path / "packed"))
    tell, sentence = LIES[lie]
    tell(copy)
    assert guarded(lambda: [PackedFaces(copy, split) for split in ("train", "evaluation")]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1 and "\x1b" not in told and len(told) < 600


def test_the_truth_is_read(sound: Path) -> None:
    pack = Pack(sound)
    assert pack.count == FACES and pack.frame(5).shape == (32, 32, 3)
    assert PackedFaces(sound, "train").names == ["Ann", "Bob"] and PackedFaces(sound, "evaluation").names == ["Eve"]


def test_what_a_stranger_wrote_does_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder's name in an error message: escape sequences are shown, not sent."""
    root = tmp_path / "faces\x1b[2J\u202egpj"
    assert guarded(lambda: Pack(root)) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told and "\u202e" not in told and "faces\\x1b[2J" in told
