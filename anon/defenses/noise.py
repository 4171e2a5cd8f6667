"""Noise on the changed face (FIVA, section 3.5): it needs no knowledge of the attack.

Table 3 gives uniform noise of ε = 0.15; figure 3 sweeps the share of the pixels that get any, of which 10 % already
collapse a reconstruction attack and 47 % are best.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anon.defenses.contract import drawing, within
from anon.faces.contract import check_images


def pixel_share(images: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Mask (B, 1, H, W) of 0 and 1 with exactly ``round(share·H·W)`` ones an image, drawn without replacement."""
    count, _, height, width = images.shape
    order = torch.rand(count, height * width, generator=rng, device=rng.device)
    chosen = order.topk(round(share * height * width)).indices  # (B, k)
    return torch.zeros_like(order).scatter_(1, chosen, 1.0).view(count, 1, height, width).to(images)


class UniformNoise(nn.Module):
    """``X_c + ε·U(-1, 1)``, a draw per channel, on a share of the pixels of each image; clamped.

    The paper says "regular uniform noise", and there are two readings of that. U(0, 1), ``positive=True``, also
    brightens the face by ε/2 and has half the spread.

    Args:
        epsilon: largest change, in units of the [-1, 1] range.
        share: of the pixels that get noise, in [0, 1]; a pixel is chosen with its three channels.
        positive: draw from U(0, 1).
    """

    def __init__(self, epsilon: float, share: float = 1.0, positive: bool = False) -> None:
        super().__init__()
        self.epsilon = within(self, "epsilon", epsilon, 0, 2)
        self.share = within(self, "share", share, 0, 1)
        self.positive = positive

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Changed faces -> noisy ones.

        Raises:
            UserError: no ``rng``.
        """
        check_images(changed, "changed")
        rng = drawing(self, rng)
        draw = torch.rand(changed.shape, generator=rng, device=rng.device).to(changed)
        noise = self.epsilon * (draw if self.positive else 2 * draw - 1)
        return (changed + noise * pixel_share(changed, self.share, rng)).clamp(-1, 1)


class GaussianNoise(nn.Module):
    """``X_c + N(0, sigma²)``, a draw per channel, on a share of the pixels of each image; clamped (not in the paper).

    Args:
        sigma: standard deviation, in units of the [-1, 1] range; ε/√3 has the power of ε·U(-1, 1).
        share: of the pixels that get noise, in [0, 1]; a pixel is chosen with its three channels.
    """

    def __init__(self, sigma: float, share: float = 1.0) -> None:
        super().__init__()
        self.sigma = within(self, "sigma", sigma, 0)
        self.share = within(self, "share", share, 0, 1)

    def forward(self, changed: Tensor, *, target: Tensor | None = None, rng: torch.Generator | None = None) -> Tensor:
        """Changed faces -> noisy ones.

        Raises:
            UserError: no ``rng``.
        """
        check_images(changed, "changed")
        rng = drawing(self, rng)
        noise = self.sigma * torch.randn(changed.shape, generator=rng, device=rng.device).to(changed)
        return (changed + noise * pixel_share(changed, self.share, rng)).clamp(-1, 1)
