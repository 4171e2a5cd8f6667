"""Noise until who it was is gone, then back to a clean picture: a diffusion model as a defense.

After *HYDRO* (Rosberg and others, submitted 2025, of which the abstract alone is known: noise is put into the result to
impede reconstruction, and diffusion recovers the statistics of clean pictures). Level, network and way back are ours.
Noise is drawn anew for every picture and kept by nobody; pictures of one face that are released again and again can be
averaged.

    python evaluate.py suite=table3
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.defenses.contract import drawing, whole_within, within
from anon.faces.contract import check_images
from anon.generators.diffusion import Diffusion


class DiffusionDefense(nn.Module):
    """``X_c`` with noise to time ``level`` and back.

    Args:
        model: trained on people who are nobody's of the evaluation (``python train.py experiment=diffusion``).
        level: t, from .001 to 1; the noise has a share of .101 of the power at .2, of .353 at .4.
        steps: of the way back.
    """

    def __init__(self, model: Diffusion, level: float, steps: int) -> None:
        super().__init__()
        self.model = model
        self.level = within(self, "level", level, 1e-3, 1)
        self.steps = whole_within(self, "steps", steps, 1)

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Changed faces -> faces like them.

        Raises:
            UserError: no ``rng``, or sides that the model cannot halve so often.
        """
        check_images(changed, "changed")
        rng = drawing(self, rng)
        return self.model.again(
            changed, self.level, self.steps, torch.randn(changed.shape, generator=rng, device=rng.device)
        )
