"""The head: a sphere of directions with a smooth radius, tabulated per picture, found by marching a ray per pixel.

Head frame: x to the image's right when the face is frontal, y up, z towards the camera; lengths in head units. The
surface is star-shaped, ``p = r(n) n``; the table holds r and the normal over Lambert's equal-area map of directions
``w = n_xy sqrt(2 / (1 + n_z))``, which is fine where the face is and coarse behind it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from anon.faces.synthetic.parameters import Columns

SIDE = 96  # texels of the table, each way
REACH = 1.92  # |w| at the table's edge; 2 is the back pole
STEPS = 11  # ray-marching steps


class Surface(NamedTuple):
    """What the rays met: ``point`` and ``normal`` (B, 3, H, W) in the head frame, ``hit`` (B, H, W) bool, ``w`` map."""

    point: Tensor
    normal: Tensor
    hit: Tensor
    w: Tensor  # (B, H, W, 2) in [-1, 1], for sampling textures that live on the head


def rotation(pose: Columns) -> Tensor:
    """Head-to-camera rotation (B, 3, 3), ``Rz(roll) Ry(yaw) Rx(pitch)``, right-handed, degrees.

    Positive yaw moves the nose to the image's right, positive pitch moves it down, positive roll turns the head
    counter-clockwise as seen.
    """
    yaw, pitch, roll = (torch.deg2rad(pose[name].double()) for name in ("yaw", "pitch", "roll"))
    cy, sy, cx, sx, cz, sz = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    rows = (
        *(cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx),
        *(sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx),
        *(-sy, cy * sx, cy * cx),
    )
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3).float()


def _bumps(person: Columns, mood: Columns) -> Tensor:
    """Gaussian bumps (B, K, 5): x, y, width x, width y, height; placed by their frontal position."""
    one = torch.ones_like(person["head_width"])
    eye_x, eye_y = person["eye_spacing"], person["eye_height"]
    mouth_y = -person["mouth_height"]
    tip_y = eye_y - person["nose_length"] - 0.03
    nose_w, nose_h = person["nose_width"], person["nose_height"]
    drop = 0.13 * mood["mouth"]  # the jaw's way down
    smile = mood["smile"]
    side = person["nose_side"]
    rows = [
        # the nose: bridge, middle, tip, wings
        (0 * one, eye_y + 0.02, 0.065 * one, 0.09 * one, person["nose_bridge"]),
        (side, 0.5 * (eye_y + tip_y), 0.06 * one, 0.10 * one, 0.55 * nose_h + person["nose_hook"]),
        (side, tip_y, 0.55 * nose_w + 0.025, 0.065 * one, nose_h),
        (nose_w + side, tip_y - 0.03, 0.045 * one, 0.045 * one, 0.09 * one),
        (side - nose_w, tip_y - 0.03, 0.045 * one, 0.045 * one, 0.09 * one),
        # lips and chin
        (0 * one, mouth_y + 0.04, 0.15 * one, 0.045 * one, 0.035 + 0.3 * person["lip_upper"]),
        (0 * one, mouth_y - 0.055 - drop, 0.13 * one, 0.05 * one, 0.03 + 0.3 * person["lip_lower"]),
        (0 * one, mouth_y - 0.15 - drop, 0.16 * one, 0.05 * one, -0.035 * one),
        (0 * one, -0.90 - drop, person["chin_width"], 0.12 * one, 0.03 + person["chin_length"]),
        (0 * one, 0.55 * one, 0.35 * one, 0.25 * one, person["forehead"]),
    ]
    for sign in (-1.0, 1.0):
        rows += [
            (sign * eye_x, eye_y + 0.01, 0.13 * one, 0.085 * one, -person["socket"]),
            (sign * eye_x, eye_y, 0.07 * one, 0.055 * one, 0.022 * one),
            (sign * 0.30 * one, eye_y + 0.17 + 0.03 * mood["brow"], 0.16 * one, 0.05 * one, person["brow_ridge"]),
            (sign * 0.50 * one, eye_y - 0.24, 0.12 * one, 0.10 * one, person["cheekbone"] + 0.02 * smile),
            (sign * 0.36 * one, eye_y - 0.36, 0.14 * one, 0.13 * one, person["cheek_fat"] + 0.035 * smile),
            (sign * 0.55 * one, -0.60 - 0.6 * drop, 0.15 * one, 0.2 * one, person["jaw_width"]),
            (sign * 0.38 * one, -0.80 - drop, 0.12 * one, 0.12 * one, person["jaw_corner"]),
            (sign * 0.64 * one, 0.33 * one, 0.10 * one, 0.18 * one, person["temple"]),
        ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


def directions() -> Tensor:
    """Unit directions (SIDE, SIDE, 3) of the table's texels; row 0 is the lowest y."""
    axis = torch.linspace(-REACH, REACH, SIDE)
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    square = (u * u + v * v).clamp(max=3.95)
    shrink = torch.sqrt(square / (u * u + v * v).clamp(min=1e-9))
    u, v = u * shrink, v * shrink
    root = torch.sqrt(1 - square / 4)
    return torch.stack((u * root, v * root, 1 - square / 2), dim=-1)


