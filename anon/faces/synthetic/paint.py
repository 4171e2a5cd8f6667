"""The paint on the head: skin, eyes, brows, lips, beard, hair, and what is worn on it, per pixel and without textures.

The functions take the place on the head (frontal position ``x, y`` and depth ``z``, each (B, H, W), head units) and
return a colour (B, 3, H, W) in [0, 1] or a coverage (B, H, W) in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from anon.faces.synthetic.head import hair_mask
from anon.faces.synthetic.parameters import Columns


class Paint(NamedTuple):
    colour: Tensor  # (B, 3, H, W)
    gloss: Tensor  # (B, H, W) strength of the highlight


def col(columns: Columns, name: str) -> Tensor:
    """A column as (B, 1, 1), ready to meet (B, H, W)."""
    return columns[name][:, None, None]


def rgb(*values: float) -> Tensor:
    return torch.tensor(values)[None, :, None, None]


def over(under: Tensor, colour: Tensor, cover: Tensor) -> Tensor:
    """``colour`` laid over ``under`` with coverage (B, H, W)."""
    return torch.lerp(under, colour.expand_as(under), cover[:, None].expand_as(under))


def bell(square: Tensor) -> Tensor:
    """``exp(-square)``, cut where it no longer shows: denormal numbers are slow."""
    return torch.exp(-square.clamp(max=20))


def edge(distance: Tensor, soft: float) -> Tensor:
    """1 where ``distance`` > 0, 0 where below, smooth over ``soft``."""
    t = (distance / soft + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def ramp(t: Tensor, colours: tuple[tuple[float, float, float], ...]) -> Tensor:
    """Colour (B, 3, 1, 1) on a ramp of colours at t (B,) in [0, 1]."""
    stops = torch.tensor(colours)
    place = t.clamp(0, 1) * (len(colours) - 1)
    low = place.floor().clamp(max=len(colours) - 2).long()
    part = (place - low)[:, None]
    return torch.lerp(stops[low], stops[low + 1], part)[:, :, None, None]


_SKIN = ((0.97, 0.83, 0.75), (0.90, 0.71, 0.59), (0.77, 0.56, 0.42), (0.55, 0.37, 0.26), (0.33, 0.21, 0.15))
_HAIR = ((0.05, 0.04, 0.04), (0.18, 0.11, 0.07), (0.36, 0.23, 0.13), (0.62, 0.46, 0.26), (0.85, 0.72, 0.47))
_IRIS = ((0.17, 0.10, 0.05), (0.36, 0.22, 0.10), (0.38, 0.40, 0.20), (0.30, 0.45, 0.55), (0.45, 0.60, 0.75))


def skin_colour(person: Columns) -> Tensor:
    """(B, 3, 1, 1)."""
    colour = ramp(person["melanin"], _SKIN)
    return (colour * (1 + person["undertone"][:, None, None, None] * 0.035 * rgb(0.4, -0.3, -1.0))).clamp(0, 1)


def hair_colour(person: Columns) -> Tensor:
    """(B, 3, 1, 1); dark skin mostly goes with dark hair, some hair is red, some grey."""
    light = person["hair_light"] * (1 - 0.85 * person["melanin"])
    colour = ramp(light, _HAIR)
    hue = person["hair_hue"][:, None, None, None]
    colour = torch.where(hue > 0.9, colour * rgb(1.35, 0.75, 0.5) + 0.08 * rgb(1.0, 0.2, 0.0), colour)
    return torch.where(hue < 0.12, 0.25 * colour + 0.5, colour).clamp(0, 1)


def face(point: Tensor, w: Tensor, person: Columns, mood: Columns) -> Paint:
    """The whole head's paint at ``point`` (B, 3, H, W); ``w`` (B, H, W, 2) places the skin's texture."""
    x, y, z = point.unbind(1)
    front = edge(z - 0.05, 0.15)
    skin = skin_colour(person)
    hair = hair_colour(person)
    colour, gloss = _skin(x, y, w, person, mood, skin, front)
    colour = _beard(colour, x, y, person, mood, hair, front)
    colour = _mouth(colour, x, y, person, mood, skin, front)
    colour = _eyes(colour, x, y, person, mood, front)
    colour = _brows(colour, x, y, person, mood, hair, front)
    grown = hair_mask(x, y, z, person, soft=0.035)
    grain = torch.sin(38 * x + 9 * y * col(person, "hair_part") + 14 * torch.sin(4 * x + 3 * y)) * torch.sin(
        23 * y + 11 * x
    )
    strands = hair * (1 + (0.10 + 0.28 * col(person, "hair_grain").clamp(0, 1)) * grain)[:, None]
    colour = over(colour, strands.clamp(0, 1), grown)
    return Paint(colour, gloss * (1 - 0.6 * grown))


def _skin(
    x: Tensor, y: Tensor, w: Tensor, person: Columns, mood: Columns, skin: Tensor, front: Tensor
) -> tuple[Tensor, Tensor]:
    texture = F.grid_sample(person["texture"], w, mode="bilinear", padding_mode="border", align_corners=False)
    colour = skin * (1 + 0.035 * texture * rgb(0.8, 1.0, 1.0))
    eye_x, eye_y = col(person, "eye_spacing"), col(person, "eye_height")
    smile = col(mood, "smile")
    side = x.abs()
    # Cheeks and nose tip are redder, sockets darker.
    cheek = bell(((side - 0.42) / 0.16).square() + ((y + 0.26) / 0.13).square())
    tip = bell((x / 0.09).square() + ((y - eye_y + col(person, "nose_length")) / 0.08).square())
    red = (cheek + 0.6 * tip) * (0.10 + 0.25 * col(person, "blush").clamp(0, 1)) * front
    colour = colour * (1 - red[:, None] * rgb(0.05, 0.55, 0.55))
    bag = bell(((side - eye_x) / 0.12).square() + ((y - eye_y + 0.10) / 0.03).square())
    # The fold from nose to mouth corner, the philtrum, the nostrils, wrinkles of the forehead.
    mouth_y = -col(person, "mouth_height")
    fold_x = 0.15 + 0.55 * (eye_y - col(person, "nose_length") - y) + 0.05 * smile
    between = edge(y - mouth_y + 0.06, 0.08) * edge(eye_y - col(person, "nose_length") + 0.03 - y, 0.08)
    fold = bell(((side - fold_x) / 0.022).square()) * between * (col(person, "fold").clamp(0) + 0.35 * smile.clamp(0))
    nose_y = eye_y - col(person, "nose_length") - 0.075
    width = col(person, "nose_width")
    nostril = bell((((side - 0.62 * width) / (0.38 * width)).square() + ((y - nose_y) / 0.022).square()).square())
    wing = bell(((side - 1.35 * width) / 0.02).square() + ((y - nose_y - 0.045) / 0.05).square())
    lines = torch.cos(48 * y + 2.5 * x) * bell(((y - 0.40) / 0.1).square() + (x / 0.3).square())
    lines = lines * (col(person, "wrinkle").clamp(0) * 0.5 + 0.3 * col(mood, "brow").clamp(0))
    dark = (
        0.16 * col(person, "eye_bag").clamp(0) * bag + 0.45 * fold + 0.72 * nostril + 0.28 * wing + 0.16 * lines.abs()
    )
    colour = colour * (1 - (dark * front).clamp(0, 0.9)[:, None] * rgb(0.75, 0.95, 1.0))
    marks = person["marks"]
    spots = torch.zeros_like(x)
    for mark in marks.unbind(1):
        mx, my, size, depth = (part[:, None, None] for part in mark.unbind(-1))
        far = (x - (mx - 0.5) * 1.1).square() + (y - 0.55 + my * 1.3).square()
        spots = torch.maximum(spots, depth * bell(far / (0.012 + 0.02 * size * size).square()))
    colour = colour * (1 - (0.75 * spots * front)[:, None] * rgb(0.7, 0.9, 1.0))
    gloss = 0.35 + 0.35 * tip
    return colour, gloss


def _eyes(colour: Tensor, x: Tensor, y: Tensor, person: Columns, mood: Columns, front: Tensor) -> Tensor:
    # Both at once: the halves mirror each other, but for where the eyes look.
    width, tilt = col(person, "eye_width"), col(person, "eye_tilt")
    outwards = x.abs() - col(person, "eye_spacing")
    dx = outwards / width
    dy = y - col(person, "eye_height") - tilt * outwards
    smile = col(mood, "smile").clamp(0)
    lid = 1 - col(mood, "blink")
    arc = (1 - dx.square()).clamp(min=0)
    opened = col(person, "eye_open")
    upper = opened * (1.0 + 0.25 * col(mood, "brow").clamp(0)) * lid * arc.sqrt() - 0.35 * opened * (1 - lid) * arc
    lower = -opened * (0.62 - 0.22 * smile) * arc
    soft = 0.016
    inside = edge(upper - dy, soft) * edge(dy - lower, soft) * edge(1.0 - dx.abs(), 0.05) * edge(upper - lower, 0.012)
    # The ball: white, iris, pupil, the lid's shadow.
    white = rgb(0.93, 0.92, 0.90) * (1 - 0.20 * dx.abs().clamp(max=1) - 0.3 * edge(dy - upper + 0.02, 0.04))[:, None]
    look_x = torch.sin(torch.deg2rad(col(mood, "gaze_x"))) * 0.16
    look_y = torch.sin(torch.deg2rad(col(mood, "gaze_y"))) * 0.13
    ix = x - x.sign() * col(person, "eye_spacing") - look_x
    iy = y - col(person, "eye_height") - look_y
    far = torch.sqrt(ix.square() + iy.square() + 1e-8)
    size = col(person, "iris_size")
    iris = ramp((person["iris_hue"] * (1.2 - person["melanin"])).clamp(0, 1), _IRIS)
    iris_paint = iris * (0.65 + 0.55 * (far / size).clamp(0, 1))[:, None]
    white = over(white, iris_paint, edge(size - far, soft))
    white = over(white, rgb(0.02, 0.02, 0.02), edge(0.42 * size - far, soft))
    glint = bell(((ix - 0.016).square() + (iy - 0.02).square()) / 0.00012)
    white = over(white, rgb(1.0, 1.0, 1.0), 0.85 * glint)
    # Lid: its skin, crease and lashes.
    near = edge(1.12 - dx.abs(), 0.2) * front
    lash = bell(((dy - upper) / 0.014).square()) * (0.55 + 0.35 * (1 - col(person, "masculine")))
    crease_y = upper + 0.03 + 0.025 * col(person, "lid_fold").clamp(0)
    crease = 0.40 * col(person, "lid_fold").clamp(0, 1) * bell(((dy - crease_y) / 0.012).square())
    under = 0.3 * bell(((dy - lower) / 0.012).square())
    line = (torch.maximum(torch.maximum(lash, crease), under) * near).clamp(0, 1)
    made = col(mood, "makeup") * (1 - col(person, "masculine"))
    shade = edge(made - 0.45, 0.2) * 0.4 * edge(dy - upper, 0.03) * edge(crease_y + 0.03 - dy, 0.04) * near
    colour = colour * (1 - shade[:, None] * rgb(0.3, 0.6, 0.4))
    colour = over(colour, white.clamp(0, 1), inside * front)
    return colour * (1 - line[:, None] * rgb(0.80, 0.88, 0.92))


def _brows(colour: Tensor, x: Tensor, y: Tensor, person: Columns, mood: Columns, hair: Tensor, front: Tensor) -> Tensor:
    length = col(person, "brow_length")
    centre = col(person, "eye_spacing") + 0.02 + col(person, "brow_gap")
    dx = (x.abs() - centre) / length
    raised = 0.075 * col(mood, "brow") * (1 + 0.25 * dx)
    ridge = col(person, "eye_height") + col(person, "brow_height") + raised + col(person, "brow_tilt") * dx * length
    ridge = ridge + col(person, "brow_arch") * (1 - dx.square()) - 0.03 * dx.clamp(min=0).square()
    thick = (col(person, "brow_thick") * (0.75 + 0.5 * col(person, "masculine"))).clamp(min=0.01)
    thick = thick * (1 - 0.55 * dx.clamp(-0.2, 1)).clamp(min=0.1)
    cover = edge(thick - (y - ridge).abs(), 0.028) * edge(1 - dx.abs(), 0.25)
    cover = cover * col(person, "brow_density").clamp(0.25, 0.95) * front
    return over(colour, hair * 0.75, cover)


def _mouth(colour: Tensor, x: Tensor, y: Tensor, person: Columns, mood: Columns, skin: Tensor, front: Tensor) -> Tensor:
    smile, opened = col(mood, "smile"), col(mood, "mouth")
    width = col(person, "mouth_width") * (1 + 0.22 * smile - 0.12 * opened)
    dx = x / width
    curve = 0.065 * smile * dx.square()
    middle = -col(person, "mouth_height") + curve - 0.02 * smile
    arc = (1 - dx.square()).clamp(min=0)
    gap = 0.17 * opened * arc.sqrt()
    dy = y - middle
    bow = col(person, "lip_bow").clamp(0, 1) * 0.35 * bell((dx / 0.16).square())
    upper = col(person, "lip_upper").clamp(min=0.012) * 1.5 * (1 - bow) * arc + 0.004
    lower = col(person, "lip_lower").clamp(min=0.015) * 1.55 * arc.sqrt()
    within = edge(1 - dx.abs(), 0.06) * front
    soft = 0.02
    lips = edge(upper - dy, soft) * edge(dy + gap + lower, soft) * within
    tint = col(person, "lip_colour").clamp(0, 1)[:, None]
    made = (edge(col(mood, "makeup") - 0.55, 0.3) * (1 - col(person, "masculine")))[:, None]
    lip = skin * torch.lerp(rgb(0.88, 0.66, 0.66), rgb(0.82, 0.48, 0.50), tint)
    lip = torch.lerp(lip, rgb(0.70, 0.12, 0.18) * (0.5 + 0.5 * skin), 0.6 * made)
    fullness = 1 + 0.22 * bell(((dy + gap + 0.5 * lower) / 0.02).square()) - 0.15 * edge(dy, 0.03)
    colour = over(colour, (lip * fullness[:, None]).clamp(0, 1), lips * 0.9)
    hole = edge(-dy, 0.012) * edge(dy + gap, 0.012) * within * edge(opened - 0.03, 0.05)
    teeth = edge(dy + 0.055 + 0.01 * torch.cos(50 * x).abs(), 0.012) * edge(0.85 - dx.abs(), 0.2)
    inside = torch.lerp(rgb(0.20, 0.05, 0.05), rgb(0.92, 0.90, 0.85), teeth[:, None])
    colour = over(colour, inside, hole)
    line = bell((dy / 0.011).square()) * within * 0.72 * (1 - edge(opened - 0.05, 0.08) * 0.6)
    corner = bell(((dx.abs() - 1) / 0.09).square() + (dy / 0.03).square()) * 0.35 * front
    below = bell(((dy + gap + lower + 0.045) / 0.025).square()) * arc * 0.16 * front
    dark = torch.maximum(torch.maximum(line, corner), below)
    return colour * (1 - dark[:, None] * rgb(0.7, 0.9, 0.9))


def _beard(colour: Tensor, x: Tensor, y: Tensor, person: Columns, mood: Columns, hair: Tensor, front: Tensor) -> Tensor:
    grows = col(person, "masculine") * col(person, "beard")
    style = col(person, "beard_style")
    mouth_y = -col(person, "mouth_height") - 0.12 * col(mood, "mouth")
    full = edge(-y - 0.30 - 0.55 * (0.62 - x.abs()).clamp(min=0), 0.10)
    chin = edge(0.24 - x.abs(), 0.08) * edge(mouth_y - 0.10 - y, 0.06)
    lip = edge(0.26 - x.abs(), 0.06) * edge(y - mouth_y - 0.03, 0.04) * edge(mouth_y + 0.17 - 0.2 * x.abs() - y, 0.05)
    area = torch.where(style < 0.45, torch.maximum(full, lip), torch.where(style < 0.75, torch.maximum(chin, lip), lip))
    grain = 0.85 + 0.15 * torch.sin(61 * x + 17 * y) * torch.sin(47 * y - 13 * x)
    density = ((grows - 0.33) * 2.0).clamp(0, 0.92)
    shadow = 0.10 * edge(col(person, "masculine") - 0.5, 0.3) * full  # shaved
    return over(colour, hair * 0.8, torch.maximum(density * area * grain, shadow) * front)
