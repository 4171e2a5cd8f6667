"""IResNet, the backbone of ArcFace (Deng et al., CVPR 2019), with the names and shapes of insightface's arcface_torch.

A file of arcface_torch (``backbone.pth``, ``model.pt``) loads without renaming: r50 has 475 keys. Blocks are
pre-normalized (Duta et al., 2020): bn1 -> conv1 -> bn2 -> prelu -> conv2 (stride) -> bn3, plus the shortcut, and no
activation after the sum. The output is the raw embedding; ``anon.identity.encoder.Encoder`` normalizes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: Blocks per stage of the published depths.
DEPTHS: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}


class IBasicBlock(nn.Module):
    """(B, C, H, W) -> (B, planes, H / stride, W / stride)."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inplanes, eps=1e-5)
        self.conv1 = nn.Conv2d(inplanes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes, eps=1e-5)
        self.prelu = nn.PReLU(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes, eps=1e-5)
        self.downsample: nn.Module | None = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inplanes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes, eps=1e-5)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """``(B, 3, input_size, input_size)`` -> raw embedding ``(B, dim)``.

    Args:
        blocks: blocks per stage; the stages are named ``layer1``, ``layer2``, ... and halve the resolution each.
        widths: channels per stage; the stem has the first one.
        dim: size of the embedding.
        input_size: side of the square input in pixels.
        stem_stride: 1 as published; 2 for small inputs on small machines.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        widths: Sequence[int] = (64, 128, 256, 512),
        dim: int = 512,
        input_size: int = 112,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths):
            raise ValueError(f"blocks and widths must be of one length, got {tuple(blocks)} and {tuple(widths)}.")
        self.dim = dim
        self.conv1 = nn.Conv2d(3, widths[0], 3, stride=stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0], eps=1e-5)
        self.prelu = nn.PReLU(widths[0])
        self.stages = [f"layer{number}" for number in range(1, len(blocks) + 1)]
        inplanes, side = widths[0], -(-input_size // stem_stride)
        for name, depth, planes in zip(self.stages, blocks, widths, strict=True):
            stage = [IBasicBlock(inplanes, planes, stride=2)]
            stage += [IBasicBlock(planes, planes) for _ in range(depth - 1)]
            self.add_module(name, nn.Sequential(*stage))
            inplanes, side = planes, -(-side // 2)
        self.bn2 = nn.BatchNorm2d(inplanes, eps=1e-5)
        self.fc = nn.Linear(inplanes * side * side, dim)
        self.features = nn.BatchNorm1d(dim, eps=1e-5)
        nn.init.constant_(self.features.weight, 1.0)
        self.features.weight.requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))  # (B, widths[0], S, S)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.features(self.fc(torch.flatten(self.bn2(x), 1)))


def iresnet18(dim: int = 512, input_size: int = 112) -> IResNet:
    """24.03 M parameters at 112 x 112."""
    return IResNet(DEPTHS[18], dim=dim, input_size=input_size)


def iresnet34(dim: int = 512, input_size: int = 112) -> IResNet:
    """34.14 M parameters at 112 x 112."""
    return IResNet(DEPTHS[34], dim=dim, input_size=input_size)


def iresnet50(dim: int = 512, input_size: int = 112) -> IResNet:
    """43.59 M parameters at 112 x 112."""
    return IResNet(DEPTHS[50], dim=dim, input_size=input_size)


def iresnet100(dim: int = 512, input_size: int = 112) -> IResNet:
    """65.16 M parameters at 112 x 112; the paper's encoder."""
    return IResNet(DEPTHS[100], dim=dim, input_size=input_size)


def iresnet_small(dim: int = 256, input_size: int = 64) -> IResNet:
    """For 64 x 64 inputs and two CPU cores: three stages behind a stem of stride 2, 1.6 M parameters."""
    return IResNet((2, 2, 2), (32, 64, 160), dim, input_size, stem_stride=2)
