"""The crowd benchmark: its counts by hand, and the shipped FIVA with the default detector on a short clip."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from anon.faces.synthetic.crowds import Crowd, crowd_of, story
from anon.faces.synthetic.dataset import people_of
from anon.metrics.tracking import ClearMot
from anon.video.gate import COVERED, VERIFIED, Verdict
from anon.video.tracks import Seen
from benchmarks import crowds
from tests.video.scenes import CORNERS, Known, detections, half_changed, masking


def test_counts_by_hand() -> None:
    """Two faces of 10 x 10, one of them found; a third of which too little shows; one pixel far away changes."""
    before, after, owners = half_changed()  # no box is near the second
    boxes = torch.tensor([[left, top, left + 10, top + 10] for left, top in CORNERS]).float()[None]
    crowd = Crowd([before], boxes, torch.zeros(1, 3, 5, 2), boxes, torch.tensor([[1.0, 0.5, 0.4]]), owners)
    after[55, 2] = 9
    face = Seen(7, boxes[0, 0] + 2, torch.zeros(5, 2), False)  # an IoU of 64 / 136: too little
    found = detections([face.box], [face.points])
    clip = crowds.Clip(crowd, [found], [[face]], [after], [[Verdict(COVERED, "too small")]])
    wanted = crowds.Counts(2, 2, 1, pytest.approx(0.4), pytest.approx(1 / 4800), 1, Counter({"too small": 1}))
    assert crowds.counted(clip) == wanted
    near = face._replace(box=boxes[0, 0] + 1)  # 81 / 119
    assert crowds.counted(clip._replace(faces=[[near]], verdicts=[[Verdict(VERIFIED)]])).missed == 1
    assert crowds.tracked(clip._replace(faces=[[near]]))["ours"] == ClearMot(2, 1, 0, 0)


def test_the_tables_have_a_row_for_each_clip_and_tracker() -> None:
    """Two who do not meet in four frames, found in every one, and masked: sixteen faces in the two clips."""
    crowd, known = crowd_of(story([3, 8], 12, 96, 200, 30.0), 96, 200), Known()
    crowd = Crowd(crowd.frames[:4], *(each[:4] for each in crowd[1:]))
    for frame, boxes, points in zip(crowd.frames, crowd.faces, crowd.points, strict=True):
        known.learn(frame, detections(list(boxes), list(points)))
    lines = crowds.tables([("first", crowd), ("second", crowd)], masking(known))
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:-1]]
        for cells in (line.split("|") for line in lines)
        if cells[1:]
    }
    assert rows["first"] == rows["second"] == ["8", "0", "0", rows["first"][3], "0.000 %", "0 of 8 (0.0 %)", "-", "-"]
    assert rows["ours"] == ["16", "0", "0", "0", "1.000", "0, 0"]
    assert rows["none"] == ["16", "0", "0", "12", "0.250", "6, 6"]  # but for the first frame, everybody is new


@pytest.mark.slow
def test_every_face_of_a_crowd_is_changed_by_what_ships_and_few_are_only_masked() -> None:
    walks = story(people_of("evaluation", 3), 40, 300, 480, 54.0)
    clip = crowds.anonymized(crowd_of(walks, 300, 480), crowds.built("domain=synthetic"))
    counts = crowds.counted(clip)
    assert counts.due > 70 and counts.missed == 0 and counts.unchanged == 0 and counts.least > 0.6
    assert counts.outside < 1e-4 and sum(counts.reasons.values()) <= 0.1 * counts.drawn, counts.reasons
    tracks = crowds.tracked(clip)
    assert tracks["ours"].switches <= 6 < tracks["none"].switches  # who meets, leaves and returns is somebody new
