"""The diffusion model that reconstructs, in small: it answers to the changed face, and begins as what it began with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anon.attacks.conditional_diffusion import ConditionalDiffusion
from anon.errors import UserError
from anon.faces.datamodule import FaceData
from anon.generators.diffusion import Denoiser, Diffusion, kept
from anon.training.diffusion_reconstruction import DiffusionReconstructionTraining
from tests.training import small


class Colours(small.Pictures):
    """Pictures of one of eight colours, whose changed ones are their negatives, or all grey."""

    def __init__(self, split: str, solid: bool) -> None:
        super().__init__(split)
        means = self.images.mean((2, 3), keepdim=True)  # of every channel; half of the people lie above the median
        self.images = (0.7 * (means - means.median(0).values).sign()).expand(self.images.shape).clone()
        self.solid = solid

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        image = self.images[index]
        return {**super().__getitem__(index), "changed": torch.zeros_like(image) if self.solid else -image}


def attack(steps: int, **options: Any) -> DiffusionReconstructionTraining:
    torch.manual_seed(0)
    diffusion = ConditionalDiffusion(Denoiser((16, 16)), level=1.0, steps=4)
    return DiffusionReconstructionTraining(diffusion, small.encoder(), steps=steps, **{"lr": 1e-2, **options})


@pytest.mark.parametrize("solid", [False, True])
def test_what_is_left_of_a_face_decides(solid: bool, tmp_path: Path) -> None:
    module = attack(120, identity=0.1)
    data = FaceData(lambda split: Colours(split, solid), "pairs", small.SIZE, synthetic=True, batch_size=16)  # type: ignore[arg-type]
    small.trainer(tmp_path, 60).fit(module, datamodule=data)
    unseen = Colours("background", solid)
    image, changed = (torch.stack([unseen[index][name] for index in range(16)]) for name in ("image", "changed"))
    with torch.no_grad():
        found = module.averaged(changed)
    assert found.shape == image.shape and float(found.abs().max()) <= 1.0
    apart = float((found - found[:1]).abs().max())
    right = float(((found.mean((2, 3)) > 0) == (image.mean((2, 3)) > 0)).float().mean())
    if solid:
        assert apart < 1e-4  # one draw of noise for all
    else:
        assert right > 0.9, right
    told: dict[str, float] = {}
    module.log_dict = lambda values, **_: told.update({k: float(v) for k, v in values.items()})  # type: ignore[method-assign]
    module.validation_step({"image": image, "changed": changed}, 0)
    assert set(told) == {"val/cos_changed", "val/cos_found"}


def test_it_begins_as_the_model_without_a_condition(tmp_path: Path) -> None:
    first = Diffusion(Denoiser((16, 16)))
    torch.nn.init.normal_(first.denoiser.head[-1].weight)  # type: ignore[arg-type]
    torch.save(first.state_dict(), tmp_path / "first.pt")
    module = attack(1, start=str(tmp_path / "first.pt"), lr=1e-12)
    data = FaceData(lambda split: Colours(split, False), "pairs", small.SIZE, synthetic=True, batch_size=16)  # type: ignore[arg-type]
    small.trainer(tmp_path, 1).fit(module, datamodule=data)
    noisy, t = torch.randn(2, 3, 16, 16), torch.tensor([0.2, 0.7])
    with torch.no_grad():
        found = module.diffusion.v(noisy, t, torch.ones(2, 3, 16, 16))
        torch.testing.assert_close(found, first.denoiser(noisy, t), atol=1e-5, rtol=1e-4)


def test_the_losses_are_those_of_the_face_that_is_read() -> None:
    """An error of v of e moves the face by sqrt(1 - a_t) e."""
    diffusion = ConditionalDiffusion(Denoiser((16, 16)))
    image, noise, t = torch.rand(3, 3, 16, 16) * 2 - 1, torch.randn(3, 3, 16, 16), torch.tensor([0.1, 0.5, 0.9])
    with torch.no_grad():
        error, found = diffusion.losses(image, -image, t, noise)
    moved = (found - image).square().flatten(1).mean(1)
    torch.testing.assert_close(moved, error * (1 - kept(t)), atol=1e-5, rtol=1e-4)


def test_what_is_refused() -> None:
    for level in (0.0, 1.5):
        with pytest.raises(UserError, match=f"above 0, up to 1, not at {level:g}"):
            ConditionalDiffusion(Denoiser((16, 16)), level=level)
    with pytest.raises(UserError, match="one step or more, not 0"):
        ConditionalDiffusion(Denoiser((16, 16)), steps=0)
    with pytest.raises(UserError, match="multiples of 4 pixels, not 18 x 18"):
        ConditionalDiffusion(Denoiser((16, 16)))(torch.zeros(1, 3, 18, 18))


def test_little_noise_leaves_what_was_published() -> None:
    changed = torch.rand(3, 3, 16, 16) * 1.6 - 0.8
    with torch.no_grad():
        near, far = (ConditionalDiffusion(Denoiser((16, 16)), level, steps=1)(changed) for level in (0.01, 1.0))
    assert float((near - changed).abs().mean()) < 0.1 < float((far - changed).abs().mean())
