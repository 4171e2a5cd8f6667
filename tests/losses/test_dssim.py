"""DSSIM against torchmetrics and by hand; the masked sum of it."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from anon.errors import UserError
from anon.losses.dssim import SubjectLoss, dssim, soft_edges


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(seed))


def test_equal_and_constant_pictures() -> None:
    assert dssim(pictures(), pictures()).abs().max() < 1e-5
    black, white = torch.zeros(1, 1, 5, 5), torch.ones(1, 1, 5, 5)
    assert torch.allclose(dssim(black, white, 5), torch.full((1, 1, 1, 1), 0.49995), atol=1e-6)  # (1 - C1/(1 + C1)) / 2


def test_as_torchmetrics() -> None:
    """Its windows wrap around the border by reflection; those within the picture are the inner 14 x 14 of 24 x 24."""
    one, other = pictures(), pictures(1)
    options = {"gaussian_kernel": True, "sigma": 1.5, "kernel_size": 11, "data_range": 1.0}
    _, theirs = structural_similarity_index_measure(one, other, return_full_image=True, **options)
    assert torch.allclose(dssim(one, other, 11, 1.5), (1 - theirs[..., 5:-5, 5:-5]) / 2, atol=1e-5)


def test_a_soft_mask_is_full_within_half_and_reaches_over_the_edge() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1.0
    soft = soft_edges(mask, 1.0)[0, 0, 8]
    assert soft[9:12].eq(1.0).all() and soft[:4].eq(0.0).all()
    assert 0 < soft[7] < 1  # beside the edge, where nothing was


def areas() -> torch.Tensor:
    found = torch.zeros(2, 3, 24, 24)
    found[:, 0, 6:18, 6:18] = 1.0
    found[:, 1, 8:10, 8:16] = 1.0
    found[:, 2, 14:16, 8:16] = 1.0
    return found


@pytest.mark.parametrize("soft", [False, True])
def test_nothing_outside_of_the_mask_counts(soft: bool) -> None:
    drawn = (pictures() * 2 - 1).requires_grad_(True)
    terms = SubjectLoss(1.0, 1.0, 0.0, 5, 1.5, soft)(drawn, torch.rand(2, 1, 24, 24), pictures(1) * 2 - 1, areas())
    (slope,) = torch.autograd.grad(torch.stack(list(terms.values())).sum(), drawn)
    assert slope[:, :, :2].abs().max() == 0 and slope[:, :, 9:15, 9:15].abs().max() > 0
    if not soft:
        assert slope[:, :, areas()[0, 0] == 0].abs().max() == 0


def test_terms_by_hand() -> None:
    """White drawn, black wanted: (1 - 0)² in 144 of 576 pixels; eyes (16) count three times, the mouth (16) twice."""
    white, black = torch.ones(2, 3, 24, 24), -torch.ones(2, 3, 24, 24)
    loss = SubjectLoss(0.0, 10.0, 2.0, eyes=3.0, mouth=2.0)
    terms = loss(white, torch.zeros(2, 1, 24, 24), black, areas())
    assert float(terms["pixel"]) == pytest.approx(10 * (144 + 2 * 16 + 1 * 16) / 576)
    assert float(terms["mask"]) == pytest.approx(2 * 144 / 576) and set(terms) == {"pixel", "mask"}


def test_an_even_window_is_refused() -> None:
    with pytest.raises(UserError, match="odd number of pixels, not 4"):
        SubjectLoss(window=4)
