"""The adversary on the attribute path: a picture of what a generator takes from the target beside the identity vector.

IdentityDP (Wen et al., Neurocomputing 501, 2022; eq. 5.13 of their book *Face De-identification*, Springer 2024) draws
``h(z_a, r_att(X))`` and calls h post-processing of the private z_a. It is one of r_att(X), too, which has no noise.
This adversary is given r_att(X) alone, the maps of a generator's ``attributes`` (:mod:`anon.generators.contract`), and
nothing of the vector. He has pictures of people of his own and their maps, so he learns to draw the one from the other,
in closed form: position by position a map of side s gives its part of the picture, f x f pixels with f = H / s,

    W, b = argmin sum over pictures and positions of |W c + b - X_part|² + λ |W|²        c: 3 x 3 neighbours of the map

and shows the picture to a recognizer. A path of zeros gives one grey mean for all; one that copies the picture gives
it back. He is a linear one, so what he finds is the least that the path tells, and no bound.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anon.errors import Failed

WIDEST = 4096  # numbers that a position is told by; of wider maps the neighbours are left out
POSITIONS = 256  # of a picture, drawn at random, that are learned from: there are pictures enough
RIDGE = 1e-4  # λ, as a share of the mean variance of those numbers, summed over positions


def paths(generator: object, images: Tensor) -> dict[int, Tensor]:
    """The maps (B, C, s, s) that a generator takes from pictures (B, 3, H, W), by their side s, widest first.

    Raises:
        Failed: maps that are not square, or into whose positions the picture cannot be divided.
    """
    found: dict[int, list[Tensor]] = {}
    for one in generator.attributes(images):  # type: ignore[attr-defined]
        side = one.shape[-1]
        if one.shape[-2] != side or images.shape[-1] % side or images.shape[-2] % side:
            raise Failed(f"Attribute maps of {tuple(one.shape[-2:])} do not divide {tuple(images.shape[-2:])} pixels.")
        found.setdefault(side, []).append(one.float())
    return {side: torch.cat(found[side], 1) for side in sorted(found, reverse=True)}


def told(maps: Tensor) -> Tensor:
    """(B, C, s, s) -> (B, F, s, s): every position with its eight neighbours, zeros beyond the rim, and a one."""
    count, channels, height, width = maps.shape
    if 9 * channels < WIDEST:
        maps = F.unfold(maps, 3, padding=1).view(count, 9 * channels, height, width)
    return torch.cat((maps, torch.ones_like(maps[:, :1])), 1)


class Redrawer(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> what their maps of one side tell of them, the same form.

    Args:
        generator: gives the maps.
        side: s of these.
        weight: (F, 3 f²), as :func:`learned` finds it.
    """

    weight: Tensor

    def __init__(self, generator: nn.Module, side: int, weight: Tensor) -> None:
        super().__init__()
        self.generator, self.side = generator, side
        self.register_buffer("weight", weight)

    def forward(self, images: Tensor) -> Tensor:
        parts = torch.einsum("bfhw,fk->bkhw", told(paths(self.generator, images)[self.side]), self.weight)
        return F.pixel_shuffle(parts, images.shape[-1] // self.side).clamp(-1.0, 1.0)


@torch.no_grad()
def learned(generator: nn.Module, faces: Iterable[Tensor]) -> dict[int, Tensor]:
    """The weight (F, 3 f²) for each side of the maps, float32 on the CPU.

    Args:
        faces: batches (B, 3, H, W) of the adversary's own pictures, on the generator's device.
    """
    sums: dict[int, tuple[Tensor, Tensor]] = {}
    rng = torch.Generator().manual_seed(0)
    for images in (part for batch in faces for part in batch.split(16)):
        for side, maps in paths(generator, images).items():
            chosen = torch.randperm(side * side, generator=rng)[:POSITIONS].to(images.device)
            parts = F.pixel_unshuffle(images.float(), images.shape[-1] // side)
            x, y = (each.flatten(2)[..., chosen].movedim(1, -1).flatten(0, 1) for each in (told(maps), parts))
            square, along = sums.get(side, (0.0, 0.0))
            sums[side] = square + (x.T @ x).double(), along + (x.T @ y).double()  # (F, F), (F, 3 f²)
    return {side: _solved(*both).float().cpu() for side, both in sums.items()}


def _solved(square: Tensor, along: Tensor) -> Tensor:
    """Of ridge regression, whose constant (the last row) is not shrunk."""
    count = square[-1, -1]  # of positions
    variance = square.diagonal()[:-1] - square[-1, :-1].square() / count
    shrunk = torch.full_like(square[-1], float(RIDGE * variance.mean().clamp_min(1e-12)))
    shrunk[-1] = 0.0
    return torch.linalg.solve(square + shrunk.diag(), along)
