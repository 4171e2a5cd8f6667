"""The evaluation of clips: crowds with ground truth, given clips, one that fails, and the report of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anon.anonymizers.plugged import Plugged
from anon.errors import UserError
from anon.evaluation.document import Document, read
from anon.evaluation.harness.store import Store
from anon.evaluation.report import headlines
from anon.faces.detection.contract import Detections
from anon.faces.synthetic.crowds import crowd_of, story
from anon.faces.synthetic.dataset import people_of
from anon.video.gate import Gate, Judging
from anon.video.suite.run import ALL, Treated, run
from anon.video.suite.settings import Clips
from tests.video.scenes import Fixed, detections, frame_of, masking, write_clip
from tests.video.test_consistency import ByColour

MEASURES = {"clips": {"_target_": "anon.video.suite.measure.OfClips"}}
SHOWN = ("faces_due", "missed_faces", "missed", "verified", "M_tc_mu", "switches")
COLUMNS: dict[str, Any] = {name: {} for name in SHOWN}
TABLES = {"faces": {"title": "Faces", "measures": ["clips"], "columns": COLUMNS}}
CROWDS = {"clips": 2, "frames": 4, "height": 96, "width": 160, "face": 30.0}


class InOrder:
    """A detector that knows what the frames hold by their order."""

    name, has_points, fingerprint = "in order", True, "1" * 64

    def __init__(self, found: Sequence[Detections]) -> None:
        self.found, self.at = list(found), 0

    def detect(self, frame: Tensor) -> Detections:
        return self.detect_batch([frame])[0]

    def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
        self.at += len(frames)
        return self.found[self.at - len(frames) : self.at]


def suite(**settings: Any) -> Clips:
    given: dict[str, Any] = {"resamples": 50, "tables": TABLES, "measures": MEASURES, **settings}
    return Clips(**given)


def evaluated(given: Clips, by: Any, folder: Path, store: Store | None = None) -> Document:
    run(given, Treated(by, "Solid mask"), store or Store(None), folder)
    return read(folder)


def test_crowds_with_ground_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everybody is found but the second person of the first clip in its first two frames, before any detection."""
    cast, found = people_of("evaluation", 12), list[Detections]()
    for number, count in enumerate((2, 3)):
        people = cast[2 * number : 2 * number + count]
        pillar = (43, 79) if number else None
        crowd = crowd_of(story(people, 4, 96, 160, 30.0), 96, 160, pillar, number)
        due = int((crowd.shown >= 0.5).sum())
        for t, (boxes, points, shown) in enumerate(zip(crowd.faces, crowd.points, crowd.shown, strict=True)):
            own = [p for p in range(count) if (float(shown[p]) >= 0.5 and (number, p) != (0, 1)) or t > 1]
            found.append(detections([boxes[p] for p in own], [points[p] for p in own]))
        if not number:
            first = due
    by = masking(InOrder(found))
    one = evaluated(suite(crowds=CROWDS), by, tmp_path)
    assert [line.data for line in one.lines] == ["crowd 1: 2 people", "crowd 2: 3 people, a pillar", ALL]
    figures = one.lines[0].metrics
    assert figures["faces_due"].value == first == 8 and figures["missed_faces"].value == 2
    assert figures["missed"].value == 0.25 and figures["covered"].value == 1.0
    assert "2 missed" in one.found and one.resampled.endswith("several")
    page, table = ((tmp_path / name).read_text() for name in ("report.html", "table.md"))
    assert "bootstrap over the tracks of a clip" in page and "bootstrap over identities" not in page + table
    assert f"| {int(one.lines[2].metrics['faces_due'].value or 0)} " in table and one.found.split(":")[0] in page
    assert "faces/crowd 1: 2 people/Solid mask/missed" in headlines(one)
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "results.json")


