"""Pictures that are bad before they are anonymized: does a method still hide a face that it hardly sees?

A mosaic or a bar over the eyes leave a person recognizable to some degree, and are what archives hold; a face far from
frontal is where landmarks and generators fail first. The identity must be gone from all of them. An anonymizer may fool
a recognizer with a pattern instead of another face; compression and resizing wipe patterns out.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from anon.anonymizers.filters import block_means
from anon.defenses.processing import jpeg, resized
from anon.errors import UserError
from anon.faces.alignment import PARTS, part_of

FILL = 0.0  # mid grey


class Pixelated(nn.Module):
    """A mosaic of ``blocks`` a side. Images (B, 3, H, W) in [-1, 1] -> the same form."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, images: Tensor) -> Tensor:
        means = block_means(images, self.blocks)
        return nn.functional.interpolate(means, images.shape[-2:], mode="nearest-exact")


class Occluded(nn.Module):
    """A grey bar over a part of the aligned face. Images (B, 3, H, W) in [-1, 1] -> the same form.

    Args:
        part: ``eyes``, ``mouth`` or ``left_half``.

    Raises:
        UserError: another part.
    """

    def __init__(self, part: str) -> None:
        super().__init__()
        if part not in PARTS:
            raise UserError(f"A face has no part '{part}' to occlude; there are: {', '.join(PARTS)}.")
        self.part = part

    def forward(self, images: Tensor) -> Tensor:
        worse, (rows, columns) = images.clone(), part_of(self.part, images.shape[-1])
        worse[..., rows, columns] = FILL
        return worse


class Degraded(nn.Module):
    """Compressed or shrunk and enlarged, written as in :func:`degrade`."""

    def __init__(self, steps: str) -> None:
        super().__init__()
        degrade(torch.zeros(1, 3, 16, 16), steps)  # a step that there is not is refused before any work
        self.steps = steps

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> the same form."""
        return degrade(images, self.steps)


def degrade(images: Tensor, names: str) -> Tensor:
    """Apply steps named like ``jpeg75``, ``resize0.5`` or ``resize0.5+jpeg75``, left to right.

    Raises:
        UserError: a step that there is not.
    """
    for step in names.split("+"):
        match = re.fullmatch(r"(jpeg|resize)(\d+(?:\.\d+)?)", step)
        if match is None:
            raise UserError(f"Unknown degradation '{step}'; write jpeg<quality> or resize<factor>, joined by '+'.")
        images = jpeg(images, int(float(match[2]))) if match[1] == "jpeg" else resized(images, float(match[2]))
    return images


class Turned:
    """Only faces that are turned away: |yaw| above ``yaw`` degrees; chooses pictures and changes none.

    Args:
        yaw: degrees, above 0.
    """

    def __init__(self, yaw: float) -> None:
        self.yaw = yaw

    def choose(self, pose: Tensor) -> Tensor:
        """Which of the poses (N, 3), yaw first, are turned: (N,) bool.

        >>> Turned(45.0).choose(torch.tensor([[50.0, 0.0, 0.0], [-46.0, 0.0, 0.0], [45.0, 0.0, 0.0]]))
        tensor([ True,  True, False])
        """
        return pose[:, 0].abs() > self.yaw
