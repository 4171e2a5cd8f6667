"""Which face of a photograph is the one that it is of.

The border cuts bystanders more often than the person: of 3,074 photographs of LFW the largest face is another than the
central one in 8, the largest whole face in 1; equal error rates of EdgeFace on 2,400 pairs .83 %, .50 %, central .50 %.
A face is whole whose aligned crop lies inside the picture, all of it: 97 % and more gives .58 %, 90 % .67 %. Boxes do
not tell, for detectors end the box of a cut face where the picture ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.faces.alignment import share_inside
from anon.faces.detection.contract import Detections

#: Least share of a face's area for another to be of similar size: a smaller one in the background is no rival.
SIMILAR = 0.5


def chosen(found: Detections, usable: list[int], which: str, frame: Tensor) -> int:
    """The face nearest to the middle of the frame; or the largest whole one, if it is similar in size to the largest,
    else the largest.
    """
    if len(usable) == 1:
        return usable[0]
    boxes = found.boxes[usable]
    if which == "central":
        middle = torch.tensor([frame.shape[1] - 1, frame.shape[0] - 1]) / 2
        return usable[int(((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).square().sum(1).argmin())]
    areas = _areas(boxes)
    whole = _whole(found, usable, frame) & (areas >= SIMILAR * areas.max())
    return usable[int(areas.where(whole | ~whole.any(), areas.new_tensor(-1.0)).argmax())]


def alike(found: Detections, usable: list[int], best: int, frame: Tensor) -> int:
    """How many faces could be the one as well, the chosen one included: whole ones of similar size, and larger ones
    that the border cuts. 0 where there is no other.
    """
    others = [index for index in usable if index != best]
    if not others:
        return 0
    areas, own = _areas(found.boxes[others]), float(_areas(found.boxes[[best]]))
    count = int(((_whole(found, others, frame) & (areas >= SIMILAR * own)) | (areas > own)).sum())
    return count + 1 if count else 0


def overlaps(boxes: Tensor, box: Tensor) -> Tensor:
    """Intersection over union of ``(N, 4)`` boxes with one."""
    shared = (torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2])).clamp_min(0).prod(1)
    return shared / (_areas(boxes) + _areas(box[None]) - shared).clamp_min(1e-6)


def _whole(found: Detections, indices: list[int], frame: Tensor) -> Tensor:
    canvas = (frame.shape[0], frame.shape[1])
    return torch.tensor([share_inside(found.points[index], canvas) == 1.0 for index in indices])


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)
