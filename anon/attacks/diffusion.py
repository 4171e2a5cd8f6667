"""Purification by a diffusion model: noise that drowns a pattern, and the way back to a face (DiffPure).

Nie et al., *Diffusion Models for Adversarial Purification*, ICML 2022. There the way back is stochastic, and the noise
has a tenth of the power (t = .1 of a linear schedule); here it is DDIM's, and t = .2 of the cosine has that power.
Whoever purifies needs no recognizer and knows no cloak.

    python evaluate.py suite=cloaks
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.anonymizers.filters import check_count, check_positive
from anon.attacks.contract import Attack
from anon.generators.diffusion import Diffusion


class DiffusionPurifier(Attack):
    """Faces with noise to time ``level`` and back, before they are recognized.

    Args:
        model: trained on other people (``python train.py experiment=diffusion``).
        level: t in (0, 1].
        steps: of the way back.
        seed: of the noise, which is one draw for all pictures, so that no picture depends on its batch.
    """

    def __init__(self, model: Diffusion, level: float, steps: int, seed: int = 0) -> None:
        super().__init__()
        self.model = model
        self.level = check_positive(level, "The diffusion's level", 1.0)
        self.steps = check_count(steps, "The number of the diffusion's steps")
        self.seed = seed

    def images(self, changed: Tensor) -> Tensor:
        """Changed faces (B, 3, H, W) -> purified ones, the same form.

        Raises:
            UserError: sides that the model cannot halve so often.
        """
        noise = torch.randn(changed.shape[1:], generator=torch.Generator().manual_seed(self.seed))
        return self.model.again(changed, self.level, self.steps, noise.expand(changed.shape))
