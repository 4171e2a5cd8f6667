"""FATM's network: which decoder draws, what the mask covers, and how a latent names a donor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.alignment import template
from anon.generators.contract import GeneratorLike
from anon.generators.subjects.fatm import FATM


class Points(nn.Module):
    """The five points of an aligned face, moved to the right by ``moved`` pixels."""

    def __init__(self, moved: float = 0.0) -> None:
        super().__init__()
        self.moved = moved

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        side = images.shape[-1]
        return {"landmarks": template(side).expand(len(images), 5, 2) + torch.tensor([self.moved, 0.0])}


def tool(donors: int = 3, moved: float = 0.0, size: int = 32, **options: float) -> FATM:
    torch.manual_seed(0)
    return FATM(size, Points(moved), donors, 2, 1, 8, **options).eval()  # type: ignore[arg-type]


def faces(size: int = 32) -> Tensor:
    return torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def of(*donors: int) -> Tensor:
    """Latents of 8 numbers that name these donors."""
    return F.one_hot(torch.tensor(donors), 8).float()


def test_each_face_is_drawn_by_the_decoder_that_its_latent_names() -> None:
    made, shown = tool(), faces()
    drawn = made(shown, of(2, 0, 2, 1))
    for row, donor in enumerate((2, 0, 2, 1)):
        assert torch.allclose(drawn.image[row], made.own(shown, donor).image[row], atol=1e-6)
    assert not torch.allclose(drawn.image[0], made.own(shown, 0).image[0], atol=1e-3)
    assert drawn.image.shape == shown.shape and drawn.image.abs().max() <= 1
    assert isinstance(made, GeneratorLike) and made.steers == 0


def test_everybody_s_decoder_is_never_asked() -> None:
    """A latent whose largest number is behind those of the donors names a donor all the same."""
    made = tool()
    z = of(5, 7, 3, 4) + 0.1 * of(1, 1, 0, 2)
    assert made.donor(z).tolist() == [1, 1, 0, 2]
    assert made.people == ("donor_1", "donor_2", "donor_3", "everybody")


def test_random_latents_name_all_donors_alike() -> None:
    """4000 draws, three donors: 1333 each, with a deviation of sqrt(4000 · 2/9) = 30."""
    z = F.normalize(torch.randn(4000, 64, generator=torch.Generator().manual_seed(0)))
    assert (tool().donor(z).bincount(minlength=3) - 4000 / 3).abs().max() < 120


def test_the_mask_is_between_brows_and_lower_lip_and_moves_with_the_face() -> None:
    """In an aligned face of 64 pixels, with a sharp edge: 1 on eyes, nose and mouth, 0 above, below and beside."""
    size = 64
    mask = tool(edge=0.001, size=size).hull(faces(size))
    assert mask.shape == (4, 1, size, size) and mask.min() >= 0 and mask.max() <= 1
    left, right, nose, one, _ = template(size)
    apart = float(right[0] - left[0])
    middle = float(nose[0])

    def at(x: float, y: float) -> float:
        return float(mask[0, 0, round(y), round(x)])

    eyes, mouth = float(left[1]), float(one[1])
    assert at(middle, float(nose[1])) == at(float(left[0]), eyes) == at(middle, mouth) == 1.0
    assert at(middle, eyes - apart) == at(middle, mouth + 0.4 * apart) == at(middle - 1.5 * apart, eyes) == 0.0
    moved = tool(edge=0.001, size=size, moved=5.0).hull(faces(size))
    assert torch.equal(moved[..., 10:-10], mask[..., 5:-15]) and not torch.equal(moved, mask)


def test_a_wider_edge_is_softer() -> None:
    sharp, soft = (tool(edge=edge).hull(faces()) for edge in (0.001, 0.06))
    assert ((sharp > 0.01) & (sharp < 0.99)).sum() < ((soft > 0.01) & (soft < 0.99)).sum()


def test_what_is_refused() -> None:
    with pytest.raises(UserError, match="needs a donor or more, not 0"):
        tool(0)
    with pytest.raises(UserError, match="multiple of 16 pixels, not 40; take 32"):
        tool(size=40)
    with pytest.raises(UserError, match="3 donors are told apart by as many numbers, and the encoder gives 2"):
        tool().donor(torch.ones(1, 2))
