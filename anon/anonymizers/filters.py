"""The classic filters behind the call of every anonymizer: blur, low resolution, pixels, a mask, noise.

They carry no privacy model, :class:`DPPix` excepted: what a recognizer trained on filtered faces still sees in them is
the business of :mod:`anon.attacks` (Newton, Sweeney & Malin 2005; McPherson, Shokri & Shmatikov 2016).

Every strength means the same at every image size: a share of the side, a number of blocks a side, or the range [-1, 1].
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import check_images
from anon.identity.contract import Draws, Given


def check_positive(value: float, name: str, top: float = math.inf) -> float:
    """``value`` if it is a finite number in (0, top].

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value <= top and math.isfinite(value)):
        raise UserError(f"{name} must be a number above 0{'' if top == math.inf else f', at most {top:g}'}: {value!r}.")
    return float(value)


def check_count(value: int, name: str) -> int:
    """``value`` if it is a whole number of 1 or more.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{name} must be a whole number of 1 or more: {value!r}.")
    return value


def gaussian_width(sigma: float, height: int, width: int) -> tuple[float, tuple[int, int]]:
    """A Gaussian of ``sigma`` shares of the shorter side: its sigma in pixels and its odd kernel size (rows, columns).

    The kernel ends at 4 sigma (as scipy's), or where mirroring the image once gives no more pixels.
    """
    pixels = sigma * min(height, width)
    reach = math.ceil(4 * pixels)
    return pixels, (2 * min(reach, height - 1) + 1, 2 * min(reach, width - 1) + 1)


def blocks_of(length: int, blocks: int) -> Tensor:
    """Which of ``blocks`` equal parts of a side the centre of each of its pixels lies in, (length,) int64, from 0.

    >>> blocks_of(5, 2)
    tensor([0, 0, 1, 1, 1])
    """
    blocks = min(blocks, length)
    return (2 * torch.arange(length) + 1) * blocks // (2 * length)


def block_means(images: Tensor, blocks: int) -> Tensor:
    """Means (B, C, R, Q) of the ``blocks`` x ``blocks`` disjoint blocks of (B, C, H, W); R = min(blocks, H), Q alike.

    Where a side is no multiple, blocks differ by a pixel (adaptive pooling would let them overlap instead).
    """
    rows, columns = (F.one_hot(blocks_of(side, blocks)).to(images) for side in images.shape[-2:])  # (H, R), (W, Q)
    return (rows / rows.sum(0)).T @ images @ (columns / columns.sum(0))


class Filter(nn.Module, ABC):
    """A filter as an anonymizer (:class:`anon.anonymizers.contract.AnonymizerLike`); a kind of it writes ``change``."""

    def forward(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor:
        """Faces (B, 3, H, W) in [-1, 1] -> filtered faces, the same form. ``source``, ``key``, ``track`` do nothing.

        Raises:
            ValueError: images that break the contract.
            UserError: a filter of noise got no ``rng``, or a filter would leave such small images as they are.
        """
        return self.change(check_images(images), rng).clamp(-1.0, 1.0)

    @abstractmethod
    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        """The filter itself, on checked images."""


class GaussianBlur(Filter):
    """Gaussian blur, border reflected.

    Args:
        sigma: share of the image's shorter side, in (0, 1]; 0.02 is weak, 0.1 strong.
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = check_positive(sigma, "The blur's sigma, a share of the image side,", 1.0)

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        pixels, size = gaussian_width(self.sigma, *images.shape[-2:])
        return gaussian_blur2d(images, size, (pixels, pixels), "reflect")


class Pixelate(Filter):
    """Mosaic: every pixel becomes the mean of its block.

    Args:
        blocks: a side.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = check_count(blocks, "The number of blocks a side")

    def means(self, images: Tensor) -> Tensor:
        """:func:`block_means`, refusing blocks that are all single pixels: an anonymizer never shows the face itself.

        Raises:
            UserError: no side of the images has more pixels than blocks.
        """
        height, width = images.shape[-2:]
        if max(height, width) <= self.blocks:
            raise UserError(
                f"{self.blocks} blocks a side leave an image of {width} x {height} pixels as it is; take fewer."
            )
        return block_means(images, self.blocks)

    def spread(self, means: Tensor, height: int, width: int) -> Tensor:
        """Means (B, C, R, Q) to the pixels (B, C, height, width) of their blocks."""
        rows, columns = (blocks_of(side, self.blocks).to(means.device) for side in (height, width))
        return means[:, :, rows[:, None], columns]

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        return self.spread(self.means(images), *images.shape[-2:])


class LowResolution(Pixelate):
    """Shrink to ``size`` x ``size`` by area averaging, enlarge bilinearly (Ryoo et al. 2017, *extreme low resolution*).

    Args:
        size: pixels a side of the small picture; 7 and 19 are usual.
    """

    def __init__(self, size: int) -> None:
        super().__init__(check_count(size, "The size of the small picture"))

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        return F.interpolate(self.means(images), images.shape[-2:], mode="bilinear", align_corners=False)


class SolidMask(Filter):
    """One colour all over: nothing of the face is left, so every adversary is down to guessing.

    Args:
        colour: RGB, each in [-1, 1].
    """

    def __init__(self, colour: Sequence[float]) -> None:
        super().__init__()
        try:
            self.colour = tuple(float(part) for part in colour)
        except (TypeError, ValueError):
            self.colour = ()
        if len(self.colour) != 3 or not all(-1 <= part <= 1 for part in self.colour):
            raise UserError(f"The mask's colour must be three numbers (red, green, blue) in [-1, 1]: {colour!r}.")

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        return torch.ones_like(images) * images.new_tensor(self.colour).view(1, 3, 1, 1)


def needed(rng: torch.Generator | None, images: Tensor) -> torch.Generator:
    """The generator that noise is drawn from.

    Raises:
        UserError: there is none, or it is on another device.
    """
    if rng is None:
        raise UserError("What draws noise needs rng, a torch.Generator on the device of the images.")
    if rng.device.type != images.device.type:
        raise UserError(f"The images are on {images.device.type} and rng on {rng.device.type}: make rng there, too.")
    return rng


class PixelNoise(Filter):
    """Gaussian noise on every pixel and channel, clamped to [-1, 1].

    Args:
        sigma: standard deviation, in units of the [-1, 1] range (that of 0..255 divided by 127.5).
    """

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = check_positive(sigma, "The noise's sigma, in units of the range [-1, 1],")

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        noise = torch.randn(images.shape, generator=needed(rng, images), dtype=images.dtype, device=images.device)
        return images + self.sigma * noise


class DPPix(Pixelate):
    """Differentially private pixels (Fan, *Image Pixelization with Differential Privacy*, DBSec 2018).

    Block means plus Laplace noise of scale ``255 * neighbours / (n * epsilon)`` in units of 0..255, n the pixels of the
    block. Two pictures of one size that differ in at most ``neighbours`` pixels then get the same output with
    probabilities within a factor ``exp(epsilon)``. That holds for blocks of unlike n, too: a changed pixel shifts its
    block's mean by 1/n of the range at most, and the noise there is in proportion. The paper's pictures are grey; here
    it holds of each channel by itself, so colours spend ``3 * epsilon``, and k pictures of a person k times that.

    Args:
        blocks: a side.
        epsilon: the privacy budget of a channel.
        neighbours: m, pixels in which neighbouring images may differ.
    """

    def __init__(self, blocks: int, epsilon: float, neighbours: int) -> None:
        super().__init__(blocks)
        self.epsilon = check_positive(epsilon, "The privacy budget epsilon")
        self.neighbours = check_count(neighbours, "The number of pixels in which neighbouring images differ")

    def change(self, images: Tensor, rng: torch.Generator | None) -> Tensor:
        rng = needed(rng, images)
        height, width = images.shape[-2:]
        means = self.means(images)  # (B, 3, R, Q)
        rows, columns = (blocks_of(side, self.blocks).bincount() for side in (height, width))
        scale = 2.0 * self.neighbours / (self.epsilon * torch.outer(rows, columns)).to(means)  # [-1, 1] is 2 wide
        waits = torch.empty((2, *means.shape), dtype=means.dtype, device=means.device).exponential_(generator=rng)
        noisy = means + scale * (waits[0] - waits[1])  # the difference of two exponentials is Laplace
        return self.spread(noisy, height, width)
