"""First-order motion by hand: what keypoints say of a motion, and what the network makes of a known one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.first_order.keypoints import KeypointDetector, Keypoints, grid_of, inverse, relative
from anon.generators.first_order.network import FirstOrderMotion, sparse_motions, warp


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(**options: object) -> FirstOrderMotion:
    torch.manual_seed(0)
    return FirstOrderMotion(points=3, base=8, depth=2, widths=(8, 16), residuals=1, **options).eval()


def some_points(count: int = 2, points: int = 3) -> Keypoints:
    """Anywhere, with Jacobians near the identity."""
    value = torch.rand(count, points, 2, generator=rng(1)) * 1.6 - 0.8
    return Keypoints(value, torch.eye(2) + 0.2 * torch.randn(count, points, 2, 2, generator=rng(2)))


def test_inverses_are_torchs_and_a_singular_matrix_has_one_that_is_finite() -> None:
    matrices = torch.randn(50, 2, 2, generator=rng(), dtype=torch.float64)
    matrices = matrices[torch.linalg.det(matrices).abs() > 0.05]
    torch.testing.assert_close(inverse(matrices), torch.linalg.inv(matrices))
    assert bool(inverse(torch.zeros(1, 2, 2)).isfinite().all())
    assert float(inverse(torch.ones(2, 2)).abs().max()) == pytest.approx(1000.0)


def test_a_detector_begins_with_unmoved_surroundings_and_its_points_follow_its_maps() -> None:
    torch.manual_seed(0)
    detector = KeypointDetector(2, base=8, depth=2)
    images = torch.rand(2, 3, 16, 16, generator=rng()) * 2 - 1
    torch.testing.assert_close(detector(images).jacobian, torch.eye(2).expand(2, 2, 2, 2))
    heat = torch.zeros(2, 2, 16, 16)
    heat[0, 0, 0, 15] = heat[0, 1, 15, 0] = 9.0  # upper right, lower left
    detector.maps.forward = lambda x: heat  # type: ignore[method-assign]
    found = detector(images).value
    torch.testing.assert_close(found[0], torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(found[1], torch.zeros(2, 2), atol=1e-6, rtol=0)  # the mean of everywhere


def test_sparse_motions_of_a_known_affine_are_that_affine() -> None:
    """p_s = A p_d + b and J_s = A J_d: every motion but the background's is z -> A z + b."""
    driving, matrix, shift = some_points(), torch.tensor([[0.9, -0.2], [0.3, 1.1]]), torch.tensor([0.1, -0.05])
    source = Keypoints(driving.value @ matrix.T + shift, matrix @ driving.jacobian)
    found, grid = sparse_motions(source, driving, 5, 7), grid_of(5, 7, shift)
    torch.testing.assert_close(found[:, 0], grid.expand(2, -1, -1, -1))
    torch.testing.assert_close(found[:, 1:], (grid @ matrix.T + shift).expand(2, 3, -1, -1, -1))


def test_the_network_warps_by_a_known_affine() -> None:
    """Where one keypoint's motion is all and nothing is hidden, the picture is torch's own affine of it."""
    made, images = network(), torch.rand(2, 3, 16, 16, generator=rng()) * 2 - 1
    made.dense.masks.bias.data = torch.tensor([-100.0, 100.0, -100.0, -100.0])
    made.dense.occlusion.bias.data.fill_(100.0)
    for each in (made.dense.masks, made.dense.occlusion):
        torch.nn.init.zeros_(each.weight)
    matrix, shift, driving = torch.tensor([[0.8, 0.1], [-0.1, 0.8]]), torch.tensor([0.05, 0.1]), some_points()
    source = Keypoints(driving.value @ matrix.T + shift, matrix @ driving.jacobian)
    moved = made(images, source, driving)
    theta = torch.cat((matrix, shift[:, None]), 1).expand(2, -1, -1)
    grid = F.affine_grid(theta, [2, 3, 16, 16], align_corners=True)
    torch.testing.assert_close(moved.flow, grid, atol=1e-5, rtol=0)
    wanted = F.grid_sample(images, grid, padding_mode="border", align_corners=True)
    torch.testing.assert_close(moved.image, wanted, atol=1e-4, rtol=0)


def test_no_motion_is_the_identity_whatever_the_masks_are() -> None:
    made, images, points = network(), torch.rand(2, 3, 16, 16, generator=rng()) * 2 - 1, some_points()
    moved = made(images, points, points)
    torch.testing.assert_close(moved.flow, grid_of(16, 16, images).expand(2, -1, -1, -1), atol=1e-5, rtol=0)
    made.dense.occlusion.bias.data.fill_(100.0)
    torch.testing.assert_close(made(images, points, points).image, images, atol=1e-4, rtol=0)


def test_relative_motion_by_hand() -> None:
    """A clip that has not moved moves nobody; one that went to the right and doubled does that to another's shape."""
    own, first = some_points(), Keypoints(*(each.flip(0) for each in some_points()))
    same = relative(own, first, first)
    torch.testing.assert_close(same.value, own.value)
    torch.testing.assert_close(same.jacobian, own.jacobian)
    later = Keypoints(first.value + torch.tensor([0.25, 0.0]), 2.0 * first.jacobian)
    found = relative(own, later, first)
    torch.testing.assert_close(found.value, own.value + torch.tensor([0.25, 0.0]))
    torch.testing.assert_close(found.jacobian, 2.0 * own.jacobian)


def test_a_warp_looks_where_the_flow_says_and_no_further_than_the_border() -> None:
    maps = torch.arange(4.0).view(1, 1, 1, 4)
    flow = torch.tensor([[[[-1.0, 0.0], [1 / 3, 0.0], [1.0, 0.0], [5.0, 0.0]]]])
    assert warp(maps, flow).flatten().tolist() == pytest.approx([0.0, 2.0, 3.0, 3.0])


def test_a_picture_is_drawn_alone_as_it_is_among_others() -> None:
    made, images, points = network(), torch.rand(3, 3, 16, 16, generator=rng()) * 2 - 1, some_points(3)

    def drawn(rows: Tensor | slice) -> Tensor:
        return made(images[rows], made.keypoints(images[rows]), points.of(rows)).image

    torch.testing.assert_close(drawn(slice(1, 2)), drawn(slice(0, 3))[1:2], atol=1e-5, rtol=0)


def test_it_is_small_and_says_which_sides_it_moves() -> None:
    assert sum(each.numel() for each in FirstOrderMotion().parameters()) < 2_000_000
    with pytest.raises(UserError, match="multiples of 16, not 64 x 40"):
        FirstOrderMotion().keypoints(torch.zeros(1, 3, 40, 64))
    with pytest.raises(UserError, match=r"widths=\[12, 24\] must be two or more multiples of 8"):
        FirstOrderMotion(widths=(12, 24))
