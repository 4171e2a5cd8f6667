"""Alignment of a face by its five points, and the way back into the frame.

Least-squares similarity (Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
TPAMI 1991) to the ArcFace template of insightface. With centred points ``p`` and template points ``q`` the best
*proper* similarity, the one that Umeyama's reflection guard d = [1, -1] selects, has in two dimensions the closed form

    [a, -b; b, a],   a = sum(p . q) / sum(p . p),   b = sum(p x q) / sum(p . p)

so a mirrored set of points still gives a rotation, never a mirrored face. Matrices map image points to template points;
pixel centres lie at integers, as in OpenCV. Warping is inverse: each pixel of the result looks up where it came from.

What an aligned crop shows is its :class:`Framing`. Inside the system it follows from the crop's side alone, so it
travels with the shape of every image batch; crops from outside are brought into it where they come in, and every
recognizer and estimator brings them into its own (:func:`reframe`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: insightface's template for a 112 x 112 crop: left eye, right eye, nose, left and right mouth corner, as seen.
ARCFACE_112 = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
_MOST_SAMPLES = 8  # per side and output pixel, when the warp shrinks


#: What a crop may show, in pixels of the 112 crop, outer edges: left, top, side. Two published conventions.
VIEWS = {"arcface": (0.0, 0.0, 112.0), "wide": (-8.0, 0.0, 128.0)}


#: Parts of an aligned face: top, bottom, left, right in shares of what the 112 crop shows; cut to the picture.
PARTS = {
    "eyes": (0.36, 0.52, 0.15, 0.85),
    "mouth": (0.68, 0.90, 0.25, 0.75),
    "left_half": (-1.0, 2.0, -1.0, 0.5),
}


class Framing(NamedTuple):
    """What a square crop shows of an aligned face: one of :data:`VIEWS`, at ``size`` pixels a side."""

    view: str
    size: int

    @classmethod
    def of(cls, size: int) -> Framing:
        """insightface's rule, which all image batches follow.

        Multiples of 128 (not of 112) show the wider view; every other size, multiples of 112 and those that
        insightface refuses (64, 96, ...), shows what the 112 crop shows.

        >>> Framing.of(64), Framing.of(256)
        (Framing(view='arcface', size=64), Framing(view='wide', size=256))
        """
        return cls("wide" if size % 112 and size % 128 == 0 else "arcface", size)

    def points(self) -> Tensor:
        """The five template points, float32 ``(5, 2)`` pixels."""
        left, top, side = VIEWS[self.view]
        return torch.tensor(ARCFACE_112) * (self.size / side) - torch.tensor([left, top]) * (self.size / side)

    def place(self, left: float, top: float, side: float) -> tuple[float, float, float]:
        """Where a square of the 112 crop lies in this one: left, top, side, all in pixels, outer edges.

        >>> Framing.of(256).place(0, 0, 112)
        (16.0, 0.0, 224.0)
        """
        x, y, whole = VIEWS[self.view]
        return (left - x) * self.size / whole, (top - y) * self.size / whole, side * self.size / whole


def part_of(name: str, size: int) -> tuple[slice, slice]:
    """Rows and columns of one of :data:`PARTS` in a crop of ``size`` pixels a side, framed by its size.

    >>> part_of("eyes", 100)
    (slice(36, 52, None), slice(15, 85, None))
    """
    x, y, side = Framing.of(size).place(*VIEWS["arcface"])
    places = zip(PARTS[name], (y, y, x, x), strict=True)
    top, bottom, left, right = (max(round(share * side + start), 0) for share, start in places)
    return slice(top, bottom), slice(left, right)


def template(size: int) -> Tensor:
    """The five template points for a ``size`` x ``size`` crop framed by its size, float32 ``(5, 2)`` pixels."""
    return Framing.of(size).points()


def similarity(points: Tensor, target: Tensor) -> Tensor:
    """Similarity matrices that take ``points`` closest to ``target`` in the least-squares sense.

    Args:
        points: ``(B, N, 2)``, N >= 2.
        target: ``(N, 2)`` or ``(B, N, 2)``, for example :func:`template`.

    Returns:
        ``(B, 2, 3)``: ``target ~ matrix[:, :, :2] @ point + matrix[:, :, 2]``, determinant of the left part always > 0.

    Raises:
        ValueError: points that coincide or hold NaN, for which no similarity is defined.
    """
    if points.ndim != 3 or points.shape[-1] != 2 or target.shape[-2:] != points.shape[-2:]:
        raise ValueError(
            f"points must be (B, N, 2) and target (N, 2), got {tuple(points.shape)}, {tuple(target.shape)}."
        )
    p, q = points.double(), target.double().to(points.device)
    p_mean, q_mean = p.mean(-2, keepdim=True), q.mean(-2, keepdim=True)
    p, q = p - p_mean, q - q_mean
    spread = p.square().sum((-2, -1))  # (B,)
    a = (p * q).sum((-2, -1)) / spread
    b = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(-1) / spread
    if not bool(((spread > 1e-12) & (a.square() + b.square() > 1e-12)).all()):
        raise ValueError("points coincide or are not finite: no similarity is defined.")
    linear = torch.stack((torch.stack((a, -b), -1), torch.stack((b, a), -1)), -2)  # (B, 2, 2)
    shift = q_mean.expand_as(p_mean).mT - linear @ p_mean.mT  # (B, 2, 1)
    return torch.cat((linear, shift), -1).to(points.dtype)


def misfit(points: Tensor, target: Tensor) -> Tensor:
    """How badly points fit the target by the best proper similarity, whatever their scale (Procrustes distance).

    With centred ``p`` and ``q`` the share of the spread that is left over is

        1 - ((sum p . q)^2 + (sum p x q)^2) / (|p|^2 |q|^2)

    Args:
        points: ``(B, N, 2)``.
        target: ``(N, 2)``.

    Returns:
        ``(B,)``: the square root of that share; 0 fits, 1 not at all, NaN where all points are one.
    """
    p, q = points.double(), target.double()
    p, q = p - p.mean(-2, keepdim=True), q - q.mean(-2, keepdim=True)
    along = (p * q).sum((-2, -1))
    across = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(-1)
    explained = (along.square() + across.square()) / (p.square().sum((-2, -1)) * q.square().sum())
    return (1.0 - explained).clamp_min(0.0).sqrt()


def invert(matrix: Tensor) -> Tensor:
    """Analytic inverse of affine matrices ``(..., 2, 3)``: back from the crop to the image."""
    a, b, x, c, d, y = matrix.double().flatten(-2).unbind(-1)
    det = a * d - b * c
    rows = (d, -b, b * y - d * x, -c, a, c * x - a * y)
    return (torch.stack(rows, -1) / det.unsqueeze(-1)).unflatten(-1, (2, 3)).to(matrix.dtype)


def transform(matrix: Tensor, points: Tensor) -> Tensor:
    """Apply ``(B, 2, 3)`` matrices to ``(B, N, 2)`` points."""
    return points @ matrix[..., :2].mT + matrix[..., 2].unsqueeze(-2)


def align(images: Tensor, points: Tensor, size: int) -> Tensor:
    """Warp each face onto the template.

    Args:
        images: float ``(B, 3, H, W)`` in [-1, 1].
        points: ``(B, 5, 2)`` pixels.
        size: side of the crops.

    Returns:
        ``(B, 3, size, size)``, -1 (black, as insightface) where the crop reaches past the image. Bilinear where the
        face keeps its size or grows; the mean of k x k bilinear samples a pixel where it shrinks k-fold.
    """
    matrix = similarity(points, template(size))
    return warp(images + 1.0, matrix, (size, size)) - 1.0


def restore(crops: Tensor, matrix: Tensor, canvas: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Put aligned crops back where they came from.

    Args:
        crops: float ``(B, 3, S, S)`` in [-1, 1].
        matrix: ``(B, 2, 3)`` that made them, image to crop.
        canvas: (H, W) of the frame.

    Returns:
        The image ``(B, 3, H, W)``, -1 outside the crop, and its coverage ``(B, 1, H, W)`` in [0, 1];
        ``frame * (1 - coverage) + image * coverage`` is the frame with the face in it.
    """
    ones = torch.ones_like(crops[:, :1])
    values = warp(torch.cat((crops + 1.0, ones), 1), invert(matrix), canvas)
    image, coverage = values[:, :3], values[:, 3:].clamp(0.0, 1.0)
    return image / coverage.clamp_min(1e-6) - 1.0, coverage


