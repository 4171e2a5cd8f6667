"""What becomes of a drawn face on its way into the picture, and what fails closed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anon.anonymizers.converted import Converted, coloured, narrowed
from anon.errors import Failed, UserError
from anon.generators.contract import Redrawn

S = 32


def square(images: Tensor) -> Tensor:
    """(B, 1, S, S): 1 in the middle half of each side."""
    mask = torch.zeros(len(images), 1, S, S)
    mask[..., S // 4 : 3 * S // 4, S // 4 : 3 * S // 4] = 1.0
    return mask


def identity(images: Tensor) -> Redrawn:
    return Redrawn(images, square(images))


def negative(images: Tensor) -> Redrawn:
    return Redrawn(-images, square(images))


def faces(side: int = S) -> Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


@pytest.mark.parametrize("transfer", ["none", "mean", "lab", "xyz"])
def test_a_tool_that_draws_what_it_sees_changes_nothing(transfer: str) -> None:
    made = Converted(identity, S, transfer)(faces())
    assert (made - faces()).abs().max() <= 2 / 255  # one level of 256, in the range [-1, 1]


def test_outside_of_the_mask_nothing_changes() -> None:
    made, untouched = Converted(negative, S, "none", erode=0, feather=1.0)(faces()), torch.ones(S, S, dtype=torch.bool)
    untouched[S // 4 - 2 : 3 * S // 4 + 2, S // 4 - 2 : 3 * S // 4 + 2] = False
    assert torch.equal(made[..., untouched], faces()[..., untouched])
    middle = slice(S // 2 - 2, S // 2 + 2)
    assert torch.allclose(made[..., middle, middle], -faces()[..., middle, middle], atol=1e-5)


def test_other_sizes_come_back_in_theirs() -> None:
    """Twice the tool's side: what it drew is enlarged, and outside of the mask the picture is as sharp as it was."""
    large = faces(2 * S)
    made = Converted(negative, S, "none", erode=0, feather=0.0)(large)
    assert made.shape == large.shape and torch.equal(made[..., :8, :], large[..., :8, :])
    assert not torch.equal(made[..., S, S], large[..., S, S])


def test_a_mask_is_narrowed_by_hand() -> None:
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 2:7, 2:7] = 1.0
    mask[..., 2, 2] = 1 / 256  # below 1/255: none
    by_one = narrowed(mask, 1, 0.0)[0, 0]
    wanted = torch.zeros(9, 9)
    wanted[3:6, 3:6] = 1.0
    wanted[3, 3] = 0.0  # its corner is gone
    assert torch.equal(by_one, wanted)


def test_a_full_mask_ends_before_the_edge() -> None:
    mask = narrowed(torch.ones(1, 1, S, S), 0, 1.5)[0, 0]
    assert mask[0].max() < 0.1 and mask[S // 2, S // 2] == pytest.approx(1.0)


def test_means_and_deviations_become_the_target_s() -> None:
    weight = square(faces())
    drawn, target = faces() * 0.3 - 0.2, faces().flip(0) * 0.5 + 0.1
    inside = weight.bool().expand_as(drawn)
    made = coloured(drawn, target, weight, "mean")
    for one, other in ((made, target),):
        means = [x[inside].view(3, 3, -1).mean(-1) for x in (one, other)]
        assert torch.allclose(*means, atol=1e-4)
    spread = [x[inside].view(3, 3, -1).std(-1) for x in (made, drawn)]
    assert torch.allclose(*spread, atol=1e-4)  # as drawn
    made = coloured(drawn, target, weight, "xyz")  # linear in RGB: XYZ moments are RGB's, if nothing was cut
    from kornia.color import rgb_to_xyz

    moments = [rgb_to_xyz(x / 2 + 0.5)[inside].view(3, 3, -1) for x in (made, target)]
    assert torch.allclose(moments[0].mean(-1), moments[1].mean(-1), atol=2e-2)
    assert torch.allclose(moments[0].std(-1), moments[1].std(-1), atol=2e-2)


def test_what_failed_is_an_error() -> None:
    def nothing(images: Tensor) -> Redrawn:
        mask = square(images)
        mask[1] = 0.0
        return Redrawn(images, mask)

    with pytest.raises(Failed, match="no face in 1 of 3 pictures"):
        Converted(nothing, S)(faces())
    with pytest.raises(Failed, match="no numbers"):
        Converted(lambda images: Redrawn(images * torch.nan, square(images)), S)(faces())
    with pytest.raises(UserError, match="transfer=rct is none of mean, lab, xyz, none"):
        Converted(identity, S, "rct")
    with pytest.raises(UserError, match="pixels, 0 or more"):
        Converted(identity, S, erode=-1)
