"""Inception-ResNet v1 of FaceNet (Schroff et al., 2015; Szegedy et al., 2016) with the names of facenet-pytorch.

512-d from 160 x 160 RGB, normalized (x - 127.5) / 128. Its files ``20180402-114759-vggface2.pt`` and
``20180408-102900-casia-webface.pt`` load without renaming; their classifier of 8,631 or 10,575 people is dropped.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()


def _chain(*convs: nn.Module) -> nn.Module:
    return convs[0] if len(convs) == 1 else nn.Sequential(*convs)


class Branches(nn.Module):
    """Parallel branches ``branch0``, ``branch1``, ... of one input, side by side in the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)
        self.count = len(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self.count)], 1)


class Residual(Branches):
    """x + scale · conv2d(branches), with a ReLU after the sum unless it is the last block."""

    def __init__(self, channels: int, joined: int, scale: float, rectify: bool, *branches: nn.Module) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale, self.rectify = scale, rectify

    def forward(self, x: Tensor) -> Tensor:
        y = x + self.scale * self.conv2d(super().forward(x))
        return y.relu() if self.rectify else y


def block35(scale: float = 0.17) -> Residual:
    """(B, 256, 17, 17) -> the same."""
    return Residual(
        256,
        96,
        scale,
        True,
        BasicConv2d(256, 32, 1),
        _chain(BasicConv2d(256, 32, 1), BasicConv2d(32, 32, 3, padding=1)),
        _chain(BasicConv2d(256, 32, 1), BasicConv2d(32, 32, 3, padding=1), BasicConv2d(32, 32, 3, padding=1)),
    )


def block17(scale: float = 0.10) -> Residual:
    """(B, 896, 8, 8) -> the same."""
    across, down = BasicConv2d(128, 128, (1, 7), padding=(0, 3)), BasicConv2d(128, 128, (7, 1), padding=(3, 0))
    branches = BasicConv2d(896, 128, 1), _chain(BasicConv2d(896, 128, 1), across, down)
    return Residual(896, 256, scale, True, *branches)


def block8(scale: float = 0.20, rectify: bool = True) -> Residual:
    """(B, 1792, 3, 3) -> the same."""
    across, down = BasicConv2d(192, 192, (1, 3), padding=(0, 1)), BasicConv2d(192, 192, (3, 1), padding=(1, 0))
    branches = BasicConv2d(1792, 192, 1), _chain(BasicConv2d(1792, 192, 1), across, down)
    return Residual(1792, 384, scale, rectify, *branches)


def mixed_6a() -> Branches:
    """(B, 256, 17, 17) -> (B, 896, 8, 8)."""
    return Branches(
        BasicConv2d(256, 384, 3, 2),
        _chain(BasicConv2d(256, 192, 1), BasicConv2d(192, 192, 3, padding=1), BasicConv2d(192, 256, 3, 2)),
        nn.MaxPool2d(3, 2),
    )


def mixed_7a() -> Branches:
    """(B, 896, 8, 8) -> (B, 1792, 3, 3)."""
    return Branches(
        _chain(BasicConv2d(896, 256, 1), BasicConv2d(256, 384, 3, 2)),
        _chain(BasicConv2d(896, 256, 1), BasicConv2d(256, 256, 3, 2)),
        _chain(BasicConv2d(896, 256, 1), BasicConv2d(256, 256, 3, padding=1), BasicConv2d(256, 256, 3, 2)),
        nn.MaxPool2d(3, 2),
    )


class InceptionResnetV1(nn.Module):
    """``(B, 3, 160, 160)`` -> raw embedding (B, 512). 23,482,624 parameters."""

    dim = 512
    #: What its files hold beyond the embedding: the classifier of the people it was trained on.
    unused = ("logits.",)

    def __init__(self, dropout: float = 0.6) -> None:
        super().__init__()
        self.conv2d_1a = BasicConv2d(3, 32, 3, 2)  # 79
        self.conv2d_2a = BasicConv2d(32, 32, 3)  # 77
        self.conv2d_2b = BasicConv2d(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)  # 38
        self.conv2d_3b = BasicConv2d(64, 80, 1)
        self.conv2d_4a = BasicConv2d(80, 192, 3)  # 36
        self.conv2d_4b = BasicConv2d(192, 256, 3, 2)  # 17
        self.repeat_1 = nn.Sequential(*[block35() for _ in range(5)])
        self.mixed_6a = mixed_6a()  # 8
        self.repeat_2 = nn.Sequential(*[block17() for _ in range(10)])
        self.mixed_7a = mixed_7a()  # 3
        self.repeat_3 = nn.Sequential(*[block8() for _ in range(5)])
        self.block8 = block8(scale=1.0, rectify=False)
        self.avgpool_1a = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.last_linear = nn.Linear(1792, self.dim, bias=False)
        self.last_bn = nn.BatchNorm1d(self.dim, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(self.maxpool_3a(x))))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        x = self.dropout(self.avgpool_1a(x).flatten(1))
        return self.last_bn(self.last_linear(x))
