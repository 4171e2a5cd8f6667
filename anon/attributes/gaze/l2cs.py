"""Gaze from L2CS-like ONNX files (Abdelrahman et al., "L2CS-Net", ICFSP 2023): two classifications of an angle.

Each output holds 90 logits of bins four degrees wide from -180 (Gaze360); the angle is the softmax's expectation. In
the published networks and their exports the *first* output turns left and right, whatever it is called.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from anon.attributes.framing import cropped, imagenet
from anon.attributes.onnx_file import OnnxNetwork

_ORIGIN = (
    "export L2CSNet_gaze360.pkl of github.com/Ahmednull/L2CS-Net to ONNX, "
    "or take the files of github.com/yakhyo/gaze-estimation"
)


def expectation(logits: Tensor, width: float = 4.0, start: float = -180.0) -> Tensor:
    """Logits (B, K) of bins ``width`` degrees apart -> degrees (B,).

    >>> expectation(torch.tensor([[0.0, 60.0, 60.0, 0.0]]))
    tensor([-174.])
    """
    bins = torch.arange(logits.shape[1]).to(logits) * width + start
    return (logits.softmax(-1) * bins).sum(-1)


class L2cs(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``gaze`` relative to the camera.

    Args:
        weights: the file, input (B, 3, size, size), RGB with ImageNet's mean and deviation.
        horizontal: which output turns left and right, 0 or 1.
        bins, width, start: of the classification; those of Gaze360. MPIIGaze has 28 bins of 3 degrees from -42.
        size: side of its input.
        side: of the crop in pixels of the 112 template (the published networks saw RetinaFace's boxes).
    """

    name = "l2cs"
    reads: tuple[str, ...] = ("gaze",)

    def __init__(
        self,
        weights: str | Path | None = None,
        horizontal: int = 0,
        bins: int = 90,
        width: float = 4.0,
        start: float = -180.0,
        size: int = 448,
        side: float = 112.0,
    ) -> None:
        super().__init__()
        self.horizontal, self.width, self.start, self.size, self.side = horizontal, width, start, size, side
        self.network = OnnxNetwork(weights, "an L2CS gaze network", _ORIGIN, size, (bins, bins))

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, _ = cropped(images, points, self.size, self.side)
        angles = [expectation(logits, self.width, self.start) for logits in self.network(imagenet(crops))]
        across, up = angles[self.horizontal], angles[1 - self.horizontal]
        return {"gaze": torch.stack((-across, up), -1)}  # theirs is positive to the image's left
