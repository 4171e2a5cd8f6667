"""Recognizers that a pattern does not fool: the pictures that they learn from.

    min over w of E max over |d| <= radius of L(w, x + d, y)                 (Madry et al., ICLR 2018, eq. 2.1)

An ordinary recognizer is fled most cheaply by a pattern that only a recognizer sees. Gradients of one that was trained
on the worst pictures of a ball are perceptually aligned (Tsipras et al., ICLR 2019; Engstrom et al., arXiv:1906.00945),
so a generator that flees it draws another person.

    python train.py experiment=recognizer_student
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from anon.errors import UserError

#: Images (B, 3, H, W) -> a loss of each, (B,).
Losses = Callable[[Tensor], Tensor]


class WorstPicture:
    """The picture of the largest loss that projected gradient steps find in a ball around each (Madry et al., 2018).

    Args:
        radius: of the ball, in units of the [-1, 1] range: of a picture's L2 norm, or of its largest change. With l2 it
            grows with the picture's side, for one change a pixel: 2.0 at 64 px is 3.5 at 112 px and 8.0 at 256 px.
        steps: gradient steps; each costs a pass and a gradient.
        step: length of each, as a share of the radius.
        norm: "l2", with gradients of unit norm, or "linf", with their signs.
    """

    def __init__(
        self, radius: float = 2.0, steps: int = 2, step: float = 0.75, norm: Literal["l2", "linf"] = "l2"
    ) -> None:
        if norm not in ("l2", "linf"):
            raise UserError(f"WorstPicture knows the norms l2 and linf, not '{norm}'.")
        self.radius, self.steps, self.step, self.norm = float(radius), int(steps), float(step), norm

    def __call__(self, losses: Losses, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> detached ones in [-1, 1], none further than the radius.

        Args:
            losses: what is ascended; it must give the image a gradient, and no image's may depend on another's.
            rng: of the random start, uniform in the ball, on the images' device.
        """
        images = images.detach()
        change = self._within(self._start(images, rng))
        for _ in range(self.steps):
            with torch.enable_grad():
                at = (images + change).clamp(-1.0, 1.0).requires_grad_()
                (slope,) = torch.autograd.grad(losses(at).sum(), at)
            change = self._within(at.detach() - images + self.radius * self.step * self._direction(slope))
        return (images + change).clamp(-1.0, 1.0)

    def _start(self, images: Tensor, rng: torch.Generator) -> Tensor:
        if self.norm == "linf":
            return self.radius * (2.0 * torch.rand(images.shape, generator=rng, device=images.device) - 1.0)
        count, numbers = len(images), images[0].numel()
        direction = self._direction(torch.randn(images.shape, generator=rng, device=images.device))
        length = torch.rand(count, 1, 1, 1, generator=rng, device=images.device) ** (1.0 / numbers)
        return self.radius * length * direction

    def _direction(self, slope: Tensor) -> Tensor:
        return slope.sign() if self.norm == "linf" else slope / _norms(slope).clamp_min(1e-12)

    def _within(self, change: Tensor) -> Tensor:
        if self.norm == "linf":
            return change.clamp(-self.radius, self.radius)
        return change * (self.radius / _norms(change).clamp_min(1e-12)).clamp(max=1.0)


def _norms(images: Tensor) -> Tensor:
    return images.flatten(1).norm(dim=1)[:, None, None, None]
