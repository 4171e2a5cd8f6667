"""IFSR against numbers worked out by hand, with and without margins."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anon.losses.ifsr import IFSR, ifsr, map_distances


def maps() -> tuple[list[Tensor], list[Tensor]]:
    """Two layers of a batch of two: distances 0 and 0.4 (mean 0.2), then 1 and 2 (mean 1.5)."""
    first_t = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0]]).view(2, 1, 2, 2)
    first_c = torch.tensor([[5.0, 0, 0, 0], [0.6, 0, 0.8, 0]]).view(2, 1, 2, 2)
    second_t = torch.tensor([[1.0, 0], [1.0, 0]]).view(2, 2, 1, 1)
    second_c = torch.tensor([[0.0, 3.0], [-2.0, 0]]).view(2, 2, 1, 1)
    return [first_t, second_t], [first_c, second_c]


def test_distances_are_means_over_the_batch() -> None:
    torch.testing.assert_close(map_distances(*maps()), torch.tensor([0.2, 1.5]))


@pytest.mark.parametrize(
    ("margins", "scale", "loss"),
    [
        (None, 1.2, 1.7),
        ((0.0, 0.0), 1.2, 1.7),
        ((0.1, 0.5), 1.2, 0.08 + 0.9),
        ((0.5, 0.5), 1.2, 0.9),  # 0.2 - 0.6 is cut at 0
        ((0.1, 0.5), 0.0, 1.7),
        ((2.0, 2.0), 1.0, 0.0),
    ],
)
def test_margins_cut_each_layer_on_its_own(margins: tuple[float, ...] | None, scale: float, loss: float) -> None:
    assert IFSR(margins, scale)(*maps()).item() == pytest.approx(loss)


def test_a_margin_for_each_map() -> None:
    with pytest.raises(ValueError, match="2 maps and 1 margins"):
        ifsr(*maps(), margins=torch.tensor([0.1]))
