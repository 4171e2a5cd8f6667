"""Losses of first-order motion: pictures at several sizes, and equivariance (Siarohin et al., NeurIPS 2019, 3.3).

A keypoint of a picture that was deformed by V is the deformed keypoint:  p(X) = V p(VX),  J(X) = V' J(VX).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from anon.generators.first_order.keypoints import Keypoints, inverse


def pyramid(drawn: Tensor, truth: Tensor, levels: int = 4) -> Tensor:
    """Mean absolute difference of (B, 3, H, W) at full size, a half, a quarter, ..., summed over ``levels`` sizes.

    >>> pyramid(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5), 3).item()
    1.5
    """
    found = F.l1_loss(drawn, truth)
    for _ in range(levels - 1):
        drawn, truth = F.avg_pool2d(drawn, 2), F.avg_pool2d(truth, 2)
        found = found + F.l1_loss(drawn, truth)
    return found


def equivariance(own: Tensor, back: Tensor) -> Tensor:
    """Mean of |p(X) - V p(VX)|, of keypoints (B, K, 2) and those of the deformed picture where V takes them."""
    return (own - back).abs().mean()


def jacobian_equivariance(own: Keypoints, deformed: Keypoints, turn: Tensor) -> Tensor:
    """Mean of |1 - J(X)^-1 V' J(VX)|; ``turn`` (B, K, 2, 2) is V' at the deformed picture's keypoints."""
    found = inverse(own.jacobian) @ turn @ deformed.jacobian
    return (torch.eye(2, device=found.device) - found).abs().mean()


def landmark_flow(flow: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """By how far a flow misses known points, (B, P): Euclidean, in units of half the side.

    Args:
        flow: (B, H, W, 2) where in the source each place of the result is, x, y in [-1, 1].
        before, after: (B, P, 2) the points in source and result, x, y in [-1, 1].

    >>> from anon.generators.first_order.keypoints import grid_of
    >>> still = grid_of(5, 5, torch.zeros(()))[None]
    >>> landmark_flow(still, torch.tensor([[[0.3, 0.4]]]), torch.zeros(1, 1, 2)).item()
    0.5
    """
    found = F.grid_sample(flow.permute(0, 3, 1, 2), after[:, None], padding_mode="border", align_corners=True)
    return (found[:, :, 0].transpose(1, 2) - before).square().sum(-1).clamp(min=1e-12).sqrt()
