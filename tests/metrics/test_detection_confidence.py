from __future__ import annotations

import math

import pytest
import torch

from anon.faces.detection.contract import Detections
from anon.metrics.detection_confidence import ConfidenceDrop, best_detections, confidence_drop
from anon.metrics.preservation import detected


class Brightest:
    """Finds the box around all pixels above half grey, surer the brighter they are, and a worse one at the corner."""

    name, has_points = "brightest", False

    def detect_batch(self, frames):
        return [self.detect(frame) for frame in frames]

    def detect(self, frame):
        bright = frame.float().mean(-1) > 140
        if not bool(bright.any()):
            return Detections(torch.zeros(0, 4), torch.zeros(0, 5, 2), torch.zeros(0))
        rows, columns = bright.any(1).nonzero()[:, 0], bright.any(0).nonzero()[:, 0]
        box = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        score = frame.float().mean(-1)[bright].mean() / 255
        return Detections(torch.stack([box, torch.zeros(4)]), torch.zeros(2, 5, 2), torch.stack([score, 0.1 * score]))


@pytest.mark.parametrize(("height", "width"), [(160, 160), (64, 64), (32, 64), (16, 16)])
def test_boxes_are_in_pixels_of_the_picture_that_was_given(height, width):
    """A white rectangle from column 4 to 12 and row 2 to 8; an enlarged edge is soft by a pixel at most."""
    images = torch.full((2, 3, height, width), -1.0)
    images[1, :, 2:8, 4:12] = 1.0
    images[:, :, 0, 0] = -0.9
    scores, boxes = best_detections(Brightest(), images)
    assert float(scores[0]) == 0.0 and boxes[0].isnan().all()
    slack = 0.0 if min(height, width) >= 128 else 1.0
    assert boxes[1].tolist() == pytest.approx([4.0, 2.0, 12.0, 8.0], abs=slack)
    assert float(scores[1]) == pytest.approx(1.0, abs=0.0 if slack == 0.0 else 0.25)
    assert detected(Brightest(), images).tolist() == [False, True]


def test_a_found_face_of_no_confidence_is_found():
    class Unsure(Brightest):
        def detect(self, frame):
            return Detections(torch.zeros(1, 4), torch.zeros(1, 5, 2), torch.zeros(1))

    assert detected(Unsure(), torch.zeros(1, 3, 8, 8)).tolist() == [True]


def test_drops_by_hand():
    """.9 to .6, .8 lost, .5 to .7, and one that was never found: (.3 + .8 - .2) / 3."""
    changed, target = torch.tensor([0.6, 0.0, 0.7, 0.4]), torch.tensor([0.9, 0.8, 0.5, 0.0])
    assert confidence_drop(changed, target).tolist() == pytest.approx([0.3, 0.8, -0.2, math.nan], nan_ok=True)
    metric = ConfidenceDrop()
    metric.update(changed[:1], target[:1])
    metric.update(changed[1:], target[1:])
    assert float(metric.compute()) == pytest.approx(0.3)
