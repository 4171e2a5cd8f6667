"""Alignment against hand-made transforms, Umeyama's own equations and insightface."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from anon.faces.alignment import align, crop_box, invert, restore, similarity, template, transform, warp


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Equations 38-42 of Umeyama (1991), with the guard S = diag(1, -1) where the determinant is negative."""
    p, q = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(q.T @ p / len(p))
    guard = np.diag([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    rotation = u @ guard @ vt
    scale = np.trace(np.diag(d) @ guard) / p.var(0).sum()
    return np.hstack([scale * rotation, (target.mean(0) - scale * rotation @ source.mean(0))[:, None]])


def some_points(seed: int, count: int = 1) -> Tensor:
    """Faces somewhere in a 250 px picture, turned and with noisy points."""
    rng = torch.Generator().manual_seed(seed)
    angle, scale = torch.rand(count, generator=rng) * 1.2 - 0.6, 0.7 + torch.rand(count, generator=rng)
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), -1).view(count, 2, 2)
    points = (template(112) - 56) @ (scale[:, None, None] * turn).mT + 125 + 20 * torch.rand(count, 1, 2, generator=rng)
    return points + 2 * torch.randn(points.shape, generator=rng)


def test_a_known_transform_is_found() -> None:
    angle, scale, shift = math.radians(30), 1.5, (7.0, -4.0)
    known = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [3.0, 4.0], [8.0, 9.0]])
    target = points @ torch.tensor(known, dtype=torch.float32).T + torch.tensor(shift)
    matrix = similarity(points[None], target)[0]
    assert np.allclose(matrix.numpy(), np.hstack([known, np.array(shift)[:, None]]), atol=1e-4)


