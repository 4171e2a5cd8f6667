"""How much of a change is fine pattern: the share of its power at high spatial frequencies.

A recognizer is deceived most cheaply by patterns that a person does not take for another face. A face that is really
another one differs as faces differ from each other, mostly at low frequencies; images have power spectra that fall
with about the square of the frequency (Field, J. Opt. Soc. Am. A 4, 1987).
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.metrics.states import KnownMean

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
LIMIT = 0.25  # cycles a pixel; half of Nyquist's 0.5
LEAST = 1e-12  # mean square below which there is nothing to look at


def band_power(images: Tensor) -> Tensor:
    """Power of each picture above half the Nyquist frequency (radial), and its whole power: (B, 2) float64.

    Mean squares of the luminance without its mean, under a Hann window that leaves the power of noise as it is.

    Args:
        images: (B, 3, H, W), pictures or differences of pictures, in any range.
    """
    weights = torch.tensor(LUMA, dtype=torch.float64, device=images.device)[:, None, None]
    luma = (images.double() * weights).sum(1)  # (B, H, W)
    rows, columns = (torch.hann_window(side, dtype=torch.float64, device=luma.device) for side in luma.shape[-2:])
    window = rows[:, None] * columns
    luma = luma - (luma * window).sum((1, 2), keepdim=True) / window.sum()  # no power at 0 under the window
    power = torch.fft.fft2(luma * window).abs().square() / (window.square().sum() * window.numel())
    y, x = (torch.fft.fftfreq(side, dtype=torch.float64, device=luma.device) for side in luma.shape[-2:])
    high = torch.hypot(y[:, None], x) > LIMIT
    return torch.stack([(power * high).sum((1, 2)), power.sum((1, 2))], 1)


def share_of(power: Tensor) -> Tensor:
    """Shares (B,) of :func:`band_power` (B, 2); NaN where there is no power.

    >>> share_of(torch.tensor([[1.0, 4.0], [0.0, 0.0]]))
    tensor([0.2500,    nan])
    """
    high, whole = power.unbind(1)
    return torch.where(whole > LEAST, high / whole, torch.nan).float()


def change_power(changed: Tensor, target: Tensor) -> Tensor:
    """:func:`band_power` of what was changed, (B, 2)."""
    return band_power(changed - target)


def high_frequency_share(images: Tensor) -> Tensor:
    """Share of each picture's power, (B,) in [0, 1], above half the Nyquist frequency; NaN of one colour.

    White noise has ``1 - pi/16`` = .804, the area of the plane of frequencies; a checkerboard of pixels 1.

    >>> y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    >>> checker = (2 * ((x + y) % 2) - 1).expand(1, 3, 16, 16)
    >>> high_frequency_share(torch.cat([checker, 0 * checker]))
    tensor([1., nan])
    """
    return share_of(band_power(images))


def change_share(changed: Tensor, target: Tensor) -> Tensor:
    """:func:`high_frequency_share` of what was changed, (B,); NaN where nothing was.

    >>> change_share(torch.ones(1, 3, 8, 8), torch.ones(1, 3, 8, 8))
    tensor([nan])
    """
    return share_of(change_power(changed, target))


class HighFrequencyShare(KnownMean):
    """Mean over faces of :func:`high_frequency_share` or, of two batches, of :func:`change_share`."""

    higher_is_better = False

    def each(self, *inputs: Tensor) -> Tensor:
        """(B,) of pictures (B, 3, H, W), or of the change from the second batch to the first."""
        return high_frequency_share(*inputs) if len(inputs) == 1 else change_share(*inputs)
