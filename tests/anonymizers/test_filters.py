"""The classic filters against scipy, OpenCV and numbers by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from scipy import ndimage, stats

from anon.anonymizers import filters
from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.filled import FilledBox
from anon.errors import UserError

CONF = Path(__file__).resolve().parents[2] / "conf"
NAMES = ("blur_weak", "blur", "low_resolution", "pixelate", "solid", "pixel_noise", "dp_pix")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Uniform in [-1, 1]."""
    return torch.rand(shape, generator=seeded(seed)) * 2 - 1


def built(name: str) -> filters.Filter:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=[f"+method={name}"]).method.anonymizer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 64), (112, 112), (37, 50), (11, 3), (1, 20)])
def test_configured_filters_keep_the_form_at_any_size(name, size):
    """Extreme pictures, so that a result out of range would show; the caller's tensor stays as it was."""
    images = noise(2, 3, *size).sign()
    before = images.clone()
    changed = built(name)(images, rng=seeded())
    assert isinstance(built(name), AnonymizerLike)
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert changed.isfinite().all() and float(changed.abs().max()) <= 1.0
    assert torch.equal(images, before)
    assert min(size) < 16 or not torch.equal(changed, images)  # 0.02 of 3 pixels is no blur


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_stays(name):
    assert built(name)(noise(1, 3, 16, 16).double(), rng=seeded()).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
def test_images_are_checked_at_the_door(name):
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        built(name)(torch.full((1, 3, 16, 16), 255.0), rng=seeded())


def test_blur_of_a_constant_is_that_constant():
    images = torch.tensor([-1.0, 0.25, 1.0]).view(1, 3, 1, 1).expand(2, 3, 21, 30)
    torch.testing.assert_close(filters.GaussianBlur(0.1)(images), images)


def test_blur_of_an_impulse_is_the_gaussian():
    """Side 41, sigma 2 px: exp(-(x^2 + y^2) / 8) / (8 pi) around the centre; the sum over integers is within 1e-4."""
    images = torch.zeros(1, 3, 41, 41)
    images[..., 20, 20] = 1.0
    x = torch.arange(41.0) - 20
    expected = torch.exp(-(x[:, None] ** 2 + x**2) / 8) / (8 * torch.pi)
    torch.testing.assert_close(filters.GaussianBlur(2 / 41)(images)[0, 1], expected, atol=2e-5, rtol=0)


def test_blur_is_scipys_and_sigma_is_a_share_of_the_shorter_side():
    """0.1 of 20 pixels is 2 pixels; scipy calls the border that does not repeat the edge "mirror"."""
    images = noise(1, 3, 20, 26)
    expected = ndimage.gaussian_filter(images.double().numpy(), (0, 0, 2, 2), mode="mirror")
    np.testing.assert_allclose(filters.GaussianBlur(0.1)(images).numpy(), expected, atol=1e-6)


def test_a_kernel_larger_than_the_image_ends_where_mirrored_once():
    """Sigma 7 pixels would reach 28; 7 rows have 6 more above, 9 columns 8 more to the left."""
    images = noise(1, 3, 7, 9)
    expected = ndimage.gaussian_filter(images[0, 0].double().numpy(), 7, mode="mirror", radius=(6, 8))
    np.testing.assert_allclose(filters.GaussianBlur(1.0)(images)[0, 0].numpy(), expected, atol=1e-6)


def test_block_means_by_hand_where_sides_are_no_multiples():
    """3 rows in 2 blocks are 1 and 2, 5 columns 2 and 3 (centres 0.5, 1.5 | 2.5, 3.5, 4.5 around 5 / 2)."""
    images = (torch.arange(15.0).view(1, 1, 3, 5) / 20).expand(2, 3, 3, 5)
    rows = torch.tensor([[0.5, 0.5, 3.0, 3.0, 3.0], [8.0, 8.0, 10.5, 10.5, 10.5], [8.0, 8.0, 10.5, 10.5, 10.5]]) / 20
    torch.testing.assert_close(filters.Pixelate(2)(images), rows.expand(2, 3, 3, 5))


def test_block_means_are_numpys_where_sides_are_multiples():
    images = noise(2, 3, 24, 32)
    expected = images.numpy().reshape(2, 3, 8, 3, 8, 4).mean((3, 5))
    np.testing.assert_allclose(filters.Pixelate(8)(images)[:, :, ::3, ::4].numpy(), expected, atol=1e-6)


def test_every_block_has_a_pixel_and_blocks_differ_by_one_pixel_at_most():
    for length in range(1, 40):
        for blocks in range(1, 45):
            counts = filters.blocks_of(length, blocks).bincount(minlength=min(blocks, length))
            assert len(counts) == min(blocks, length) and counts.min() >= 1 and counts.max() - counts.min() <= 1


def test_a_side_shorter_than_the_blocks_is_kept_but_never_both():
    images = torch.tensor([[0.0, 0.2, 0.4, 0.8], [-1.0, 0.0, 0.0, 1.0]]).expand(1, 3, 2, 4)
    rows = torch.tensor([[0.1, 0.1, 0.6, 0.6], [-0.5, -0.5, 0.5, 0.5]])
    torch.testing.assert_close(filters.Pixelate(2)(images), rows.expand(1, 3, 2, 4))
    for kind in (filters.Pixelate(4), filters.LowResolution(9), filters.DPPix(4, 1.0, 1)):
        with pytest.raises(UserError, match="as it is"):
            kind(images, rng=seeded())


