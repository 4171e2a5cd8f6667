"""Faces out of noise: a small unconditional diffusion model (Ho, Jain & Abbeel, NeurIPS 2020).

    x_t = sqrt(a_t) x + sqrt(1 - a_t) n        a_t = cos^2((t + .008) / 1.008 * pi / 2) / a_0     (Nichol & Dhariwal,
                                                                                       ICML 2021, eq. 17; t from 0 to 1)
    v_t = sqrt(a_t) n - sqrt(1 - a_t) x        what the network reads off x_t         (Salimans & Ho, ICLR 2022)

Going back is DDIM's way without further noise (Song, Meng & Ermon, ICLR 2021, eq. 12, sigma 0):

    x'  = sqrt(a_t) x_t - sqrt(1 - a_t) v        n' = sqrt(1 - a_t) x_t + sqrt(a_t) v
    x_s = sqrt(a_s) x' + sqrt(1 - a_s) n'

    python train.py experiment=diffusion
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.contract import check_images
from anon.weights.files import load_into

_OFFSET = 0.008  # keeps a step's noise at t = 0 above the rounding of eight bits
_WAVES = 64  # of the time's code


def kept(t: Tensor) -> Tensor:
    """The schedule's a_t, the share of the picture's power that is left at times t in [0, 1].

    >>> kept(torch.tensor([0.0, 1.0])).round(decimals=4)
    tensor([1., 0.])
    """
    angle = (t.double() + _OFFSET) / (1 + _OFFSET) * math.pi / 2
    return ((angle.cos() / math.cos(_OFFSET / (1 + _OFFSET) * math.pi / 2)) ** 2).clamp(0, 1).float()


def times_code(t: Tensor) -> Tensor:
    """Times (B,) in [0, 1] -> sines and cosines of 1 to 1000 radians a unit of time, (B, 128)."""
    waves = torch.exp(torch.linspace(0, math.log(1000.0), _WAVES, device=t.device))
    return torch.cat([(t[:, None] * waves).sin(), (t[:, None] * waves).cos()], 1)


class Denoiser(nn.Module):
    """A U-Net on 2 x 2 blocks of pixels that reads v off a noisy picture.

    Args:
        widths: channels at half the picture's side and at each halving of that; multiples of 8.
    """

    def __init__(self, widths: Sequence[int] = (48, 80, 112)) -> None:
        super().__init__()
        if len(widths) < 2 or any(width % 8 for width in widths):
            raise UserError(f"A denoiser needs two widths or more, multiples of 8, not {list(widths)}.")
        self.least = 2 ** len(widths)  # what sides are multiples of
        code = 4 * _WAVES
        self.time = nn.Sequential(nn.Linear(2 * _WAVES, code), nn.SiLU(), nn.Linear(code, code), nn.SiLU())
        self.stem = nn.Conv2d(12, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(Residual(width, width, code) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.middle = nn.ModuleList([Attention(widths[-1]), Residual(widths[-1], widths[-1], code)])
        self.up = nn.ModuleList(Residual(2 * width, width, code) for width in widths)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairs)
        self.head = nn.Sequential(nn.GroupNorm(8, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 12, 3, padding=1))
        for parameter in self.head[-1].parameters():  # it begins by saying nothing
            nn.init.zeros_(parameter)

    def forward(self, noisy: Tensor, t: Tensor) -> Tensor:
        """Noisy pictures (B, 3, H, W) and their times (B,) in [0, 1] -> v, the form of the pictures."""
        code = self.time(times_code(t))
        x = self.stem(F.pixel_unshuffle(noisy, 2))  # (B, C, H/2, W/2)
        skips = []
        for level, block in enumerate(self.down):
            x = block(x, code)
            skips.append(x)
            x = self.shrink[level](x) if level < len(self.shrink) else x
        x = self.middle[1](self.middle[0](x), code)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([x, skips[level]], 1), code)
            x = self.grow[level - 1](F.interpolate(x, scale_factor=2, mode="nearest")) if level else x
        return F.pixel_shuffle(self.head(x), 2)


class Residual(nn.Module):
    """Two convolutions beside the identity; the time shifts the maps between them. The second starts at 0."""

    def __init__(self, before: int, after: int, code: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.shift = nn.Linear(code, after)
        self.second = nn.Sequential(nn.GroupNorm(8, after), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1))
        self.beside = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.second[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return self.beside(x) + self.second(self.first(x) + self.shift(code)[:, :, None, None])


class Attention(nn.Module):
    """Self-attention of all places of a map, four heads, beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.queries = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        count, width, height, columns = x.shape
        parts = self.queries(self.norm(x)).view(count, 3, 4, width // 4, height * columns).transpose(-1, -2)
        seen = F.scaled_dot_product_attention(*parts.unbind(1))  # (B, 4, H W, C / 4)
        return x + self.out(seen.transpose(-1, -2).reshape(count, width, height, columns))


@torch.no_grad()
def ddim(v_of: Callable[[Tensor, Tensor], Tensor], noisy: Tensor, start: float, steps: int) -> Tensor:
    """x_t (B, 3, H, W) at time ``start`` -> pictures in [-1, 1], by so many even steps without further noise.

    Args:
        v_of: reads v off noisy pictures (B, 3, H, W) and their times (B,).
    """
    x = noisy.contiguous(memory_format=torch.channels_last)
    for now, then in pairwise(torch.linspace(start, 0, steps + 1)):
        left, next_left = kept(now).to(x), kept(then).to(x)
        image = _clipped(v_of, x, now)
        noise = (x - left.sqrt() * image) / (1 - left).sqrt()  # of the clipped picture, so that both make x again
        x = next_left.sqrt() * image + (1 - next_left).sqrt() * noise
    return x.clamp(-1, 1).contiguous()


@torch.no_grad()
def ddpm(v_of: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, rng: torch.Generator) -> Tensor:
    """Pure noise (B, 3, H, W) -> pictures in [-1, 1], by so many even steps of Ho et al., eq. 6 and 7, t from 1 to 0.

    x_s is drawn from the Gaussian of what it is, given x_t and the picture that the network reads off x_t, whose
    variance is the smaller of their two (section 3.2).

    Args:
        v_of: reads v off noisy pictures (B, 3, H, W) and their times (B,).
        rng: of the noise of every step, on the device of the pictures.
    """
    x = noise.contiguous(memory_format=torch.channels_last)
    for now, then in pairwise(torch.linspace(1, 0, steps + 1)):
        left, next_left = kept(now).to(x), kept(then).to(x)
        image, step = _clipped(v_of, x, now), left / next_left  # what a step leaves of the power
        mean = next_left.sqrt() * (1 - step) * image + step.sqrt() * (1 - next_left) * x
        spread = ((1 - next_left) * (1 - step) / (1 - left)).sqrt()
        x = mean / (1 - left) + spread * torch.randn(x.shape, generator=rng, dtype=x.dtype, device=x.device)
    return x.clamp(-1, 1).contiguous()


def _clipped(v_of: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor) -> Tensor:
    """The picture that is read off x_t, in [-1, 1]."""
    left = kept(t).to(x)
    return (left.sqrt() * x - (1 - left).sqrt() * v_of(x, t.expand(len(x)).to(x))).clamp(-1, 1)


def wanted_v(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """v of pictures (B, 3, H, W) with noise to times t (B,)."""
    left = kept(t).view(-1, 1, 1, 1)
    return left.sqrt() * noise - (1 - left).sqrt() * images


def with_noise(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] at times t (B,) -> x_t."""
    left = kept(t).view(-1, 1, 1, 1)
    return left.sqrt() * images + (1 - left).sqrt() * noise


class Diffusion(nn.Module):
    """Noise, and the way back.

    Args:
        denoiser: reads v.
        weights: a file of this module, or ``shipped:<name>``; None keeps the random start, for training.
    """

    def __init__(self, denoiser: Denoiser, weights: str | None = None) -> None:
        super().__init__()
        self.denoiser = denoiser
        if weights is not None:
            load_into(self, weights)
            self.eval().requires_grad_(False)

    def noisy(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] at times t (B,) -> x_t."""
        return with_noise(images, noise, t)

    def loss(self, images: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Mean squared error of v of each picture, (B,)."""
        found = self.denoiser(self.noisy(images, t, noise), t).float()
        return (found - wanted_v(images, noise, t)).square().flatten(1).mean(1)

    def clean(self, noisy: Tensor, start: float, steps: int) -> Tensor:
        """x_t (B, 3, H, W) at time ``start`` -> pictures in [-1, 1], by so many even steps of DDIM."""
        return ddim(self.denoiser, noisy, start, steps)

    def again(self, images: Tensor, level: float, steps: int, noise: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] with noise to time ``level``, and back.

        Raises:
            ValueError: images that break the contract.
            UserError: sides that the network cannot halve so often.
        """
        if any(side % self.denoiser.least for side in check_images(images).shape[-2:]):
            raise UserError(
                f"This diffusion model takes pictures whose sides are multiples of {self.denoiser.least} pixels, not "
                f"{images.shape[-1]} x {images.shape[-2]}."
            )
        t = torch.full((len(images),), level, device=images.device)
        return self.clean(self.noisy(images, t, noise.to(images)), level, steps)
