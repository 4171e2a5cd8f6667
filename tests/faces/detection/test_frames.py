"""What every detector inherits, with a network whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anon.faces.detection.contract import Detector
from anon.faces.detection.frames import Candidates, FrameDetector


class Told(FrameDetector):
    """Finds what it is told, and remembers what it was shown."""

    name = "told"
    stride = 32

    def __init__(
        self, boxes=((4, 8, 24, 48),), scores=(0.9,), threshold=0.5, nms=0.4, min_size=0, max_side=64, batch=2
    ):
        super().__init__(threshold, nms, min_size, max_side, batch)
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)
        self.scores = np.array(scores, np.float32)
        self.seen = []

    def find(self, images, smallest):
        self.seen.append((images.shape, smallest))
        points = np.repeat(self.boxes[:, None, :2], 5, 1)
        return [Candidates(self.boxes, points, self.scores)] * len(images)


def _frame(height, width, value=0):
    return torch.full((height, width, 3), value, dtype=torch.uint8)


def test_is_a_detector():
    assert isinstance(Told(), Detector)


def test_a_large_frame_is_scaled_down_and_its_faces_back_up():
    detector = Told(min_size=10)
    found = detector.detect(_frame(128, 100))  # to 64 x 50, on a canvas of 64 x 64
    assert detector.seen == [((1, 64, 64, 3), 5.0)]
    assert found.boxes.tolist() == [[8, 16, 48, 96]]
    assert found.points.tolist() == [[[8, 16]] * 5]
    assert found.scores.tolist() == [pytest.approx(0.9)]


def test_a_small_frame_is_only_padded():
    detector = Told()
    assert detector.detect(_frame(20, 33)).boxes.tolist() == [[4, 8, 24, 48]]
    assert detector.seen[0][0] == (1, 32, 64, 3)


def test_a_fixed_canvas_keeps_the_aspect():
    detector = Told()
    detector.canvas = (40, 60)
    found = detector.detect(_frame(10, 30))  # 3 to 1: to 20 x 60, twice its size
    assert detector.seen[0][0] == (1, 40, 60, 3)
    assert found.boxes.tolist() == [[2, 4, 12, 24]]


def test_frames_of_one_size_go_together_and_come_back_in_order():
    detector = Told()
    found = detector.detect_batch([_frame(32, 32), _frame(128, 128), _frame(32, 32), _frame(32, 32)])
    assert [shape for (shape, _) in detector.seen] == [(2, 32, 32, 3), (1, 32, 32, 3), (1, 64, 64, 3)]
    assert [each.boxes[0, 0].item() for each in found] == [4, 8, 4, 4]


def test_threshold_size_suppression_order_and_nonsense():
    boxes = [(0, 0, 20, 20), (40, 0, 60, 30), (1, 0, 21, 20), (0, 40, 9, 60), (50, 50, 40, 60), (0, 0, np.nan, 9)]
    scores = [0.6, 0.8, 0.7, 0.9, 0.9, 0.9]  # the first is suppressed by the third, the fourth is 9 px wide
    found = Told([*boxes, (0, 40, 20, 60)], [*scores, 0.4], min_size=10).detect(_frame(64, 64))
    assert found.boxes.tolist() == [[40, 0, 60, 30], [1, 0, 21, 20]]
    assert found.scores.tolist() == pytest.approx([0.8, 0.7])


def test_no_face_and_no_frame():
    found = Told((), ()).detect(_frame(9, 9))
    assert [tuple(each.shape) for each in found] == [(0, 4), (0, 5, 2), (0,)]
    assert all(each.dtype == torch.float32 for each in found)
    assert Told().detect_batch([]) == []


@pytest.mark.parametrize(
    "frame",
    [
        torch.zeros(8, 8, 3),
        *(torch.zeros(size, dtype=torch.uint8) for size in [(8, 8), (8, 8, 1), (8, 8, 4), (0, 8, 3), (1, 8, 8, 3)]),
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match="uint8"):
        Told().detect(frame)


@pytest.mark.parametrize("option", [{"threshold": 0}, {"nms": 2}, {"min_size": -1}, {"max_side": 8}, {"batch": 0}])
def test_options_outside_their_range(option):
    with pytest.raises(ValueError, match="threshold"):
        Told(**option)


def test_a_long_thin_frame_stays_small():
    detector = Told()
    detector.detect(_frame(1, 20_000))
    assert detector.seen[0][0] == (1, 32, 64, 3)
