"""A plain stack of convolutions after VGG (Simonyan & Zisserman, ICLR 2015): no shortcut, no depthwise convolution.

Maxima shrink the maps and an average over all places makes the embedding, so it does not know where in the face a
feature lies: another bias than those of :mod:`~anon.identity.networks.iresnet`, whose last layer weighs every place by
itself, and of :mod:`~anon.identity.networks.compact`. One of the judges that ship is one of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PlainNet(nn.Module):
    """``(B, 3, S, S)`` -> raw embedding ``(B, dim)``; S is any multiple of ``2 ** len(widths)``.

    Args:
        widths: channels of each stage, named ``stages.0``, ``stages.1``, ...; each halves the side.
        depth: convolutions of a stage.
        dim: size of the embedding.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 224), depth: int = 2, dim: int = 192) -> None:
        super().__init__()
        self.dim = dim
        self.stem = _layer(3, widths[0], stride=2)
        stages, cin = [], widths[0]
        for place, width in enumerate(widths):
            layers: list[nn.Module] = [] if place == 0 else [nn.MaxPool2d(2)]
            for _ in range(depth):
                layers.append(_layer(cin, width))
                cin = width
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(cin, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))  # (B, widths[-1], S/16, S/16)
        return self.norm(self.project(torch.flatten(x.mean((2, 3)), 1)))


def _layer(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(0.1, inplace=True)
    )
