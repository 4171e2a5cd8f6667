"""The critic of attribute editors: how real a face is, and which attributes it has, from one trunk.

STGAN (Liu et al., CVPR 2019) and StarGAN (Choi et al., CVPR 2018) have it alike, but for norm and heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from anon.errors import UserError

SLOPE, STARS_SLOPE = 0.2, 0.01  # of leaky ReLU, with STGAN's heads and with StarGAN's
MOST, STARS_MOST = 1024, 2048  # channels


class AttributeCritic(nn.Module):
    """One critic with two heads: how real a face is, and which attributes it has; no other network judges a training.

    Convolutions 4x4 of stride 2 and leaky ReLU; STGAN has instance norm and two fully connected layers a head (1024,
    five convolutions), StarGAN no norm and a convolution a head, of patches for how real they are.

    Args:
        attributes: how many.
        size: side of the pictures, a multiple of 2 to the power of ``layers``.
        base: channels of the first convolution; they double, up to 1024 (with ``hidden``) or 2048.
        layers: convolutions.
        hidden: width of the heads' first layer; None: StarGAN's heads.
    """

    def __init__(
        self, attributes: Sequence[str], size: int = 64, base: int = 24, layers: int = 4, hidden: int | None = 128
    ) -> None:
        super().__init__()
        if size % 2**layers:
            raise UserError(f"The critic halves its pictures {layers} times: {size} is no multiple of {2**layers}.")
        side, count = size // 2**layers, len(attributes)
        widths = [min(base * 2**each, MOST if hidden else STARS_MOST) for each in range(layers)]
        trunk: list[nn.Module] = []
        for cin, cout in pairwise([3, *widths]):
            trunk.append(nn.Conv2d(cin, cout, 4, 2, 1))
            if hidden:
                trunk.append(nn.InstanceNorm2d(cout, affine=True))
            trunk.append(nn.LeakyReLU(SLOPE if hidden else STARS_SLOPE))
        self.trunk = nn.Sequential(*trunk)
        wide = widths[-1]
        if hidden:
            self.real, self.named = _head(wide * side**2, hidden, 1), _head(wide * side**2, hidden, count)
        else:
            self.real = nn.Sequential(nn.Conv2d(wide, 1, 3, padding=1, bias=False), nn.Flatten())
            self.named = nn.Sequential(nn.Conv2d(wide, count, side, bias=False), nn.Flatten())

    def judge(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """How real (B,), and the logits of the attributes (B, c), of faces (B, 3, H, W)."""
        x = self.trunk(images)
        return self.real(x).float().mean(1), self.named(x).float()

    def forward(self, images: Tensor) -> Tensor:
        return self.judge(images)[0]


def _head(cin: int, hidden: int, cout: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(cin, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, cout))
