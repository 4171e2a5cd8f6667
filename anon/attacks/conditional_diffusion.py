"""A face out of noise, given what became of it: a diffusion model that reconstructs.

The changed face goes into a diffusion model beside the noisy one (Saharia et al., "Image Super-Resolution via Iterative
Refinement", TPAMI 2022; "Palette", SIGGRAPH 2022). Where a reconstruction network (FIVA, ICCVW 2023, eq. 5) answers
with the mean of all faces that may have been there, this one draws one of them.

    python train.py experiment=diffusion_reconstruction method=<choice>
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import check_images
from anon.generators.diffusion import WAVES, Denoiser, ddim, kept, times_code, wanted_v, with_noise


class ConditionalDiffusion(nn.Module):
    """Changed faces (B, 3, H, W) in [-1, 1] -> reconstructed ones, the same form.

    The condition enters twice, as maps beside the stem's and, by a gate of the time, beside what is read: near pure
    noise v is the negative of the face, and the changed one is the best guess of it. Both start at 0, so that a
    denoiser that learned faces without a condition begins as it was.

    Args:
        denoiser: reads v, see :class:`anon.generators.diffusion.Denoiser`.
        level: t in (0, 1] at which DDIM's way begins, from the changed face with so much noise; 1: from pure noise, as
            published, where a short training hardly heeds the condition.
        steps: of the way.
        seed: of the noise, one draw for all pictures, so that no picture depends on its batch.
    """

    def __init__(self, denoiser: Denoiser, level: float = 0.6, steps: int = 10, seed: int = 0) -> None:
        super().__init__()
        if not 0.0 < level <= 1.0:
            raise UserError(f"the way out of noise begins at a level above 0, up to 1, not at {level:g}.")
        if steps < 1:
            raise UserError(f"the way out of noise takes one step or more, not {steps}.")
        self.denoiser, self.level, self.steps, self.seed = denoiser, float(level), int(steps), int(seed)
        self.condition = nn.Conv2d(12, denoiser.stem.out_channels, 3, padding=1)
        self.gate = nn.Linear(2 * WAVES, 3)
        for parameter in (*self.condition.parameters(), *self.gate.parameters()):
            nn.init.zeros_(parameter)

    def v(self, noisy: Tensor, t: Tensor, changed: Tensor) -> Tensor:
        """What is read off noisy faces (B, 3, H, W) at times t (B,) beside the changed ones, the form of the faces."""
        read = self.denoiser(noisy, t, self.condition(F.pixel_unshuffle(changed, 2)))
        return read + self.gate(times_code(t))[:, :, None, None] * changed

    def losses(self, images: Tensor, changed: Tensor, t: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error of v of each face, (B,), and the faces (B, 3, H, W) that are read off their noisy ones."""
        noisy = with_noise(images, noise, t)
        found = self.v(noisy, t, changed).float()
        left = kept(t).view(-1, 1, 1, 1)
        error = (found - wanted_v(images, noise, t)).square().flatten(1).mean(1)
        return error, left.sqrt() * noisy - (1 - left).sqrt() * found

    def forward(self, changed: Tensor) -> Tensor:
        """
        Raises:
            ValueError: images that break the contract.
            UserError: sides that the denoiser cannot halve so often.
        """
        if any(side % self.denoiser.least for side in check_images(changed, "changed").shape[-2:]):
            raise UserError(
                f"This diffusion model takes pictures whose sides are multiples of {self.denoiser.least} pixels, not "
                f"{changed.shape[-1]} x {changed.shape[-2]}."
            )
        noise = torch.randn(changed.shape[1:], generator=torch.Generator().manual_seed(self.seed)).to(changed)
        t = torch.full((len(changed),), self.level, device=changed.device)
        start = with_noise(changed, noise.expand(changed.shape), t)
        return ddim(lambda noisy, t: self.v(noisy, t, changed), start, self.level, self.steps)
