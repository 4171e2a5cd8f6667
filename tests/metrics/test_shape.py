from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes

from anon.metrics.attributes import ShapeDistance, shape_distance


def drawn(count: int, seed: int, points: int = 12) -> torch.Tensor:
    return 50 * torch.rand(count, points, 2, generator=torch.Generator().manual_seed(seed))


def test_a_square_and_a_rectangle_by_hand():
    """Unit size: corners (±1, ±1) / sqrt(8) and (±2, ±1) / sqrt(20); cosine 12 / sqrt(160), distance its sine."""
    corners = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    found = shape_distance((corners * torch.tensor([2.0, 1.0]))[None], corners[None])
    assert float(found) == pytest.approx(math.sqrt(1 - 144 / 160), abs=1e-6)


def test_is_the_root_of_scipys_disparity():
    target = drawn(6, 0)
    changed = target + 0.2 * drawn(6, 1)  # near enough that scipy does not mirror
    expected = [math.sqrt(procrustes(b.numpy(), a.numpy())[2]) for a, b in zip(changed, target, strict=True)]
    assert shape_distance(changed, target).tolist() == pytest.approx(expected, abs=1e-6)
    assert shape_distance(target, changed).tolist() == pytest.approx(expected, abs=1e-6)


def test_place_size_and_turn_do_not_count():
    target = drawn(3, 2)
    angle = torch.tensor(2.0)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    assert float(shape_distance(0.3 * target @ turn.T + 100, target).max()) < 1e-6


def test_a_mirrored_face_is_another_shape():
    """scipy mirrors it back and sees no difference; the decomposition with Umeyama's guard sees ours."""
    target = drawn(4, 3)
    changed = target * torch.tensor([-1.0, 1.0])
    assert procrustes(target[0].numpy(), changed[0].numpy())[2] == pytest.approx(0.0, abs=1e-9)
    found = shape_distance(changed, target)
    for row, (a, b) in enumerate(zip(changed.double().numpy(), target.double().numpy(), strict=True)):
        a, b = ((points - points.mean(0)) / np.linalg.norm(points - points.mean(0)) for points in (a, b))
        left, values, right = np.linalg.svd(a.T @ b)
        values[1] *= np.sign(np.linalg.det(left @ right))
        assert float(found[row]) == pytest.approx(math.sqrt(1 - values.sum() ** 2), abs=1e-6)
    assert float(found.min()) > 0.1


def test_class_over_known_faces():
    target = drawn(3, 4)
    changed = target + drawn(3, 5)
    changed[1, 0, 0] = torch.nan
    metric = ShapeDistance()
    metric.update(changed[:2], target[:2])
    metric.update(changed[2:], target[2:])
    assert int(metric.faces) == 2
    expected = shape_distance(changed[[0, 2]], target[[0, 2]]).mean()
    assert float(metric.compute()) == pytest.approx(float(expected))
    assert shape_distance(torch.ones(1, 5, 2), drawn(1, 6, points=5)).isnan().all()
