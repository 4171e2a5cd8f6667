"""What k-Same averages: pixels, eigenfaces, or shape and texture. All give one vector a face, and a picture of a mean.

A space is fitted to one set of faces; each set gets a copy of its own.

    pixels       the picture itself. Faces that are not aligned leave ghosts (k-Same-Pixel)
    eigenfaces   its projections on the first principal components of the set (k-Same-Eigen)
    appearance   where its points are, and what it looks like when they are moved to the set's mean (k-Same-M)

Newton, Sweeney & Malin, *Preserving privacy by de-identifying face images*, IEEE TKDE 2005; Gross, Sweeney, de la Torre
& Baker, *Model-based face de-identification*, CVPRW 2006.
"""

from __future__ import annotations

from typing import Protocol

import torch
from scipy.spatial import Delaunay
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import FaceSet, Sample, batch_of

AT_ONCE = 64  # faces
LEAST = 1e-6  # of a triangle's doubled area, in square pixels


class Space(Protocol):
    """A vector space of faces; its ``name`` says what is averaged."""

    name: str

    def prepare(self, faces: FaceSet) -> None:
        """Look at a set before its faces are encoded."""

    def encode(self, images: Tensor, sample: Sample) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] with what the set says of them -> (B, F). Averages of it are averages."""

    def fit(self, vectors: Tensor) -> Tensor:
        """The vectors (U, F) of all units -> those that are compared and averaged (U, G)."""

    def draw(self, vectors: Tensor) -> Tensor:
        """Means (C, G) -> pictures (C, 3, H, W) in [-1, 1]."""


class Pixels:
    """The picture itself."""

    name = "pixels"
    _shape: tuple[int, ...] = ()

    def prepare(self, faces: FaceSet) -> None:
        """Nothing to look at."""

    def encode(self, images: Tensor, sample: Sample) -> Tensor:
        """(B, 3 H W)."""
        self._shape = tuple(images.shape[1:])
        return images.flatten(1)

    def fit(self, vectors: Tensor) -> Tensor:
        """As they are."""
        return vectors

    def draw(self, vectors: Tensor) -> Tensor:
        """The mean pictures."""
        return vectors.view(len(vectors), *self._shape).clamp(-1.0, 1.0)


class Eigenfaces(Pixels):
    """Projections on principal components of the set itself (Turk & Pentland 1991), as k-Same-Eigen has them.

    Args:
        components: how many, at most; as many as there are pictures, less one, leave the pictures as they are.
    """

    def __init__(self, components: int = 50) -> None:
        if isinstance(components, bool) or not isinstance(components, int) or components < 1:
            raise UserError(f"Eigenfaces are 1 component or more, not {components!r}.")
        self.components = components
        self.name = f"{components} eigenfaces"
        self._mean = torch.empty(0)
        self._axes = torch.empty(0)

    def fit(self, vectors: Tensor) -> Tensor:
        """(U, components): through the (U, U) products of the pictures, of which there are fewer than pixels."""
        self._mean = vectors.mean(0)
        centred = (vectors - self._mean).double()
        values, rows = torch.linalg.eigh(centred @ centred.T)  # rising
        chosen = values > 1e-9 * values[-1].clamp_min(1e-30)
        values, rows = values[chosen][-self.components :], rows[:, chosen][:, -self.components :]
        self._axes = ((rows / values.sqrt()).T @ centred).float()  # (components, 3 H W), orthonormal
        return (centred.float() @ self._axes.T).contiguous()

    def draw(self, vectors: Tensor) -> Tensor:
        """The mean face and the weighted eigenfaces."""
        return super().draw(self._mean + vectors @ self._axes)


class Appearance:
    """Shape and texture: the points of a face, and the face when its points are moved to the set's mean shape.

    The pictures are warped piecewise-affinely: the triangles of the points and of eight fixed ones on the border,
    each moved to where the mean's triangle lies (Cootes, Edwards & Taylor, *Active appearance models*, ECCV 1998).
    A mean is drawn by warping the mean texture to the mean shape. Points that the data do not have are not moved: with
    five, eyes, nose and corners of the mouth lie on each other, outlines and hair do not.
    """

    name = "shape and texture"

    def __init__(self) -> None:
        self._base = torch.empty(0)  # (V, 2) vertices
        self._triangles = torch.empty(0)  # (T, 3)
        self._points = 0
        self._weight = 1.0
        self._side: tuple[int, int] = (0, 0)

    def prepare(self, faces: FaceSet) -> None:
        """The mean shape of all faces, and its triangles.

        Raises:
            UserError: the data do not know the points of their faces.
        """
        total, count = torch.zeros(()), 0
        for start in range(0, len(faces), AT_ONCE):
            sample = batch_of(faces, list(range(start, min(start + AT_ONCE, len(faces)))))
            total = total + _points_of(sample).double().sum(0)
            count += len(sample["image"])
            self._side = (int(sample["image"].shape[-2]), int(sample["image"].shape[-1]))
        mean = (total / count).float()
        self._points = len(mean)
        self._base = torch.cat([mean, _border(*self._side)])
        self._triangles = torch.from_numpy(Delaunay(self._base.double().numpy()).simplices).long()

    def encode(self, images: Tensor, sample: Sample) -> Tensor:
        """(B, 2 P + 3 H W): points in pixels, and the picture in the mean shape."""
        points = _points_of(sample)
        vertices = torch.cat([points, _border(*self._side).expand(len(points), -1, -1)], 1)
        texture = warped(images, vertices, self._base.expand_as(vertices), self._triangles)
        return torch.cat([points.flatten(1), texture.flatten(1)], 1)

    def fit(self, vectors: Tensor) -> Tensor:
        """Shape times a weight with which both vary alike, as an active appearance model has it."""
        shape, texture = vectors[:, : 2 * self._points], vectors[:, 2 * self._points :]
        spread = [float(part.var(0, unbiased=False).sum()) for part in (shape, texture)]
        self._weight = (spread[1] / spread[0]) ** 0.5 if min(spread) > 0 else 1.0
        return torch.cat([shape * self._weight, texture], 1)

    def draw(self, vectors: Tensor) -> Tensor:
        """The mean textures in the mean shapes."""
        points = (vectors[:, : 2 * self._points] / self._weight).view(len(vectors), -1, 2)
        texture = vectors[:, 2 * self._points :].view(len(vectors), 3, *self._side)
        vertices = torch.cat([points, _border(*self._side).expand(len(points), -1, -1)], 1)
        return warped(texture, self._base.expand_as(vertices), vertices, self._triangles).clamp(-1.0, 1.0)


def warped(images: Tensor, here: Tensor, there: Tensor, triangles: Tensor) -> Tensor:
    """Pictures (B, C, H, W) whose vertices ``here`` (B, V, 2) are moved to ``there``, affinely in each triangle.

    Args:
        here, there: pixels, x then y; pixel (0, 0) is the centre of the first.
        triangles: (T, 3) vertices of each, which cover the picture.
    """
    height, width = images.shape[-2:]
    few = max(1, (1 << 24) // (height * width * len(triangles)))  # what is compared at once
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([columns, rows], -1).view(-1, 2).to(images)  # (H W, 2)
    parts = []
    for image, source, target in zip(images.split(few), here.split(few), there.split(few), strict=True):
        shares = _barycentric(pixels, target[:, triangles])  # (b, H W, T, 3)
        place = shares.amin(-1).argmax(-1)  # the triangle that a pixel lies in: no share of it is negative
        own = shares.gather(2, place[:, :, None, None].expand(-1, -1, 1, 3))[:, :, 0]  # (b, H W, 3)
        corners = source[:, triangles]  # (b, T, 3, 2)
        chosen = corners.gather(1, place[:, :, None, None].expand(-1, -1, 3, 2))  # (b, H W, 3, 2)
        found = (own[..., None] * chosen).sum(2)  # where each pixel comes from
        scale = found.new_tensor([max(width - 1, 1), max(height - 1, 1)])
        grid = (2.0 * found / scale - 1.0).view(len(image), height, width, 2)
        parts.append(F.grid_sample(image, grid, "bilinear", "border", align_corners=True))
    return torch.cat(parts)


def _barycentric(pixels: Tensor, corners: Tensor) -> Tensor:
    """Shares (B, N, T, 3) of the corners (B, T, 3, 2) of each triangle in pixels (N, 2); they add up to 1."""
    first, along, across = corners[:, :, 0], corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    area = along[..., 0] * across[..., 1] - along[..., 1] * across[..., 0]  # (B, T)
    area = torch.where(area.abs() < LEAST, torch.full_like(area, LEAST), area)[:, None]
    away = pixels[None, :, None] - first[:, None]  # (B, N, T, 2)
    second = (away[..., 0] * across[:, None, :, 1] - away[..., 1] * across[:, None, :, 0]) / area
    third = (along[:, None, :, 0] * away[..., 1] - along[:, None, :, 1] * away[..., 0]) / area
    return torch.stack([1.0 - second - third, second, third], -1)


def _points_of(sample: Sample) -> Tensor:
    if "landmarks" not in sample:
        raise UserError(
            "k-Same-M moves the points of faces, and these data have none: rendered faces have five, photographs with "
            "data.points=<csv>."
        )
    return sample["landmarks"].float()


def _border(height: int, width: int) -> Tensor:
    """The corners and the middles of the sides (8, 2), which stay where they are."""
    right, low = float(width - 1), float(height - 1)
    middle, centre = right / 2, low / 2
    return torch.tensor(
        [[0, 0], [middle, 0], [right, 0], [right, centre], [right, low], [middle, low], [0, low], [0, centre]]
    )
