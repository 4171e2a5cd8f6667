"""Protocols as papers have them, on miniature trees in the layouts in which the data sets are published.

The kind: figures of a data set with one picture a person, of targets of one set with sources of another, and of a set
that is too small to calibrate on itself could not be made at all.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from anon.faces.alignment import template
from anon.faces.prepare.__main__ import main as prepare
from anon.faces.synthetic import parameters
from anon.faces.synthetic.render import render
from tests.apps.conftest import Command, folder_of
from tests.apps.launch.test_exit_codes import refused

CANVAS, SIDE, CORNER = 128, 64, (40.0, 30.0)
#: Rendered people who are in no split of data=synthetic, whose thresholds and anchors are used.
FIRST = 3_000_000
SYNTHETIC = "suite.datasets.synthetic.identities={train: 12, background: 24, attacker: 4, evaluation: 6}"
WORDS = (SYNTHETIC, "suite.datasets.synthetic.images=4", "suite.resamples=50", "suite.far=0.01", "logger=csv")
WHOLE = ("judge=synthetic_b", "data.everyone=true", "suite.threshold=0.45", "suite.max_eer=0.5")


def faces(people: range, pictures: int) -> list[list[Image.Image]]:
    """Pictures of CANVAS pixels with an aligned face of SIDE in them, person by person."""
    found = []
    for person in people:
        number = [FIRST + person] * pictures
        drawn = render(parameters.people(number), parameters.stills(number, list(range(pictures))), SIDE).images
        found.append([])
        for face in drawn:
            canvas = Image.new("RGB", (CANVAS, CANVAS), (90, 90, 90))
            canvas.paste(Image.fromarray(face.numpy()), (int(CORNER[0]), int(CORNER[1])))
            found[-1].append(canvas)
    return found


@pytest.fixture(scope="module")
def aflw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs of AFLW2000-3D, each of a person of its own, with 68 landmarks and pose, packed."""
    place = tmp_path_factory.mktemp("aflw")
    eyes = (*range(36, 42),), (*range(42, 48),)
    for number, (picture,) in enumerate(faces(range(6), 1)):
        name = place / "AFLW2000" / f"image{number:05d}"
        name.parent.mkdir(exist_ok=True)
        picture.save(name.with_suffix(".jpg"), quality=95)
        points = (template(SIDE) + torch.tensor(CORNER)).numpy()
        landmarks = np.zeros((3, 68))
        for place_of, point in zip((*eyes, (30,), (48,), (54,)), points, strict=True):
            landmarks[:2, list(place_of)] = point[:, None]
        pose = np.array([[0.0, 0.0, 0.0, 100.0, 120.0, -60.0, 0.0008]])
        content = {"Pose_Para": pose, "pt3d_68": landmarks, "roi": np.ones((1, 4)), "Shape_Para": np.zeros((199, 1))}
        savemat(name.with_suffix(".mat"), content)
    words = ["--collection", "aflw2000", "--root", str(place / "AFLW2000"), "--size", str(SIDE), "--out"]
    assert prepare([*words, str(place / "packed"), "--workers", "1", "--codec", "png", "--min-size", "8"]) == 0
    return place / "packed"


@pytest.fixture(scope="module")
def forensics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of each of four originals of FaceForensics++, as crops in its layout of extracted frames."""
    root = tmp_path_factory.mktemp("ff") / "original_sequences" / "youtube" / "c23" / "images"
    for number, frames in enumerate(faces(range(10, 14), 10)):
        (root / f"{number:03d}").mkdir(parents=True)
        left, top = map(int, CORNER)
        for frame, picture in enumerate(frames):
            picture.crop((left, top, left + SIDE, top + SIDE)).save(root / f"{number:03d}" / f"{frame:04d}.png")
    return root


def table4(results: Path, method: str) -> dict:
    lines = json.loads(results.read_text())["lines"]
    return next(line for line in lines if line["method"] == method and line["policy"] == "source")


@pytest.mark.slow
def test_targets_of_one_set_with_sources_of_another(evaluate: Command, aflw: Path, forensics: Path) -> None:
    """Rosberg's thesis, table 5.5: AFLW2000-3D as targets, one picture a person; sources from FaceForensics++."""
    donors = (
        "+data@suite.datasets.ff=folder",
        f"suite.datasets.ff.root={forensics}",
        "suite.datasets.ff.everyone=true",
    )
    words = ("checkpoint=shipped:facedancer", "data=packed", f"data.root={aflw}", f"data.size={SIDE}", *WORDS, *WHOLE)
    ended = evaluate("suite=swap", *words, "suite.enrolment=same", *donors, "suite.sources=ff")
    results = folder_of(ended)
    document, line = json.loads(results.read_text()), table4(results, "FaceDancer")
    assert line["needs"] is None and line["metrics"]["swap_ID"]["n"] == 6
    assert line["metrics"]["swap_ID"]["value"] is not None and line["metrics"]["swap_ID_target"]["value"] is not None
    assert any("found among those enrolled there" in note for note in document["notes"])
    assert document["lines"][0]["split"] == "everyone"
    other = json.loads(folder_of(evaluate("suite=swap", *words, "suite.enrolment=same")).read_text())
    own = next(line for line in other["lines"] if line["policy"] == "source")
    assert own["metrics"]["cosine_source"]["value"] != line["metrics"]["cosine_source"]["value"]
    refused(evaluate("suite=swap", *words, *donors, "suite.sources=fff"), "fff", "did you mean 'ff'?")


