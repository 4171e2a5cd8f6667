"""Gaze from two eyes and the head's pose: Intel's gaze-estimation-adas-0002 (OpenVINO IR, optional extra ``gaze``).

Facts from the Open Model Zoo's description and demo: two 60 x 60 BGR crops in 0..255, head pose in degrees in the model
zoo's directions; the answer is a vector, x to the image's right, y up, z away from the camera. The crops are turned
level, the network is told roll 0, and the vector is turned back.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from anon.attributes.contract import Estimator
from anon.attributes.framing import crop, crop_matrix, face_points, turn
from anon.errors import UserError
from anon.faces.alignment import ARCFACE_112
from anon.weights.archives import DAMAGED
from anon.weights.openvino import compiled, damaged, only_output, read

MAX_BYTES = 64 * 1024**2
_ORIGIN = "take gaze-estimation-adas-0002.xml and .bin (FP16 or FP32) of OpenVINO's Open Model Zoo"
_INPUTS = {"left_eye_image": [3, 60, 60], "right_eye_image": [3, 60, 60], "head_pose_angles": [3]}


class OpenVinoGaze(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``gaze`` relative to the camera, and the ``pose`` used.

    Args:
        weights: the .xml; the .bin lies beside it.
        pose: the estimator of head pose, ours (:class:`anon.attributes.pose.onnx.FsaNet`).

    Raises:
        UserError: no openvino, no file, or another network.
    """

    name = "openvino_gaze"
    reads: tuple[str, ...] = ("gaze", "pose")
    size, side = 60, 29.0  # 1.8 widths of an eye

    def __init__(self, pose: Estimator, weights: str | Path | None = None) -> None:
        super().__init__()
        self.pose = pose
        found = read(weights, "The gaze estimator", _ORIGIN, MAX_BYTES)
        inputs = {port.get_any_name(): list(port.get_partial_shape()) for port in found.model.inputs}
        if set(inputs) != set(_INPUTS) or len(found.model.outputs) != 1:
            raise UserError(f"'{found.path}' is not gaze-estimation-adas-0002: its inputs differ; {_ORIGIN}.")
        try:
            found.model.reshape({name: [-1, *shape] for name, shape in _INPUTS.items()})  # any batch
        except DAMAGED as error:
            raise damaged(found.path, _ORIGIN) from error
        self._run = compiled(found)

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        points = face_points(images, points)
        pose = self.pose(images, points)["pose"]
        roll = turn(points)
        eyes = [self._eye(images, points, eye) for eye in (0, 1)]
        angles = torch.stack((pose[:, 0], pose[:, 1], torch.zeros_like(roll)), -1)
        feed = {"left_eye_image": eyes[0], "right_eye_image": eyes[1], "head_pose_angles": angles.cpu().numpy()}
        vector = torch.from_numpy(only_output(self._run, feed)).to(images)
        return {"gaze": _degrees(vector, roll), "pose": pose}

    def _eye(self, images: Tensor, points: Tensor, eye: int) -> np.ndarray:
        """The crop around one of the five points, level, BGR in 0..255."""
        centre = ARCFACE_112[eye]
        matrix = crop_matrix(points, self.size, self.side, centre, upright=True)
        # exactly around this eye, which the template meets only on average
        here = (matrix[:, :, :2] @ points[:, eye].unsqueeze(-1)).squeeze(-1)
        matrix = torch.cat((matrix[:, :, :2], ((self.size - 1) / 2 - here).unsqueeze(-1)), -1)
        found: np.ndarray = (crop(images, matrix, self.size).flip(1) * 127.5 + 127.5).float().cpu().numpy()
        return found


def _degrees(vector: Tensor, roll: Tensor) -> Tensor:
    """Vectors (B, 3) of level faces -> (B, 2) degrees, x to the image's right, y up, turned back by ``roll``."""
    x, y, z = (vector / vector.norm(dim=-1, keepdim=True)).unbind(-1)
    x, y = x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos()
    return torch.rad2deg(torch.stack((torch.atan2(x, -z), torch.asin(y.clamp(-1, 1))), -1))