def test_low_resolution_is_opencvs_area_and_linear():
    images = noise(1, 3, 32, 48)
    frame = images[0].permute(1, 2, 0).numpy()
    small = cv2.resize(frame, (8, 8), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(small, (48, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(filters.LowResolution(8)(images)[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_low_resolution_forgets_what_is_within_a_block():
    """Two pictures of the same 7 x 7 means and different details become one."""
    images = noise(1, 3, 28, 28) / 4
    detail = torch.tensor([[0.5, -0.5], [-0.5, 0.5]]).repeat(14, 14)
    low = filters.LowResolution(7)
    torch.testing.assert_close(low(images), low(images + detail), atol=1e-6, rtol=0)


def test_solid_mask_gives_one_picture_for_all_faces():
    mask = filters.SolidMask([-1.0, 0.25, 1.0])
    one, other = mask(noise(3, 3, 9, 7)), mask(noise(3, 3, 9, 7, seed=1))
    assert torch.equal(one, other) and torch.equal(one[0], one[2])
    assert one.amin((0, 2, 3)).tolist() == one.amax((0, 2, 3)).tolist() == [-1.0, 0.25, 1.0]


def test_pixel_noise_has_its_sigma_and_comes_from_rng():
    """N = 196 608: the standard deviation is known to 0.2 %, a mean to 2e-4."""
    images, kind = torch.zeros(4, 3, 128, 128), filters.PixelNoise(0.1)
    drawn = kind(images, rng=seeded(1))
    assert float(drawn.std()) == pytest.approx(0.1, rel=0.01) and float(drawn.mean()) == pytest.approx(0, abs=1e-3)
    assert stats.kstest(drawn.flatten()[:20_000].numpy(), "norm", (0, 0.1)).pvalue > 1e-3
    correlation = torch.corrcoef(drawn.transpose(0, 1).flatten(1))  # (3, 3), the channels have noise of their own
    assert float((correlation - torch.eye(3)).abs().max()) < 0.02
    state = torch.random.get_rng_state()
    assert torch.equal(drawn, kind(images, rng=seeded(1))) and not torch.equal(drawn, kind(images, rng=seeded(2)))
    assert torch.equal(state, torch.random.get_rng_state())  # torch's own generator is left alone


@pytest.mark.parametrize("kind", [filters.PixelNoise(0.1), filters.DPPix(2, 1.0, 1)])
def test_noise_needs_rng_on_the_device_of_the_images(kind):
    with pytest.raises(UserError, match="needs rng"):
        kind(torch.zeros(1, 3, 8, 8))


def test_dp_pix_noise_is_laplace_of_fans_scale():
    """16 pixels a block, m = 1, epsilon = 1: scale 255 / 16 of 255, so 2 / 16 of [-1, 1]. One draw a block."""
    images = torch.zeros(2000, 3, 8, 8)
    drawn = filters.DPPix(2, 1.0, 1)(images, rng=seeded())
    blocks = drawn.view(2000, 3, 2, 4, 2, 4)
    assert torch.equal(blocks.amax((3, 5)), blocks.amin((3, 5)))
    assert stats.kstest(drawn[:, :, ::4, ::4].flatten().numpy(), "laplace", (0, 0.125)).pvalue > 1e-3
    assert torch.equal(drawn, filters.DPPix(2, 1.0, 1)(images, rng=seeded()))


def test_dp_pix_noise_follows_the_size_of_the_block_m_and_epsilon():
    """3 rows in 2 blocks are 1 and 2, 2 columns 1 and 1; a Laplace's mean size is its scale 2 m / (n epsilon)."""
    drawn = filters.DPPix(2, 100.0, 5)(torch.zeros(20_000, 3, 3, 2), rng=seeded()).abs().mean((0, 1))
    np.testing.assert_allclose(drawn.numpy(), [[0.1, 0.1], [0.05, 0.05], [0.05, 0.05]], rtol=0.03)


def test_dp_pix_is_pixelate_where_privacy_costs_nothing():
    images = noise(2, 3, 15, 20)
    torch.testing.assert_close(
        filters.DPPix(4, 1e9, 1)(images, rng=seeded()), filters.Pixelate(4)(images), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (filters.GaussianBlur, (0.0,)),
        (filters.GaussianBlur, (-0.1,)),
        (filters.GaussianBlur, (5.0,)),  # pixels
        (filters.GaussianBlur, (float("nan"),)),
        (filters.GaussianBlur, ("strong",)),
        (filters.LowResolution, (0,)),
        (filters.LowResolution, (7.5,)),
        (filters.Pixelate, (-3,)),
        (filters.Pixelate, (True,)),
        (filters.SolidMask, ((0.0, 0.0),)),
        (filters.SolidMask, ((0.0, 0.0, 255.0),)),
        (filters.SolidMask, ("red",)),
        (filters.SolidMask, (0.5,)),
        (filters.PixelNoise, (0.0,)),
        (filters.PixelNoise, (float("inf"),)),
        (filters.DPPix, (4, 0.0, 1)),
        (filters.DPPix, (4, 1.0, 0)),
    ],
)
def test_arguments_that_cannot_be(kind, arguments):
    with pytest.raises(UserError, match="must be"):
        kind(*arguments)


def test_filled_box_leaves_hair_and_outline() -> None:
    """The control of inpainting: bit for bit around the box, one colour within, whoever was there."""
    images = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    changed = FilledBox([0.5, 0.0, -0.5], [0.2, 0.1, 0.8, 0.9])(images)
    inside = changed[:, :, 2:18, 4:16]
    assert torch.equal(inside, torch.tensor([0.5, 0.0, -0.5]).view(1, 3, 1, 1).expand_as(inside))
    inside.copy_(images[:, :, 2:18, 4:16])
    assert torch.equal(changed, images)
