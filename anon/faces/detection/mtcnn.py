"""MTCNN (Zhang et al. 2016, arXiv:1604.02878) in plain torch, with the names of facenet-pytorch's weight files.

Three nets in a row: P looks at every 12-pixel window of an image pyramid, R at 24-pixel crops of what P found, O at
48-pixel crops of what R found, and only O gives the five points. The nets were converted from MATLAB, which shows in
one-based coordinates and in the transposed maps before the dense layers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.detection.files import load
from anon.faces.detection.frames import Candidates, Floats, FrameDetector, suppress

ORIGIN = "take the folder data with pnet.pt, rnet.pt and onet.pt of github.com/timesler/facenet-pytorch (MIT)"
FACTOR = 0.709  # from one step of the pyramid to the next
_CELL, _STRIDE = 12, 2  # P's window and its step
_CROPS = 512  # crops a pass of R and O
_MOST = 2000  # candidates of an image and a step that go on; noise gives more


class PNet(nn.Module):
    """(B, 3, H, W) -> face probability (B, h, w), offsets of the box (B, 4, h, w)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 2, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x)


class RNet(nn.Module):
    """(B, 3, 24, 24) -> face probability (B,), offsets of the box (B, 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1)
        x = self.prelu4(self.dense4(x.flatten(1)))
        return self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)


class ONet(nn.Module):
    """(B, 3, 48, 48) -> face probability (B,), offsets of the box (B, 4), five x then five y (B, 10) in its sides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, 2, ceil_mode=True)
        x = self.prelu4(self.conv4(x)).permute(0, 3, 2, 1)
        x = self.prelu5(self.dense5(x.flatten(1)))
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), self.dense6_3(x)


