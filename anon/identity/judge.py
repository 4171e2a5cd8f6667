"""A judge: a recognizer that only measures, and that no generator was trained with.

Any encoder wraps into one; ONNX files (:mod:`anon.identity.onnx`) and dlib's (:mod:`anon.identity.dlib_judge`) are
judges by themselves. Unit embeddings are compared by cosine distance, of the flip-sum by default (the raw embedding of
the image plus that of its mirror image, as insightface verifies).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.identity.contract import check_judge
from anon.identity.encoder import Encoder


class Judge(nn.Module):
    """An encoder as a judge: no gradient, float32 unit embeddings.

    Args:
        encoder: the recognizer.
        flip: add the raw embedding of the mirror image.
        threshold: calibrated cosine distance below which two faces are one person, if known.
    """

    metric = "cosine"

    def __init__(self, encoder: Encoder, flip: bool = True, threshold: float | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.flip = flip
        self.threshold = threshold
        check_judge(self)

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights; equal to the training encoder's if it is the same network."""
        return self.encoder.fingerprint

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D) unit norm."""
        if not self.flip:
            return self.encoder(images).z
        x = self.encoder.prepare(images)
        return F.normalize(self.encoder.backbone(x).float() + self.encoder.backbone(x.flip(-1)).float())
