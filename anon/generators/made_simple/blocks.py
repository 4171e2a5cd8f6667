"""U-Nets that show each other what they see: attention whose keys and values are also those of other pictures.

A reference network reads a clean picture once and keeps, at each of its attention blocks, the block's input after
normalization. The denoiser's block of the same place attends to its own places and to these ("reference attention" of
Face Anonymization Made Simple: one self-attention over all tokens, of which only the own ones are kept. Other tokens
taken as keys and values alone give the same at less cost).

Ours: attention knows where a place is (sinusoids of row and column are added to queries and keys, never to what is
kept), and the maps are those of blocks of pixels, 2 x 2 at 64 pixels, as in :mod:`anon.generators.diffusion`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.generators.diffusion import times_code

HEADS = 2
States = list[Tensor]  # (B, C, h, w) of each attention block, in the order in which they are met


class Told(nn.Module):
    """Two convolutions beside the identity; what is told scales and shifts the maps between them, after their norm.

    A shift before it, as in :mod:`anon.generators.diffusion`, is lost where a group has few channels, and with it the
    colour of a skin. The second convolution starts at 0.

    Args:
        code: numbers that are told; None: nothing is.
    """

    def __init__(self, before: int, after: int, code: int | None) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.norm, self.second = nn.GroupNorm(8, after), nn.Conv2d(after, after, 3, padding=1)
        self.tell = None if code is None else nn.Linear(code, 2 * after)
        self.beside = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """A map (B, C, h, w) and what is told (B, ``code``) -> a map of ``after`` channels."""
        inner = self.norm(self.first(x))
        if self.tell is not None:
            scale, shift = self.tell(code)[:, :, None, None].chunk(2, 1)
            inner = inner * (1 + scale) + shift
        return self.beside(x) + self.second(F.silu(inner))


class ReferenceAttention(nn.Module):
    """Attention of all places of a map to themselves and to the same block's places in other networks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.queries = nn.Conv2d(width, width, 1)
        self.keys = nn.Conv2d(width, width, 1)
        self.values = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, others: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """A map (B, C, h, w) and others' states, the same form -> the map, and its own state."""
        count, width, height, columns = x.shape
        own = self.norm(x)
        where = places(width, height, columns).to(own)
        seen = torch.cat([own, *others])  # all (n B, C, h, w)
        parts = [self.queries(own + where), self.keys(seen + where), self.values(seen)]
        tokens = [
            part.reshape(-1, count, HEADS, width // HEADS, height * columns).permute(1, 2, 0, 4, 3).flatten(2, 3)
            for part in parts
        ]  # (B, heads, n h w, C / heads), of the queries n = 1
        mixed = attended(*tokens)
        return x + self.out(mixed.transpose(-1, -2).reshape(count, width, height, columns)), own


class Kept(nn.Module):
    """What :class:`ReferenceAttention` keeps, where nothing comes after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor, others: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """A map (B, C, h, w) -> the map, and its state."""
        return x, self.norm(x)


def attended(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of (B, heads, n, C) to (B, heads, m, C), the form of the queries.

    PyTorch's fused one takes twice as long on a CPU in bfloat16 with few channels.
    """
    if queries.is_cuda or queries.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(queries, keys, values)
    with torch.autocast(queries.device.type, enabled=False):
        share = (queries * queries.shape[-1] ** -0.5 @ keys.transpose(-1, -2)).softmax(-1)
        return share @ values


@functools.cache
def places(width: int, height: int, columns: int) -> Tensor:
    """(C, h, w): sines and cosines of the row, then of the column, a quarter of the channels each.

    The waves are whole turns over twice the map and its halves, so that a far place never looks like a near one.
    """
    quarter = width // 4
    turns = torch.arange(1, quarter + 1) * math.pi / 2  # radians from one side to the other
    row, column = (torch.linspace(0, 1, side) for side in (height, columns))
    down = (turns[:, None] * row).view(quarter, height, 1).expand(-1, -1, columns)
    across = (turns[:, None] * column).view(quarter, 1, columns).expand(-1, height, -1)
    return torch.cat([down.sin(), down.cos(), across.sin(), across.cos()])


class AttentiveUNet(nn.Module):
    """A U-Net with attention at every size but the largest, on the way down, in the middle and on the way up.

    Args:
        widths: channels at the first size, the picture's side over ``block``, and at each halving of that; multiples of
            8.
        block: side of the blocks of pixels that become channels.
        pictures: that are looked at, beside one another: 1 of a reference network, the noisy one and the driving one
            of a denoiser.
        draws: whether something is drawn. A reference network only keeps states: it has no parts beyond its last one,
            and no time, which is always 0.
    """

    def __init__(
        self, widths: Sequence[int] = (32, 48, 64), block: int = 2, pictures: int = 1, draws: bool = False
    ) -> None:
        super().__init__()
        if len(widths) < 2 or any(width % 8 for width in widths):
            raise UserError(f"A U-Net with references needs two widths or more, multiples of 8, not {list(widths)}.")
        self.block, self.draws = block, draws
        self.least = block * 2 ** (len(widths) - 1)  # what sides are multiples of
        code = 2 * widths[-1] if draws else None
        if code is not None:
            self.time = nn.Sequential(nn.Linear(128, code), nn.SiLU(), nn.Linear(code, code))
        self.stem = nn.Conv2d(3 * block**2 * pictures, widths[0], 3, padding=1)
        pairs, last = list(pairwise(widths)), widths[-1]
        self.down = nn.ModuleList(Told(width, width, code) for width in widths)
        self.down_seen = nn.ModuleList(ReferenceAttention(width) for width in widths[1:])
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.middle_seen, self.middle = ReferenceAttention(last), Told(last, last, code)
        kept = widths if draws else widths[1:]
        self.up = nn.ModuleList(Told(2 * width, width, code) for width in kept)
        self.up_seen = nn.ModuleList(ReferenceAttention(width) for width in widths[1:])
        if not draws:
            self.up_seen[0] = Kept(widths[1])
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in (pairs if draws else pairs[1:]))
        if draws:
            self.head = nn.Sequential(
                nn.GroupNorm(8, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 3 * block**2, 3, padding=1)
            )
            for parameter in self.head[-1].parameters():  # it begins by saying nothing
                nn.init.zeros_(parameter)

    def forward(
        self, pictures: Tensor, others: Sequence[States] = (), t: Tensor | None = None, token: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Look, and draw.

        Args:
            pictures: (B, 3 n, H, W), n pictures beside one another.
            others: states of reference networks, each of as many maps as this network has blocks.
            t: (B,) times in [0, 1], of what draws.
            token: (B, twice the last width), which joins the time.

        Returns:
            What is drawn, (B, 3, H, W), or without ``draws`` the middle's mean, (B, C): and the states.
        """
        code = None
        if self.draws:
            assert t is not None and token is not None
            code = F.silu(self.time(times_code(t)) + token)
        x, states, skips = self.stem(F.pixel_unshuffle(pictures, self.block)), States(), []

        def attend(block: nn.Module, x: Tensor) -> Tensor:
            x, state = block(x, [each[len(states)] for each in others])
            states.append(state)
            return x

        for level, block in enumerate(self.down):
            x = block(x, code)
            x = attend(self.down_seen[level - 1], x) if level else x
            skips.append(x)
            x = self.shrink[level](x) if level < len(self.shrink) else x
        x = self.middle(attend(self.middle_seen, x), code)
        pooled, first = x.mean((2, 3)), 0 if self.draws else 1  # the first level that is gone back to
        for level in reversed(range(first, len(skips))):
            x = self.up[level - first](torch.cat([x, skips[level]], 1), code)
            x = attend(self.up_seen[level - 1], x) if level else x
            if level > first:
                x = self.grow[level - 1 - first](F.interpolate(x, scale_factor=2, mode="nearest"))
        return (F.pixel_shuffle(self.head(x), self.block) if self.draws else pooled), states
