"""FIVA's generator: form, condition, parameter counts."""

from __future__ import annotations

import pytest
import torch

from anon.generators.contract import GeneratorLike
from anon.generators.fiva import FIVA


def small() -> FIVA:
    torch.manual_seed(0)
    return FIVA(widths=(8, 16, 24), z_dim=12)


@pytest.mark.parametrize("size", [(32, 32), (64, 48)])
def test_draws_an_image_and_a_mask_of_any_size(size: tuple[int, int]) -> None:
    generator = small()
    assert isinstance(generator, GeneratorLike)
    assert generator.steers == -1
    image, mask = generator(torch.rand(2, 3, *size) * 2 - 1, torch.nn.functional.normalize(torch.randn(2, 12)))
    assert image.shape == (2, 3, *size)
    assert mask.shape == (2, 1, *size)
    assert image.dtype == mask.dtype == torch.float32
    assert image.abs().max() <= 1
    assert 0 <= mask.min() <= mask.max() <= 1
    assert abs(mask.mean().item() - 0.5) < 0.1  # open at the start, so that gradients flow both ways


def test_the_condition_reaches_every_pixel() -> None:
    generator, target = small(), torch.rand(1, 3, 32, 32) * 2 - 1
    z = torch.zeros(1, 12)
    z[0, 0] = 1.0
    change = (generator(target, z).image - generator(target, -z).image).abs().amax(1)
    assert change.min() > 0


def test_faces_of_a_batch_do_not_touch_each_other() -> None:
    generator = small()
    target, z = torch.rand(3, 3, 32, 32) * 2 - 1, torch.nn.functional.normalize(torch.randn(3, 12))
    together, alone = generator(target, z), generator(target[1:2], z[1:2])
    torch.testing.assert_close(together.image[1:2], alone.image)


def test_the_default_is_small() -> None:
    assert sum(parameter.numel() for parameter in FIVA().parameters()) == pytest.approx(1.79e6, rel=0.01)
