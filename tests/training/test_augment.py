"""Distortion and view: nothing when nothing is asked, known turns, the same draws for the same key."""

from __future__ import annotations

import pytest
import torch

from anon.training.augment import Colours, Distortion, View, rotate_zoom, step_rng


def pattern(size: int = 9) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_no_turn_and_no_zoom_is_the_input() -> None:
    images = pattern()
    torch.testing.assert_close(rotate_zoom(images, torch.zeros(2), torch.ones(2)), images, atol=1e-5, rtol=0)
    assert Distortion(0.0, 0.0)(images, step_rng("cpu", 0)) is images


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_counter_clockwise(quarters: int) -> None:
    images = pattern()
    turned = rotate_zoom(images, torch.full((2,), 90.0 * quarters), torch.ones(2))
    torch.testing.assert_close(turned, torch.rot90(images, quarters, (2, 3)), atol=1e-4, rtol=0)


def test_zoom_by_two_keeps_every_second_pixel() -> None:
    images = pattern()
    zoomed = rotate_zoom(images, torch.zeros(2), torch.full((2,), 2.0))
    torch.testing.assert_close(zoomed[:, :, ::2, ::2], images[:, :, 2:7, 2:7], atol=1e-5, rtol=0)


def test_colours_by_hand() -> None:
    """Two pixels, red of .2 and .6, green and blue 0 of [-1, 1]; saturation 1 - min/max of [0, 1], at most 1."""
    images = torch.tensor([[0.2, 0.6], [0.0, 0.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    torch.testing.assert_close(Colours(0.0, (1, 1), (1, 1))(images, step_rng("cpu", 0)), images)
    draw = torch.rand(3, 1, generator=step_rng("cpu", 0))
    brighter = Colours(0.3, (1, 1), (1, 1))(images, step_rng("cpu", 0))
    torch.testing.assert_close(brighter, images + 0.3 * (2 * draw[0] - 1))
    tint = Colours(0.0, (1, 1), (1, 1), tint=0.4)(images, step_rng("cpu", 0)) - images  # one number a channel
    assert torch.allclose(tint[..., 0], tint[..., 1], atol=1e-6) and 0.05 < tint.abs().max() <= 0.4
    assert len(tint[0, :, 0, 0].unique()) == 3
    flat = Colours(0.0, (0.5, 0.5), (1, 1))(images, step_rng("cpu", 0))
    torch.testing.assert_close(flat[0, :, 0], torch.tensor([[0.3, 0.5], [0.0, 0.0], [0.0, 0.0]]))
    grey = Colours(0.0, (1, 1), (0, 0))(images, step_rng("cpu", 0))
    torch.testing.assert_close(grey, images[:, :1].expand(-1, 3, -1, -1))
    # value .6 and 0.8 in [0, 1], least .5: saturations 1/6 and 3/8, doubled: least of .4 and .2
    vivid = Colours(0.0, (1, 1), (2, 2))(images, step_rng("cpu", 0))
    torch.testing.assert_close(vivid[0, :, 0], torch.tensor([[0.2, 0.6], [-0.2, -0.6], [-0.2, -0.6]]))
    full = Colours(0.0, (1, 1), (9, 9))(images, step_rng("cpu", 0))
    torch.testing.assert_close(full[0, :, 0], torch.tensor([[0.2, 0.6], [-1.0, -1.0], [-1.0, -1.0]]))


def test_colours_stay_in_range_and_black_stays_black() -> None:
    images = torch.cat([torch.full((1, 3, 4, 4), -1.0), pattern(4)])
    out = Colours(1.0, (0.5, 2.0), (0.0, 3.0))(images, step_rng("cpu", 1))
    assert out.isfinite().all() and out.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(Colours(0.0)(images[:1], step_rng("cpu", 1)), images[:1])


def test_faces_are_turned_each_on_its_own_and_reproducibly() -> None:
    images = pattern(16)[:1].expand(2, -1, -1, -1)
    first = Distortion()(images, step_rng("cpu", 3, 7, 0))
    assert not torch.allclose(first[0], first[1], atol=1e-2)
    assert torch.equal(first, Distortion()(images, step_rng("cpu", 3, 7, 0)))
    assert not torch.equal(first, Distortion()(images, step_rng("cpu", 3, 7, 1)))
    assert first.abs().max() <= 1.0001


def test_copies_are_viewed_alike() -> None:
    images = pattern(16)
    view = View(share=1.0, noise=0.1)
    both = view(torch.cat((images, images)), step_rng("cpu", 1), copies=2)
    torch.testing.assert_close(both[:2], both[2:])
    torch.testing.assert_close(both[:2], view(images, step_rng("cpu", 1)))


def test_view_without_any_processing_is_the_input() -> None:
    images = pattern(16)
    same = View(share=1.0, scale=(1.0, 1.0), noise=0.0, shift=0.0)(images, step_rng("cpu", 1))
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)
    assert View(share=0.0)(images, step_rng("cpu", 1)) is images


def test_view_processes_the_share_asked_for() -> None:
    images = torch.zeros(400, 3, 4, 4)
    noised = View(share=0.25, scale=(1, 1), shift=0, noise=0.1)(images, step_rng("cpu", 1)).flatten(1).any(1)
    assert 0.15 < noised.float().mean().item() < 0.35


def test_gradients_pass_the_view_and_its_jpeg() -> None:
    images = pattern(16).requires_grad_()
    view = View(share=1.0, jpeg=(40, 60))
    out = view(images, step_rng("cpu", 1))
    out.square().sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    assert images.grad.abs().sum() > 0
