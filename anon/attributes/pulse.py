"""The pulse that a clip shows (remote photoplethysmography): POS and CHROM, the rate, and how clearly it stands out.

Both take the mean colour of a face's skin over the frames and give a signal that beats with the blood:

* POS (Wang, den Brinker, Stuijk and de Haan, IEEE TBME 2017, algorithm 1): in windows of 1.6 s the colours are divided
  by their means and projected on the plane orthogonal to the skin's, ``S1 = G - B``, ``S2 = G + B - 2 R``,
  ``h = S1 + std(S1)/std(S2) S2``, added up over all windows.
* CHROM (de Haan and Jeanne, IEEE TBME 2013): ``X = 3 R - 2 G``, ``Y = 1.5 R + G - 1.5 B``, ``S = X - std(X)/std(Y) Y``,
  in windows of 1.6 s that overlap by half under Hann's window. The band is passed afterwards here, not in each window.

What follows is the same for both: a zero-phase Butterworth filter of :data:`BAND`, and the peak of the periodogram.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from anon.errors import UserError

BAND = (0.7, 4.0)  # Hz: 42 to 240 beats a minute
WINDOW = 1.6  # seconds
_POS = ((0.0, 1.0, -1.0), (-2.0, 1.0, 1.0))
_CHROM = ((3.0, -2.0, 0.0), (1.5, 1.0, -1.5))
_BIN = 0.1  # beats a minute between two points of a periodogram, at most
_NEAR = 0.1  # Hz on either side that belong to a peak: 6 beats a minute


def skin_means(images: Tensor) -> Tensor:
    """Mean colours (B, 3) in [0, 1] of the inner face of aligned crops (B, 3, H, W) in [-1, 1].

    The same box of every method's pictures: nose, cheeks and mouth; the middle half of the width, from 40 to 80 percent
    of the height.
    """
    height, width = images.shape[-2:]
    inner = images[:, :, round(0.4 * height) : round(0.8 * height), round(0.25 * width) : round(0.75 * width)]
    return (inner.mean((2, 3)) + 1.0) / 2.0


def pos(colours: Tensor, fps: float) -> Tensor:
    """The pulse signal (n,) of mean skin colours (n, 3), RGB, ``fps`` frames a second, before the band is passed.

    Raises:
        UserError: fewer frames than a window.
    """
    windows, length = _windows(colours, fps, 1)
    s1, s2 = _projected(windows, _POS)
    part = s1 + _ratio(s1, s2) * s2
    return _added(part - part.mean(1, keepdim=True), len(colours), length, 1)


def chrom(colours: Tensor, fps: float) -> Tensor:
    """The same by CHROM.

    Raises:
        UserError: fewer frames than a window.
    """
    hop = max(1, round(WINDOW * fps) // 2)
    windows, length = _windows(colours, fps, hop)
    x, y = _projected(windows, _CHROM)
    part = x - _ratio(x, y) * y
    hann = torch.hann_window(length, periodic=True, dtype=part.dtype)
    return _added((part - part.mean(1, keepdim=True)) * hann, len(colours), length, hop)


def _windows(colours: Tensor, fps: float, hop: int) -> tuple[Tensor, int]:
    """Windows (W, l, 3) of colours over their means, and l, which is even."""
    length = 2 * (round(WINDOW * fps) // 2)
    if len(colours) < length or length < 4:
        raise UserError(f"A pulse needs {WINDOW} seconds of frames or more, not {len(colours)} frames at {fps:g}.")
    windows = colours.double().unfold(0, length, hop).transpose(1, 2)
    return windows / windows.mean(1, keepdim=True).clamp(min=1e-6), length


def _projected(windows: Tensor, rows: tuple[tuple[float, ...], ...]) -> tuple[Tensor, Tensor]:
    first, second = (windows @ torch.tensor(rows, dtype=windows.dtype).T).unbind(-1)
    return first, second


def _ratio(first: Tensor, second: Tensor) -> Tensor:
    """std(first) / std(second) of each window (W, 1); 0 where the second does not move."""
    spread = second.std(1, correction=0, keepdim=True)
    return torch.where(spread > 1e-12, first.std(1, correction=0, keepdim=True) / spread.clamp(min=1e-12), 0.0)


def _added(parts: Tensor, count: int, length: int, hop: int) -> Tensor:
    signal = torch.zeros(count, dtype=parts.dtype)
    places = torch.arange(len(parts))[:, None] * hop + torch.arange(length)
    return signal.index_add_(0, places.flatten(), parts.flatten())


def passed(signal: Tensor, fps: float) -> Tensor:
    """What of a signal (n,) lies in :data:`BAND`, without a shift in time."""
    sos = butter(3, (BAND[0], min(BAND[1], 0.45 * fps)), "bandpass", fs=fps, output="sos")
    padded = min(len(signal) - 1, 3 * round(fps))
    return torch.from_numpy(np.ascontiguousarray(sosfiltfilt(sos, signal.double().numpy(), padlen=padded)))


def _periodogram(signal: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """Frequencies in Hz and powers in :data:`BAND` of a signal (n,) under Hann's window."""
    points = max(len(signal), int(np.ceil(60.0 * fps / _BIN)))
    shaped = (signal.double() - signal.double().mean()) * torch.hann_window(len(signal), False, dtype=torch.float64)
    power = torch.fft.rfft(shaped, points).abs().square()
    frequency = torch.fft.rfftfreq(points, 1.0 / fps, dtype=torch.float64)
    inside = (frequency >= BAND[0]) & (frequency <= BAND[1])
    return frequency[inside], power[inside]


def heart_rate(signal: Tensor, fps: float) -> float:
    """Beats a minute: where the periodogram of a signal (n,) is highest in :data:`BAND`; NaN where nothing moves.

    >>> time = torch.arange(250) / 25.0
    >>> round(heart_rate((2 * torch.pi * 1.25 * time).sin(), 25.0), 0)
    75.0
    """
    frequency, power = _periodogram(signal, fps)
    return float(60.0 * frequency[power.argmax()]) if float(power.max()) > 1e-18 else float("nan")


def signal_to_noise(signal: Tensor, fps: float, rate: float) -> float:
    """How clearly a rate of beats a minute stands out, decibels (de Haan and Jeanne 2013): power within 6 beats of
    it and of twice it, over the rest of :data:`BAND`; NaN where nothing moves.
    """
    frequency, power = _periodogram(signal, fps)
    near = ((frequency - rate / 60).abs() <= _NEAR) | ((frequency - rate / 30).abs() <= _NEAR)
    own, rest = float(power[near].sum()), float(power[~near].sum())
    if own + rest <= 1e-18:
        return float("nan")
    return float(10.0 * np.log10(max(own, 1e-12 * rest) / max(rest, 1e-12 * own)))
