"""Recovery of filtered faces by the textbook: Wiener against blur, interpolation against mosaics, NLM against noise.

Each knows the filter and its strength, as an adversary who has the software does; none is trained.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import torch
from kornia.filters import get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional as F

from anon.anonymizers.filters import block_means, check_count, check_positive, gaussian_width
from anon.attacks.contract import Attack
from anon.errors import UserError
from anon.faces.contract import check_images, to_float, to_uint8


def _transfer(sigma: float, size: int, period: int) -> Tensor:
    """Fourier transform (period,) of a Gaussian of ``sigma`` pixels and ``size`` taps, centred on sample 0."""
    taps = get_gaussian_kernel1d(size, sigma, dtype=torch.float32)[0]
    place = (torch.arange(size) - size // 2) % period
    return torch.fft.fft(torch.zeros(period).index_add_(0, place, taps)).real  # symmetric, so it is real


class Wiener(Attack):
    """Wiener deconvolution of a Gaussian blur, ``X = H G / (H^2 + noise)`` (Gonzalez & Woods, section 5.8).

    The picture is mirrored to twice its size first. Of a blur with reflected border the result is exactly periodic, so
    no border rings; other borders ring a little. The mean has no noise to speak of and is kept as it is.

    Args:
        sigma: of the blur, share of the image's shorter side, in (0, 1].
        noise: ratio of the noise's power to the signal's, above 0: 1e-3 for pictures of 8 bits, more if it rings.
    """

    def __init__(self, sigma: float, noise: float) -> None:
        super().__init__()
        self.sigma = check_positive(sigma, "The blur's sigma, a share of the image side,", 1.0)
        self.noise = check_positive(noise, "The ratio of noise to signal")

    def images(self, changed: Tensor) -> Tensor:
        """Blurred faces (B, 3, H, W) -> sharper ones, the same form.

        Raises:
            ValueError: images that break the contract.
        """
        height, width = check_images(changed).shape[-2:]
        pixels, sizes = gaussian_width(self.sigma, height, width)
        mirrored = F.pad(changed.float(), (0, max(0, width - 2), 0, max(0, height - 2)), "reflect")
        mean = mirrored.mean((-2, -1), keepdim=True)
        periods = mirrored.shape[-2:]  # 2H - 2 and 2W - 2
        rows, columns = (_transfer(pixels, *each) for each in zip(sizes, periods, strict=True))
        transfer = torch.outer(rows, columns[: periods[1] // 2 + 1]).to(mirrored.device)
        inverse = transfer / (transfer**2 + self.noise)
        sharp = torch.fft.irfft2(torch.fft.rfft2(mirrored - mean) * inverse, s=periods) + mean
        return sharp[..., :height, :width].clamp(-1.0, 1.0).to(changed)


class Depixelate(Attack):
    """The means of the blocks, interpolated between the blocks' centres.

    Where a side is no multiple of ``blocks`` they differ by a pixel, and centres are off by half a pixel at most.

    Args:
        blocks: a side, of the mosaic.
        mode: "bilinear" or "bicubic".
    """

    def __init__(self, blocks: int, mode: Literal["bilinear", "bicubic"] = "bicubic") -> None:
        super().__init__()
        self.blocks = check_count(blocks, "The number of blocks a side")
        if mode not in ("bilinear", "bicubic"):
            raise UserError(f"Unknown interpolation '{mode}'; choose bilinear or bicubic.")
        self.mode = mode

    def images(self, changed: Tensor) -> Tensor:
        """Mosaics (B, 3, H, W) -> smooth faces, the same form.

        Raises:
            ValueError: images that break the contract.
        """
        means = block_means(check_images(changed), self.blocks)
        return F.interpolate(means, changed.shape[-2:], mode=self.mode, align_corners=False).clamp(-1.0, 1.0)


class NonLocalMeans(Attack):
    """Denoising by the mean of patches that look alike (Buades, Coll & Morel 2005), OpenCV's, on 8 bits a channel.

    Args:
        strength: how unlike patches may be, in units of the [-1, 1] range; about the noise's sigma.
        patch: side of the patches that are compared, odd, pixels.
        window: side of the window that is searched, odd, pixels.
    """

    def __init__(self, strength: float, patch: int = 7, window: int = 21) -> None:
        super().__init__()
        self.strength = check_positive(strength, "The strength of non-local means, in units of the range [-1, 1],")
        for side, name in ((patch, "patch"), (window, "window")):
            if check_count(side, f"The side of the {name}") % 2 == 0:
                raise UserError(f"The side of the {name} must be odd: {side}.")
        self.patch, self.window = patch, window

    def images(self, changed: Tensor) -> Tensor:
        """Noisy faces (B, 3, H, W) -> smoother ones, the same form.

        Raises:
            ValueError: images that break the contract.
        """
        strength = self.strength * 127.5
        frames = to_uint8(check_images(changed)).cpu().numpy()  # (B, H, W, 3)
        clean = np.empty_like(frames)
        for frame, place in zip(frames, clean, strict=True):  # OpenCV takes one picture a call
            bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            bgr = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, self.patch, self.window)
            place[:] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return to_float(torch.from_numpy(clean)).to(changed)
