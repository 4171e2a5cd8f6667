"""IDeudemon, small: a parametric code of who it is takes noise, and a restorer puts the drawn face into its picture.

Wen, Liu, Cao, Xie & Song, *Divide and Conquer: a Two-Step Method for High Quality Face De-identification with Model
Explainability*, ICCV 2023; equations are those of chapter 7 of the authors' book *Face De-identification*, Springer
2024. Its two steps, and what stands for their parts here, where nothing is downloaded:

    step I   z_id, z_app, z_cam = fit(X)            eq. 7.1, 7.2: a 3DMM fit, then HeadNeRF's by optimisation
             z'_id = clip(z_id + N(0, scale), ±1)   eq. 7.3, section 7.4.1
             X_p = render(z'_id, z_app, z_cam)      eq. 7.4: HeadNeRF
    step II  X_I = X outside of the face, X_p inside   section 7.3.3: BiSeNet's masks; white gaps where X_p is no face
             X' = restore(X_I)                         GFP-GAN: a U-Net with a pre-trained StyleGAN2

The renderer of the synthetic faces takes HeadNeRF's place, and its identity parameters the code of 100 numbers. They
are independent draws, so no PCA is taken; 3 standard deviations of an axis are 1. The fit is one pass of networks, and
no optimisation: the shipped look regressor (identity), the shipped attribute regressor (pose, expression, gaze) and
``reader`` (light and camera). What it cannot read of a face is the mean person's, so a face drawn at scale 0 is not the
own one, as HeadNeRF's nearly is. ``reader`` also says where the face is, for BiSeNet; the U-Net has no StyleGAN2.
Where the paper is silent: gaps have a channel of their own, and no pixel at the face's rim is taken over from X.

    python train.py experiment=ideudemon
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.attributes.look import LookRegressor
from anon.attributes.regressor import AttributeRegressor
from anon.errors import UserError
from anon.faces.synthetic.look import LOOK
from anon.faces.synthetic.parameters import BEARD, EXPRESSION, MARKS, SHAPE, TEXTURE, Columns
from anon.faces.synthetic.parts import head_of

#: What the reader tells of light and camera, each drawn evenly in [0, 1].
SCENE = (
    *("light_azimuth", "light_elevation", "light_strength", "light_warmth", "exposure", "contrast"),
    *("shift_x", "shift_y", "zoom", "makeup"),
)
HAIR = ("hairline", "hairline_curve", "temple_hair", "hair_part", "hair_volume", "hair_grain")
#: The counterpart of the 3DMM's albedo, which is part of z_app.
ALBEDO = (
    *("brow_density", "lip_colour", "fold", "eye_bag", "blush", "undertone", "wrinkle", "philtrum"),
    *("skin", "iris"),
)
GEOMETRY = tuple(name for name in SHAPE if name not in HAIR + ALBEDO)  # z_id
UNIT = 3.0  # standard deviations that are 1 in the code


class UNet(nn.Module):
    """(B, cin, H, W) -> (B, cout, H, W) and the lowest map; H and W are multiples of 2^(len(widths) - 1)."""

    def __init__(self, cin: int, cout: int, widths: Sequence[int]) -> None:
        super().__init__()
        widths = tuple(int(width) for width in widths)
        self.halved = len(widths) - 1
        self.stem = _Unit(cin, widths[0])
        self.down = nn.ModuleList(nn.Sequential(_Unit(i, o, 2), _Unit(o, o)) for i, o in pairwise(widths))
        self.up = nn.ModuleList(_Unit(i + o, o) for o, i in list(pairwise(widths))[::-1])
        self.head = nn.Conv2d(widths[0], cout, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = [self.stem(x)]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = lowest = maps.pop()
        for block in self.up:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(torch.cat((x, maps.pop()), 1))
        return self.head(x).float(), lowest


class _Unit(nn.Sequential):
    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(cin, cout, 3, stride, 1), nn.GroupNorm(8, cout), nn.LeakyReLU(0.2, inplace=True))


class Reader(nn.Module):
    """Where the face is seen, logits (B, 1, H, W), and light and camera, :data:`SCENE` (B, 10) in [0, 1]."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.net = UNet(3, 1, widths)
        self.scene = nn.Sequential(nn.Linear(16 * int(widths[-1]), 128), nn.LeakyReLU(0.2), nn.Linear(128, len(SCENE)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        face, lowest = self.net(images)
        return face, torch.sigmoid(self.scene(F.adaptive_avg_pool2d(lowest, 4).flatten(1).float()))


class Hybrid(NamedTuple):
    """Between the steps: ``protected`` X_p, ``image`` X_I, 0 in gaps, and ``valid`` (B, 1, H, W), 0 there, else 1."""

    protected: Tensor
    image: Tensor
    valid: Tensor


class IDeudemon(nn.Module):
    """Both steps; ``forward(images, noise) -> X'``, not clamped.

    Args:
        look, attributes: read who it is, and pose, expression and gaze; frozen.
        widths: of the restorer, at full, half, ... resolution.
        reader: widths of the reader; multiples of 8, as those of the restorer.
    """

    def __init__(
        self,
        look: LookRegressor,
        attributes: AttributeRegressor,
        widths: Sequence[int] = (32, 64, 96, 128),
        reader: Sequence[int] = (16, 32, 64, 96),
    ) -> None:
        super().__init__()
        self.look, self.attributes = look.eval().requires_grad_(False), attributes.eval().requires_grad_(False)
        self.reader, self.restorer = Reader(reader), UNet(4, 3, widths)

    def train(self, mode: bool = True) -> IDeudemon:
        """The fit's regressors stay as they are."""
        super().train(mode)
        self.look.eval()
        self.attributes.eval()
        return self

    @torch.no_grad()
    def hybrid(self, images: Tensor, noise: Tensor) -> Hybrid:
        """Step I, and what step II is given.

        Args:
            images: (B, 3, size, size) in [-1, 1].
            noise: (B, K), what is added to the code, columns :data:`anon.faces.synthetic.look.LOOK`; see
                :func:`noise_of`.

        Raises:
            UserError: pictures that are not square, or that the networks cannot halve.
        """
        height, width = images.shape[-2:]
        times = 2 ** max(self.restorer.halved, self.reader.net.halved)
        if height != width or height % times:
            raise UserError(
                f"IDeudemon draws squares whose side is a multiple of {times} pixels, not {height}x{width}."
            )
        code = self.look.read(images) / UNIT
        moved = torch.where(noise == 0, code, (code + noise).clamp(-1.0, 1.0)) * UNIT
        logits, scene = self.reader(images)
        read = self.attributes(images)
        person = person_of(moved * self.look.std + self.look.mean)
        moods = {"pose": ("yaw", "pitch", "roll"), "expression": EXPRESSION, "gaze": ("gaze_x", "gaze_y")}
        mood: Columns = {
            name: read[kind][:, place]
            for kind, names in moods.items()
            for place, name in enumerate(names)  # type: ignore[literal-required]
        }
        low = torch.tensor([-1.0 if name in ("smile", "brow") else 0.0 for name in EXPRESSION]).to(images)
        bounded = torch.minimum(torch.maximum(read["expression"], low), torch.ones_like(low))
        mood |= dict(zip(EXPRESSION, bounded.unbind(1), strict=True)) | dict(zip(SCENE, scene.unbind(1), strict=True))
        head = head_of(_on_cpu(person), _on_cpu(mood), height)
        protected, covered = head.image.to(images), (head.face > 0.5).to(images)
        face = F.max_pool2d((logits > 0).to(images), 3, 1, 1)  # one pixel wider: nothing of it is taken over
        valid = 1 - face * (1 - covered)
        return Hybrid(protected, valid * torch.lerp(images, protected, face * covered), valid)

    def restore(self, hybrid: Hybrid) -> Tensor:
        """Step II: X' (B, 3, H, W)."""
        return hybrid.image + self.restorer(torch.cat((hybrid.image, hybrid.valid), 1))[0]

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        return self.restore(self.hybrid(images, noise))


def noise_of(scale: Tensor, rng: torch.Generator, albedo: bool = False) -> Tensor:
    """What the code gets (B, K), K = len(LOOK), normal with the standard deviation ``scale`` (B,) where it is noised.

    Args:
        rng: on the scale's device.
        albedo: whether skin, lips and irises get it as well, and not :data:`GEOMETRY` alone, as published.
    """
    chosen = torch.tensor([name in (GEOMETRY + ALBEDO if albedo else GEOMETRY) for name in LOOK])
    drawn = torch.randn(len(scale), len(LOOK), generator=rng, device=scale.device)
    return drawn * scale[:, None] * chosen.to(scale)


def person_of(look: Tensor) -> Columns:
    """A person (B rows) with this look (B, K), columns ``LOOK`` in the renderer's units; without moles and texture.

    It undoes :func:`anon.faces.synthetic.look.look_of`, but for hair, whose colour is not asked for: brows and beards
    have a brightness, and no red.
    """
    read = dict(zip(LOOK, look.unbind(1), strict=True))
    person: Columns = {}
    for name, (mean, spread) in SHAPE.items():
        person[name] = read[name].clamp(mean - 2.2 * spread, mean + 2.2 * spread)
    melanin, masculine = read["skin"].clamp(0, 1), read["masculine"].clamp(0, 1)
    density = read["beard"].clamp(0, 0.92)
    grows = torch.where(density > 0.05, density / 2 + BEARD, 0.0)
    # The painter's ramp of hair: mean colours of its five stops.
    stops = look.new_tensor([0.043, 0.12, 0.24, 0.447, 0.68])
    place = torch.bucketize(read["hair_brightness"].contiguous(), stops).clamp(1, 4)
    below, above = stops[place - 1], stops[place]
    light = (place - 1 + ((read["hair_brightness"] - below) / (above - below)).clamp(0, 1)) / 4
    even = {
        "melanin": melanin,
        "hair_light": (light / (1 - 0.85 * melanin)).clamp(0, 1),
        "hair_hue": torch.full_like(melanin, 0.5),
        "masculine": masculine,
        "iris_hue": (read["iris"] / (1.2 - melanin)).clamp(0, 1),
        "beard": (grows / masculine.clamp_min(0.05)).clamp(0, 1),
        "beard_style": torch.where(read["full_beard"] > 0.5 * density, 0.2, 0.6),
        "bald": torch.where(read["bald"] > 0.5, 0.0, 1.0),
        "fringe": torch.where(read["fringe"] > 0.5, 0.9, 0.5),
        "long": read["long_hair"].clamp(0, 1),
    }
    marks, texture = look.new_zeros(len(look), MARKS, 4), look.new_zeros(len(look), 3, TEXTURE, TEXTURE)
    return {**person, **even, "marks": marks, "texture": texture}


def _on_cpu(columns: Columns) -> Columns:
    """The renderer works there."""
    return {name: column.float().cpu() for name, column in columns.items()}
