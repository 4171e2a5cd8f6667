"""RetinaFace's priors and decoding, worked out by hand."""

from __future__ import annotations

import math

import torch

from anon.faces.detection.retinaface import RetinaFaceNet, decode, priors


def test_priors():
    found = priors(64, 96)
    assert found.shape == (2 * (8 * 12 + 4 * 6 + 2 * 3), 3)
    assert found[0].tolist() == [4, 4, 16] and found[1].tolist() == [4, 4, 32]
    assert found[2].tolist() == [12, 4, 16]  # along the row first
    assert found[2 * 12].tolist() == [4, 12, 16]
    assert found[2 * 96].tolist() == [8, 8, 64]
    assert found[-1].tolist() == [80, 48, 512]


def test_a_side_that_the_steps_do_not_divide():
    net = RetinaFaceNet().eval()
    with torch.no_grad():
        scores, boxes, points = net(torch.zeros(1, 3, 40, 51))
    count = len(priors(40, 51))
    assert scores.shape == (1, count) and boxes.shape == (1, count, 4) and points.shape == (1, count, 10)


def test_decoding():
    prior = torch.tensor([[100.0, 50.0, 20.0]])
    boxes = torch.tensor([[5.0, -5.0, 5 * math.log(2.0), 0.0]])  # + 0.1 * 5 * 20, size * exp(0.2 * 5 ln 2) = 2
    corners, five = decode(prior, boxes, torch.arange(10.0)[None])
    torch.testing.assert_close(corners, torch.tensor([[110 - 20.0, 40 - 10.0, 110 + 20.0, 40 + 10.0]]))
    torch.testing.assert_close(five[0, 0], torch.tensor([100.0, 52.0]))
    torch.testing.assert_close(five[0, 4], torch.tensor([116.0, 68.0]))
