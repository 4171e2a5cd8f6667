"""A small network that reads pose, expression, gaze and the five points off a face.

Trained on the ground truth of the synthetic faces (``python train.py experiment=attributes``), it tells how much of a
face's attributes an anonymizer keeps. Its own error on unchanged faces stands beside every figure made with it.
"""

from __future__ import annotations

from typing import TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anon.attributes.distances import distances
from anon.attributes.framing import cropped
from anon.faces.alignment import Framing, invert, reframe, reframing, transform
from anon.identity.networks.iresnet import IResNet
from anon.weights.files import load_into

#: What one unit of the network's output stands for: degrees, expression units, degrees, half an image side.
SCALES = {"pose": 15.0, "expression": 0.4, "gaze": 8.0, "landmarks": 0.2}
WIDTHS = {"pose": 3, "expression": 4, "gaze": 2, "landmarks": 10}
#: The same framing in pixels of the 112 template, for faces given with their five points.
SIDE, CENTRE = 135.4, (56.0, 62.4)
#: The mean five points of the synthetic framing, in halves of the image side around its centre: x, y.
MEAN_POINTS = ((-0.26, -0.16), (0.26, -0.16), (0.0, 0.10), (-0.17, 0.34), (0.17, 0.34))


class Attributes(TypedDict):
    """What is read: float32, units as in ``anon.faces.contract.Sample``."""

    pose: Tensor  # (B, 3) degrees
    expression: Tensor  # (B, 4)
    gaze: Tensor  # (B, 2) degrees
    landmarks: Tensor  # (B, 5, 2) pixels of the image that was given


class AttributeRegressor(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], any size -> :class:`Attributes`; an :class:`anon.attributes.contract.Estimator`.

    Without points the image must be framed as the synthetic faces are.

    Args:
        size: side at which it looks, pixels.
        widths: channels of its residual stages.
        weights: file or ``shipped:<name>``; None keeps the random start, for training.
    """

    name = "synthetic"
    reads: tuple[str, ...] = tuple(WIDTHS)

    def __init__(self, size: int = 64, widths: tuple[int, ...] = (32, 64, 128), weights: str | None = None) -> None:
        super().__init__()
        self.size = size
        self.trunk = IResNet((2,) * len(widths), widths, dim=128, input_size=size, stem_stride=2)
        self.head = nn.Linear(128, sum(WIDTHS.values()))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if weights is not None:
            load_into(self, weights)
            self.eval().requires_grad_(False)

    def read(self, images: Tensor) -> dict[str, Tensor]:
        """The four outputs in the network's own units, landmarks (B, 10) as offsets from the mean points."""
        out = self.head(F.leaky_relu(self.trunk(reframe(images, Framing.of(self.size))).float(), 0.2))
        return dict(zip(WIDTHS, out.split(list(WIDTHS.values()), dim=-1), strict=True))

    def forward(self, images: Tensor, points: Tensor | None = None) -> Attributes:
        if points is not None:
            crops, matrix = cropped(images, points, self.size, SIDE, CENTRE)
            found: Attributes = self(crops)
            found["landmarks"] = transform(invert(matrix), found["landmarks"])
            return found
        out = {name: values * SCALES[name] for name, values in self.read(images).items()}
        mean = torch.tensor(MEAN_POINTS, device=images.device)
        seen = (out["landmarks"].view(-1, 5, 2) + mean + 1) * (self.size / 2) - 0.5  # pixel centres at integers
        height, width = images.shape[-2:]
        points = transform(invert(reframing(height, width, Framing.of(self.size))).to(seen), seen)
        return Attributes(pose=out["pose"], expression=out["expression"], gaze=out["gaze"], landmarks=points)


def targets(batch: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Ground truth of a batch of samples in the own units of a network that looks at ``size`` pixels."""
    height, width = batch["image"].shape[-2:]
    there = reframing(height, width, Framing.of(size)).to(batch["landmarks"])
    mean = torch.tensor(MEAN_POINTS, device=batch["landmarks"].device)
    points = ((transform(there, batch["landmarks"]) + 0.5) / (size / 2) - 1 - mean).flatten(1)
    truth = {"pose": batch["pose"], "expression": batch["expression"], "gaze": batch["gaze"], "landmarks": points}
    return {name: values / SCALES[name] for name, values in truth.items()}


def attribute_errors(read: Attributes, truth: Attributes) -> dict[str, Tensor]:
    """Errors of each face (B,): L2 of pose and gaze in degrees, L2 of expression, mean distance of landmarks in pixels.

    "Pose" and "expression" of the swap benchmarks are means of these (FaceDancer, WACV 2023).

    >>> zero = Attributes(pose=torch.zeros(1, 3), expression=torch.zeros(1, 4), gaze=torch.zeros(1, 2),
    ...                   landmarks=torch.zeros(1, 5, 2))
    >>> other = Attributes(pose=torch.tensor([[3.0, 4.0, 0.0]]), expression=torch.full((1, 4), 0.5),
    ...                    gaze=torch.zeros(1, 2), landmarks=torch.tensor([[[3.0, 4.0]] * 5]))
    >>> {name: round(float(error), 3) for name, error in attribute_errors(other, zero).items()}
    {'pose': 5.0, 'expression': 1.0, 'gaze': 0.0, 'landmarks': 5.0}
    """
    return distances(read, truth)  # type: ignore[arg-type]
