"""RetinaFace with MobileNet-0.25 (Deng et al. 2019, arXiv:1905.00641) in plain torch, with its file's names.

The file ``mobilenet0.25_Final.pth`` of github.com/biubug6/Pytorch_Retinaface: a MobileNet of 0.25 width, a feature
pyramid of three levels, a context block (SSH) and heads for class, box and five points at each, two priors a place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from anon.faces.detection.files import load
from anon.faces.detection.frames import Candidates, FrameDetector

ORIGIN = "take mobilenet0.25_Final.pth of github.com/biubug6/Pytorch_Retinaface (MIT)"
STEPS = (8, 16, 32)
MIN_SIZES = ((16, 32), (64, 128), (256, 512))  # sides of the two priors at each step, in pixels
VARIANCE = (0.1, 0.2)
MEAN = (104.0, 117.0, 123.0)  # blue, green, red


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, active: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.1)) if active else nn.Sequential(*layers)


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
        nn.BatchNorm2d(inputs),
        nn.LeakyReLU(0.1),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    )


class _Body(nn.Module):
    """MobileNet-0.25 to strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        first = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stage1 = nn.Sequential(_conv(3, 8, stride=2), *(_separable(*sizes) for sizes in first))
        self.stage2 = nn.Sequential(_separable(64, 128, 2), *(_separable(128, 128, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(_separable(128, 256, 2), _separable(256, 256, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one = self.stage1(x)
        two = self.stage2(one)
        return one, two, self.stage3(two)


class _Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_conv(channels, 64, kernel=1) for channels in (64, 128, 256))
        self.merge1, self.merge2 = _conv(64, 64), _conv(64, 64)

    def forward(self, maps: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        one, two, three = self.output1(maps[0]), self.output2(maps[1]), self.output3(maps[2])
        two = self.merge2(two + F.interpolate(three, size=two.shape[2:], mode="nearest"))
        one = self.merge1(one + F.interpolate(two, size=one.shape[2:], mode="nearest"))
        return one, two, three


class _Context(nn.Module):
    """SSH: fields of view of 3, 5 and 7 pixels side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3X3 = _conv(64, 32, active=False)
        self.conv5X5_1, self.conv5X5_2 = _conv(64, 16), _conv(16, 16, active=False)
        self.conv7X7_2, self.conv7x7_3 = _conv(16, 16), _conv(16, 16, active=False)

    def forward(self, x: Tensor) -> Tensor:
        five = self.conv5X5_1(x)
        seven = self.conv7x7_3(self.conv7X7_2(five))
        return F.relu(torch.cat((self.conv3X3(x), self.conv5X5_2(five), seven), 1))


class _Head(nn.Module):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.conv1x1 = nn.Conv2d(64, 2 * columns, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv1x1(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.columns))


class RetinaFaceNet(nn.Module):
    """BGR (B, 3, H, W) minus MEAN -> scores (B, N), box offsets (B, N, 4), point offsets (B, N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fpn = _Body(), _Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = _Context(), _Context(), _Context()
        self.ClassHead = nn.ModuleList(_Head(2) for _ in STEPS)
        self.BboxHead = nn.ModuleList(_Head(4) for _ in STEPS)
        self.LandmarkHead = nn.ModuleList(_Head(10) for _ in STEPS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = [ssh(m) for ssh, m in zip((self.ssh1, self.ssh2, self.ssh3), self.fpn(self.body(x)), strict=True)]
        classes, boxes, points = (
            torch.cat([head(m) for head, m in zip(heads, maps, strict=True)], 1)
            for heads in (self.ClassHead, self.BboxHead, self.LandmarkHead)
        )
        return classes.softmax(-1)[..., 1], boxes, points


def priors(height: int, width: int) -> Tensor:
    """The priors of an image, ``(N, 3)``: centre x, centre y and side, in pixels."""
    parts = []
    for step, sizes in zip(STEPS, MIN_SIZES, strict=True):
        y = (torch.arange(-(-height // step)) + 0.5) * step
        x = (torch.arange(-(-width // step)) + 0.5) * step
        place = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).view(-1, 1, 2).expand(-1, 2, 2)
        side = torch.tensor(sizes, dtype=torch.float32).view(1, 2, 1).expand(len(place), 2, 1)
        parts.append(torch.cat((place, side), -1).flatten(0, 1))
    return torch.cat(parts)


def decode(prior: Tensor, boxes: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (N, 4) and (N, 10) from priors (N, 3) to corners (N, 4) and points (N, 5, 2), in pixels."""
    place, side = prior[:, :2], prior[:, 2:]
    centre = place + boxes[:, :2] * VARIANCE[0] * side
    half = side * torch.exp(boxes[:, 2:] * VARIANCE[1]) / 2
    five = place[:, None] + points.unflatten(1, (5, 2)) * VARIANCE[0] * side[:, None]
    return torch.cat((centre - half, centre + half), 1), five


class RetinaFace(FrameDetector):
    """RetinaFace MobileNet-0.25 from its published weight file.

    Args:
        weights: the file, ``mobilenet0.25_Final.pth``.
        device: where the network runs.
        threshold, nms, frames: see :class:`FrameDetector`.

    Raises:
        UserError: no such file, damaged, or of another network.
    """

    name = "retinaface"
    stride = 32

    def __init__(
        self, weights: str | Path | None, threshold: float = 0.6, nms: float = 0.4, device: str = "cpu", **frames: Any
    ) -> None:
        super().__init__(threshold, nms, **frames)
        self._net = load(RetinaFaceNet(), weights, self.name, ORIGIN, device)
        self._device = device

    @torch.inference_mode()
    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`."""
        x = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).flip(1).float()
        x = x - x.new_tensor(MEAN).view(3, 1, 1)
        scores, boxes, points = (output.cpu() for output in self._net(x))
        prior = priors(*images.shape[1:3])
        found = []
        for score, box, five in zip(scores, boxes, points, strict=True):
            chosen = score >= self.threshold
            corners, places = decode(prior[chosen], box[chosen], five[chosen])
            found.append(Candidates(corners.numpy(), places.numpy(), score[chosen].numpy()))
        return found