def test_given_clips_one_of_which_fails(tmp_path: Path) -> None:
    """The line of all says that one is missing, no figure is of it, and nothing tells where the clips lie."""
    folder, out = tmp_path / "secret_place", tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    write_clip(folder / "a.mp4", [frame_of([(3, 20, 20)])[0]] * 3)
    write_clip(folder / "deep" / "b.mp4", [frame_of([(3, 20, 20)])[0]] * 2)
    whole = write_clip(tmp_path / "c.mp4", [frame_of([(3, 20, 20)])[0]] * 30).read_bytes()
    (folder / "c.mp4").write_bytes(whole[: len(whole) // 4])
    (folder / "notes.txt").write_text("no clip")
    one = evaluated(suite(input=str(folder)), masking(Fixed()), out)
    assert [line.data for line in one.lines] == ["a.mp4", "c.mp4", "deep/b.mp4", "all but the 1 that failed"]
    failed, every = one.lines[1], one.lines[3]
    assert str(failed.needs).startswith("failed: 'c.mp4' cannot be anonymized") and not failed.metrics
    assert every.metrics["frames"].value == 5 and every.metrics["faces_due"].value == 5
    assert every.metrics["missed"].reason and every.metrics["switches"].reason
    assert "secret_place" not in (out / "results.json").read_text() + (out / "report.html").read_text()
    assert "1 of 4 lines failed (c.mp4)" in (out / "report.html").read_text()
    assert "No clip" in evaluated(suite(input=str(folder / "c.mp4")), masking(Fixed()), out).found


def test_a_part_that_raises_is_a_line_with_its_traceback(tmp_path: Path) -> None:
    class Broken(Fixed):
        def detect_batch(self, frames: Sequence[Tensor]) -> list[Detections]:
            raise ZeroDivisionError("nobody there")

    file = write_clip(tmp_path / "a.mp4", [frame_of([(3, 20, 20)])[0]] * 2)
    (line,) = evaluated(suite(input=str(file)), masking(Broken()), tmp_path / "out").lines
    assert "ZeroDivisionError: nobody there (the clip a.mp4)" in str(line.needs)
    assert "detect_batch" in (tmp_path / "out" / "failed.txt").read_text()


def test_every_judge_has_its_columns(tmp_path: Path) -> None:
    class Other(ByColour):
        name, fingerprint = "another", "4" * 64

    def redraws(images: Tensor) -> Tensor:
        return torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand_as(images).clone()

    gate = Gate([Judging(ByColour(), 0.5), Judging(Other(), 0.5)])
    by = masking(Fixed(), Plugged(redraws))
    by.change.gate = gate
    file = write_clip(tmp_path / "a.mp4", [frame_of([(3, 20, 20)])[0]] * 3)
    one = evaluated(suite(input=str(file)), by._replace(gate=gate), tmp_path / "out")
    assert [column.name for column in one.tables[0].columns][4:6] == ["M_tc_mu by colour", "M_tc_mu by another"]
    assert one.lines[0].by_judge["another"]["M_tc_mu"].value == 0.0 and one.lines[0].metrics["verified"].value == 1.0
    assert any("colour below 0.5 (cosine), another below 0.5" in note for note in one.notes)
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["metrics"]["faces_due"]["whole"] is True and content["metrics"]["missed"]["whole"] is False


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"input": "nowhere.mp4"}, "there is no such file or folder"),
        ({"input": ""}, "input=<clip or folder> must not be empty"),
        ({"input": "camera:0"}, "input=camera:0 is read live, once"),
        ({"tables": {}}, "suite.tables names no table"),
        ({"tables": {"faces": {"title": "Faces"}}}, "suite.tables.faces is no table of clips"),
        ({"tables": {"a": {**TABLES["faces"], "measures": ["mine"]}}}, "names the measure 'mine'; there are: clips"),
        ({"tables": {"a": {**TABLES["faces"], "columns": {"mised": {}}}}}, "did you mean 'missed'"),
        ({"tables": {"a": {**TABLES["faces"], "columns": {"missed": {"better": "no"}}}}}, "has 'better'"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        evaluated(suite(**settings), masking(Fixed()), tmp_path)


def test_a_photograph_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="holds no video; anon anonymize does photographs"):
        evaluated(suite(input=str(tmp_path)), masking(Fixed()), tmp_path / "out")
