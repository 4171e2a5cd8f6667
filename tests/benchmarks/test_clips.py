"""Faces of two detectors: who is whose, and which of them is as it was."""

from __future__ import annotations

import torch

from anon.faces.detection.contract import Detections
from anon.video.tracks import Seen
from benchmarks.clips import Union


def boxes(*corners: tuple[int, int]) -> torch.Tensor:
    return torch.tensor([[x, y, x + 20, y + 20] for x, y in corners], dtype=torch.float32)


def test_the_union_counts_each_face_once() -> None:
    before = torch.zeros(60, 120, 3, dtype=torch.uint8)
    after = before.clone()
    after[0:20, 0:20] = 9  # the first face is changed, the second and the other detector's own are not
    points = torch.zeros(5, 2)
    faces = [Seen(0, boxes((0, 0))[0], points, False), Seen(1, boxes((40, 0))[0], points, False)]
    found = boxes((2, 1), (40, 0), (80, 30), (300, 300))  # two are the tracks', one is new, one is outside
    union = Union.__new__(Union)
    union.own = union.alone = union.left = union.left_alone = 0
    union.count(before, after, faces, Detections(found, torch.zeros(4, 5, 2), torch.ones(4)))
    assert (union.own, union.left, union.alone, union.left_alone) == (2, 1, 1, 1)
