"""Warps have the statistics that their tools print, and leave what is wanted as it is."""

from __future__ import annotations

import torch

from anon.training.warps import CellWarp, GridWarp, Views


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_faceswap_moves_all_nodes() -> None:
    """Nodes of a grid without overhang are pixels 0, 16, ... 64 of 65; their deviation is 5/256 of the side."""
    field = GridWarp((5.0, 5.0), overhang=0.0)(2000, 65, rng())
    nodes = field[..., ::16, ::16]
    assert nodes.shape == (2000, 2, 5, 5)
    assert torch.allclose(nodes.std((0, 1)), torch.full((5, 5), 5 / 256), rtol=0.05)  # corners and edges among them
    assert nodes.mean().abs() < 3e-4


def test_an_overhanging_grid_has_nodes_outside() -> None:
    """Five nodes over 41 pixels, of which 33 are the picture's: 6, 16 and 26 are nodes, and two more are outside."""
    field = GridWarp((5.0, 5.0))(4000, 33, rng())
    assert field.shape == (4000, 2, 33, 33)
    deviation = field.std((0, 1)) / (5 / 256)
    assert torch.allclose(deviation[6::10, 6::10], torch.ones(3, 3), atol=0.05)
    assert abs(float(deviation[16, 21]) - 0.5**0.5) < 0.03  # the mean of two nodes


def test_a_deviation_is_drawn_for_each_picture() -> None:
    field = GridWarp((10.0, 12.4), overhang=0.0)(1000, 65, rng())[..., ::16, ::16]
    each = field.flatten(1).std(1) * 256
    assert 10.5 < each.mean() < 11.9 and each.std() > 0.9  # 50 numbers give 11.2 ± 1.1, and it is spread over 2.4


def test_deepfacelab_moves_inner_nodes_alone() -> None:
    field = CellWarp()(3000, 33, rng())
    border = torch.cat([field[..., 0, :], field[..., -1, :], field[..., :, 0], field[..., :, -1]], -1)
    assert border.abs().max() < 1e-7
    inner = field[..., 16, 16].abs()  # a node of all three grids
    halves, eighths = 0.24 / 2, 0.24 / 8
    assert inner.max() <= halves and (inner > eighths).any()
    # All of the eighths, .799 of the quarters (|n| <= 1.25 of 2.5), .474 of the halves (|n| <= 0.625): .758 of all.
    assert abs(float((inner <= eighths).float().mean()) - 0.758) < 0.03


def views(**options: float) -> Views:
    return Views(GridWarp((5.0, 5.0)), **options)


def test_what_is_wanted_is_not_warped() -> None:
    images, areas = torch.rand(3, 3, 32, 32) * 2 - 1, torch.rand(3, 2, 32, 32)
    given, wanted, same = views(rotation=0.0, zoom=0.0, shift=0.0)(images, areas, rng())
    assert torch.allclose(wanted, images, atol=1e-5) and torch.allclose(same, areas, atol=1e-5)
    assert (given - images).abs().mean() > 0.01
    unwarped, wanted, _ = views(rotation=0.0, zoom=0.0, shift=0.0)(images, areas, rng(), warped=False)
    assert torch.equal(unwarped, wanted)


def test_given_wanted_and_areas_are_turned_alike() -> None:
    ramp = torch.linspace(-1, 1, 32).expand(6, 3, 32, 32)
    areas = ramp[:, :1].add(1).div(2)
    given, wanted, turned = views(flip=0.5)(ramp, areas, rng(), warped=False)
    assert torch.allclose(turned * 2 - 1, wanted[:, :1], atol=1e-5) and torch.equal(given, wanted)
    slopes = wanted[:, 0, 16, 20] - wanted[:, 0, 16, 12]
    assert (slopes < 0).any() and (slopes > 0).any()  # some are mirrored
    moved = views(rotation=0.0, zoom=0.0, shift=0.05)(ramp, areas, rng(), warped=False)[1]
    assert (moved - ramp)[:, 0, 16, 16].abs().max() <= 2 * 0.05 * 32 / 31 + 1e-6