def warp(images: Tensor, matrix: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Inverse-map warp of ``(B, C, H, W)`` by source-to-canvas matrices ``(B, 2, 3)``; zeros outside the source."""
    shrink = matrix[:, :, :2].detach().double().det().abs().rsqrt()  # source pixels a canvas pixel
    samples = shrink.round().clamp(1, _MOST_SAMPLES).long().tolist()
    result = images.new_empty(images.shape[0], images.shape[1], *canvas)
    for k in sorted(set(samples)):  # faces of one scale together, so a face does not depend on its neighbours
        chosen = [i for i, n in enumerate(samples) if n == k]
        result[chosen] = _sample(images[chosen], invert(matrix[chosen]), canvas, k)
    return result


def _sample(images: Tensor, inverse: Tensor, canvas: tuple[int, int], k: int) -> Tensor:
    height, width = canvas
    u = (torch.arange(width * k).to(images) + 0.5) / k - 0.5  # k sample positions inside each pixel
    v = (torch.arange(height * k).to(images) + 0.5) / k - 0.5
    grid = torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).view(1, -1, 2)
    source = transform(inverse.to(images), grid)  # (B, Hk * Wk, 2) pixels
    sides = torch.tensor([images.shape[3], images.shape[2]]).to(images)
    source = ((source * 2 + 1) / sides - 1).view(-1, height * k, width * k, 2)
    sampled = F.grid_sample(images, source, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled if k == 1 else F.avg_pool2d(sampled, k)


def reframe(images: Tensor, target: Framing, source: str | None = None) -> Tensor:
    """Aligned crops as another framing shows the same faces. Gradients reach the images.

    Args:
        images: float ``(B, 3, H, W)`` in [-1, 1]; those that are not square are no aligned crops, and are only resized.
        target: what is wanted.
        source: one of :data:`VIEWS` that the images show; None: that of their side.

    Returns:
        ``(B, 3, S, S)``: bilinear, antialiased, -1 (black) where the target shows more than the images do; the very
        same tensor where nothing is to be done.
    """
    height, width = images.shape[-2:]
    shown = Framing.of(width) if source is None else Framing(source, width)
    if height != width or shown.view == target.view:
        return _resized(images, target.size)
    left, top, side = shown.place(*VIEWS[target.view])
    x, y, part = target.place(*VIEWS[shown.view])
    if _whole(left, top, side) and min(left, top) >= 0 and max(left, top) + side <= width:  # a part of the images
        x0, y0, length = int(left), int(top), int(side)
        return _resized(images[..., y0 : y0 + length, x0 : x0 + length], target.size)
    if _whole(x, y, part) and min(x, y) >= 0 and max(x, y) + part <= target.size:  # the images are a part of it
        x0, y0, length = int(x), int(y), int(part)
        border = (x0, target.size - x0 - length, y0, target.size - y0 - length)
        return F.pad(_resized(images, length), border, value=-1.0)
    matrix = reframing(height, width, target, source).to(images.device).expand(len(images), 2, 3)
    return warp(images + 1.0, matrix, (target.size,) * 2) - 1.0


def reframing(height: int, width: int, target: Framing, source: str | None = None) -> Tensor:
    """The matrix ``(2, 3)`` of :func:`reframe`, pixels of the images to those of the result."""
    shown = Framing.of(width) if source is None else Framing(source, width)
    left, top, across, down = 0.0, 0.0, float(width), float(height)
    if height == width and shown.view != target.view:
        left, top, across = shown.place(*VIEWS[target.view])
        down = across
    x, y = target.size / across, target.size / down
    # Edges of the parts fall together, and centres lie half a pixel from the edges.
    return torch.tensor([[x, 0.0, (0.5 - left) * x - 0.5], [0.0, y, (0.5 - top) * y - 0.5]])


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)


def _whole(*numbers: float) -> bool:
    return all(number == int(number) for number in numbers)


def crop_box(matrix: Tensor, size: int, canvas: tuple[int, int], margin: int = 2) -> tuple[int, int, int, int]:
    """The part of an image that its aligned crop reads: (left, top, right, bottom), cut to ``canvas`` (H, W).

    Args:
        matrix: ``(2, 3)``, image to crop.
    """
    low, high = -0.5, size - 0.5
    corners = torch.tensor([[low, low], [high, low], [low, high], [high, high]], dtype=matrix.dtype)
    box = transform(invert(matrix)[None], corners[None])[0]
    left, top = (math.floor(v) - margin for v in box.amin(0).tolist())
    right, bottom = (math.ceil(v) + 1 + margin for v in box.amax(0).tolist())
    return max(left, 0), max(top, 0), min(right, canvas[1]), min(bottom, canvas[0])


def share_inside(points: Tensor, canvas: tuple[int, int], size: int = 112) -> float:
    """How much of the aligned crop of five ``points`` (5, 2) lies inside an image of ``canvas`` (H, W): 0 to 1."""
    centres = (torch.arange(28, dtype=torch.float64) + 0.5) * size / 28 - 0.5
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).view(1, -1, 2)
    matrix = similarity(points[None].double(), template(size))
    x, y = transform(invert(matrix), grid)[0].unbind(-1)
    return float(((x > -0.5) & (x < canvas[1] - 0.5) & (y > -0.5) & (y < canvas[0] - 0.5)).double().mean())
