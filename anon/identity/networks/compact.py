"""A compact recognizer of inverted residuals, after MobileFaceNet (Chen et al., CCBR 2018), for small inputs.

Deliberately another kind of network than IResNet: depthwise-separable convolutions, linear bottlenecks, ReLU, and a
global *depthwise* convolution in place of the fully connected layer. The second recognizer that ships with the package
is one of these, so that the judge differs from the training encoder in architecture as well as in loss and seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def _unit(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False) -> nn.Sequential:
    """Convolution, batch norm and, unless ``linear``, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    ]
    return nn.Sequential(*layers, *([] if linear else [nn.ReLU(inplace=True)]))


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3 (stride), project 1x1 linearly; a shortcut where the shapes allow one."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = cin * expansion
        self.shortcut = stride == 1 and cin == cout
        self.expand = _unit(cin, hidden, 1)
        self.depthwise = _unit(hidden, hidden, 3, stride, groups=hidden)
        self.project = _unit(hidden, cout, 1, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class CompactNet(nn.Module):
    """``(B, 3, input_size, input_size)`` -> raw embedding ``(B, dim)``.

    Args:
        stem: channels of the two plain 3x3 convolutions of stride 2 at the entrance; a depthwise convolution at full
            resolution costs a CPU more than they do.
        stages: per stage (channels, blocks, stride of the first block); named ``stages.0``, ``stages.1``, ...
        expansion: hidden channels of a block over its input channels.
        head: channels of the last 1x1 convolution, which the global depthwise convolution pools.
        dim: size of the embedding.
        input_size: side of the square input in pixels; the stem quarters it.
    """

    def __init__(
        self,
        stem: tuple[int, int] = (32, 64),
        stages: Sequence[tuple[int, int, int]] = ((64, 2, 1), (128, 4, 2)),
        expansion: int = 2,
        head: int = 384,
        dim: int = 192,
        input_size: int = 64,
    ) -> None:
        super().__init__()
        self.dim = dim
        cin, side = stem[1], -(-input_size // 4)
        self.stem = nn.Sequential(_unit(3, stem[0], 3, stride=2), _unit(stem[0], stem[1], 3, stride=2))
        built = []
        for channels, blocks, stride in stages:
            first = InvertedResidual(cin, channels, stride, expansion)
            rest = [InvertedResidual(channels, channels, 1, expansion) for _ in range(blocks - 1)]
            built.append(nn.Sequential(first, *rest))
            cin, side = channels, -(-side // stride)
        self.stages = nn.Sequential(*built)
        self.head = _unit(cin, head, 1)
        self.pool = nn.Sequential(nn.Conv2d(head, head, side, groups=head, bias=False), nn.BatchNorm2d(head))
        self.project = nn.Linear(head, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(self.stages(self.stem(x)))  # (B, head, S/8, S/8)
        x = torch.flatten(self.pool(x), 1)  # (B, head)
        return self.norm(self.project(x))
