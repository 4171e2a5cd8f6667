"""A small vision transformer (Dosovitskiy et al., ICLR 2021) with a convolutional stem (Xiao et al., NeurIPS 2021).

Every patch looks at every other from the first block on, where convolutions see further only layer by layer: what fools
one kind of network need not fool the other. One of the judges that ship is one of these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm and beside a shortcut: (B, T, C) -> the same."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        # (3, B, heads, T, C / heads); no shape is read, so that the network can be traced
        qkv = self.qkv(self.before(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2]).transpose(1, 2).flatten(2)
        x = x + self.merge(seen)
        return x + self.narrow(F.gelu(self.widen(self.after(x))))


class PatchNet(nn.Module):
    """``(B, 3, input_size, input_size)`` -> raw embedding ``(B, dim)``.

    Args:
        stem: channels of the convolutions of stride 2 that make patches, named ``stem.0``, ``stem.1``, ...; the last
            are a patch's.
        blocks: of the transformer.
        heads: of its attention.
        expansion: hidden units of a perceptron over its input's.
        dim: size of the embedding.
        input_size: side of the square input in pixels.
    """

    def __init__(
        self,
        stem: tuple[int, ...] = (48, 96, 160),
        blocks: int = 5,
        heads: int = 4,
        expansion: int = 2,
        dim: int = 192,
        input_size: int = 64,
    ) -> None:
        super().__init__()
        self.dim = dim
        layers, cin, side = [], 3, input_size
        for width in stem:
            layers.append(
                nn.Sequential(nn.Conv2d(cin, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
            )
            cin, side = width, -(-side // 2)
        self.stem = nn.Sequential(*layers)
        self.place = nn.Parameter(torch.zeros(1, side * side, cin))
        nn.init.trunc_normal_(self.place, std=0.02)
        self.blocks = nn.Sequential(*(Block(cin, heads, expansion) for _ in range(blocks)))
        self.last = nn.LayerNorm(cin)
        self.project = nn.Linear(cin, dim, bias=False)
        self.norm = nn.BatchNorm1d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2) + self.place  # (B, T, C)
        return self.norm(self.project(self.last(self.blocks(x)).mean(1)))
