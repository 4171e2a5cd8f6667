"""STGAN (Liu et al., CVPR 2019): an encoder-decoder that is told what shall differ, with selective transfer units.

    f_1 .. f_n    convolutions 4x4 of stride 2, batch norm, leaky ReLU            condition: a = wanted - own
    unit l        from inside out, with the state s of the unit within (at first f_n and a):
                  s' = deconv(s)          r, z = sigmoid(conv(f_l, s'))
                  s_l = r s'              f' = tanh(conv(f_l, s_l))        out_l = (1 - z) s' + z f'
                  the next state is s_l and a (eqs. 2 to 7; a GRU would pass out_l)
    decoder       f_n and a -> deconvolutions 4x4 of stride 2, each beside out_l and a -> tanh

So what is left alone passes through the skips, and what changes is chosen by what is wanted. 128 px, n = 5, widths of
64 to 1024 and four units are published; 64 px, n = 4, widths of 16 to 128 and three units are ours.

    python train.py experiment=stgan
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from anon.errors import UserError
from anon.generators.editing.contract import Editor, tiled

SLOPE = 0.2
MOST = 1024  # channels


class TransferUnit(nn.Module):
    """A selective transfer unit: (B, inner, H/2, W/2) within and (B, cout, H, W) of the encoder -> the latter's form.

    Args:
        inner: channels of the state within, its condition among them.
        cout: channels of the encoder's map, and of what it gives.
        gru: pass on what is given, as a gated recurrent unit does; False: the gated state (STGAN).
    """

    def __init__(self, inner: int, cout: int, gru: bool = False) -> None:
        super().__init__()
        self.rise = nn.ConvTranspose2d(inner, cout, 4, 2, 1)
        self.reset, self.update, self.candidate = (nn.Conv2d(2 * cout, cout, 3, padding=1) for _ in range(3))
        self.gru = gru

    def forward(self, feature: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The map for the decoder, and the state for the unit around this one."""
        risen = self.rise(state)
        both = torch.cat((feature, risen), 1)
        reset, update = self.reset(both).sigmoid(), self.update(both).sigmoid()
        kept = reset * risen
        found = self.candidate(torch.cat((feature, kept), 1)).tanh()
        given = (1 - update) * risen + update * found
        return given, given if self.gru else kept


class STGAN(Editor):
    """See the module and :class:`anon.generators.editing.contract.Editor`; its condition is the difference.

    Args:
        attributes: names.
        size: side of the pictures, a multiple of 2 to the power of ``layers``.
        base: channels of the first layer; they double from layer to layer, up to 1024.
        layers: n, halvings of the picture.
        units: of the n - 1 skips, from the inside, how many have a transfer unit; the others pass the encoder's map.
        gru: see :class:`TransferUnit`.

    Raises:
        UserError: another size, or more units than skips.
    """

    def __init__(
        self,
        attributes: Sequence[str],
        size: int = 64,
        base: int = 16,
        layers: int = 4,
        units: int = 3,
        gru: bool = False,
    ) -> None:
        super().__init__(attributes)
        if layers < 2 or size % 2**layers or units > layers - 1:
            raise UserError(
                f"STGAN halves its pictures {layers} times and has a unit in {units} of {layers - 1} skips: take a "
                f"size that is a multiple of {2**layers}, not {size}, two layers or more, and no more units than skips."
            )
        told, widths = len(self.attributes), [min(base * 2**each, MOST) for each in range(layers)]
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.LeakyReLU(SLOPE))
            for cin, cout in pairwise([3, *widths])
        )
        skips = widths[-2::-1]  # from the inside
        self.units = nn.ModuleList(
            TransferUnit(inner + told, cout, gru) for inner, cout in list(pairwise(widths[::-1]))[:units]
        )
        cins = [widths[-1] + told, *(2 * width + told for width in skips)]
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())
            for cin, cout in zip(cins[:-1], skips, strict=True)
        )
        self.to_rgb = nn.ConvTranspose2d(cins[-1], 3, 4, 2, 1)

    def condition(self, own: Tensor, wanted: Tensor) -> Tensor:
        return wanted - own

    def draw(self, target: Tensor, condition: Tensor) -> Tensor:
        maps, x = [], target
        for layer in self.down:
            x = layer(x)
            maps.append(x)
        state = x = torch.cat((x, tiled(condition, x)), 1)
        for place, (layer, feature) in enumerate(zip(self.up, maps[-2::-1], strict=True)):
            told = tiled(condition, feature)
            if place < len(self.units):
                feature, kept = self.units[place](feature, state)
                state = torch.cat((kept, told), 1)
            x = torch.cat((layer(x), feature, told), 1)
        return self.to_rgb(x).float().tanh()
