"""Crowds with ground truth, anonymized: every face that shows is changed, and nothing far from a face is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anon.faces.detection.frames import overlaps
from anon.faces.synthetic.crowds import Crowd, crowd_of, story
from anon.faces.video import read_video
from anon.video.jobs import jobs_of, run
from tests.video.scenes import Known, detections, masking, write_clip

HEIGHT, WIDTH = 112, 224


@pytest.fixture(scope="module")
def crossing() -> Crowd:
    """Ten frames of 50, in which two meet and a third leaves; a pillar hides a part of the first."""
    walks = [walk._replace(middle=walk.middle[1:31:3]) for walk in story([3, 8, 12], 50, HEIGHT, WIDTH, 36.0)]
    return crowd_of(walks, HEIGHT, WIDTH, pillar=(66, 78))


def seeing(crowd: Crowd) -> Known:
    """A detector that finds every face of which half shows."""
    known = Known()
    for frame, boxes, points, shown in zip(crowd.frames, crowd.faces, crowd.points, crowd.shown, strict=True):
        own = [p for p in range(len(shown)) if float(shown[p]) >= 0.5]
        known.learn(frame, detections([boxes[p] for p in own], [points[p] for p in own]))
    return known


def far(boxes: Tensor) -> Tensor:
    """Pixels (H, W) that are no part of the boxes (P, 4), grown by half of their sides."""
    away, half = torch.ones(HEIGHT, WIDTH, dtype=torch.bool), (boxes[:, 2:] - boxes[:, :2]) / 2
    for left, top, right, bottom in torch.cat((boxes[:, :2] - half, boxes[:, 2:] + half), 1).long().tolist():
        away[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = False
    return away


def test_every_face_that_shows_is_changed_and_nothing_far_from_it(tmp_path: Path, crossing: Crowd) -> None:
    write_clip(tmp_path / "a.mp4", crossing.frames)
    by = masking(seeing(crossing))
    by.change.margin = 0.1  # with .3 the mask is twice as large as the box
    ((_, report),) = run(jobs_of(str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")), by)
    frames = list(read_video(tmp_path / "b.mp4"))
    list(run(jobs_of(str(tmp_path / "a.mp4"), str(tmp_path / "c.mp4")), masking(Known())))  # sees nobody
    coded = list(read_video(tmp_path / "c.mp4"))
    due = crossing.shown >= 0.5
    assert len(frames) == 10 and 12 <= int(due.sum()) <= report["faces"] and float(crossing.shown.min()) < 0.2
    alone = 0
    for t, frame in enumerate(frames):
        dark = frame.amax(-1) < 40  # levels: H.264 rounds, and its colours are halved
        masked = dark & ((frame.int() - coded[t].int()).abs().amax(-1) > 20)
        for p in due[t].nonzero()[:, 0].tolist():
            assert float(dark[crossing.owners[t] == p].float().mean()) > 0.97
            others = torch.cat((crossing.faces[t, :p], crossing.faces[t, p + 1 :]))
            if bool((~far(crossing.faces[t, p][None]) & ~far(others)).any() or float(crossing.shown[t, p]) < 1):
                continue  # the mask beside it may be that of a neighbour
            inside, alone = (~far(crossing.faces[t, p][None]) & masked).nonzero(), alone + 1
            mask = torch.cat((inside.amin(0).flip(0), inside.amax(0).flip(0) + 1)).float()
            assert float(overlaps(mask[None], crossing.faces[t, p][None])) > 0.5
        changed, own = ((coded[t].int() - other.int()).abs().amax(-1) for other in (frame, crossing.frames[t]))
        away = far(crossing.faces[t])
        assert float(changed[away].float().mean()) < float(own[away].float().mean())  # less than the codec's own error
    assert alone >= 3
