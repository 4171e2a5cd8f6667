"""The attribute regressor: its units and geometry, and that what it is taught comes back."""

from __future__ import annotations

import pytest
import torch

from anon.attributes.regressor import MEAN_POINTS, SCALES, AttributeRegressor, attribute_errors, targets


def batch(size: int = 64) -> dict[str, torch.Tensor]:
    points = torch.tensor([[20.0, 26.5], [43.0, 27.0], [31.5, 34.0], [26.0, 42.0], [37.0, 42.0]])
    return {
        "image": torch.zeros(1, 3, size, size),
        "pose": torch.tensor([[15.0, -30.0, 7.5]]),
        "expression": torch.tensor([[0.4, -0.2, 0.0, 1.0]]),
        "gaze": torch.tensor([[8.0, -4.0]]),
        "landmarks": points[None] * size / 64 + (size / 64 - 1) / 2,
    }


def test_untrained_network_says_the_mean_face() -> None:
    read = AttributeRegressor().eval()(torch.zeros(2, 3, 64, 64))
    assert torch.equal(read["pose"], torch.zeros(2, 3)) and read["landmarks"].shape == (2, 5, 2)
    # -0.26 of the half side (32) left of the image's centre, whose pixel position is 31.5
    torch.testing.assert_close(read["landmarks"][0, 0], torch.tensor([31.5 - 0.26 * 32, 31.5 - 0.16 * 32]))


def test_landmarks_are_in_pixels_of_the_given_image() -> None:
    regressor = AttributeRegressor().eval()
    small, large, wide = (regressor(torch.zeros(1, 3, size, size))["landmarks"] for size in (64, 96, 128))
    torch.testing.assert_close(large, small * 1.5 + 0.25)  # pixel centres at integers
    # 128 px show the 64 crop in 112 of them, 8 pixels from the left
    torch.testing.assert_close(wide, (small + 0.5) * 112 / 64 - 0.5 + torch.tensor([8.0, 0.0]))


@pytest.mark.parametrize("size", [64, 96])
def test_targets_are_the_truth_in_the_network_s_units(size: int) -> None:
    own = targets(batch(size), size)
    torch.testing.assert_close(own["pose"], torch.tensor([[1.0, -2.0, 0.5]]))
    torch.testing.assert_close(own["expression"], torch.tensor([[1.0, -0.5, 0.0, 2.5]]))
    torch.testing.assert_close(own["gaze"], torch.tensor([[1.0, -0.5]]))
    nose = torch.tensor([32.0 / 32 - 1 - MEAN_POINTS[2][0], 34.5 / 32 - 1 - MEAN_POINTS[2][1]]) / SCALES["landmarks"]
    torch.testing.assert_close(own["landmarks"][0, 4:6], nose)


def test_forward_undoes_targets() -> None:
    regressor, truth = AttributeRegressor().eval(), batch()
    own = targets(truth, 64)
    with torch.no_grad():
        regressor.head.bias.copy_(torch.cat([own[name] for name in ("pose", "expression", "gaze", "landmarks")], -1)[0])
    read = regressor(truth["image"])
    for name in SCALES:
        torch.testing.assert_close(read[name], truth[name], msg=name)
    assert all(float(error) < 1e-4 for error in attribute_errors(read, truth).values())
