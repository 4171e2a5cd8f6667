"""Inpainting: the face is cut out before the network, which fills the hole with somebody.

    seen = see(target)         what is left: the picture around the hole, the hole, and five points where they are used
    X_c  = fill(seen, z)       the hole drawn; around it the picture, bit for bit

``fill`` does not get the face, so no training can teach it to copy one. z is a latent that says nothing of anybody:
``steers`` is 0, and a policy draws it at random (:class:`anon.identity.latent.RandomIdentity`), one for a face, for a
track, or with the tracker (ITM) for a person. These generators cannot swap, and no dial leads from a face's own
identity to another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anon.attributes.contract import Estimator
from anon.errors import Failed
from anon.faces.regions import TIGHT, box_mask, check_box
from anon.generators.contract import Redrawn


class Seen(NamedTuple):
    """All that a network knows of a picture: ``context`` (B, 3, H, W), 0 in the hole; ``hole`` (1, 1, H, W) bool;
    ``points`` (B, 5, 2) in pixels, or None."""

    context: Tensor
    hole: Tensor
    points: Tensor | None


class Inpainter(nn.Module, ABC):
    """``forward(target (B, 3, H, W), z (B, z_dim)) -> Redrawn`` without a mask: the hole is composed inside.

    Args:
        z_dim: size of the latent, which comes with unit norm; times sqrt(z_dim) it is nearly a normal one.
        box: the hole: left, top, right and bottom edge as shares of the side.
        truncation: how far latents may be from the most usual one, see the kinds; None: as far as they are.
    """

    #: It neither becomes nor flees a condition: its people come from a latent.
    steers = 0

    def __init__(self, z_dim: int, box: Sequence[float] = TIGHT, truncation: float | None = None) -> None:
        super().__init__()
        self.z_dim, self.box, self.truncation = z_dim, check_box(box), truncation

    def see(self, target: Tensor) -> Seen:
        """What is left of ``target`` once the face is cut out."""
        hole = box_mask(self.box, *target.shape[-2:]).to(target.device)
        return Seen(target.masked_fill(hole, 0.0), hole, self.locate(target))

    def locate(self, target: Tensor) -> Tensor | None:
        """The five points of the faces, where the network is told them."""
        return None

    @abstractmethod
    def fill(self, seen: Seen, z: Tensor) -> Tensor:
        """The picture (B, 3, H, W) with the hole drawn, and ``seen.context`` around it."""

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        image = self.fill(self.see(target), z)
        return Redrawn(image if self.training else image.clamp(-1, 1), None)

    def latent(self, z: Tensor) -> Tensor:
        """z (B, z_dim) of unit norm as a latent of unit variance."""
        return z.mul(self.z_dim**0.5)


class FivePoints(nn.Module):
    """A frozen estimator of the five points, which is built with its weights and is in no checkpoint.

    It is what a keypoint detector is to the papers: the one thing that looks at the face, for ten numbers.
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        self.estimator = estimator
        if isinstance(estimator, nn.Module):
            estimator.requires_grad_(False).eval()
        self.register_state_dict_post_hook(_without_estimator)
        self.register_load_state_dict_post_hook(_estimator_is_not_missing)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 5, 2) in pixels.

        Raises:
            Failed: the estimator reads other points than five.
        """
        points = self.estimator(images)["landmarks"]
        if points.shape != (len(images), 5, 2):
            raise Failed(f"The estimator gave points {tuple(points.shape)} for {len(images)} faces, not five each.")
        return points.float()

    def train(self, mode: bool = True) -> FivePoints:
        """Stays in evaluation mode."""
        return super().train(False)


def _without_estimator(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: object) -> None:
    for key in [key for key in state if key.startswith(f"{prefix}estimator.")]:
        del state[key]


def _estimator_is_not_missing(module: nn.Module, keys: object) -> None:
    missing: list[str] = keys.missing_keys  # type: ignore[attr-defined]
    missing[:] = [key for key in missing if ".estimator." not in f".{key}"]
