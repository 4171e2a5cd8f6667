"""MediaPipe's FaceMesh, 468 points (Kartynnik et al., "Real-time Facial Surface Geometry", CVPRW 2019), in torch.

Weights: ``blazeface_landmark.pth`` of github.com/zmurez/MediaPipePyTorch (Apache-2.0), whose names the parameters bear.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anon.attributes.framing import cropped
from anon.errors import UserError
from anon.faces.alignment import invert, transform
from anon.weights.files import load_into

SIZE, POINTS = 192, 468
_ORIGIN = "take blazeface_landmark.pth of github.com/zmurez/MediaPipePyTorch"


class BlazeBlock(nn.Module):
    """Depthwise 3 x 3 and 1 x 1 convolution beside a shortcut; TensorFlow's padding at stride 2."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.extra = stride, outputs - inputs
        self.convs = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, padding=stride % 2, groups=inputs), nn.Conv2d(inputs, outputs, 1)
        )
        self.act = nn.PReLU(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        out = maps
        if self.stride == 2:
            out, maps = F.pad(maps, (0, 2, 0, 2)), F.max_pool2d(maps, 2)
        return self.act(self.convs(out) + F.pad(maps, (0, 0, 0, 0, 0, self.extra)))


class FaceMeshNetwork(nn.Module):
    """(B, 3, 192, 192) in [0, 1] -> points (B, 468, 3) in pixels of the crop."""

    unused = ("backbone2b.",)  # how sure it is that there is a face

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128)
        blocks = [BlazeBlock(a, b, 2 if n in (2, 5, 8, 11) else 1) for n, (a, b) in enumerate(pairwise(widths))]
        self.backbone1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.PReLU(16), *blocks)
        self.backbone2a = nn.Sequential(
            BlazeBlock(128, 128, 2),
            BlazeBlock(128, 128),
            BlazeBlock(128, 128),
            nn.Conv2d(128, 32, 1),
            nn.PReLU(32),
            BlazeBlock(32, 32),
            nn.Conv2d(32, POINTS * 3, 3),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone2a(self.backbone1(F.pad(images, (0, 1, 0, 1)))).view(-1, POINTS, 3)


class FaceMesh(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``landmarks`` (B, 468, 2)."""

    name = "facemesh"
    reads: tuple[str, ...] = ("landmarks",)
    side, centre = 130.0, (56.0, 62.0)  # one and a half boxes of MediaPipe's detector

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        if weights is None:
            raise UserError(f"FaceMesh needs a weight file: {_ORIGIN}.")
        self.network = FaceMeshNetwork()
        load_into(self.network, weights)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, matrix = cropped(images, points, SIZE, self.side, self.centre, upright=True)
        found = self.network(crops * 0.5 + 0.5)[..., :2] - 0.5
        return {"landmarks": transform(invert(matrix), found)}
