"""FaceDancer's generator (Rosberg et al., WACV 2023, sections 3.1 to 3.3; ``networks/generator.py`` of its code).

An encoder-decoder that redraws the target with the identity z of another face. The decoder's blocks are modulated by
AdaIN from w = mapping(z); at some resolutions an *adaptive feature fusion attention* (AFFA) gate chooses, per position
and channel, between the encoder's map (attributes) and the decoder's (identity):

    m = sigmoid(conv1x1(IN(lrelu(conv3x3([x_t; x_s])))))        x = (1 - m)·x_t + m·x_s

``config`` names a row of the ablation table (thesis, table 5.4). The generator of A and that of B are one network: A is
trained without IFSR, which is the objective's affair. The two baselines have no AFFA; the paper does not say how they
differ, so their skips are called what they are here, ``add`` and ``concat``.

    python train.py experiment=facedancer generator.config=C
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.blocks import halvings
from anon.generators.contract import Redrawn
from anon.generators.instance_norm import InstanceNorm

#: How the decoder takes the encoder's map, per stage of the 256 x 256 network, deepest (8 x 8) first. Smaller images
#: have fewer stages: the deepest are left out, so that the outer ones stay what they were at their resolution.
SKIPS: dict[str, tuple[str, ...]] = {
    "add": ("none", "none", "none", "add", "add", "add"),
    "concat": ("none", "none", "none", "concat", "concat", "concat"),
    "A": ("none", "none", "none", "affa", "affa", "affa"),
    "B": ("none", "none", "none", "affa", "affa", "affa"),
    "C": ("none", "none", "affa", "affa", "affa", "concat"),
    "D": ("affa", "affa", "affa", "affa", "affa", "concat"),
    "E": ("affa", "affa", "affa", "affa", "affa", "concat"),
}


class AFFA(nn.Module):
    """The gate: encoder map x_t and decoder map x_s, both (B, C, H, W) -> their mixture (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.join = nn.Conv2d(2 * channels, channels // 4, 3, padding=1)
        self.norm = InstanceNorm(channels // 4)
        self.gate = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x_t: Tensor, x_s: Tensor) -> Tensor:
        m = torch.sigmoid(self.gate(self.norm(F.leaky_relu(self.join(torch.cat((x_t, x_s), 1)), 0.2))))
        return x_t + m * (x_s - x_t)


class EncoderBlock(nn.Module):
    """Instance norm -> leaky ReLU -> 3x3 -> pool, beside 1x1 -> pool; no 1/sqrt(2). Halves H and W with ``down``."""

    def __init__(self, cin: int, cout: int, down: bool = True) -> None:
        super().__init__()
        self.norm = InstanceNorm(cin)
        self.conv = nn.Conv2d(cin, cout, 3, padding=1)
        self.shortcut = nn.Conv2d(cin, cout, 1)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.leaky_relu(self.norm(x), 0.2))
        if not self.down:
            return y + self.shortcut(x)
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))  # pooling first: the same numbers, less work


class DecoderBlock(nn.Module):
    """Instance norm -> AdaIN(w) -> leaky ReLU -> 3x3 -> bilinear x2, beside 1x1 -> bilinear x2 with ``up``.

    AdaIN as published, ``scale(w)·x + shift(w)`` without "+1", after an instance norm with its own weights.
    """

    def __init__(self, cin: int, cout: int, w_dim: int, up: bool = True) -> None:
        super().__init__()
        self.norm = InstanceNorm(cin)
        self.scale, self.shift = nn.Linear(w_dim, cin), nn.Linear(w_dim, cin)
        self.conv = nn.Conv2d(cin, cout, 3, padding=1)
        self.shortcut = nn.Conv2d(cin, cout, 1)
        self.up = up
        nn.init.ones_(self.scale.bias)  # so that the modulation starts near the identity

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.norm(x, self.scale(w), self.shift(w))
        y = self.conv(F.leaky_relu(y, 0.2)) + self.shortcut(x)
        # The sum is upsampled once: bilinear interpolation is linear.
        return F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False) if self.up else y


