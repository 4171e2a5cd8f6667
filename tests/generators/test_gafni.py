"""The generator of Gafni et al.: form, where its condition and its one skip reach, sizes that it cannot have."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.contract import GeneratorLike
from anon.generators.gafni import Gafni


def small(**options: int) -> Gafni:
    torch.manual_seed(0)
    return Gafni(size=32, widths=(8, 8, 12, 16), z_dim=12, code=10, **options)


def faces(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 32, 32, generator=rng) * 2 - 1, F.normalize(torch.randn(count, 12, generator=rng))


def test_draws_an_image_and_a_mask() -> None:
    generator = small()
    assert isinstance(generator, GeneratorLike) and generator.steers == -1
    image, mask = generator(*faces(2))
    assert image.shape == (2, 3, 32, 32) and mask.shape == (2, 1, 32, 32)
    assert image.dtype == mask.dtype == torch.float32 and image.abs().max() <= 1
    assert 0 <= mask.min() <= mask.max() <= 1 and abs(mask.mean().item() - 0.5) < 0.1


def test_the_condition_reaches_every_pixel_and_faces_do_not_touch_each_other() -> None:
    generator, (target, z) = small().eval(), faces(3)
    change = (generator(target, z).image - generator(target, -z).image).abs().amax(1)
    assert change.min() > 0
    torch.testing.assert_close(generator(target[1:2], z[1:2]).image, generator(target, z).image[1:2], atol=1e-5, rtol=0)


def test_one_skip_and_a_code_are_all_that_the_picture_leaves() -> None:
    """FIVA's list of changes: not all maps are skips. Without the one skip and the code the picture is gone."""
    generator, (target, z) = small(skip=2).eval(), faces(2)
    other = target.flip(-1)
    with torch.no_grad():
        up = generator.up[1]  # of quarter resolution, where the skip joins
        up.widen.weight[:, 12:] = 0.0
        kept = generator(target, z).image
        generator.spread.weight[:, :10] = 0.0
        assert not torch.equal(kept, generator(other, z).image)
        torch.testing.assert_close(generator(target, z).image, generator(other, z).image)


def test_sizes_and_skips_that_cannot_be() -> None:
    with pytest.raises(UserError, match="multiple of 8"):
        Gafni(size=36, widths=(8, 8, 12, 16))
    for skip in (0, 3):
        with pytest.raises(UserError, match="1 to 2"):
            small(skip=skip)


def test_pictures_of_another_size_are_one_sentence() -> None:
    """Fully connected layers fix the size."""
    with pytest.raises(UserError, match=r"32 x 32 pixels, not of 64 x 64; give data\.size=32"):
        small()(torch.zeros(1, 3, 64, 64), torch.zeros(1, 12))


def test_the_default_is_small() -> None:
    assert sum(parameter.numel() for parameter in Gafni().parameters()) == pytest.approx(3.02e6, rel=0.01)
