"""The face branch of DeepPrivacy2 (Hukkelås & Lindseth, WACV 2023; ``configs/fdf`` of its code): box and style.

A StyleGAN-like U-Net that gets the picture around the box, the box and a latent. No keypoint and no dense pose enters
the face branch, so what it draws is no function of the face's pixels at all.

    style     z -> unit mean square -> two fully connected layers (rate x .01) -> w
    encoder   1x1, then residual blocks down to 8 x 8, blur [1, 3, 3, 1]
    decoder   x·gamma(w) + beta(w), 3x3, instance norm, bias, leaky ReLU, twice; beside it a 1x1 and the encoder's map

Truncation: w is drawn towards its mean by 1 - psi. The command line of its code has psi = 0, where every face gets the
mean and the latents of tracks change nothing; here the default is none. Widths at 64 px are ours.

    python train.py experiment=deepprivacy2
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.regions import TIGHT
from anon.generators.blocks import Binomial, halvings
from anon.generators.inpainting.blocks import SLOPE, EqualConv, EqualLinear, MinibatchDeviation, PixelNorm, composite
from anon.generators.inpainting.contract import Inpainter, Seen
from anon.generators.instance_norm import instance_norm

_CLAMP = 256.0  # of activations, against overflow in half precision (its code)
_MEAN = 0.998  # decay of w's running mean, as StyleGAN2's


def _act(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE).mul(math.sqrt(2.0)).clamp(-_CLAMP, _CLAMP)


class _Resample(nn.Module):
    """Halving and doubling with the filter [1, 3, 3, 1]: pooling, or repeating, and a binomial filter."""

    def __init__(self) -> None:
        super().__init__()
        self.smooth = Binomial()

    def down(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.smooth(x), 2)

    def up(self, x: Tensor) -> Tensor:
        return self.smooth(F.interpolate(x, scale_factor=2, mode="nearest"))


class Down(nn.Module):
    """Residual block (B, cin, H, W) -> (B, cout, H/2, W/2)."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.resample = _Resample()
        self.conv1, self.conv2 = EqualConv(cin, cin, gain=1.0), EqualConv(cin, cout, gain=1.0)
        self.skip = EqualConv(cin, cout, 1, gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        y = _act(self.conv2(self.resample.down(_act(self.conv1(x)))))
        return (y + self.skip(self.resample.down(x))) * math.sqrt(0.5)


class Styled(nn.Module):
    """``lrelu(IN(conv(x·gamma(w) + beta(w))) + bias)``: (B, cin, H, W) and w (B, D) -> (B, cout, H, W)."""

    def __init__(self, cin: int, cout: int, w_dim: int) -> None:
        super().__init__()
        self.gamma, self.beta = EqualLinear(w_dim, cin, bias=1.0), EqualLinear(w_dim, cin)
        self.conv = EqualConv(cin, cout, gain=1.0)
        self.bias = nn.Parameter(torch.zeros(1, cout))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gamma, beta = (part(w)[:, :, None, None].to(x.dtype) for part in (self.gamma, self.beta))
        x = self.conv(torch.addcmul(beta, x, gamma))
        return _act(instance_norm(x, torch.ones_like(self.bias), self.bias, eps=1e-5))


class Up(nn.Module):
    """Styled block (B, cin, H, W) with the encoder's map (B, cout, 2H, 2W) -> (B, cout, 2H, 2W)."""

    def __init__(self, cin: int, cout: int, w_dim: int) -> None:
        super().__init__()
        self.resample = _Resample()
        self.conv1, self.conv2 = Styled(cin, cout, w_dim), Styled(cout, cout, w_dim)
        self.skip, self.beside = EqualConv(cin, cout, 1, gain=1.0), EqualConv(cout, cout, 1, gain=1.0)

    def forward(self, x: Tensor, own: Tensor, w: Tensor) -> Tensor:
        x = self.resample.up(x)
        ones, zeros = own.new_ones(1, own.shape[1]), own.new_zeros(1, own.shape[1])
        beside = self.beside(instance_norm(own, ones, zeros, eps=1e-5))
        return (self.conv2(self.conv1(x, w), w) + self.skip(x) + beside) * math.sqrt(1 / 3)


def _widths(size: int, base: int, most: int, bottom: int, who: str) -> list[int]:
    blocks, side = halvings(size, bottom, 2, 8, who)
    if side != bottom:
        raise UserError(f"{who} images of {bottom} pixels times a power of two, such as 64 and 128, not {size}.")
    return [base * min(2**step, most) for step in range(blocks + 1)]


class DeepPrivacy2(Inpainter):
    """See the module and :class:`anon.generators.inpainting.contract.Inpainter`.

    Args:
        size: side of the pictures: 8 times a power of two, 32 at least.
        base: width at full resolution; it doubles at each of the halvings down to 8 x 8, up to ``most`` times.
        most: 4 at 128 px (base 128), 8 at 256 px (base 64) are published.
        z_dim: size of latent and style.
        box: the hole.
        truncation: psi, share of w's way from its mean; 0: one face for a context. None: 1.

    Raises:
        UserError: another size.
    """

    w_mean: Tensor

    def __init__(
        self,
        size: int,
        base: int = 16,
        most: int = 4,
        z_dim: int = 256,
        box: Sequence[float] = TIGHT,
        truncation: float | None = None,
    ) -> None:
        super().__init__(z_dim, box, truncation)
        widths = _widths(size, base, most, 8, "DeepPrivacy2 draws")
        self.style = nn.Sequential(
            PixelNorm(),
            EqualLinear(z_dim, z_dim, math.sqrt(2.0), 0.01),
            nn.LeakyReLU(SLOPE),
            EqualLinear(z_dim, z_dim, math.sqrt(2.0), 0.01),
            nn.LeakyReLU(SLOPE),
        )
        self.register_buffer("w_mean", torch.zeros(1, z_dim))
        self.stem = EqualConv(4, widths[0], 1, gain=1.0)
        self.down = nn.ModuleList(Down(cin, cout) for cin, cout in pairwise(widths))
        self.middle = nn.ModuleList(Styled(widths[-1], widths[-1], z_dim) for _ in range(2))
        self.up = nn.ModuleList(Up(cin, cout, z_dim) for cin, cout in pairwise(widths[::-1]))
        self.to_rgb = EqualConv(widths[0], 3, 1, gain=1.0)

    def styled(self, z: Tensor) -> Tensor:
        """w (B, z_dim) of latents (B, z_dim); in training the running mean follows it."""
        w = self.style(self.latent(z)).float()
        if self.training:
            with torch.no_grad():
                self.w_mean.lerp_(w.mean(0, keepdim=True), 1.0 - _MEAN)
        return w if self.truncation is None else self.w_mean.lerp(w, self.truncation)

    def fill(self, seen: Seen, z: Tensor) -> Tensor:
        hole = seen.hole.to(seen.context).expand(len(seen.context), -1, -1, -1)
        w = self.styled(z)
        maps = [_act(self.stem(torch.cat((seen.context, hole), 1)))]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = maps.pop()  # (B, widths[-1], 8, 8)
        for block in self.middle:
            x = block(x, w)
        for block in self.up:
            x = block(x, maps.pop(), w)
        return composite(self.to_rgb(x).float(), seen.context, seen.hole, equal=True)


class DeepPrivacy2Critic(nn.Module):
    """[picture, context, hole] (B, 7, size, size) -> logits (B,), positive for real; StyleGAN2's residual form.

    Args:
        size: 4 times a power of two.
        base: width at full resolution; 80 is published.
        most: how many times as wide it becomes.
    """

    def __init__(self, size: int, base: int = 16, most: int = 4) -> None:
        super().__init__()
        widths = _widths(size, base, most, 4, "DeepPrivacy2's critic judges")
        self.stem = EqualConv(7, widths[0], 1, gain=1.0)
        self.down = nn.Sequential(*(Down(cin, cout) for cin, cout in pairwise(widths)))
        self.deviation = MinibatchDeviation()
        self.conv = EqualConv(widths[-1] + 1, widths[-1], gain=1.0)
        self.join, self.score = EqualLinear(widths[-1] * 16, widths[-1]), EqualLinear(widths[-1], 1)

    def forward(self, images: Tensor, seen: Seen) -> Tensor:
        """Images (N·B, 3, H, W), N of each of the pictures that ``seen`` is of, in its order."""
        copies = len(images) // len(seen.context)
        condition = torch.cat((seen.context, seen.hole.to(seen.context).expand(len(seen.context), -1, -1, -1)), 1)
        x = torch.cat((images, condition.repeat(copies, 1, 1, 1)), 1)
        x = self.down(_act(self.stem(x)))  # (N·B, widths[-1], 4, 4)
        parts = [_act(self.conv(self.deviation(part))) for part in x.chunk(copies)]  # reals and fakes apart
        return self.score(_act(self.join(torch.cat(parts).flatten(1)))).float().flatten()
