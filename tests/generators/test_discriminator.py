"""The discriminator's published size, and its form."""

from __future__ import annotations

import pytest
import torch

from anon.errors import UserError
from anon.generators.discriminator import Discriminator
from anon.generators.patchgan import MultiScale


def test_published_parameter_count() -> None:
    with torch.device("meta"):
        discriminator = Discriminator(256, base=64)
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == pytest.approx(23.97e6, abs=0.005e6)


def test_published_names_and_shapes_at_256() -> None:
    """Checkpoints hold them; a block has two norms, two 3x3 convolutions and a 1x1."""
    with torch.device("meta"):
        state = Discriminator(256, base=64).state_dict()
    assert len(state) == 2 + 6 * 10 + 2 + 2
    assert state["stem.weight"].shape == (64, 3, 3, 3)
    widths = [64, 128, 256, 512, 512, 512, 512]
    for step in range(6):
        assert state[f"blocks.{step}.conv1.weight"].shape == (widths[step + 1], widths[step], 3, 3)
    assert state["join.weight"].shape == (512, 512, 4, 4) and state["score.weight"].shape == (1, 512, 1, 1)


@pytest.mark.parametrize(
    ("size", "blocks", "side"),
    [(16, 2, 4), (48, 3, 6), (64, 4, 4), (96, 4, 6), (112, 4, 7), (128, 5, 4), (160, 5, 5), (224, 5, 7), (256, 6, 4)],
)
def test_one_logit_a_face(size: int, blocks: int, side: int) -> None:
    discriminator = Discriminator(size, base=2)
    assert len(discriminator.blocks) == blocks and discriminator.join.kernel_size == (side, side)
    assert discriminator(torch.randn(2, 3, size, size)).shape == (2,)


@pytest.mark.parametrize(("size", "near"), [(8, "16"), (100, "96 or 104"), (111, "104 or 112")])
def test_other_sizes_are_refused_with_the_nearest(size: int, near: str) -> None:
    with pytest.raises(UserError, match=rf"is 4 to 15 pixels, not {size}; take {near}\.$"):
        Discriminator(size)


def test_patches_are_judged_at_any_size() -> None:
    """Convolutions of stride 2 with two pixels of padding: 112 -> 57 -> 29 -> 15, then 16 and 17 of stride 1."""
    logits, maps = MultiScale(1, 2, 4).features(torch.randn(2, 3, 112, 112))
    assert [found.shape[-1] for found in maps] == [57, 29, 15, 16] and logits.shape == (2, 17 * 17)
    for size in (64, 96, 128, 160, 224, 256):
        assert MultiScale(2, 2, 4)(torch.randn(1, 3, size, size)).shape[0] == 1
