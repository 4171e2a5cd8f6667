"""AFLW2000-3D: 2,000 photographs with head pose and 68 landmarks fitted by a 3-D model (Zhu et al., CVPR 2016).

As published::

    image00002.jpg  image00002.mat       Pose_Para [pitch, yaw, roll, ...] in radians, pt3d_68 (3, 68)

Signs. With x to the image's right, y up and z towards the viewer, the model is rotated by
``Rx(-pitch) Ry(-yaw) Rz(-roll)`` (3DDFA's RotationMatrix.m), ours by ``Rz(roll) Ry(yaw) Rx(pitch)``
(:mod:`anon.faces.synthetic.head`). The label ``pose`` are *our* angles of the same rotation: positive yaw moves the
nose to the image's right, positive pitch down, positive roll turns the head counter-clockwise; a single angle changes
its sign only. ``pose_published`` keeps theirs, yaw, pitch, roll in degrees, for errors to be compared with papers.

Nobody is named: each photograph is its own person. The data set is for testing only, so all of it is ``test``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Published, five_of_68
from anon.faces.collections.matfile import read_matrices

_PARTS = ("Pose_Para", "pt3d_68")


class AFLW2000(Published):
    """Item labels: ``pose``, ``pose_published``, ``landmarks68``.

    Args:
        root: the folder of the photographs.

    Raises:
        UserError: no photographs, or some without their .mat.
    """

    name = "aflw2000"
    title = "AFLW2000-3D"
    origin = "get AFLW2000-3D.zip from the authors of 3DDFA (cbsr.ia.ac.cn/users/xiangyuzhu, research use)"

    def __init__(self, root: str | Path | None) -> None:
        super().__init__(root)
        self.images = [file[:-4] for file in self.files_in("", r"image\d{5}\.jpg")]
        if not self.images:
            raise self.lacks(f"'{self.root}' has no photographs image00002.jpg")
        bare = len(set(self.images) - {file[:-4] for file in self.files_in("", r"image\d{5}\.mat")})
        if bare:
            raise self.lacks(f"{bare:,} photographs of '{self.root}' have no .mat beside them")

    def items(self) -> Sequence[Item]:
        """By number; photographs with a damaged .mat are left out and counted."""
        found = []
        for name in self.images:
            try:
                angles, landmarks = read_mat(self.root / f"{name}.mat")
            except ValueError:
                continue
            pitch, yaw, roll = (math.degrees(angle) for angle in angles)
            points = [(float(x), float(y)) for x, y in landmarks]
            labels = {
                "pose": list(our_angles(*angles)),
                "pose_published": [yaw, pitch, roll],
                "landmarks68": [list(point) for point in points],
            }
            found.append(Item(f"{name}.jpg", name, official="test", points=five_of_68(points), labels=labels))
        self.left_out(len(self.images) - len(found), len(self.images), "have a damaged .mat")
        return found


def our_angles(pitch: float, yaw: float, roll: float) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees by our convention, of the published angles in radians.

    >>> [round(angle, 3) for angle in our_angles(0.0, math.radians(30), 0.0)]
    [-30.0, 0.0, 0.0]
    """
    cx, sx, cy, sy = math.cos(-pitch), math.sin(-pitch), math.cos(-yaw), math.sin(-yaw)
    cz, sz = math.cos(-roll), math.sin(-roll)
    around_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    r = around_x @ around_y @ around_z
    # In Rz(roll) Ry(yaw) Rx(pitch): [2, 0] = -sin(yaw), [2, 1] = cos(yaw) sin(pitch), [1, 0] = cos(yaw) sin(roll).
    found = (math.asin(max(-1.0, min(1.0, -r[2, 0]))), math.atan2(r[2, 1], r[2, 2]), math.atan2(r[1, 0], r[0, 0]))
    return math.degrees(found[0]) + 0.0, math.degrees(found[1]) + 0.0, math.degrees(found[2]) + 0.0


def read_mat(path: Path) -> tuple[tuple[float, float, float], np.ndarray]:
    """Published pitch, yaw and roll in radians, and the landmarks (68, 2) in pixels of the photograph.

    MATLAB counts pixels from 1, so the landmarks are moved to the 0 of the image contract.

    Raises:
        ValueError: not such a file.
    """
    content = read_matrices(path, _PARTS)
    if content.keys() != set(_PARTS):
        raise ValueError("without Pose_Para and pt3d_68")
    pose, points = content["Pose_Para"], content["pt3d_68"]
    if pose.shape != (1, 7) or points.shape != (3, 68) or not np.isfinite([*pose[0], *points.flat]).all():
        raise ValueError("not of the published form")
    return (float(pose[0, 0]), float(pose[0, 1]), float(pose[0, 2])), points[:2].T - 1.0
