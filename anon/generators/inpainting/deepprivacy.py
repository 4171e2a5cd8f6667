"""DeepPrivacy (Hukkelås, Mester & Lindseth, ISVC 2019): box and keypoints to a face, with a Wasserstein critic.

A U-Net that never sees the face: the detector's box is cut out first, and what the network gets of it are keypoints,
one pixel each at every resolution of the decoder, and a latent at 4 x 4.

    encoder   1x1, then at each resolution two 3x3 and average pooling, down to 4 x 4
    4 x 4     [maps, keypoints, z] -> 1x1 -> two 3x3
    decoder   nearest-neighbour upsampling, [x, the encoder's map, keypoints] -> 1x1 -> two 3x3; 1x1 to colours

The form is that of the paper; two parts are of the authors' later code (``hukkelas/DeepPrivacy``, master), for the
paper's network grows over a training that is 1.2 million pictures a phase: colours are drawn at every resolution and
averaged, and the critic's gradient penalty is one-sided, in the hole, every 16 steps. Widths at 64 px are ours.

    python train.py experiment=deepprivacy
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.attributes.contract import Estimator
from anon.errors import UserError
from anon.faces.regions import TIGHT
from anon.generators.blocks import halvings
from anon.generators.inpainting.blocks import SLOPE, EqualConv, EqualLinear, composite, point_maps, two_convs
from anon.generators.inpainting.contract import FivePoints, Inpainter, Seen

POINTS = 5
BOTTOM = 4  # pixels a side where the latent enters


def widths_of(size: int, channels: int, who: str) -> list[int]:
    """Channels at each resolution from ``size`` down to 4: half of them at 64, a quarter at 128 (paper, figure 3)."""
    blocks, side = halvings(size, BOTTOM, 2, 8, who)
    if side != BOTTOM:
        raise UserError(f"{who} images of 4 pixels times a power of two, such as 64 and 128, not {size}.")
    sides = [size // 2**step for step in range(blocks + 1)]
    return [max(1, channels * 32 // side) if side > 32 else channels for side in sides]


class DeepPrivacy(Inpainter):
    """See the module and :class:`anon.generators.inpainting.contract.Inpainter`.

    Args:
        size: side of the pictures: 4 times a power of two, 16 at least.
        landmarks: estimator of the five points (the paper's seven, with ears and shoulders, need a detector of them).
        channels: at 32 px and below; 256 at 128 px is the small network of its code, 512 the large one.
        z_dim: size of the latent, a multiple of 16; it is a map of z_dim / 16 channels at 4 x 4.
        box: the hole.
        truncation: t: latents are of a normal distribution cut at ±t, as its code redraws |z_i| > t. 0 is z = 0, one
            face for a context, the default of its command line. None: none.

    Raises:
        UserError: another size, or a latent that is no such map.
    """

    def __init__(
        self,
        size: int,
        landmarks: Estimator,
        channels: int = 32,
        z_dim: int = 256,
        box: Sequence[float] = TIGHT,
        truncation: float | None = None,
    ) -> None:
        super().__init__(z_dim, box, truncation)
        if z_dim % BOTTOM**2:
            raise UserError(f"DeepPrivacy's latent is a map of 4 x 4, so z_dim is a multiple of 16, not {z_dim}.")
        widths = widths_of(size, channels, "DeepPrivacy draws")
        self.points = FivePoints(landmarks)
        self.from_rgb = EqualConv(3 + 1, widths[0], 1)
        self.encode = nn.ModuleList(
            two_convs(cin, cout, cout, True) for cin, cout in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        deep = widths[-1]
        self.join = EqualConv(deep + POINTS + z_dim // BOTTOM**2, deep, 1)
        self.middle = two_convs(deep, deep, deep, True)
        rising = widths[::-1]
        self.merge = nn.ModuleList(EqualConv(below + own + POINTS, own, 1) for below, own in pairwise(rising))
        self.decode = nn.ModuleList(two_convs(own, own, own, True) for own in rising[1:])
        self.to_rgb = nn.ModuleList(EqualConv(width, 3, 1, gain=1.0) for width in rising)

    def locate(self, target: Tensor) -> Tensor:
        return self.points(target)

    def latent(self, z: Tensor) -> Tensor:
        z = super().latent(z)
        if self.truncation is None:
            return z
        # The quantile of the cut distribution at z's own: what redrawing gives, as a function of z.
        edge = 0.5 * math.erfc(self.truncation / math.sqrt(2.0))
        return torch.special.ndtri(edge + (1.0 - 2.0 * edge) * torch.special.ndtr(z.float())).to(z)

    def fill(self, seen: Seen, z: Tensor) -> Tensor:
        size = seen.context.shape[-1]
        assert seen.points is not None
        # The hole is told, as in DeepPrivacy2: where all is 0, pixel norm multiplies gradients by 1e4, layer by layer.
        hole = seen.hole.to(seen.context).expand(len(seen.context), -1, -1, -1)
        x = F.leaky_relu(self.from_rgb(torch.cat((seen.context, hole), 1)), SLOPE)
        maps: list[Tensor] = []
        for step, block in enumerate(self.encode):
            x = block(F.avg_pool2d(x, 2) if step else x)
            maps.append(x)  # (B, width, size / 2^step, ...)
        code = self.latent(z).view(len(z), -1, BOTTOM, BOTTOM)
        x = maps.pop()
        x = self.join(torch.cat((x, point_maps(seen.points, size, BOTTOM).to(x), code.to(x)), 1))
        x = self.middle(F.leaky_relu(x, SLOPE))
        drawn = self.to_rgb[0](x).float()
        for merge, block, to_rgb in zip(self.merge, self.decode, self.to_rgb[1:], strict=True):
            x, skip = F.interpolate(x, scale_factor=2, mode="nearest"), maps.pop()
            keypoints = point_maps(seen.points, size, x.shape[-1]).to(x)
            x = block(F.leaky_relu(merge(torch.cat((x, skip, keypoints), 1)), SLOPE))
            drawn = F.interpolate(drawn, scale_factor=2, mode="bilinear", align_corners=False) + to_rgb(x).float()
        return composite(drawn / math.sqrt(len(self.to_rgb)), seen.context, seen.hole)


class DeepPrivacyCritic(nn.Module):
    """[picture, context, hole] (B, 7, size, size) and keypoints -> (B,), higher for real; no norm, as WGAN-GP wants.

    The keypoints join at every resolution; widths are sqrt(2) times the generator's (its code).
    """

    def __init__(self, size: int, channels: int = 32) -> None:
        super().__init__()
        widths = [round(width * math.sqrt(2.0)) for width in widths_of(size, channels, "DeepPrivacy's critic judges")]
        self.from_rgb = EqualConv(7, widths[0], 1)
        self.blocks = nn.ModuleList(
            two_convs(cin + POINTS, cin, cout, False)
            for cin, cout in zip(widths, [*widths[1:], widths[-1]], strict=True)
        )
        self.join = EqualConv(widths[-1], widths[-1], BOTTOM)
        self.score = EqualLinear(widths[-1], 1)

    def forward(self, images: Tensor, seen: Seen) -> Tensor:
        """Images (N·B, 3, H, W), N of each of the pictures that ``seen`` is of, in its order."""
        copies, size = len(images) // len(seen.context), images.shape[-1]
        assert seen.points is not None
        condition = torch.cat((seen.context, seen.hole.to(seen.context).expand(len(seen.context), -1, -1, -1)), 1)
        points = seen.points.repeat(copies, 1, 1)
        x = torch.cat((images, condition.repeat(copies, 1, 1, 1)), 1)
        x = F.leaky_relu(self.from_rgb(x), SLOPE)
        for step, block in enumerate(self.blocks):
            x = F.avg_pool2d(x, 2) if step else x
            x = block(torch.cat((x, point_maps(points, size, x.shape[-1]).to(x)), 1))
        kernel = self.join.weight * self.join.scale
        x = F.leaky_relu(F.conv2d(x, kernel, self.join.bias), SLOPE)  # (N·B, C, 1, 1)
        return self.score(x.flatten(1)).float().flatten()
