"""Margin softmax heads that train a recognizer: ArcFace (Deng et al., CVPR 2019) and CosFace (Wang et al., CVPR 2018).

A head holds one unit prototype W_j per training identity and turns a raw embedding and its label y into logits

    ArcFace   s cos(theta_y + m)          CosFace   s (cos theta_y - m)          others   s cos theta_j

for the cross-entropy. A head is thrown away after training.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def arcface_logits(cosine: Tensor, labels: Tensor, s: float = 64.0, m: float = 0.5) -> Tensor:
    """Logits (B, C) from cosines (B, C) and labels (B,).

    Where theta + m would pass pi, and cos(theta + m) would rise again, the standard continuation
    cos(theta) - m sin(pi - m) takes its place, which keeps the logit falling with theta.
    """
    own = cosine.gather(1, labels[:, None])  # (B, 1)
    sine = (1.0 - own.square()).clamp_min(1e-12).sqrt()
    margined = own * math.cos(m) - sine * math.sin(m)
    margined = torch.where(own > math.cos(math.pi - m), margined, own - m * math.sin(math.pi - m))
    return s * cosine.scatter(1, labels[:, None], margined)


def cosface_logits(cosine: Tensor, labels: Tensor, s: float = 64.0, m: float = 0.35) -> Tensor:
    """Logits (B, C) from cosines (B, C) and labels (B,): the own cosine less ``m``, all times ``s``."""
    return s * cosine.scatter_add(1, labels[:, None], torch.full_like(cosine[:, :1], -m))


class _Prototypes(nn.Module):
    """Unit prototypes (classes, dim) and the cosine of every embedding to each of them."""

    def __init__(self, dim: int, classes: int, s: float, m: float) -> None:
        super().__init__()
        self.s, self.m = s, m
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.normal_(self.weight, std=0.01)

    def cosine(self, z: Tensor) -> Tensor:
        """Raw or unit embeddings (B, D) -> cosines (B, C) in float32, also under autocast."""
        with torch.autocast(z.device.type, enabled=False):
            return F.linear(F.normalize(z.float()), F.normalize(self.weight.float())).clamp(-1.0, 1.0)


class ArcFace(_Prototypes):
    """Additive angular margin ``m`` in radians, scale ``s``."""

    def __init__(self, dim: int, classes: int, s: float = 64.0, m: float = 0.5) -> None:
        super().__init__(dim, classes, s, m)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return arcface_logits(self.cosine(z), labels, self.s, self.m)


class CosFace(_Prototypes):
    """Additive cosine margin ``m``, scale ``s``."""

    def __init__(self, dim: int, classes: int, s: float = 64.0, m: float = 0.35) -> None:
        super().__init__(dim, classes, s, m)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return cosface_logits(self.cosine(z), labels, self.s, self.m)
