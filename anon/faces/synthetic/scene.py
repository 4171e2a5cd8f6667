"""Around and before the head: background, neck and clothes, long hair, things that cover the face, light and sensor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from anon.faces.alignment import VIEWS, Framing
from anon.faces.synthetic.head import Surface
from anon.faces.synthetic.paint import Paint, bell, col, edge, hair_colour, over, ramp, rgb, skin_colour
from anon.faces.synthetic.parameters import OCCLUDERS, Columns

_CLOTHES = ((0.12, 0.14, 0.22), (0.45, 0.12, 0.14), (0.20, 0.35, 0.28), (0.55, 0.50, 0.42), (0.30, 0.40, 0.62))


def light_direction(world: Columns) -> Tensor:
    """Unit vector (B, 3) towards the light, camera frame. Azimuth ±70°, elevation -15° to 60°."""
    azimuth, elevation = (torch.deg2rad(angle) for angle in light_angles(world))
    flat = elevation.cos()
    return torch.stack((azimuth.sin() * flat, elevation.sin(), azimuth.cos() * flat), dim=-1)


def light_angles(world: Columns) -> tuple[Tensor, Tensor]:
    """Azimuth (towards the image's right) and elevation of the light, degrees, each (B,)."""
    return (world["light_azimuth"] - 0.5) * 140, world["light_elevation"] * 75 - 15


def behind(x: Tensor, y: Tensor, person: Columns, mood: Columns, world: Columns) -> Tensor:
    """Background, long hair, neck and clothes (B, 3, H, W); positions in head units from the head, camera plane."""
    b = world["background"]
    first, second = (
        0.6 * part.mean(1, keepdim=True) + 0.4 * part for part in (b[:, 0:3, None, None], b[:, 3:6, None, None])
    )
    slope = torch.sin(
        x * (2 * b[:, 6, None, None] - 1) * 2 + y * (2 * b[:, 7, None, None] - 1) * 2 + 6 * b[:, 8, None, None]
    )
    colour = torch.lerp(first, second, (0.5 + 0.5 * slope)[:, None]) * 0.85
    spot = (x - 3 * b[:, 9, None, None] + 1.5).square() + (y - 2 * b[:, 10, None, None] + 0.6).square()
    colour = over(colour, 1 - second, 0.6 * edge(0.3 * b[:, 11, None, None] + 0.05 - spot, 0.3))
    drift = 0.5 * torch.sin(torch.deg2rad(col(mood, "yaw")))  # the neck follows the chin half-way
    long = edge(col(person, "long") * (1.25 - col(person, "masculine")) - 0.45, 0.02)
    down = y + 0.15
    locks = edge(0.98 * col(person, "head_width") + 0.12 + 0.1 * torch.sin(5 * y) - x.abs(), 0.06) * edge(
        0.35 - down, 0.2
    )
    hair = hair_colour(person) * (0.72 + 0.14 * torch.sin(31 * x + 6 * torch.sin(3 * y)))[:, None]
    colour = over(colour, hair, long * locks)
    neck_half = 0.40 + 0.10 * col(person, "masculine") + 0.4 * col(person, "jaw_width")
    across = (x - 0.25 * drift * (y + 1.2).clamp(0, 1)) / neck_half
    neck = edge(1 - across.abs(), 0.06) * edge(-0.45 - y, 0.1)
    round_ = (1 - 0.55 * across.square().clamp(0, 1)) * (0.62 + 0.25 * (-(y + 0.9)).clamp(0, 0.6))
    colour = over(colour, skin_colour(person) * round_[:, None], neck)
    shoulder = -1.30 - 0.25 * x.square() + 0.10 * bell(((x.abs() - 0.42) / 0.15).square())
    cloth = ramp(world["cloth_hue"], _CLOTHES) * (0.5 + world["cloth_light"])[:, None, None, None]
    return over(colour, (cloth * (1 - 0.2 * x.square().clamp(max=1))[:, None]).clamp(0, 1), edge(shoulder - y, 0.05))


def worn(paint: Paint, point: Tensor, person: Columns, world: Columns) -> Paint:
    """Glasses and masks lie on the head: painted where they are worn."""
    x, y, z = point.unbind(1)
    colour, gloss = paint
    kind = col(world, "occluder")
    front = edge(z - 0.02, 0.1)
    a, b = col(world, "occluder_a"), col(world, "occluder_b")
    glasses = (kind == OCCLUDERS.index("glasses")) | (kind == OCCLUDERS.index("sunglasses"))
    if bool(glasses.any()):
        eye_x, eye_y = col(person, "eye_spacing"), col(person, "eye_height") - 0.01
        round_ = 2 + 3 * a
        size_x, size_y = 0.20 + 0.05 * b, 0.14 + 0.06 * b
        lens = (((x.abs() - eye_x) / size_x).abs().pow(round_) + ((y - eye_y).abs() / size_y).pow(round_)).pow(
            1 / round_
        )
        rim = edge(0.12 - (lens - 1).abs(), 0.12)
        bridge = edge(0.018 - (y - eye_y - 0.04).abs(), 0.02) * edge(eye_x - x.abs(), 0.05) * edge(lens - 0.95, 0.05)
        temple = (
            edge(0.02 - (y - eye_y - 0.04).abs(), 0.02) * edge(x.abs() - eye_x - size_x, 0.03) * edge(z + 0.25, 0.1)
        )
        dark = (kind == OCCLUDERS.index("sunglasses")).float()
        frame = ramp(world["occluder_c"], ((0.05, 0.05, 0.06), (0.25, 0.13, 0.07), (0.55, 0.50, 0.45)))
        inside = edge(1 - lens, 0.06)
        use = glasses.float() * front
        colour = over(colour, rgb(0.06, 0.06, 0.07), 0.93 * inside * dark * use)
        gloss = gloss + 0.8 * inside * use
        cover = torch.maximum(rim, bridge) * use
        colour = over(colour, frame, torch.maximum(cover, temple * glasses.float()))
    mask = kind == OCCLUDERS.index("mask")
    if bool(mask.any()):
        top = -0.16 + 0.12 * a - 0.5 * x.square() + 0.10 * bell((x / 0.1).square())
        cover = edge(top - y, 0.03) * edge(z - 0.0, 0.1) * mask.float()
        folds = 1 - 0.10 * torch.cos(26 * y).clamp(min=0.6)
        cloth = torch.lerp(rgb(0.60, 0.78, 0.88), rgb(0.93, 0.93, 0.93), b[:, None]) * folds[:, None]
        colour = over(colour, cloth, cover)
        gloss = gloss * (1 - cover)
    return Paint(colour, gloss)


def hand(colour: Tensor, x: Tensor, y: Tensor, person: Columns, world: Columns, light: Tensor) -> Tensor:
    """A hand before the face: four fingers and a palm, capsules in the camera plane."""
    use = (col(world, "occluder") == OCCLUDERS.index("hand")).float()
    if not bool(use.any()):
        return colour
    angle = (col(world, "occluder_a") - 0.5) * 2.4
    px, py = (col(world, "occluder_b") - 0.5) * 1.5, -0.65 + 0.5 * col(world, "occluder_c")
    u = (x - px) * angle.cos() + (y - py) * angle.sin()
    v = (y - py) * angle.cos() - (x - px) * angle.sin()
    cover, height = torch.zeros_like(x), torch.zeros_like(x)
    for finger in range(4):
        centre, reach = (finger - 1.5) * 0.125, 0.42 - 0.05 * abs(finger - 1.4)
        far = torch.sqrt((u - centre).square() + (v - v.clamp(-0.1, 1).minimum(torch.full_like(v, reach))).square())
        cover = torch.maximum(cover, edge(0.066 - far, 0.02))
        height = torch.maximum(height, (1 - (far / 0.066).square()).clamp(0))
    far = torch.sqrt((u / 1.15).square() + ((v + 0.28) / 1.2).square())
    cover = torch.maximum(cover, edge(0.25 - far, 0.02))
    height = torch.maximum(height, (1 - (far / 0.25).square()).clamp(0).sqrt())
    shade = (0.45 + 0.55 * height.sqrt()) * (0.75 + 0.25 * light[:, 2, None, None])
    return over(colour, (skin_colour(person) * shade[:, None]).clamp(0, 1), cover * use)


def lit(paint: Paint, surface: Surface, turn: Tensor, world: Columns, light: Tensor) -> Tensor:
    """Lambert plus Blinn-Phong light on the head (B, 3, H, W)."""
    normal = torch.einsum("bij,bjhw->bihw", turn, surface.normal)
    strength = 0.25 + 0.6 * col(world, "light_strength")
    facing = (normal * light[:, :, None, None]).sum(1)
    diffuse = (0.5 * facing + 0.5).clamp(0).square() * 0.35 + facing.clamp(0) * 0.65
    sky = 0.55 + 0.30 * normal[:, 1] * 0.5 + 0.25 * normal[:, 2].clamp(0)
    energy = (1 - strength) * sky + strength * 1.15 * diffuse + 0.12
    half = F.normalize(light + torch.tensor([0.0, 0.0, 1.0]), dim=-1)
    shine = (normal * half[:, :, None, None]).sum(1).clamp(0).pow(22) * strength * paint.gloss * 0.35
    rim = (1 - normal[:, 2].clamp(0, 1)).square() * 0.25  # grazing surfaces are a little darker
    return paint.colour * (energy * (1 - rim))[:, None] + shine[:, None]


def sensor(colour: Tensor, world: Columns, noise: Tensor) -> Tensor:
    """White balance, exposure, contrast and Gaussian noise; ``noise`` (B, 3, H, W) standard normal. Range [0, 1]."""
    warm = (world["light_warmth"] - 0.5)[:, None, None, None]
    colour = colour * (1 + warm * rgb(0.22, 0.02, -0.24))
    exposure = torch.exp((world["exposure"] - 0.5)[:, None, None, None] * 0.6)
    contrast = 1 + (world["contrast"] - 0.5)[:, None, None, None] * 0.4
    colour = (colour * exposure - 0.45) * contrast + 0.45
    return (colour + noise * (0.004 + 0.022 * world["noise"].square())[:, None, None, None]).clamp(0, 1)


def blur(images: Tensor, world: Columns) -> Tensor:
    """Defocus: a per-picture binomial blur of up to one pixel."""
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    weight = (kernel[:, None] * kernel[None]).expand(images.shape[1], 1, 3, 3)
    soft = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), weight, groups=images.shape[1])
    amount = ((world["blur"] - 0.55) / 0.45).clamp(0, 1)[:, None, None, None]
    return torch.lerp(images, soft, amount)


def framing(world: Columns, size: int, supersample: float) -> tuple[Tensor, Tensor, Tensor]:
    """Camera-plane positions of the (supersampled) pixels, head units.

    A picture shows as much more of the scene as the framing of its size shows of a photograph.

    Returns:
        ``x`` (B, 1, S) and ``y`` (B, S, 1), which broadcast, and ``scale`` (B, 3): pixels for one head unit,
        and the pixel position (x, y) of the head's origin.
    """
    zoom = 1.0 + (world["zoom"] - 0.5) * 0.12
    left, top, side = Framing.of(size).place(*VIEWS["arcface"])
    per_unit = side / 2.45 * zoom
    centre_x = left + (side - 1) / 2 + (world["shift_x"] - 0.5) * 0.05 * side
    centre_y = top + (side - 1) / 2 - 0.055 * side + (world["shift_y"] - 0.5) * 0.05 * side
    pixel = (torch.arange(round(size * supersample)) + 0.5) / supersample - 0.5
    x = (pixel[None] - centre_x[:, None]) / per_unit[:, None]
    y = -(pixel[None] - centre_y[:, None]) / per_unit[:, None]
    return x[:, None, :], y[:, :, None], torch.stack((per_unit, centre_x, centre_y), dim=-1)
