"""Square crops around faces, as each published network saw faces in its training: one sampling for a whole batch.

The similarity that takes the five points to the ArcFace template says where a face is, how large and how it is turned.
A crop is then a centre and a side in pixels of that 112 x 112 template, turned with the face or upright. A detector's
box in these units (YuNet on LFW): centre (56, 65) ± (7, 2), 80 ± 3 wide, 110 ± 4 high.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.alignment import similarity, template, warp

CENTRE = (56.0, 65.0)  # of a detector's box


def face_points(images: Tensor, points: Tensor | None) -> Tensor:
    """``points`` (B, 5, 2), or those of aligned crops.

    Raises:
        UserError: neither points nor square crops, or points that no face has.
    """
    height, width = images.shape[-2:]
    if points is None:
        if height != width:
            raise UserError(f"Images of {width} x {height} pixels are no aligned crops: give the five points.")
        return template(width).to(images.device).expand(len(images), 5, 2)
    if points.shape != (len(images), 5, 2):
        raise UserError(f"Five points must be (B, 5, 2) for {len(images)} images, got {tuple(points.shape)}.")
    return points.to(images)


def turn(points: Tensor) -> Tensor:
    """How far each face (B, 5, 2) is turned in the image, radians, positive counter-clockwise as seen, (B,)."""
    matrix = similarity(points, template(112))
    return torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])


def crop_matrix(
    points: Tensor, size: int, side: float, centre: tuple[float, float] = CENTRE, upright: bool = False
) -> Tensor:
    """(B, 2, 3) from image pixels to those of a ``size`` x ``size`` crop.

    Args:
        side: of the crop, in pixels of the 112 x 112 template.
        centre: of the crop, in the same pixels.
        upright: turn the face so that its eyes lie level; else the crop's sides are the image's.
    """
    matrix = similarity(points, template(112)).double()
    scale = matrix[:, :, :2].det().sqrt()  # template pixels an image pixel
    middle = torch.linalg.solve(
        matrix[:, :, :2], (torch.tensor(centre).to(matrix) - matrix[:, :, 2]).unsqueeze(-1)
    )  # (B, 2, 1), where the crop's centre lies in the image
    linear = matrix[:, :, :2] / scale.view(-1, 1, 1) if upright else torch.eye(2).to(matrix).expand(len(matrix), 2, 2)
    linear = linear * (scale * size / side).view(-1, 1, 1)
    shift = (size - 1) / 2 - linear @ middle
    return torch.cat((linear, shift), -1).to(points.dtype)


def cropped(
    images: Tensor,
    points: Tensor | None,
    size: int,
    side: float,
    centre: tuple[float, float] = CENTRE,
    upright: bool = False,
) -> tuple[Tensor, Tensor]:
    """Each face's crop (B, 3, S, S) and the :func:`crop_matrix` (B, 2, 3) that makes it, from :func:`face_points`."""
    matrix = crop_matrix(face_points(images, points), size, side, centre, upright)
    return crop(images, matrix, size), matrix


def crop(images: Tensor, matrix: Tensor, size: int) -> Tensor:
    """(B, 3, S, S) in [-1, 1], black where the crop reaches past the image."""
    return warp(images + 1.0, matrix, (size, size)) - 1.0


def imagenet(images: Tensor) -> Tensor:
    """[-1, 1] to ImageNet's normalization."""
    mean = images.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = images.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (images * 0.5 + 0.5 - mean) / std
