"""Random deformations whose derivative is known, of which keypoints learn to be equivariant.

    V(z) = A z + t + sum_n w_n U(|z - c_n|),   U(r) = r² log r²    (a thin-plate spline over a grid of nodes c_n)

A - 1, t and w are normal (Siarohin et al., NeurIPS 2019, section 3.3, and their code, which takes the city-block
distance in U and one w for x and y). Coordinates are x, y in [-1, 1], of which ±1 are the centres of the outer pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.generators.first_order.keypoints import grid_of
from anon.generators.first_order.network import warp

NEAR = 1e-6  # added to r², whose logarithm is taken


class Deformation(NamedTuple):
    """One V for each of B pictures: ``affine`` (B, 2, 3), ``nodes`` (N, 2), ``weights`` (B, N, 2)."""

    affine: Tensor
    nodes: Tensor
    weights: Tensor

    @classmethod
    def drawn(cls, count: int, rng: torch.Generator, affine: float, spline: float, nodes: int = 5) -> Deformation:
        """For ``count`` pictures; ``affine`` and ``spline`` are standard deviations, ``nodes`` those along a side."""
        device = rng.device
        eye = torch.eye(2, 3, device=device)
        places = grid_of(nodes, nodes, eye).flatten(0, 1)
        theta = eye + affine * torch.randn(count, 2, 3, generator=rng, device=device)
        return cls(theta, places, spline * torch.randn(count, len(places), 2, generator=rng, device=device))

    def at(self, points: Tensor) -> Tensor:
        """V of points (B, P, 2), the same form."""
        apart = self._squared(points)
        moved = points @ self.affine[:, :, :2].mT + self.affine[:, None, :, 2]
        return moved + (apart * apart.log()) @ self.weights

    def turn(self, points: Tensor) -> Tensor:
        """V' at points (B, P, 2), (B, P, 2, 2): rows are outputs, columns inputs."""
        across = points[:, :, None] - self.nodes  # (B, P, N, 2)
        slope = 2.0 * across * (1.0 + self._squared(points).log())[..., None]  # of U
        return self.affine[:, None, :, :2] + torch.einsum("bpnj,bni->bpij", slope, self.weights)

    def picture(self, images: Tensor) -> Tensor:
        """Pictures (B, C, H, W) that show at z what was at V(z)."""
        height, width = images.shape[-2:]
        grid = grid_of(height, width, images).flatten(0, 1).expand(len(images), -1, -1)
        return warp(images, self.at(grid).unflatten(1, (height, width)))

    def _squared(self, points: Tensor) -> Tensor:
        """r² (B, P, N)."""
        return (points[:, :, None] - self.nodes).square().sum(-1) + NEAR
