"""Pairs as a data set: its roles, where the faces are, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.anonymizers.results import ResultsFolder
from anon.errors import UserError
from anon.faces.collections.pairs import PairData, PairFaces
from anon.faces.collections.photographs.lfw import LFW
from anon.faces.detection.contract import Detections
from tests.faces.collections.tiny_lfw import make_lfw


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lfw(tmp_path_factory.mktemp("lfw"))


def collection(root: Path, pairs: Path | None = None) -> LFW:
    return LFW(root, pairs=pairs, points=root / "points.csv")


def test_probes_never_meet_their_own_photograph(root: Path, tmp_path: Path) -> None:
    """P00/1 and P00/2 are both second in a matched pair: probes, so P00 is not enrolled and nobody looks for it."""
    lines = ("P00\t1\t2", "P00\t2\t1", "P02\t2\t1", "P02\t1\tP03\t1", "P01\t1\tP02\t2", "P03\t2\tP00\t1")
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    data = PairData(collection(root, tmp_path / "pairs.txt"), size=16)
    faces, (enrolled, probes, changed) = data.faces("evaluation"), data.roles
    assert [faces.files[n][4:12] for n in probes] == ["P02_0001"] and faces.labels[probes].tolist() == [2]
    assert [faces.files[n][4:12] for n in enrolled] == ["P01_0001", "P02_0002", "P03_0002"]
    assert faces.labels[enrolled].tolist() == [1, 2, 3]
    assert [faces.files[n][4:12] for n in changed] == ["P00_0001", "P00_0002", "P02_0001", "P02_0002", "P03_0001"]


def test_faces_are_those_of_the_files(root: Path) -> None:
    faces = PairFaces(collection(root), "pairs.txt", 16)
    assert (len(faces), len(faces.names), faces.synthetic) == (32, 16, False)
    assert faces.labels.tolist() == [n // 2 for n in range(32)] and faces.frames.tolist() == [0, 1] * 16
    batch = faces.__getitems__([0, 1, 2])
    assert batch["image"].shape == (3, 3, 16, 16) and batch["identity"].tolist() == [0, 0, 1]
    apart = (batch["image"] - batch["image"][:1]).abs().mean((1, 2, 3))  # the same pattern, another person's
    assert apart[0] == 0 and 0 < apart[1] < 0.1 < 0.3 < apart[2]
    assert torch.equal(faces[2]["image"], batch["image"][2])
    pairs = faces.pairs
    assert (len(pairs.first), pairs.folds, pairs.view) == (32, 2, "pairs.txt")
    assert pairs.same.tolist() == ([True] * 8 + [False] * 8) * 2
    assert (pairs.first[8], pairs.second[8], pairs.people[8].tolist()) == (0, 3, [0, 1])


class FindsOneSide:
    """Two faces, the nearer to the centre second; nothing in dark frames."""

    name, has_points = "fake", True

    def detect(self, frame):
        if frame.float().mean() < 1:
            return Detections(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))
        boxes = torch.tensor([[0.0, 0, 8, 8], [9, 9, 23, 23]])
        points = torch.tensor(
            [[[1.0, 1], [5, 1], [3, 3], [1, 5], [5, 5]], [[12.0, 14], [19, 14], [16, 18], [13, 21], [18, 21]]]
        )
        return Detections(boxes, points, torch.tensor([0.9, 0.8]))

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]


def test_a_detector_finds_the_face_in_the_middle(root: Path) -> None:
    faces = PairFaces(LFW(root), "pairs.txt", 16, FindsOneSide())
    points = faces._find(torch.full((32, 32, 3), 100, dtype=torch.uint8))
    assert points[0].tolist() == [12.0, 14.0]
    missed = faces._find(torch.zeros(500, 500, 3, dtype=torch.uint8))
    assert missed[0].tolist() == pytest.approx([208.0, 225.8])
    assert faces.placed == {"given": 0, "detected": 1, "centre": 1}


def test_a_face_that_is_read_twice_is_found_once(root: Path) -> None:
    faces = PairFaces(LFW(root), "pairs.txt", 16, FindsOneSide())
    first, again = faces[4]["image"], faces[4]["image"]
    assert torch.equal(first, again) and faces.placed == {"given": 0, "detected": 1, "centre": 0}


def test_what_is_refused(root: Path, tmp_path: Path) -> None:
    def refused(match: str, lines: str | None = None, size: object = 16, points: bool = True) -> None:
        listed = None if lines is None else tmp_path / "pairs.txt"
        if listed is not None:
            listed.write_text(str(lines))
        with pytest.raises(UserError, match=match):
            PairData(LFW(root, pairs=listed, points=root / "points.csv" if points else None), size=size)  # type: ignore[arg-type]

    refused("32 of the 32 photographs have no points", points=False)
    refused("different numbers of pairs", "P00\t1\t2\nP00\t1\tP01\t1\nP01\t1\t2\nP01\t2\t1\nP01\t1\tP00\t1\n")
    refused("size=8 of the pairs must be", size=8)
    with pytest.raises(UserError, match="have no split 'background': name the data"):
        PairData(collection(root), size=16).faces("background")


def test_a_damaged_photograph_ends_the_run(tmp_path: Path) -> None:
    root = make_lfw(tmp_path)
    (root / "lfw" / "P03" / "P03_0001.jpg").write_bytes(b"no picture")
    faces = PairFaces(collection(root), "pairs.txt", 16)
    with pytest.raises(UserError, match=r"A photograph of the pairs in .* is .*; get the data set again"):
        faces[faces.files.index("P03/P03_0001.jpg")]


def test_results_of_another_tool(root: Path, tmp_path: Path) -> None:
    """Photographs of pairs have their results at the same path, in the crop of the original's points."""
    for path in root.rglob("*.jpg"):
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    data = PairData(collection(root), size=16)
    place = next(folder for folder in (tmp_path / "lfw", tmp_path / "lfw-deepfunneled", tmp_path) if folder.is_dir())
    tool = ResultsFolder(str(place), data)
    images = data.faces("evaluation").__getitems__([0, 5])["image"]
    assert tool.incomplete is None
    assert float((tool(images) - images).abs().max()) < 0.02  # another order of cutting and warping
