"""JPEG against another codec, resampling by hand, and every choice of the configuration."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps.config import choices, config_dir
from anon.defenses.contract import DefenseLike, NoDefense
from anon.defenses.diffusion import DiffusionDefense
from anon.defenses.gradient import FGSM, PGD
from anon.defenses.noise import GaussianNoise, UniformNoise
from anon.defenses.parameters import ParameterNoise
from anon.defenses.processing import Jpeg, Resample
from anon.errors import UserError
from anon.faces.contract import to_float, to_uint8


def pictures(count: int = 2, height: int = 48, width: int = 40) -> torch.Tensor:
    """Smooth colours with a little grain."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 6, 5, generator=rng) * 1.6 - 0.8
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return smooth + 0.1 * torch.rand(smooth.shape, generator=rng)


@pytest.mark.parametrize("defense", [Jpeg(75), Resample(0.5), Resample(1), Resample(0.01)])
@pytest.mark.parametrize("count", [0, 2])
def test_form(defense, count):
    images = pictures(2, 37, 29)[:count]  # odd sides
    out = defense(images)
    assert out.shape == images.shape and out.dtype == torch.float32
    assert count == 0 or (out.min() >= -1 and out.max() <= 1)


def test_a_better_quality_changes_less():
    images = pictures()
    change = [float((Jpeg(quality)(images) - images).abs().mean()) for quality in (95, 75, 20)]
    assert change[0] < change[1] < change[2]


def test_jpeg_is_the_file_format():
    """OpenCV decodes and encodes the same pictures; the codecs may round the colours differently by a level."""
    images = pictures()
    for image, out in zip(images, Jpeg(75)(images), strict=True):
        bgr = np.ascontiguousarray(to_uint8(image).numpy()[..., ::-1])
        file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
        other = to_float(torch.from_numpy(np.ascontiguousarray(cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1])))
        assert (other - out).abs().mean() < 2 / 255


def test_resample_by_hand():
    """A checkerboard of single pixels is gray at half size, but for its border; a flat picture and scale 1 stay."""
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    board = board.expand(1, 3, 16, 16)
    inner = Resample(0.5)(board)[..., 4:-4, 4:-4]
    torch.testing.assert_close(inner, torch.zeros_like(inner), rtol=0, atol=1e-6)
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(Resample(0.3)(flat), flat)
    assert torch.equal(Resample(1)(board), board)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Jpeg(0), "quality"),
        (lambda: Jpeg(101), "quality"),
        (lambda: Jpeg(75.5), "quality"),
        (lambda: Resample(0), "scale"),
        (lambda: Resample(1.5), "scale"),
    ],
)
def test_bad_arguments_are_named(make, name):
    with pytest.raises(UserError, match=name):
        make()


CHOICES = {
    "none": NoDefense,
    "uniform_noise": UniformNoise,
    "uniform_noise_share47": UniformNoise,
    "gaussian_noise": GaussianNoise,
    "fgsm": FGSM,
    "pgd": PGD,
    "parameter_noise": ParameterNoise,
    "jpeg": Jpeg,
    "resample": Resample,
    "diffusion": DiffusionDefense,
}


def test_these_are_all_the_choices():
    assert set(choices("defense")) == set(CHOICES)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_builds_and_defends(name):
    built = instantiate(OmegaConf.load(config_dir() / "defense" / f"{name}.yaml"))
    if isinstance(built, partial):
        assert name in ("fgsm", "pgd")
        built = built(torch.nn.Identity(), lambda images: images)  # the run gives these two
    assert type(built) is CHOICES[name]
    if name != "parameter_noise":
        assert isinstance(built, DefenseLike)
