"""Keypoints with their local affine motion, found without labels.

(Siarohin et al., *First Order Motion Model for Image Animation*, NeurIPS 2019, section 3.1.) An hourglass gives a map
for each keypoint; the softmax of a map, over a temperature, is where the keypoint may be, its mean the keypoint p, and
the mean of four further numbers over it the Jacobian J: how the surroundings of the keypoint are turned, sheared and
scaled against an abstract reference frame that no picture shows. Jacobians begin as the identity.

Coordinates are x, y in [-1, 1], of which ±1 are the *centres* of the outer pixels (``align_corners=True`` throughout).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SINGULAR = 1e-3  # least size of the determinant that is divided by


class Keypoints(NamedTuple):
    """``value`` (B, K, 2) x, y in [-1, 1], ``jacobian`` (B, K, 2, 2)."""

    value: Tensor
    jacobian: Tensor

    def of(self, rows: slice | Tensor) -> Keypoints:
        """Those of some pictures."""
        return Keypoints(self.value[rows], self.jacobian[rows])

    @classmethod
    def joined(cls, parts: Sequence[Keypoints]) -> Keypoints:
        """Those of the pictures of all parts, in order."""
        return cls(torch.cat([part.value for part in parts]), torch.cat([part.jacobian for part in parts]))


def grid_of(height: int, width: int, like: Tensor) -> Tensor:
    """(H, W, 2) x, y of the pixels' centres, on the device and of the type of ``like``.

    >>> grid_of(2, 3, torch.zeros(()))[1].tolist()
    [[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """
    y, x = (torch.linspace(-1.0, 1.0, side, device=like.device, dtype=like.dtype) for side in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def inverse(matrix: Tensor) -> Tensor:
    """Of (..., 2, 2), with a determinant no nearer to 0 than :data:`SINGULAR`.

    >>> inverse(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, -0.0], [-0.0, 0.25]]
    """
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    size = a * d - b * c
    size = torch.where(size < 0, -1.0, 1.0) * size.abs().clamp(min=SINGULAR)
    return torch.stack((torch.stack((d, -b), -1), torch.stack((-c, a), -1)), -2) / size[..., None, None]


def relative(source: Keypoints, driving: Keypoints, first: Keypoints) -> Keypoints:
    """Where a source's keypoints go if it moves as a clip did between its ``first`` frame and ``driving`` (B, K).

    p = p_s + p_t - p_1 and J = J_t J_1^-1 J_s: the source keeps its own shape, and is to have the first frame's pose.
    """
    value = source.value + driving.value - first.value
    return Keypoints(value, driving.jacobian @ inverse(first.jacobian) @ source.jacobian)


def _block(before: int, after: int) -> nn.Sequential:
    """Groups in the place of the authors' batch norm: a picture is drawn alone as it is among others."""
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(min(8, after), after), nn.ReLU())


class Hourglass(nn.Module):
    """Halvings and doublings, with what there was before each halving beside what comes back.

    Args:
        channels: of the map that is read.
        base, most: channels of the first block's output are twice ``base``, then twice those each, at most ``most``.
        depth: halvings; sides are multiples of 2^depth.
    """

    def __init__(self, channels: int, base: int = 16, depth: int = 3, most: int = 128) -> None:
        super().__init__()
        widths = [channels, *(min(most, base * 2 ** (level + 1)) for level in range(depth))]
        back = [min(most, base * 2**level) for level in range(depth)]
        self.down = nn.ModuleList(nn.Sequential(_block(*pair), nn.AvgPool2d(2)) for pair in pairwise(widths))
        into = [widths[-1], *(width + skip for width, skip in zip(back[:0:-1], widths[-2:0:-1], strict=True))]
        self.up = nn.ModuleList(_block(*pair) for pair in zip(into, back[::-1], strict=True))
        self.channels = back[0] + channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, ``self.channels``, h, w)."""
        kept = [x]
        for block in self.down:
            kept.append(block(kept[-1]))
        x = kept.pop()
        for block in self.up:
            x = torch.cat((block(F.interpolate(x, scale_factor=2, mode="nearest")), kept.pop()), 1)
        return x


class KeypointDetector(nn.Module):
    """Pictures (B, 3, h, w) in [-1, 1] -> :class:`Keypoints`.

    Args:
        points: K.
        base, depth, most: of the hourglass.
        temperature: over which the maps' softmax is taken.
    """

    def __init__(self, points: int, base: int = 16, depth: int = 3, most: int = 128, temperature: float = 0.1) -> None:
        super().__init__()
        self.points, self.temperature = points, temperature
        self.hourglass = Hourglass(3, base, depth, most)
        # The authors do not pad here, which narrows what a keypoint can reach: by a tenth of the side at 64 pixels.
        self.maps = nn.Conv2d(self.hourglass.channels, points, 7, padding=3)
        self.jacobians = nn.Conv2d(self.hourglass.channels, 4 * points, 7, padding=3)
        nn.init.zeros_(self.jacobians.weight)
        with torch.no_grad():
            self.jacobians.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(points))  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Keypoints:
        x = self.hourglass(images)
        heat = (self.maps(x).flatten(2) / self.temperature).softmax(2)  # (B, K, h·w)
        height, width = images.shape[-2:]
        grid = grid_of(height, width, heat).flatten(0, 1)  # (h·w, 2)
        jacobian = self.jacobians(x).flatten(2).unflatten(1, (self.points, 4))  # (B, K, 4, h·w)
        return Keypoints(heat @ grid, (jacobian * heat[:, :, None]).sum(3).unflatten(2, (2, 2)))
