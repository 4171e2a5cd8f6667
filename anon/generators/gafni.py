"""The generator of Gafni, Wolf and Taigman, "Live Face De-Identification in Video" (ICCV 2019).

An encoder-decoder: the target's own descriptor joins the code between two fully connected layers, where no spatial
layout is left, and it draws an image and a one-channel mask. ``Redrawn.blend`` is m·X_a + (1 - m)·X_t. FIVA (ICCVW
2023, section 3.1) lists what it changed of it, and so what was there: not all encoder maps are skips, and the
descriptor does not keep spatial dimensions.

Our choices, for neither the paper's text at hand nor any code has them: widths, strided depthwise separable
convolutions with instance norm and leaky ReLU, which level the one skip is of, and pixel shuffle on the way up.

    python train.py experiment=gafni
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.blocks import Depthwise, icnr_
from anon.generators.contract import Redrawn
from anon.generators.instance_norm import InstanceNorm


class Down(nn.Module):
    """(B, cin, H, W) -> (B, cout, H/2, W/2): depthwise 3x3 of stride 2, 1x1, instance norm, leaky ReLU."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.down, self.widen, self.norm = Depthwise(cin, stride=2), nn.Conv2d(cin, cout, 1), InstanceNorm(cout)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.widen(self.down(x))), 0.2)


class Up(nn.Module):
    """(B, cin, H, W) -> (B, cout, 2H, 2W): 3x3 to four times the width, instance norm, pixel shuffle, residual 3x3."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.widen, self.norm = nn.Conv2d(cin, 4 * cout, 3, padding=1), InstanceNorm(4 * cout)
        self.unit = nn.Conv2d(cout, cout, 3, padding=1)
        icnr_(self.widen.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pixel_shuffle(F.leaky_relu(self.norm(self.widen(x)), 0.2), 2)
        return x + F.leaky_relu(self.unit(x), 0.2)


class Gafni(nn.Module):
    """``forward(target (B, 3, size, size), z (B, z_dim)) -> Redrawn``.

    Args:
        size: side of the pictures, a multiple of 2^(len(widths) - 1); the fully connected layers fix it.
        widths: channels at full, half, quarter, ... resolution; the last is the code's.
        z_dim: size of the identity embedding; of unit norm, scaled by sqrt(z_dim) inside.
        code: numbers that the picture is squeezed to, before the embedding joins them.
        skip: how often the pictures are halved where the one skip connection is.

    Raises:
        UserError: a size that cannot be halved so often, or no such level for the skip; pictures of another size.
    """

    #: Trained to draw a face that is far from its condition.
    steers = -1

    def __init__(
        self,
        size: int = 64,
        widths: Sequence[int] = (24, 48, 96, 128, 128),
        z_dim: int = 256,
        code: int = 192,
        skip: int = 2,
    ) -> None:
        super().__init__()
        widths = tuple(int(width) for width in widths)
        halved = len(widths) - 1
        if size % 2**halved or size < 2**halved:
            raise UserError(
                f"Gafni's generator with {len(widths)} widths draws images whose side is a multiple of {2**halved} "
                f"pixels, not {size}."
            )
        if not 1 <= skip < halved:
            raise UserError(f"generator.skip={skip} must be 1 to {halved - 1} with {len(widths)} widths.")
        self.size, self.z_dim, self.skip, self.side = size, z_dim, skip, size // 2**halved
        self.stem = nn.Conv2d(3, widths[0], 5, padding=2)
        self.down = nn.ModuleList(Down(cin, cout) for cin, cout in pairwise(widths))
        flat = widths[-1] * self.side**2
        self.squeeze, self.spread = nn.Linear(flat, code), nn.Linear(code + z_dim, flat)
        up = []
        for level in range(halved, 0, -1):  # what comes in has been halved so often
            up.append(Up(widths[level] * (2 if level == skip else 1), widths[level - 1]))
        self.up = nn.ModuleList(up)
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        with torch.no_grad():  # the mask starts at 0.5 everywhere
            self.head.weight[3] *= 0.1

    def attributes(self, target: Tensor) -> list[Tensor]:
        """What is read off the target (B, 3, size, size): the skip's map, and the code (B, code, 1, 1)."""
        x, kept = F.leaky_relu(self.stem(target), 0.2), target
        for level, block in enumerate(self.down, 1):
            x = block(x)
            kept = x if level == self.skip else kept
        return [kept, F.leaky_relu(self.squeeze(x.flatten(1)), 0.2)[:, :, None, None]]

    def forward(self, target: Tensor, z: Tensor) -> Redrawn:
        if target.shape[-2:] != (self.size, self.size):
            height, width = target.shape[-2:]
            raise UserError(
                f"this Gafni draws pictures of {self.size} x {self.size} pixels, not of {height} x {width}; give "
                f"data.size={self.size}, or train one of that size."
            )
        kept, squeezed = self.attributes(target)
        code = torch.cat((squeezed.flatten(1), z.to(squeezed.dtype) * self.z_dim**0.5), 1)
        x = F.leaky_relu(self.spread(code), 0.2).unflatten(1, (-1, self.side, self.side))  # (B, C, side, side)
        for level, block in zip(range(len(self.down), 0, -1), self.up, strict=True):
            x = block(torch.cat((x, kept), 1) if level == self.skip else x)
        drawn = self.head(x).float()
        return Redrawn(torch.tanh(drawn[:, :3]), torch.sigmoid(drawn[:, 3:]))
