"""Head rotations between the conventions of the field and ours.

Ours, that of the rendered faces: x to the image's right, y up, z out of the image; ``R = Rz(roll) Ry(yaw) Rx(pitch)``,
right-handed. Positive yaw moves the nose to the image's right, positive pitch moves it down, positive roll turns the
head counter-clockwise as seen. A mirrored picture has the opposite yaw and roll and the same pitch.

=================  =====================================================================  ============================
convention         axes and order                                                         ours, from its yaw, pitch,
                                                                                          roll
=================  =====================================================================  ============================
300W-LP, AFLW2000  as drawn by Hopenet's ``draw_axis``: yaw to the image's left, pitch     -yaw, -pitch, -roll
                   up, roll clockwise (FSA-Net, 6DRepNet and most others learned it)
OpenFace           x right, y down, z into the image; ``R = Rx Ry Rz``                     by :func:`from_openface`
OpenVINO           yaw to the image's right, pitch down, roll clockwise                    yaw, pitch, -roll
=================  =====================================================================  ============================
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rotation6d(values: Tensor) -> Tensor:
    """Two columns (B, 6) -> rotation matrices (B, 3, 3) by Gram-Schmidt (Zhou et al., CVPR 2019), as 6DRepNet does.

    >>> rotation6d(torch.tensor([[2.0, 0.0, 0.0, 5.0, 1.0, 0.0]]))
    tensor([[[1., 0., 0.],
             [0., 1., 0.],
             [0., 0., 1.]]])
    """
    first = F.normalize(values[:, :3], dim=-1)
    third = F.normalize(torch.linalg.cross(first, values[:, 3:]), dim=-1)
    return torch.stack((first, torch.linalg.cross(third, first), third), -1)


def euler(matrix: Tensor) -> Tensor:
    """Rotations (B, 3, 3) -> yaw, pitch, roll (B, 3) in degrees, for ``R = Rz(roll) Ry(yaw) Rx(pitch)``.

    At yaw = ±90 degrees pitch and roll are one; roll is then 0.

    >>> euler(torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]))
    tensor([[ 0.,  0., 90.]])
    """
    level = matrix[:, :2, 0].norm(dim=-1)  # cos(yaw)
    locked = level < 1e-6
    yaw = torch.atan2(-matrix[:, 2, 0], level)
    pitch = torch.where(
        locked, torch.atan2(-matrix[:, 1, 2], matrix[:, 1, 1]), torch.atan2(matrix[:, 2, 1], matrix[:, 2, 2])
    )
    roll = torch.where(locked, torch.zeros_like(yaw), torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    return torch.rad2deg(torch.stack((yaw, pitch, roll), -1)) + 0.0  # + 0: no negative zeros


def about(axis: int, radians: Tensor) -> Tensor:
    """Right-handed rotations (B, 3, 3) about x (0), y (1) or z (2)."""
    matrix = torch.eye(3).to(radians).repeat(len(radians), 1, 1)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, i, i] = matrix[:, j, j] = radians.cos()
    matrix[:, j, i], matrix[:, i, j] = radians.sin(), -radians.sin()
    return matrix


def from_openface(angles: Tensor) -> Tensor:
    """OpenFace's ``pose_Rx, pose_Ry, pose_Rz`` (B, 3) radians -> ours (B, 3) degrees."""
    x, y, z = angles.unbind(-1)
    flip = torch.tensor([1.0, -1.0, -1.0]).to(angles)  # its axes in ours
    return euler(flip[:, None] * (about(0, x) @ about(1, y) @ about(2, z)) * flip)
