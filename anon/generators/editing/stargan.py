"""StarGAN (Choi et al., CVPR 2018): a residual generator that is told the attributes that a face shall have.

    [X; c tiled] -> 7x7 -> 4x4 of stride 2, twice -> residual blocks -> deconvolution 4x4, twice -> 7x7, tanh

Instance norm and ReLU. Borders are zeros: with mirrored ones instance norm leaves nothing of a tiled condition.
AnonymousNet (Li & Lin, CVPRW 2019) renders with it. ``base=64`` and six blocks are published.

    python train.py experiment=stargan
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.generators.editing.contract import Editor, tiled
from anon.generators.instance_norm import InstanceNorm

EPS = 1e-5


class Residual(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            InstanceNorm(channels, EPS),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            InstanceNorm(channels, EPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class StarGAN(Editor):
    """See the module and :class:`anon.generators.editing.contract.Editor`; its condition is what is wanted.

    Args:
        attributes: names.
        size: side of the pictures, a multiple of 4.
        base: channels of the first layer; the next two have twice and four times as many.
        residuals: blocks in the middle.

    Raises:
        UserError: another size.
    """

    def __init__(self, attributes: Sequence[str], size: int = 64, base: int = 16, residuals: int = 4) -> None:
        super().__init__(attributes)
        if size % 4:
            raise UserError(f"StarGAN halves its pictures twice: {size} is no multiple of 4.")
        layers: list[nn.Module] = [nn.Conv2d(3 + len(self.attributes), base, 7, padding=3, bias=False)]
        layers += [InstanceNorm(base, EPS), nn.ReLU()]
        for width in (base, 2 * base):
            layers += [nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), InstanceNorm(2 * width, EPS), nn.ReLU()]
        layers += [Residual(4 * base) for _ in range(residuals)]
        for width in (4 * base, 2 * base):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), InstanceNorm(width // 2, EPS)]
            layers += [nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(base, 3, 7, padding=3, bias=False))

    def condition(self, own: Tensor, wanted: Tensor) -> Tensor:
        return wanted

    def draw(self, target: Tensor, condition: Tensor) -> Tensor:
        return self.body(torch.cat((target, tiled(condition, target)), 1)).float().tanh()
