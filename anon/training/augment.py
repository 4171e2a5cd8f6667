"""What happens to images on their way in: FaceDancer's colours, the distorted crop that FIVA redraws, and the views its
loss is taken of.

All work on the batch's device, without a loop over images, and draw from the ``rng`` that they are given, a generator
on that device; :func:`step_rng` makes one that a resumed run makes again.
"""

from __future__ import annotations

import numpy as np
import torch
from kornia.enhance import jpeg_codec_differentiable
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from torch import Tensor, nn
from torch.nn import functional as F


def step_rng(device: torch.device | str, *key: int) -> torch.Generator:
    """A generator whose draws are a pure function of the key, e.g. (seed, step, rank)."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint32)[0])
    return torch.Generator(device).manual_seed(seed)


def rotate_zoom(images: Tensor, angle: Tensor, zoom: Tensor) -> Tensor:
    """Turn (B, 3, H, W) counter-clockwise about the centre by ``angle`` (B,) degrees, enlarge by ``zoom`` (B,)."""
    count, _, height, width = images.shape
    # Made on the device: a list's numbers would be sent there, and the host would wait for that.
    centre = torch.stack([images.new_full((count,), (side - 1) / 2) for side in (width, height)], 1)
    # kornia's matrix turns clockwise for positive angles.
    matrix = get_affine_matrix2d(torch.zeros_like(centre), centre, zoom[:, None].expand(count, 2), -angle)
    return warp_affine(images, matrix[:, :2], (height, width), padding_mode="reflection", align_corners=True)


class Distortion(nn.Module):
    """The generator's input in FIVA: rotated by up to ``rotation`` degrees and zoomed by up to a share ``zoom``.

    The paper says ±10° and "a little"; 0 and 0 switch it off.
    """

    def __init__(self, rotation: float = 10.0, zoom: float = 0.08) -> None:
        super().__init__()
        self.rotation, self.zoom = rotation, zoom

    def forward(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images (B, 3, H, W) -> distorted images, the same form; the very same tensor when switched off."""
        if self.rotation == 0 and self.zoom == 0:
            return images
        draw = torch.rand(2, len(images), generator=rng, device=images.device, dtype=images.dtype) * 2 - 1
        return rotate_zoom(images, self.rotation * draw[0], 1 + self.zoom * draw[1])


class Colours(nn.Module):
    """FaceDancer's colour augmentation (``train/train.py`` of its code), each face with draws of its own.

        x <- x + b;   x <- m + c (x - m);   saturation of HSV times s, at most 1

    m is the face's mean of a channel. Its code draws once a batch, and saturates values of [-1, 1], where dark pixels
    turn grey; here saturation is that of [0, 1], and what leaves the range is cut.

    Args:
        brightness: largest b, either way, in units of the [-1, 1] range.
        contrast, saturation: ranges of c and s.
        tint: largest b of each channel's own, added to the face's; 0, as in its code: none.
    """

    def __init__(
        self,
        brightness: float = 0.3,
        contrast: tuple[float, float] = (0.9, 1.1),
        saturation: tuple[float, float] = (0.9, 1.1),
        tint: float = 0.0,
    ) -> None:
        super().__init__()
        self.brightness, self.tint = float(brightness), float(tint)
        self.contrast = (float(contrast[0]), float(contrast[1]))
        self.saturation = (float(saturation[0]), float(saturation[1]))

    def forward(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] -> the same form and range."""
        draw = torch.rand(3, len(images), 1, 1, 1, generator=rng, device=images.device, dtype=images.dtype)
        out = images + self.brightness * (2 * draw[0] - 1)
        if self.tint:
            own = torch.rand(len(images), 3, 1, 1, generator=rng, device=images.device, dtype=images.dtype)
            out = out + self.tint * (2 * own - 1)
        mean = out.mean((2, 3), keepdim=True)
        out = mean + (self.contrast[0] + (self.contrast[1] - self.contrast[0]) * draw[1]) * (out - mean)
        out = out.clamp(-1, 1).add(1).div(2)
        value = out.amax(1, keepdim=True)
        present = (value - out.amin(1, keepdim=True)) / value.clamp(min=1e-6)  # (B, 1, H, W), saturation
        factor = self.saturation[0] + (self.saturation[1] - self.saturation[0]) * draw[2]
        factor = torch.minimum(factor, 1 / present.clamp(min=1e-6))
        return (value - (value - out) * factor).mul(2).sub(1)


class View(nn.Module):
    """What the training encoder sees of a changed face: the face after everyday processing (not in the paper).

    A generator that must fool one frozen recognizer finds fine patterns that fool only that one, and that a JPEG or a
    resize removes. Taking the identity loss in expectation over such processing (Athalye et al., ICML 2018) leaves it
    the changes that survive. The IFSR target passes through the same view, so that one encoder pass serves both losses.

    Args:
        share: of the faces that are processed at all; 0 switches it off.
        scale: range of the factor by which they are shrunk and enlarged again; one draw a batch.
        noise: standard deviation of Gaussian noise, in units of the [-1, 1] range.
        shift: largest shift, as a share of the side.
        jpeg: range of the JPEG quality, one draw a face; None: no JPEG. Sides must be multiples of 16.
    """

    def __init__(
        self,
        share: float = 0.5,
        scale: tuple[float, float] = (0.5, 1.0),
        noise: float = 0.03,
        shift: float = 0.03,
        jpeg: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.share, self.noise, self.shift = share, noise, shift
        self.scale = (float(scale[0]), float(scale[1]))
        self.jpeg = None if jpeg is None else (float(jpeg[0]), float(jpeg[1]))

    def forward(self, images: Tensor, rng: torch.Generator, copies: int = 1) -> Tensor:
        """Images (copies·B, 3, H, W) -> views; face i and its copies i + B, i + 2B, ... get the same draws."""
        if self.share == 0:
            return images
        count, size = len(images) // copies, images.shape[-2:]

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=rng, device=images.device)

        theta = torch.eye(2, 3, device=images.device).repeat(count, 1, 1)
        theta[:, :, 2] = uniform(-2 * self.shift, 2 * self.shift, count, 2)  # grid_sample counts the half side as 1
        grid = F.affine_grid(theta, [count, 3, *size], align_corners=False).repeat(copies, 1, 1, 1)
        out = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        # The factor comes from the CPU: shapes are decided there.
        factor = float(torch.rand((), generator=torch.Generator().manual_seed(rng.initial_seed())))
        small = [max(1, round(side * (self.scale[0] + (self.scale[1] - self.scale[0]) * factor))) for side in size]
        out = F.interpolate(out, small, mode="bilinear", align_corners=False, antialias=True)
        out = F.interpolate(out, size, mode="bilinear", align_corners=False)
        noise = torch.randn((count, *images.shape[1:]), generator=rng, device=images.device)
        out = out + self.noise * noise.repeat(copies, 1, 1, 1)
        if self.jpeg is not None:
            quality = uniform(*self.jpeg, count).repeat(copies)
            out = jpeg_codec_differentiable(out.add(1).div(2).clamp(0, 1), quality).mul(2).sub(1)
        chosen = (uniform(0, 1, count) < self.share).repeat(copies)[:, None, None, None]
        return torch.where(chosen, out, images)