class FaceDancer(nn.Module):
    """``forward(target (B, 3, size, size), z (B, z_dim)) -> Redrawn`` without a mask; it becomes its condition.

    The published output is linear; in evaluation mode it is clamped to the [-1, 1] of the image contract.

    Args:
        size: side of the images; they are halved one to five times, down to 8 pixels where it is a power of two, else
            to the 9 to 15 that are left, such as 14 of 112 px, 12 of 96 px and 10 of 160 px.
        config: a key of :data:`SKIPS`; E has no mapping network.
        base: width at full resolution; widths double down to ``8 * base``. 64 is the paper's.
        z_dim: size of the identity embedding, which enters with unit norm times sqrt(z_dim).
        mapping: width and
        depth: number of layers of the mapping network; 512 and 4 in training, as published.

    Raises:
        UserError: unknown config, or a size that the network cannot have.
    """

    steers = +1

    def __init__(
        self, size: int = 256, config: str = "C", base: int = 64, z_dim: int = 512, mapping: int = 512, depth: int = 4
    ) -> None:
        super().__init__()
        if config not in SKIPS:
            raise UserError(f"FaceDancer has no config '{config}'; choose one of {', '.join(SKIPS)}.")
        levels, _ = halvings(size, 8, 1, 5, "FaceDancer draws")
        self.z_dim = z_dim
        self.skips = SKIPS[config][-(levels + 1) :]
        widths = [min(base * 2**step, 8 * base) for step in range(levels + 1)]
        w_dim = z_dim if config == "E" else mapping
        layers: list[nn.Module] = []
        for step in range(0 if config == "E" else depth):
            layers += [nn.Linear(z_dim if step == 0 else mapping, mapping), nn.LeakyReLU(0.2)]
        self.mapping = nn.Sequential(*layers[:-1])  # the last layer is linear
        self.stem = nn.Conv2d(3, base, 3, padding=1)
        self.encoder = nn.ModuleList(EncoderBlock(cin, cout) for cin, cout in pairwise(widths))
        self.middle = EncoderBlock(widths[-1], widths[-1], down=False)
        self.bottom = DecoderBlock(widths[-1], widths[-1], w_dim, up=False)
        inner = widths[::-1]  # deepest first: the width at which a stage meets the encoder's map
        outer = [*inner[1:], 3]
        self.gates = nn.ModuleList(
            AFFA(width) if skip == "affa" else nn.Identity() for width, skip in zip(inner, self.skips, strict=True)
        )
        self.decoder = nn.ModuleList(
            DecoderBlock(cin * (2 if skip == "concat" else 1), cout, w_dim, up=cout != 3)
            for cin, cout, skip in zip(inner, outer, self.skips, strict=True)
        )

    def _encoded(self, target: Tensor) -> list[Tensor]:
        maps = [self.stem(target)]  # (B, base, size, size)
        for block in self.encoder:
            maps.append(block(maps[-1]))
        return maps

    def attributes(self, target: Tensor) -> list[Tensor]:
        """What reaches the decoder of the target (B, 3, size, size): the skips' maps and the deepest, widest first."""
        *skipped, deepest = self._encoded(target)
        used = [x for x, skip in zip(skipped, reversed(self.skips[1:]), strict=True) if skip != "none"]
        return [*used, deepest]

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        w = self.mapping(z.to(self.stem.weight.dtype).mul(self.z_dim**0.5))
        maps = self._encoded(target)
        x = self.bottom(self.middle(maps[-1]), w)  # (B, widths[-1], 8 to 15, 8 to 15)
        for skip, gate, block in zip(self.skips, self.gates, self.decoder, strict=True):
            x_t = maps.pop()
            if skip == "affa":
                x = gate(x_t, x)
            elif skip == "add":
                x = x_t + x
            elif skip == "concat":
                x = torch.cat((x_t, x), 1)
            x = block(x, w)
        image = x.float()
        return Redrawn(image if self.training else image.clamp(-1, 1), None)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """torch.compile, in place, block by block.

        As one graph, inductor of torch 2.13 gives all but the last stage of configuration C a gradient of 0 on a CPU.
        """
        gates = [gate for gate in self.gates if isinstance(gate, AFFA)]
        for part in (self.mapping, *self.encoder, self.middle, self.bottom, *gates, *self.decoder):
            part.compile(*args, **kwargs)
