"""The multi-scale patch discriminator of pix2pixHD (Wang et al., CVPR 2018, section 3.2), which SimSwap and FaceShifter
use: the same small network on the picture and on halved copies of it, one logit a patch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.generators.instance_norm import InstanceNorm


class PatchGAN(nn.Module):
    """Images (B, 3, H, W) -> logits (B, 1, H', W') and the maps of its layers, the last hidden one last."""

    def __init__(self, base: int = 64, layers: int = 4) -> None:
        super().__init__()
        widths = [3, *(min(base * 2**step, 8 * base) for step in range(layers))]
        self.layers = nn.ModuleList()
        for step, (cin, cout) in enumerate(pairwise(widths)):
            conv = nn.Conv2d(cin, cout, 4, stride=2 if step < layers - 1 else 1, padding=2)
            norm: nn.Module = InstanceNorm(cout) if step else nn.Identity()
            self.layers.append(nn.Sequential(conv, norm, nn.LeakyReLU(0.2)))
        self.score = nn.Conv2d(widths[-1], 1, 4, padding=2)

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return self.score(maps[-1]), maps[1:]


class MultiScale(nn.Module):
    """Images (B, 3, H, W) -> logits (B, N) of all patches, positive for real. Unconditional.

    The coarser scales' logits are repeated up to the finest one's number, so that every scale counts the same.

    Args:
        scales: networks; each sees the picture of the one before at half the size.
        base, layers: width of the first convolution, and convolutions before the score.
    """

    def __init__(self, scales: int = 2, base: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchGAN(base, layers) for _ in range(scales))

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)[0]

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """torch.compile, in place, for every scale's network, because training asks for ``features`` too."""
        for network in self.scales:
            network.compile(*args, **kwargs)

    def features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits, and the maps of all scales ordered by depth: the last ``scales`` ones are the deepest."""
        scores: list[Tensor] = []
        maps: list[list[Tensor]] = []
        for step, network in enumerate(self.scales):
            if step:
                images = F.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            score, found = network(images)
            scores.append(score.float())
            maps.append(found)
        scores = [scores[0], *(F.interpolate(score, scores[0].shape[-2:]) for score in scores[1:])]
        return torch.cat([score.flatten(1) for score in scores], 1), [
            f for level in zip(*maps, strict=True) for f in level
        ]
