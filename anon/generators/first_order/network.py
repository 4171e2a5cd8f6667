"""A source picture moved by keypoints: dense motion, occlusion, and a generator that fills what was hidden.

    T_k(z) = p_k^s + J_k^s (J_k^d)^-1 (z - p_k^d),  T_0(z) = z      near keypoint k, and in the background
    flow   = sum_k m_k T_k                                          m: softmax over the K + 1 motions, at every place
    X      = v warp(S, flow) + (1 - v) G(v warp(features of S, flow))

(Siarohin et al., *First Order Motion Model for Image Animation*, NeurIPS 2019, sections 3.1 and 3.2, and their code.)
Ours: X lets the warped picture itself through where nothing is occluded (v near 1), while the authors' generator draws
all of it; an hour of one CPU core does not teach a network to copy. Groups are in the place of batch norms.

    python train.py experiment=identity_mask
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.first_order.keypoints import Hourglass, KeypointDetector, Keypoints, grid_of, inverse

VARIANCE = 0.01  # of the Gaussians around keypoints, in units of half the side, squared
OPEN = 2.0  # logit of v at the start: .88


class Motion(NamedTuple):
    """``flow`` (B, h, w, 2): where in the source each place is, x, y in [-1, 1]; ``visible`` (B, 1, h, w) in [0, 1]."""

    flow: Tensor
    visible: Tensor


class Moved(NamedTuple):
    """``image`` (B, 3, H, W) in [-1, 1], with ``flow`` (B, H, W, 2) and ``visible`` (B, 1, H, W) of its own size."""

    image: Tensor
    flow: Tensor
    visible: Tensor


def warp(maps: Tensor, flow: Tensor) -> Tensor:
    """Maps (B, C, H, W) looked at where the flow (B, H', W', 2) says; beyond the border is the border."""
    return F.grid_sample(maps, flow, mode="bilinear", padding_mode="border", align_corners=True)


def sparse_motions(source: Keypoints, driving: Keypoints, height: int, width: int) -> Tensor:
    """T_0 .. T_K at every pixel of the result, (B, K + 1, H, W, 2)."""
    grid = grid_of(height, width, source.value)
    across = grid - driving.value[:, :, None, None]  # (B, K, H, W, 2)
    turn = source.jacobian @ inverse(driving.jacobian)
    moved = torch.einsum("bkij,bkhwj->bkhwi", turn, across) + source.value[:, :, None, None]
    return torch.cat((grid.expand(len(moved), 1, -1, -1, -1), moved), 1)


class DenseMotion(nn.Module):
    """Sparse motions and the source moved by each of them -> :class:`Motion`.

    Args:
        points: K.
        base, depth, most: of the hourglass.
    """

    def __init__(self, points: int, base: int = 16, depth: int = 3, most: int = 128) -> None:
        super().__init__()
        self.hourglass = Hourglass(4 * (points + 1), base, depth, most)
        self.masks = nn.Conv2d(self.hourglass.channels, points + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.channels, 1, 7, padding=3)
        nn.init.constant_(self.occlusion.bias, OPEN)  # type: ignore[arg-type]

    def forward(self, image: Tensor, source: Keypoints, driving: Keypoints) -> Motion:
        """The source (B, 3, h, w), its keypoints, and where they go."""
        height, width = image.shape[-2:]
        motions = sparse_motions(source, driving, height, width)
        count = motions.shape[1]
        copies = image[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
        warped = warp(copies, motions.flatten(0, 1)).unflatten(0, (-1, count))  # (B, K + 1, 3, h, w)
        near = [gaussians(points.value, height, width) for points in (driving, source)]
        heat = F.pad(near[0] - near[1], (0, 0, 0, 0, 1, 0))  # none of the background's
        x = self.hourglass(torch.cat((heat[:, :, None], warped), 2).flatten(1, 2))
        masks = self.masks(x).softmax(1)  # (B, K + 1, h, w)
        return Motion((masks[..., None] * motions).sum(1), self.occlusion(x).sigmoid())


def gaussians(points: Tensor, height: int, width: int) -> Tensor:
    """exp(-|z - p|² / 2 :data:`VARIANCE`) of points (B, K, 2), (B, K, H, W)."""
    apart = grid_of(height, width, points) - points[:, :, None, None]
    return (-0.5 * apart.square().sum(-1) / VARIANCE).exp()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        parts = [(nn.GroupNorm(8, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(2)]
        self.inner = nn.Sequential(*parts[0], *parts[1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class FirstOrderMotion(nn.Module):
    """The whole: keypoints, dense motion and generator.

    Args:
        points: keypoints K.
        base: of the hourglasses' channels, see :class:`Hourglass`; ``most`` is eight times that.
        depth: halvings of the hourglasses, which read pictures at ``1 / shrink`` of their side.
        shrink: 4 in the authors' code, of 256 pixels.
        widths: channels of the generator, at the picture's size and at each halving of it; multiples of 8.
        residuals: blocks at its smallest size.

    Raises:
        UserError: widths that groups of 8 do not divide.
    """

    def __init__(
        self,
        points: int = 6,
        base: int = 16,
        depth: int = 3,
        shrink: int = 2,
        widths: tuple[int, ...] = (16, 32, 64),
        residuals: int = 2,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or any(width % 8 for width in widths):
            raise UserError(f"network.widths={list(widths)} must be two or more multiples of 8.")
        self.shrink, self.factor = int(shrink), 2 ** max(len(widths) - 1, 0)
        self.side = shrink * 2**depth  # sides of pictures are multiples of it
        self.detector = KeypointDetector(points, base, depth, 8 * base)
        self.dense = DenseMotion(points, base, depth, 8 * base)
        self.first = nn.Conv2d(3, widths[0], 7, padding=3)
        self.down = nn.Sequential(*(nn.Sequential(_convolved(*pair), nn.AvgPool2d(2)) for pair in pairwise(widths)))
        self.middle = nn.Sequential(*(_Residual(widths[-1]) for _ in range(residuals)))
        rising = [nn.Sequential(_doubled(), _convolved(*pair)) for pair in pairwise(widths[::-1])]
        self.up = nn.Sequential(*rising, nn.Conv2d(widths[0], 3, 7, padding=3), nn.Tanh())

    def keypoints(self, images: Tensor) -> Keypoints:
        """Of pictures (B, 3, H, W) in [-1, 1].

        Raises:
            UserError: sides that cannot be halved so often.
        """
        if any(side % self.side or side % self.factor for side in images.shape[-2:]):
            raise UserError(
                f"First-order motion moves pictures whose sides are multiples of {max(self.side, self.factor)}, "
                f"not {images.shape[-1]} x {images.shape[-2]}."
            )
        return self.detector(self._small(images))

    def forward(self, image: Tensor, source: Keypoints, driving: Keypoints) -> Moved:
        """A source (B, 3, H, W) in [-1, 1] with its keypoints, moved to where ``driving`` has them."""
        motion = self.dense(self._small(image), source, driving)
        flow, visible = (_resized(part, image.shape[-2:]) for part in (motion.flow.permute(0, 3, 1, 2), motion.visible))
        flow = flow.permute(0, 2, 3, 1)
        features = self.down(self.first(image))
        inside = features.shape[-2:]
        seen = warp(features, _resized(flow.permute(0, 3, 1, 2), inside).permute(0, 2, 3, 1))
        drawn = self.up(self.middle(seen * _resized(visible, inside)))
        return Moved(visible * warp(image, flow) + (1.0 - visible) * drawn, flow, visible)

    def _small(self, images: Tensor) -> Tensor:
        if self.shrink == 1:
            return images
        size = [side // self.shrink for side in images.shape[-2:]]
        return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)


def _resized(maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Of another size, with the corners where they were: the identity's flow stays the identity's."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def _convolved(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU())


def _doubled() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")