def table(person: Columns, mood: Columns) -> Tensor:
    """Radius and normal over the map of directions: (B, 4, SIDE, SIDE)."""
    n = directions()
    half = torch.stack((person["head_width"], person["head_height"], person["head_depth"]), dim=-1)
    # A face is narrower below than above, and the back of the skull is long.
    taper = 1 + 0.16 * n[..., 1].clamp(max=0) * n[..., 2].clamp(min=0).sqrt()
    scaled = n[None] / half[:, None, None]
    radius = scaled.square().sum(-1).rsqrt() * taper
    x, y = radius * n[..., 0], radius * n[..., 1]
    front = (n[..., 2] * 4).clamp(0, 1)  # bumps of the face do not show on the back of the head
    offset = torch.zeros_like(radius)
    bumps = _bumps(person, mood)
    for bump in bumps.unbind(1):
        cx, cy, wx, wy, height = (part[:, None, None] for part in bump.unbind(-1))
        far = ((x - cx) / wx).square() + ((y - cy) / wy).square()
        offset += height * torch.exp(-0.5 * far.clamp(max=40))  # denormal numbers are slow
    lower = (-n[..., 1] - 0.35).clamp(0, 1) * front
    offset = offset * front + 0.10 * mood["mouth"][:, None, None] * lower
    # Ears: on the sides, a little behind.
    for sign in (-1.0, 1.0):
        ear = (
            (n[..., 0] * sign - 0.97).clamp(min=-0.2) * 30
            - 60 * (n[..., 1] - 0.02).square()
            - 90 * (n[..., 2] + 0.1).square()
        )
        offset = offset + person["ear"][:, None, None] * torch.exp(ear.clamp(-30, 0))
    # Hair stands off the skull.
    grown = hair_mask(x, y, radius * n[..., 2], person, soft=0.22)
    radius = radius + offset + person["hair_volume"][:, None, None].clamp(min=0.02) * grown
    point = radius[..., None] * n  # (B, S, S, 3)
    du = torch.diff(point, dim=2, append=point[:, :, -1:] * 2 - point[:, :, -2:-1])
    dv = torch.diff(point, dim=1, append=point[:, -1:] * 2 - point[:, -2:-1])
    normal = _unit(torch.linalg.cross(du, dv, dim=-1), -1)
    return torch.cat((radius[..., None], normal), dim=-1).permute(0, 3, 1, 2).contiguous()


def hair_mask(x: Tensor, y: Tensor, z: Tensor, person: Columns, soft: float) -> Tensor:
    """Where hair grows, in [0, 1], from the place on the head; ``soft`` is the edge's width in head units."""

    def column(name: str) -> Tensor:
        return person[name][:, None, None]

    bald = (column("bald") < 0.10 * (0.4 + 1.2 * column("masculine"))).float()
    line = column("hairline") - column("hairline_curve") * (x - 0.18 * column("hair_part")).square() + 0.45 * bald
    fringe = (column("fringe") > 0.8).float() * (1 - bald)
    line = line - fringe * (0.20 + 0.1 * torch.sin(7 * x + 6 * column("hair_part")))
    top = (y - line) / soft
    # Behind a line before the ears, down to the neck.
    behind = (-(z - 0.18 + 0.5 * (column("temple_hair") - 0.6)) - 0.25 * (y + 0.1).clamp(max=0).abs()) / soft
    low = (y + 0.55 + 0.4 * column("long")) / soft
    sides = torch.minimum(behind, low)
    return torch.sigmoid(4 * torch.maximum(top, sides))


def meet(head: Tensor, turn: Tensor, x: Tensor, y: Tensor) -> Surface:
    """March parallel rays (camera plane positions ``x, y`` (B, H, W), head units) onto the head.

    Args:
        head: (B, 4, SIDE, SIDE) from :func:`table`.
        turn: (B, 3, 3) head-to-camera rotation.
    """
    # In the head frame a ray is  base + t * towards,  with t the camera's z.
    base = torch.einsum("bij,bihw->bjhw", turn[:, :2], torch.stack((x, y), dim=1))
    towards = turn[:, 2][:, :, None, None]  # (B, 3, 1, 1)
    radial = head[:, :1]
    t = torch.full_like(x, 1.35)
    square = x * x + y * y
    gap = torch.zeros_like(x)
    for step in range(STEPS):
        length = torch.sqrt(square + t * t)
        w = _lambert(base, towards, t, length)
        r = F.grid_sample(radial, w, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]
        gap = length - r
        t = t - gap * (0.95 if step < 3 else 0.8)
    hit = gap < 0.03
    length = torch.sqrt(square + t * t)
    w = _lambert(base, towards, t, length)
    normal = F.grid_sample(head[:, 1:], w, mode="bilinear", padding_mode="border", align_corners=True)
    point = base + towards * t[:, None]
    return Surface(point, _unit(normal, 1), hit, w)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    return vectors * vectors.square().sum(dim, keepdim=True).clamp(min=1e-12).rsqrt()


def _lambert(base: Tensor, towards: Tensor, t: Tensor, length: Tensor) -> Tensor:
    """Position (B, H, W, 2) in [-1, 1] on the table of the ray's point at depth ``t``."""
    inverse = 1 / length
    z = (base[:, 2] + towards[:, 2] * t) * inverse
    stretch = torch.sqrt(2 / (1 + z).clamp(min=1e-3)) * inverse * (1 / REACH)
    return torch.stack(((base[:, 0] + towards[:, 0] * t) * stretch, (base[:, 1] + towards[:, 1] * t) * stretch), dim=-1)
