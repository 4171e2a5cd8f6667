"""One person is one person: in however many spellings, and under however many names the same picture lies.

The kind: two names that differ are taken for two people. Instances: folders ("A B" beside "A_B"; two that differ in
the composition of a letter, of which one was silently dropped), inputs of prepare, and one picture under two names,
within a split and across splits, where one person trains and is evaluated.
"""

from __future__ import annotations

import itertools
import json
import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anon.faces.collections.contract import Item
from anon.faces.datamodule import folder_data
from anon.faces.folder import FolderFaces
from anon.faces.prepare.options import Options
from anon.faces.prepare.run import prepare
from anon.faces.prepare.sources import of_collection, of_folder
from anon.faces.splits import SPLITS, members, one_spelling, person, split_of
from tests.faces.prepare.material import MISBEHAVING, photographs

SPELLINGS = (
    ("Anna B", "Anna_B"),
    ("Anna B", "anna b"),
    ("Anna B", "Anna__B"),
    ("Anna B", " Anna  B. "),
    ("Anna B", "Anna-B"),
    ("Anna B", "\uff21\uff4e\uff4e\uff41\u3000\uff22"),
    ("Anna B", "Anna\u200b B"),
    ("José", unicodedata.normalize("NFD", "José")),
    ("STRASSE", "Straße"),
    *(("O'Brien", f"O{mark}Brien") for mark in "\u2019\u2018\u02bc\u00b4`"),
    ("İpek", "ipek"),
    ("İpek", "IPEK"),
    *(("Anna B", f"Anna{hidden} B") for hidden in "\u034f\ufe0f\u3164\u115f\u17b4\u180b\U000e0100"),
)
OTHERS = (
    ("Müller", "Mueller"),
    ("Müller", "Muller"),
    ("n000001", "n000010"),
    ("1_1", "11"),
    ("Ann", "Anna"),
    ("O'Brien", "OBrien"),
)


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = torch.randint(0, 256, (40, 40, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(path)


def named(split: str, count: int) -> list[str]:
    return list(itertools.islice((f"person{i}" for i in itertools.count() if split_of(f"person{i}") == split), count))


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_spellings_of_one_person(one: str, other: str) -> None:
    assert person(one) == person(other)
    assert set(one_spelling([one, other, "somebody else"], "data").values()) == {min(one, other), "somebody else"}


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_other_people_stay_apart(one: str, other: str) -> None:
    assert person(one) != person(other)


def test_the_split_is_that_of_the_name_as_written() -> None:
    """Shipped weights depend on it: these were computed by hand with sha256sum before spellings were compared."""
    found = [split_of(name) for name in ("synthetic-000000", "Aaron_Peirsol", "n000001", "aaron peirsol")]
    assert found == ["attacker", "attacker", "attacker", "train"]


def test_spellings_share_a_split_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ["A B", "A_B", "a-b", "Other", "José", unicodedata.normalize("NFD", "José")]
    for number, name in enumerate(names):
        noise(tmp_path / "photos" / name / "0.png", number)
    found: dict[str, int] = {}
    for split in SPLITS:
        if members(["A B", "Other", "José"], split):
            faces = FolderFaces(tmp_path / "photos", split, 32, cache=tmp_path / "cache")
            found |= {name: int((faces.labels == label).sum()) for label, name in enumerate(faces.names)}
    assert found == {"A B": 3, "Other": 1, "José": 2}
    told = [record.getMessage() for record in caplog.records if "spellings" in record.getMessage()]
    assert len(told) == 1 and "5 names are 3 people" in told[0] and "A_B" not in told[0]  # José's are one NFC name


def test_spellings_share_a_split_of_a_packed_set(tmp_path: Path) -> None:
    for number, name in enumerate(["A B", "A_B", "Other"]):
        noise(tmp_path / "photos" / name / "0.png", number)
    sources = of_folder(tmp_path / "photos", None)
    assert [(source.identity, source.ordinal) for source in sources] == [("A B", 0), ("A B", 1), ("Other", 0)]
    assert len({source.split for source in sources[:2]}) == 1

    class Published:
        name, root = "published", tmp_path

        def items(self) -> list[Item]:
            return [Item("1.png", "A_B", official="train"), Item("2.png", "a b", official="test")]

    assert {(s.identity, s.split) for s in of_collection(Published(), None)} == {("A_B", "evaluation")}


def test_one_picture_under_two_people_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Within a split when it is decoded, across splits when the second one is read; by counts, the names in a file."""
    (ann, bob), (eve,) = named("train", 2), named("evaluation", 1)
    root = tmp_path / "photos"
    for place, seed in ((f"{ann}/0.png", 0), (f"{ann}/1.png", 1), (f"{bob}/0.png", 1), (f"{bob}/1.png", 2)):
        noise(root / place, seed)
    for place, seed in ((f"{bob}/again.png", 2), (f"{eve}/0.png", 0), (f"{eve}/1.png", 7)):
        noise(root / place, seed)
    data = folder_data(str(root), 32, 1, cache=tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        train = data.faces("train")
        (within,) = (record.getMessage() for record in caplog.records)
        data.faces("evaluation")
    across = caplog.records[-1].getMessage()
    assert "2 pictures are, byte for byte, those of another person" in within
    assert (
        "1 pictures of the split evaluation are, byte for byte, pictures of other people in the split train" in across
    )
    assert not any(name in record.getMessage() for name in (ann, bob, eve) for record in caplog.records)
    listed = (train.folder / "repeated.csv").read_text().splitlines()[1:]  # type: ignore[attr-defined]
    assert {row.split(",")[0] for row in listed} == {f"{ann}/1.png", f"{bob}/0.png"}


def test_one_picture_under_two_people_of_a_packed_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also: what prepare writes, faces and names of people, is its owner's only."""
    photographs(tmp_path / "photos", 3, 2)
    (tmp_path / "photos" / "p02" / "copy.png").write_bytes((tmp_path / "photos" / "p00" / "1.png").read_bytes())
    out = tmp_path / "packed"
    report = prepare(of_folder(tmp_path / "photos", None), "small", out, Options(size=32, detector=MISBEHAVING))
    assert report is not None and report["faces that several people have"] == 2
    assert "2 faces are, byte for byte, those of another person" in caplog.text
    assert json.loads((out / "report.json").read_text())["faces that several people have"] == 2
    listed = (out / "repeated.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in listed] == ["file", "p00/1.png", "p02/copy.png"]
    assert np.unique([row.split(",")[1] for row in listed[1:]]).size == 1
    written = [path for path in (out, *out.rglob("*")) if path.suffix != ".lock"]
    assert {path.stat().st_mode & 0o777 for path in written if path.is_dir()} == {0o700} and len(written) > 9
    assert {path.stat().st_mode & 0o777 for path in written if path.is_file()} == {0o600}