def test_a_quarter_turn_by_hand() -> None:
    square = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]]])
    turned = torch.tensor([[0.0, 0.0], [0.0, 4.0], [-4.0, 4.0], [-4.0, 0.0]])  # (x, y) to (-2y, 2x)
    assert torch.allclose(similarity(square, turned)[0], torch.tensor([[0.0, -2.0, 0.0], [2.0, 0.0, 0.0]]), atol=1e-6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_equals_umeyama_also_where_the_guard_acts(mirrored: bool) -> None:
    points = some_points(1, 8)
    if mirrored:
        points[..., 0] = 250 - points[..., 0]
    for found, face in zip(similarity(points, template(112)), points, strict=True):
        p, q = face.double().numpy(), template(112).double().numpy()
        covariance = (q - q.mean(0)).T @ (p - p.mean(0))
        assert (np.linalg.det(covariance) < 0) == mirrored  # the guard is needed exactly then
        assert np.linalg.det(found[:, :2].double().numpy()) > 0
        assert np.allclose(found.numpy(), umeyama(p, q), atol=1e-3)


def test_points_without_a_similarity_are_refused() -> None:
    for points in (torch.full((1, 5, 2), 3.0), torch.full((1, 5, 2), torch.nan)):
        with pytest.raises(ValueError, match="no similarity"):
            similarity(points, template(112))


def test_template_follows_insightface() -> None:
    assert template(112)[0].tolist() == pytest.approx([38.2946, 51.6963])
    assert template(224)[0].tolist() == pytest.approx([76.5892, 103.3926])
    assert template(128)[0].tolist() == pytest.approx([38.2946 + 8, 51.6963])  # wider: + 8 pixels each side
    assert template(256)[0].tolist() == pytest.approx([2 * 46.2946, 2 * 51.6963])
    assert template(64)[0].tolist() == pytest.approx([38.2946 * 64 / 112, 51.6963 * 64 / 112])


def test_invert_by_hand() -> None:
    matrix = torch.tensor([[2.0, 0.0, 3.0], [0.0, 4.0, 8.0]])
    assert torch.equal(invert(matrix), torch.tensor([[0.5, 0.0, -1.5], [0.0, 0.25, -2.0]]))
    points = some_points(2, 3)
    matrices = similarity(points, template(112))
    assert torch.allclose(transform(invert(matrices), transform(matrices, points)), points, atol=1e-3)


def picture(height: int = 250, width: int = 250) -> np.ndarray:
    """Smooth colours with some texture, uint8 ``(H, W, 3)``."""
    y, x = np.mgrid[:height, :width]
    waves = [127 + 80 * np.sin(x / 9 + c) + 40 * np.cos(y / (7 + c)) for c in range(3)]
    return np.stack(waves, -1).clip(0, 255).astype(np.uint8)


def as_batch(frame: np.ndarray) -> Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("size", [112, 128, 224])
def test_equals_insightface(size: int) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    frame = picture()
    for points in some_points(3, 4):
        assert np.allclose(
            similarity(points[None], template(size))[0], face_align.estimate_norm(points.numpy(), size), atol=2e-3
        )
        ours = ((align(as_batch(frame), points[None], size)[0] + 1) * 127.5).permute(1, 2, 0).numpy()
        theirs = face_align.norm_crop(frame, points.numpy(), size).astype(np.float32)
        inside = (
            align(torch.ones(1, 3, 250, 250), points[None], size)[0, 0].numpy() > 0.999
        )  # borders differ by version
        difference = np.abs(ours - theirs)[inside]
        # OpenCV 5 rounds to whole levels; OpenCV 4 also looks positions up in steps of 1/32 pixel.
        assert difference.mean() < 0.5 and difference.max() < 6 and inside.mean() > 0.8


def test_beyond_the_image_is_black() -> None:
    points = template(112)[None] - 40  # the face lies over the upper left corner
    crop = align(torch.ones(1, 3, 80, 80), points, 112)
    assert (crop[0, :, :39, :39] == -1).all() and torch.allclose(crop[0, :, 41:100, 41:100], torch.ones(1), atol=1e-5)


def test_shrinking_averages_instead_of_aliasing() -> None:
    """One-pixel stripes, a quarter of the size: each pixel of the result covers two dark and two bright columns."""
    stripes = torch.ones(1, 3, 448, 448)
    stripes[..., ::2] = -1
    inner = align(stripes, template(448)[None], 112)[..., 2:-2, 2:-2]
    assert inner.abs().max() < 1e-4


def test_a_face_does_not_depend_on_its_neighbours() -> None:
    faces = torch.from_numpy(picture()).permute(2, 0, 1)[None].float().repeat(2, 1, 1, 1) / 127.5 - 1
    points = torch.stack((template(112) + 40, (template(112) + 10) * 2.1))  # scales 1 and 1 / 2.1
    both = align(faces, points, 112)
    assert torch.equal(both[:1], align(faces[:1], points[:1], 112))
    assert torch.equal(both[1:], align(faces[1:], points[1:], 112))


def test_restore_undoes_align() -> None:
    frame, points = as_batch(picture()), template(112)[None] * 1.0 + 60
    matrix = similarity(points, template(112))
    image, coverage = restore(align(frame, points, 112), matrix, (250, 250))
    assert coverage[0, 0, 61:170, 61:170].min() > 0.999 and coverage[0, 0, :58].max() == 0
    assert coverage.sum().item() == pytest.approx(112 * 112, rel=0.001)
    pasted = frame * (1 - coverage) + image * coverage
    assert (pasted - frame).abs().max() < 1e-3


def test_restore_of_a_turned_face_is_close() -> None:
    frame, points = as_batch(picture()), some_points(5)
    image, coverage = restore(align(frame, points, 224), similarity(points, template(224)), (250, 250))
    inside = (coverage > 0.999).expand_as(image)
    assert inside.sum() > 3 * 7_500  # 224 / 2.5025 = 89.5 px a side
    assert (image - frame)[inside].abs().mean() < 0.02


def test_the_box_holds_all_that_the_crop_reads() -> None:
    frame, points = as_batch(picture()), some_points(6)
    matrix = similarity(points, template(64))
    left, top, right, bottom = crop_box(matrix[0], 64, (250, 250))
    assert (right - left) * (bottom - top) < 250 * 250
    part = align(frame[..., top:bottom, left:right], points - torch.tensor([left, top]), 64)
    assert torch.allclose(part, align(frame, points, 64), atol=1e-4)


def test_gradients_reach_the_image() -> None:
    image = torch.zeros(1, 3, 60, 60, requires_grad=True)
    warp(image, torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]]), (30, 30)).sum().backward()
    # a side reads columns -0.5, 0.5, 1.5, ... 58.5 at weight 1/2, the first half outside: 30 - 1/4
    assert image.grad is not None and image.grad.sum().item() == pytest.approx(3 * 29.75**2, rel=1e-5)
