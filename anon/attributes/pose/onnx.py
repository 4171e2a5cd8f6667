"""Head pose from ONNX files: FSA-Net, and any network that gives angles or a rotation (6DRepNet, Hopenet exports).

FSA-Net: Yang et al., "FSA-Net", CVPR 2019, as trained on 300W-LP by github.com/omasaht/headpose-fsanet-pytorch.
6DRepNet: Hempel et al., "6D Rotation Representation for Unconstrained Head Pose Estimation", ICIP 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from anon.attributes.framing import cropped, imagenet
from anon.attributes.onnx_file import OnnxNetwork
from anon.attributes.rotations import euler, rotation6d

Kind = Literal["euler", "rotation6d", "matrix"]
_WIDTHS = {"euler": 3, "rotation6d": 6, "matrix": 9}
_ORIGIN_FSANET = (
    "fsanet-1x1-iter-688590.onnx and fsanet-var-iter-688590.onnx of github.com/omasaht/headpose-fsanet-pytorch"
)
_ORIGIN = "export a network such as 6DRepNet (github.com/thohemp/6DRepNet) to ONNX"


class FsaNet(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``pose``: the mean of one or more FSA-Net files.

    Args:
        weights: the files; the published pair is ``1x1`` and ``var``.
    """

    name = "fsanet"
    reads: tuple[str, ...] = ("pose",)
    size, side = 64, 140.0  # a face detector's box with a margin

    def __init__(self, weights: Sequence[str] | None = None) -> None:
        super().__init__()
        files: Sequence[str | None] = weights or (None,)
        self.networks = [OnnxNetwork(file, "FSA-Net", _ORIGIN_FSANET, self.size, (3,)) for file in files]

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, _ = cropped(images, points, self.size, self.side)
        faces = crops.flip(1) * (127.5 / 128)  # BGR, (x - 127.5) / 128
        angles = torch.stack([network(faces)[0] for network in self.networks]).mean(0)
        return {"pose": -angles}  # 300W-LP's angles; see anon.attributes.rotations


class OnnxPose(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``pose`` from a file of your own, trained on 300W-LP's angles.

    Args:
        weights: the file, input (B, 3, size, size), RGB with ImageNet's mean and deviation.
        kind: its first output: ``euler`` (pitch, yaw, roll in degrees, as the Hopenet family orders them),
            ``rotation6d`` (two columns of the rotation, 6DRepNet before its last step) or ``matrix`` (3 x 3, 6DRepNet).
        size: side of its input.
        side: of the crop in pixels of the 112 template.
    """

    name = "onnx_pose"
    reads: tuple[str, ...] = ("pose",)

    def __init__(
        self, weights: str | Path | None = None, kind: Kind = "matrix", size: int = 224, side: float = 150.0
    ) -> None:
        super().__init__()
        self.kind, self.size, self.side = kind, size, side
        self.network = OnnxNetwork(weights, "a head pose network", _ORIGIN, size, (_WIDTHS[kind],))

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, _ = cropped(images, points, self.size, self.side)
        found = self.network(imagenet(crops))[0]
        if self.kind == "euler":
            return {"pose": -found[:, [1, 0, 2]]}
        rotation = rotation6d(found) if self.kind == "rotation6d" else found.view(-1, 3, 3)
        return {"pose": -euler(rotation)}