class Mtcnn(FrameDetector):
    """MTCNN from the three published files.

    Args:
        weights: the folder with ``pnet.pt``, ``rnet.pt`` and ``onet.pt``.
        threshold: least score of O, the one that is reported.
        nms, min_size, max_side, batch: see :class:`FrameDetector`; the pyramid starts at ``min_size``, which sets the
            speed.
        proposals: least scores of P and R.
        device: where the nets run.

    Raises:
        UserError: no such folder or files, damaged, or of other networks.
    """

    name = "mtcnn"

    def __init__(
        self,
        weights: str | Path | None,
        threshold: float = 0.7,
        nms: float = 0.7,
        min_size: float = 20,
        max_side: int = 640,
        batch: int = 8,
        proposals: tuple[float, float] = (0.6, 0.7),
        device: str = "cpu",
    ) -> None:
        super().__init__(threshold, nms, min_size, max_side, batch)
        if weights is None:
            raise UserError(f"The detector {self.name} needs the folder of its weight files: {ORIGIN}.")
        folder = Path(weights).expanduser()
        if folder.is_file():
            raise UserError(f"The detector {self.name} needs a folder, and '{folder}' is a file; {ORIGIN}.")
        self._p = load(PNet(), folder / "pnet.pt", self.name, ORIGIN, device)
        self._r = load(RNet(), folder / "rnet.pt", self.name, ORIGIN, device)
        self._o = load(ONet(), folder / "onet.pt", self.name, ORIGIN, device)
        self._proposals, self._device = tuple(proposals), device

    @torch.inference_mode()
    def find(self, images: NDArray[np.uint8], smallest: float) -> list[Candidates]:
        """See :meth:`FrameDetector.find`."""
        pixels = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float()
        image, boxes = self._propose(pixels, max(smallest, float(_CELL)))
        boxes = _square(boxes)

        scores, offsets = self._look(self._r, pixels, image, boxes, 24)
        chosen = scores > self._proposals[1]
        image, boxes, scores, offsets = image[chosen], boxes[chosen], scores[chosen], offsets[chosen]
        kept = suppress(boxes, scores, 0.7, image)
        image, boxes = image[kept], _square(_shift(boxes[kept], offsets[kept], 1.0))

        scores, offsets, places = self._look(self._o, pixels, image, boxes, 48)
        chosen = scores >= self.threshold
        image, boxes, scores = image[chosen], boxes[chosen], scores[chosen]
        sides = boxes[:, 2:] - boxes[:, :2] + 1.0
        places = places[chosen].reshape(-1, 2, 5).transpose(0, 2, 1)  # (N, 5, 2)
        points = places * sides[:, None] + boxes[:, None, :2] - 1.0
        boxes = _shift(boxes, offsets[chosen], 1.0)
        kept = suppress(boxes, scores, 0.7, image, smaller=True)
        boxes, points, scores, image = boxes[kept] - 1.0, points[kept], scores[kept], image[kept]
        return [Candidates(boxes[image == i], points[image == i], scores[image == i]) for i in range(len(images))]

    def _propose(self, pixels: Tensor, smallest: float) -> tuple[NDArray[np.int64], Floats]:
        """P over the pyramid: the number of the image (N,) and the box (N, 4, one-based) of every candidate."""
        height, width = pixels.shape[2:]
        scale = _CELL / smallest
        owners, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        rows = [np.zeros((0, 8), np.float32)]  # boxes with their offsets, which are added after the suppression
        while min(height, width) * scale >= _CELL:
            small = _resize(pixels, (int(height * scale + 1), int(width * scale + 1)))
            probability, regression = self._p(small)
            image, y, x = torch.nonzero(probability >= self._proposals[0], as_tuple=True)
            score = probability[image, y, x].cpu().numpy()
            offset = regression[image, :, y, x].cpu().numpy()
            owner = image.cpu().numpy()
            place = torch.stack((x, y), 1).cpu().numpy().astype(np.float32) * _STRIDE
            box = np.concatenate((np.floor((place + 1) / scale), np.floor((place + _CELL) / scale)), 1)
            order = np.argsort(-score, kind="stable")[: _MOST * len(pixels)]
            kept = order[suppress(box[order], score[order], 0.5, owner[order])]
            owners.append(owner[kept])
            scores.append(score[kept])
            rows.append(np.concatenate((box, offset), 1)[kept])
            scale *= FACTOR
        image_of, row = np.concatenate(owners), np.concatenate(rows)
        kept = suppress(row[:, :4], np.concatenate(scores), 0.7, image_of)
        return image_of[kept], _shift(row[kept, :4], row[kept, 4:], 0.0)

    def _look(self, net: nn.Module, pixels: Tensor, image: NDArray[np.int64], boxes: Floats, side: int) -> list[Floats]:
        """What R or O says of each box (one-based), cut to the image as facenet-pytorch does."""
        height, width = pixels.shape[2:]
        low = np.maximum(np.trunc(boxes[:, :2]).astype(np.int64), 1)
        high = np.minimum(np.trunc(boxes[:, 2:]).astype(np.int64), (width, height))
        crops = torch.zeros(len(boxes), 3, side, side, device=pixels.device)
        for i in np.flatnonzero((high >= low).all(1)):
            (x, y), (right, bottom) = low[i], high[i]
            crops[i] = _resize(pixels[image[i], None, :, y - 1 : bottom, x - 1 : right], (side, side))[0]
        parts = [net(crops[start : start + _CROPS]) for start in range(0, max(len(crops), 1), _CROPS)]
        return [torch.cat(outputs).cpu().numpy() for outputs in zip(*parts, strict=True)]


def _resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """By area, then to the nets' range."""
    return (F.interpolate(pixels, size=size, mode="area") - 127.5) / 128.0


def _shift(boxes: Floats, offsets: Floats, one: float) -> Floats:
    """Add offsets in shares of the box's sides, which count both end pixels if ``one`` is 1."""
    sides = boxes[:, 2:] - boxes[:, :2] + one
    return boxes + offsets * np.tile(sides, 2)


def _square(boxes: Floats) -> Floats:
    """Squares of the longer side about the same centres."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(1, keepdims=True) if len(boxes) else sides[:, :1]
    low = boxes[:, :2] + sides / 2 - longer / 2
    return np.concatenate((low, low + longer), 1)