def test_sources_of_another_size_or_of_the_same_people(evaluate: Command, forensics: Path) -> None:
    words = ("checkpoint=shipped:facedancer", f"originals={forensics}", f"data.size={SIDE}", *WORDS, *WHOLE)
    same = ("+data@suite.datasets.ff=folder", f"suite.datasets.ff.root={forensics}", "suite.datasets.ff.everyone=true")
    ended = evaluate("suite=swap", *words, *same, "suite.datasets.ff.size=32", "suite.sources=ff")
    assert ended.code == 2 and "has faces of 32 pixels" in ended.err


def test_one_picture_a_person_against_itself(evaluate: Command, tmp_path: Path) -> None:
    """Made Simple's re-identification, on CelebA-HQ's one picture a person: its own original is enrolled."""
    for number, (picture,) in enumerate(faces(range(20, 30), 1)):
        path = tmp_path / "CelebA-HQ" / f"{number:05d}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True)
        left, top = map(int, CORNER)
        picture.crop((left, top, left + SIDE, top + SIDE)).save(path, quality=95)
    words = ("suite=table1", "method=solid", f"originals={tmp_path / 'CelebA-HQ'}", f"data.size={SIDE}", *WORDS, *WHOLE)
    document = json.loads(folder_of(evaluate(*words, "suite.enrolment=same")).read_text())
    found = {line["method"]: line["metrics"] for line in document["lines"] if line["attack"] == "none"}
    assert found["Real"]["ID"]["value"] == 1.0 and found["Solid mask"]["ID_rank1"]["value"] < 0.5
    assert found["Real"]["ID"]["n"] == 10
    refused(evaluate(*words), "two pictures", "suite.enrolment=same")


@pytest.mark.slow
def test_pairs_of_faceforensics_say_who_is_given_whose_face(evaluate: Command, forensics: Path, tmp_path: Path) -> None:
    """Each pair swaps both ways; the same by a CSV; who has no partner, or is their own, ends it."""
    splits = tmp_path / "splits"
    splits.mkdir()
    (splits / "train.json").write_text('[["000", "003"]]')
    (splits / "test.json").write_text('[["001", "002"]]')
    (tmp_path / "swaps.csv").write_text("target,source\n000,003\n003,000\n001,002\n002,001\n")
    words = (
        "checkpoint=shipped:facedancer",
        f"originals={forensics}",
        f"data.size={SIDE}",
        *WORDS,
        *WHOLE,
        "suite=swap",
    )
    given = [f"suite.swaps={splits}", f"suite.swaps={tmp_path / 'swaps.csv'}"]
    by_list, by_csv, at_random = (
        table4(folder_of(evaluate(*words, *more)), "FaceDancer") for more in ([given[0]], [given[1]], [])
    )
    assert by_list["metrics"]["swap_ID"]["n"] == 20 and by_list["metrics"] == by_csv["metrics"]
    assert by_list["metrics"]["cosine_source"]["value"] != at_random["metrics"]["cosine_source"]["value"]
    (splits / "train.json").write_text('[["000", "000"]]')
    refused(evaluate(*words, given[0]), "2 of the 4 evaluated people", "list them, or leave it out")
    (splits / "train.json").write_text('[["000"]]')
    refused(evaluate(*words, given[0]), "train.json", "a list of pairs")
    refused(evaluate(*words, f"suite.swaps={forensics}"), "holds no list of pairs")
