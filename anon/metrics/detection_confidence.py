"""How sure is a detector of the changed face, beside the original? The book's second way to measure detectability.

Wen et al., Face De-identification (Springer 2024), section 3.3.2.1: the detector's confidence is compared between the
original and the de-identified face. The first way, the rate, is :func:`anon.metrics.preservation.detected`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.faces.contract import to_uint8
from anon.faces.detection.contract import Detector
from anon.metrics.states import KnownMean

FACE_SIDE, BORDER = 128, 0.5


@torch.no_grad()
def best_detections(detector: Detector, images: Tensor) -> tuple[Tensor, Tensor]:
    """Score (B,) and box (B, 4) of the best face that a detector finds in each picture; 0 and NaN where it finds none.

    Detectors look for a head within a scene and miss some that fill a small picture: an aligned face is enlarged to
    :data:`FACE_SIDE` pixels (smaller ones only, bilinear), with a grey border :data:`BORDER` times as wide around it.

    Args:
        images: (B, 3, H, W) in [-1, 1].

    Returns:
        Scores in [0, 1], and left, top, right, bottom in pixels of the picture that was given; boxes may reach over its
        edge. Both float32 on the images' device.
    """
    side = max(images.shape[-2:])
    scale = max(1.0, FACE_SIDE / side)
    device = images.device
    if side < FACE_SIDE:
        images = F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
    border = round(BORDER * max(images.shape[-2:]))
    frames = to_uint8(F.pad(images, (border,) * 4)).cpu()
    scores, boxes = torch.zeros(len(frames)), torch.full((len(frames), 4), torch.nan)
    for row, found in enumerate(detector.detect_batch(list(frames))):
        if len(found.scores) > 0:  # best first
            scores[row], boxes[row] = found.scores[0], (found.boxes[0] - border) / scale
    return scores.to(device), boxes.to(device)


def confidence_drop(changed_scores: Tensor, target_scores: Tensor) -> Tensor:
    """How much less sure the detector is, target - changed, (B,) in [-1, 1]; below 0 where it is surer than before.

    A face that is no longer found has confidence 0; NaN where the original was not found either, for there is nothing
    to lose.

    Args:
        changed_scores, target_scores: (B,) in [0, 1], of :func:`best_detections`.

    >>> confidence_drop(torch.tensor([0.25, 0.0, 0.5]), torch.tensor([0.75, 0.5, 0.0]))
    tensor([0.5000, 0.5000,    nan])
    """
    return torch.where(target_scores > 0, target_scores - changed_scores, torch.nan)


class ConfidenceDrop(KnownMean):
    """Mean of :func:`confidence_drop` over the faces whose originals are found.

    >>> metric = ConfidenceDrop()
    >>> metric.update(torch.tensor([0.25, 0.0, 0.5]), torch.tensor([0.75, 1.0, 0.0]))
    >>> metric.compute()
    tensor(0.7500)
    """

    higher_is_better = False
    each = staticmethod(confidence_drop)  # type: ignore[assignment]
