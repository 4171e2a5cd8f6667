"""Render synthetic faces: parameters in, pictures and their ground truth out, vectorized over the batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anon.faces.synthetic import scene
from anon.faces.synthetic.head import meet, rotation, table
from anon.faces.synthetic.paint import face, over
from anon.faces.synthetic.parameters import EXPRESSION, Columns

SUPERSAMPLE = 1.5  # edges are drawn soft, so this is enough
BATCH = 16  # pictures at once: the working set fits the processor's cache


class Rendered(NamedTuple):
    """Pictures (B, size, size, 3) uint8 RGB with their truth (see ``anon.faces.contract.Sample`` for units)."""

    images: Tensor
    pose: Tensor  # (B, 3)
    expression: Tensor  # (B, 4)
    gaze: Tensor  # (B, 2)
    light: Tensor  # (B, 3)
    landmarks: Tensor  # (B, 5, 2)
    occluder: Tensor  # (B,) int64, index into parameters.OCCLUDERS


@torch.no_grad()
def render(person: Columns, mood: Columns, size: int = 64) -> Rendered:
    """Render one picture per row.

    Args:
        person: identity columns of :func:`anon.faces.synthetic.parameters.people`, one row per picture.
        mood: attribute columns of ``stills`` or ``clip``.
        size: side of the square pictures in pixels.
    """
    x, y, scale = scene.framing(mood, size, SUPERSAMPLE)
    x, y = torch.broadcast_tensors(x, y)
    head = table(person, mood)
    turn = rotation(mood)
    surface = meet(head, turn, x, y)
    paint = face(surface.point, surface.w, person, mood)
    paint = scene.worn(paint, surface.point, person, mood)
    light = scene.light_direction(mood)
    colour = scene.behind(x, y, person, mood, mood)
    colour = over(colour, scene.lit(paint, surface, turn, mood, light), surface.hit.float())
    colour = scene.hand(colour, x, y, person, mood, light)
    colour = F.interpolate(colour, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    colour = scene.blur(colour, mood)
    noise = torch.stack([_noise(int(seed), size) for seed in mood["noise_seed"]])
    images = (scene.sensor(colour, mood, noise) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    azimuth, elevation = scene.light_angles(mood)
    return Rendered(
        images,
        torch.stack([mood[name] for name in ("yaw", "pitch", "roll")], dim=-1),
        torch.stack([mood[name] for name in EXPRESSION], dim=-1),
        torch.stack((mood["gaze_x"], mood["gaze_y"]), dim=-1),
        torch.stack((azimuth, elevation, mood["light_strength"]), dim=-1),
        five_points(person, mood, head, turn, scale),
        mood["occluder"].long(),
    )


def _noise(seed: int, size: int) -> Tensor:
    draw = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy(draw.standard_normal((3, size, size), dtype=np.float32))


def five_points(person: Columns, mood: Columns, head: Tensor, turn: Tensor, scale: Tensor) -> Tensor:
    """The five points (B, 5, 2) in pixels: eye centres, nose tip, mouth corners, on the surface, seen or not."""
    eye_x, eye_y = person["eye_spacing"], person["eye_height"]
    tip_y = eye_y - person["nose_length"] - 0.03
    width = person["mouth_width"] * (1 + 0.22 * mood["smile"] - 0.12 * mood["mouth"])
    corner_y = -person["mouth_height"] + 0.045 * mood["smile"] - 0.06 * mood["mouth"]
    px = torch.stack((-eye_x, eye_x, person["nose_side"], -width, width), dim=-1)[:, None]  # (B, 1, 5)
    py = torch.stack((eye_y, eye_y, tip_y, corner_y, corner_y), dim=-1)[:, None]
    frontal = torch.eye(3).expand(len(px), 3, 3)
    point = meet(head, frontal, px, py).point[:, :, 0]  # (B, 3, 5)
    seen = torch.einsum("bij,bjk->bik", turn, point)
    per_unit, centre_x, centre_y = (part[:, None] for part in scale.unbind(-1))
    return torch.stack((centre_x + per_unit * seen[:, 0], centre_y - per_unit * seen[:, 1]), dim=-1)
