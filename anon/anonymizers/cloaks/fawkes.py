"""A shift in feature space that the picture's structure bounds: Fawkes (Shan et al., USENIX Security 2020).

    maximize over w   sum over m of |f_m(x') - f_m(x)|^2 - c relu(DSSIM(x', x) - th)^2     x' = x + epsilon tanh(w)

DSSIM = (1 - SSIM) / 2. As in the authors' program and unlike the paper it moves away from the own features, not
towards a chosen person's; steps are Adadelta's. The embeddings of our recognizers have length 1, so no difference is
divided by one. Meant for *poisoning*: whoever enrols cloaked pictures shall not find clean ones.

    python evaluate.py method=cloak_fawkes
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from kornia.metrics import ssim
from torch import Tensor

from anon.anonymizers.cloaks.base import Cloak
from anon.anonymizers.filters import check_count, check_positive
from anon.identity.encoder import Encoder

_WINDOW = 11  # of SSIM, pixels
_START = 0.1  # of w: at 0 there is no gradient


class Fawkes(Cloak):
    """Adadelta's steps of one picture.

    Args:
        recognizers, epsilon: see :class:`anon.anonymizers.cloaks.base.Cloak`.
        threshold: DSSIM that costs nothing.
        steps, rate: of Adadelta. Published: threshold .004 with 40 steps of rate 25, .012 with 75 of 20 and .017 with
            150 of 15 ("low", "mid", "high").
        penalty: c.
    """

    def __init__(
        self,
        recognizers: Mapping[str, Encoder | None],
        epsilon: float,
        threshold: float = 0.012,
        steps: int = 75,
        rate: float = 20.0,
        penalty: float = 1e5,
    ) -> None:
        super().__init__(recognizers, epsilon)
        self.threshold = check_positive(threshold, "The DSSIM that costs nothing", 1.0)
        self.steps = check_count(steps, "The number of steps")
        self.rate = check_positive(rate, "Adadelta's rate")
        self.penalty = check_positive(penalty, "The penalty of a larger DSSIM")

    def cloaked(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        own = self.identities(images)
        change = (_START / self.epsilon * self.start(images, rng)).requires_grad_()
        optimizer = torch.optim.Adadelta([change], lr=self.rate)
        for _ in range(self.steps):
            with torch.enable_grad():
                x = (images + self.epsilon * change.tanh()).clamp(-1, 1)
                over = (dssim(x, images) - self.threshold).relu()
                loss = self.penalty * over.square() - 2 * self.moved(x, own)  # of unit vectors |a - b|^2 is 2 (1 - cos)
                (change.grad,) = torch.autograd.grad(loss.sum(), change)
            optimizer.step()
        return images + self.within(images, self.epsilon * change.detach().tanh())


def dssim(images: Tensor, others: Tensor) -> Tensor:
    """``(1 - SSIM) / 2`` of pictures (B, 3, H, W) in [-1, 1], (B,) in [0, 1], differentiable."""
    window = min(_WINDOW, *images.shape[-2:])
    found = ssim((images + 1) / 2, (others + 1) / 2, window - 1 + window % 2)
    return (1 - found.mean((1, 2, 3))) / 2
