"""Warps by a random grid: what a subject-specific swap tool is given, while it shall draw the face unwarped.

A face is turned, zoomed, shifted and perhaps mirrored, the same for what is given and for what is wanted (picture and
mask); then what is given is warped by displacements at the nodes of a coarse grid.

    faceswap     5 x 5 nodes over 1.25 of the side, all displaced by N(0, 5/256 of the side) pixels; DFaker: 6/256
    faceswap_gan the same over the side itself, N(0, U(5, 6.2)/128)
    deepfacelab  cells of a half, a quarter or an eighth of the side; inner nodes alone, moved by at most .24 of a cell

(Faceswap's ``lib/training/augmentation.py``, DeepFaceLab's ``core/imagelib/warp.py``.) Faceswap-GAN and the first
DFaker also warps the target, by the similarity that fits the displaced nodes best; DFaker's later code warps a face to
the landmarks of a near one of the other person. Neither is here: five points are too few for the latter.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GridWarp(nn.Module):
    """Displacements of all nodes, each normal.

    Args:
        nodes: along a side.
        sigma: least and largest deviation in pixels of a picture of ``of`` pixels, one draw a picture.
        of: that picture's side.
        overhang: share of the side by which the grid is larger than the picture.
    """

    def __init__(
        self, sigma: tuple[float, float] = (5.0, 5.0), nodes: int = 5, of: float = 256.0, overhang: float = 0.25
    ) -> None:
        super().__init__()
        self.nodes, self.sigma, self.of, self.overhang = nodes, (float(sigma[0]), float(sigma[1])), of, overhang

    def forward(self, count: int, size: int, rng: torch.Generator) -> Tensor:
        """(count, 2, size, size): x and y by which each pixel looks elsewhere, in shares of the side."""
        device = rng.device
        drawn = torch.rand(count, 1, 1, 1, generator=rng, device=device)
        sigma = (self.sigma[0] + (self.sigma[1] - self.sigma[0]) * drawn) / self.of
        field = torch.randn(count, 2, self.nodes, self.nodes, generator=rng, device=device) * sigma
        whole = size + 2 * round(self.overhang * size / 2)
        field = F.interpolate(field, (whole, whole), mode="bilinear", align_corners=True)
        edge = (whole - size) // 2
        return field[..., edge : edge + size, edge : edge + size]


class CellWarp(nn.Module):
    """Displacements of inner nodes alone; the grid's cells are a half, a quarter or an eighth of the side.

    A displacement is a normal number cut at ±2.5, over 2.5, times ``reach`` of a cell.
    """

    def __init__(self, reach: float = 0.24) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, count: int, size: int, rng: torch.Generator) -> Tensor:
        """As :meth:`GridWarp.forward`."""
        kind = torch.randint(3, (count,), generator=rng, device=rng.device)
        fields = [self._field(count, size, cells, rng) for cells in (2, 4, 8)]
        return torch.stack(fields)[kind, torch.arange(count, device=rng.device)]

    def _field(self, count: int, size: int, cells: int, rng: torch.Generator) -> Tensor:
        shape = (count, 2, cells - 1, cells - 1)
        even = torch.rand(shape, generator=rng, device=rng.device, dtype=torch.float64)
        low = 0.5 * math.erfc(2.5 / math.sqrt(2))  # a normal number between -2.5 and 2.5, by the inverse of its share
        normal = torch.special.ndtri(low + (1.0 - 2.0 * low) * even).float()
        field = F.pad(normal / 2.5 * self.reach / cells, (1, 1, 1, 1))
        return F.interpolate(field, (size, size), mode="bicubic", align_corners=True)


class Views(nn.Module):
    """What is given and what is wanted of a face.

    Args:
        warp: of what is given alone, :class:`GridWarp` or :class:`CellWarp`.
        rotation: largest turn in degrees, either way.
        zoom, shift: largest change of size and place, as shares of the side.
        flip: probability of a mirrored face; 0 where faces are not symmetrical.
    """

    def __init__(
        self, warp: nn.Module, rotation: float = 10.0, zoom: float = 0.05, shift: float = 0.05, flip: float = 0.0
    ) -> None:
        super().__init__()
        self.warp, self.rotation, self.zoom, self.shift, self.flip = warp, rotation, zoom, shift, flip

    def forward(
        self, images: Tensor, areas: Tensor, rng: torch.Generator, warped: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Faces (B, 3, S, S) in [-1, 1] and areas of them (B, K, S, S) in [0, 1] -> given, wanted (B, 3, S, S), areas.

        Args:
            warped: whether the given face is warped at all.
        """
        count, size = len(images), images.shape[-1]
        grid = F.affine_grid(self._matrices(count, rng), [count, 1, size, size], align_corners=False).to(images)
        both = torch.cat((images, areas.to(images) * 2.0 - 1.0), 1)  # beyond the border is the border's colour
        wanted = F.grid_sample(both, grid, mode="bilinear", padding_mode="border", align_corners=False)
        given = wanted[:, :3]
        if warped:
            field = self.warp(count, size, rng).to(images)
            moved = grid + 2.0 * field.permute(0, 2, 3, 1)  # grid_sample counts the half side as 1
            given = F.grid_sample(images, moved, mode="bilinear", padding_mode="border", align_corners=False)
        return given, wanted[:, :3], wanted[:, 3:].add(1.0).div(2.0)

    def _matrices(self, count: int, rng: torch.Generator) -> Tensor:
        """(count, 2, 3) from places in the result to places in the picture."""
        draw = torch.rand(5, count, generator=rng, device=rng.device)
        angle = (2 * draw[0] - 1) * math.radians(self.rotation)
        scale = 1.0 / (1.0 + self.zoom * (2 * draw[1] - 1))
        mirror = torch.where(draw[2] < self.flip, -1.0, 1.0)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        shift = 2.0 * self.shift * (2 * draw[3:] - 1)
        rows = (cos * mirror, -sin, shift[0], sin * mirror, cos, shift[1])
        return torch.stack(rows, -1).view(count, 2, 3)
