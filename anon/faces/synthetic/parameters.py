"""What makes a synthetic person, and what varies between two pictures of one: named parameters and their draws.

Every parameter is a named column, so the renderer reads ``person["nose_width"]`` and a test can set one by hand. Draws
are pure functions of ``(seed, identity, picture)`` through counter-based Philox generators: image 7 of person 12 is the
same whoever asks, in whatever order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from anon.faces.contract import Label

Columns = dict[str, Tensor]  # name -> (B,) or (B, k) float32
BEARD = 0.33  # anon.faces.synthetic.paint: the density of a beard is 0 at masculine x beard = .33

#: name -> (mean, spread): identity parameters, normal draws clipped at 2.2 spreads. Lengths in head units (eye distance
#: is about 0.62), angles in radians.
SHAPE: dict[str, tuple[float, float]] = {
    "head_width": (0.77, 0.055),
    "head_height": (1.08, 0.055),
    "head_depth": (0.95, 0.04),
    "jaw_width": (0.0, 0.075),
    "jaw_corner": (0.0, 0.05),
    "chin_length": (0.05, 0.055),
    "chin_width": (0.20, 0.05),
    "cheekbone": (0.04, 0.035),
    "cheek_fat": (0.0, 0.045),
    "temple": (-0.02, 0.025),
    "brow_ridge": (0.025, 0.02),
    "forehead": (0.0, 0.04),
    "socket": (0.055, 0.025),
    "ear": (0.10, 0.03),
    "nose_length": (0.30, 0.045),
    "nose_width": (0.095, 0.024),
    "nose_height": (0.20, 0.05),
    "nose_bridge": (0.07, 0.03),
    "nose_hook": (0.0, 0.025),
    "nose_side": (0.0, 0.012),
    "eye_spacing": (0.315, 0.026),
    "eye_height": (0.06, 0.03),
    "eye_width": (0.135, 0.016),
    "eye_open": (0.056, 0.012),
    "eye_tilt": (0.06, 0.1),
    "lid_fold": (0.5, 0.3),
    "iris_size": (0.058, 0.005),
    "brow_height": (0.17, 0.03),
    "brow_arch": (0.045, 0.03),
    "brow_tilt": (0.0, 0.12),
    "brow_thick": (0.03, 0.01),
    "brow_length": (0.19, 0.025),
    "brow_gap": (0.0, 0.025),
    "brow_density": (0.75, 0.2),
    "mouth_height": (0.56, 0.035),
    "mouth_width": (0.215, 0.03),
    "lip_upper": (0.042, 0.015),
    "lip_lower": (0.056, 0.017),
    "lip_bow": (0.5, 0.3),
    "lip_colour": (0.5, 0.25),
    "philtrum": (0.4, 0.25),
    "fold": (0.25, 0.22),
    "eye_bag": (0.3, 0.25),
    "blush": (0.3, 0.25),
    "undertone": (0.0, 1.0),
    "hairline": (0.56, 0.1),
    "hairline_curve": (0.25, 0.18),
    "temple_hair": (0.60, 0.06),
    "hair_part": (0.0, 0.35),
    "hair_volume": (0.11, 0.05),
    "hair_grain": (0.5, 0.25),
    "wrinkle": (0.0, 0.35),
}

#: Columns drawn uniformly in [0, 1] and turned into classes or mixtures by the painter.
UNIFORM = (
    "melanin",
    "hair_hue",
    "hair_light",
    "masculine",
    "iris_hue",
    "beard",
    "beard_style",
    "bald",
    "fringe",
    "long",
)

MARKS = 7  # moles and spots a person has, each (x, y, size, darkness)
TEXTURE = 16  # side of a person's skin texture

EXPRESSION = ("mouth", "smile", "brow", "blink")
OCCLUDERS = ("none", "glasses", "sunglasses", "mask", "hand")

_PERSON, _STILL, _CLIP = 11, 22, 33  # domains: draws of different kinds never share a stream


def _stream(domain: int, seed: int, *numbers: int) -> np.random.Generator:
    sequence = np.random.SeedSequence([domain, seed, *numbers])
    return np.random.Generator(np.random.Philox(sequence))


def people(numbers: Sequence[int], seed: int = 0) -> Columns:
    """Identity parameters of the numbered people.

    Returns:
        Name -> (B,); also ``marks`` (B, 7, 4) and ``texture`` (B, 3, 16, 16).
    """
    rows, marks, texture = [], [], []
    for number in numbers:
        draw = _stream(_PERSON, seed, number)
        shape = draw.standard_normal(len(SHAPE)).clip(-2.2, 2.2)
        rows.append(np.concatenate([shape, draw.random(len(UNIFORM))]))
        marks.append(draw.random((MARKS, 4)))
        texture.append(draw.standard_normal((3, TEXTURE, TEXTURE)))
    table = torch.from_numpy(np.stack(rows)).float()
    person: Columns = {}
    for column, (name, (mean, spread)) in enumerate(SHAPE.items()):
        person[name] = mean + spread * table[:, column]
    for column, name in enumerate(UNIFORM, start=len(SHAPE)):
        person[name] = table[:, column]
    person["marks"] = torch.from_numpy(np.stack(marks)).float()
    person["texture"] = torch.from_numpy(np.stack(texture)).float()
    return person


#: Picture parameters drawn uniformly in [0, 1]: what the camera and the world add.
_WORLD = (
    *("light_azimuth", "light_elevation", "light_strength", "light_warmth", "exposure", "contrast"),
    *("shift_x", "shift_y", "zoom", "noise", "blur", "cloth_hue", "cloth_light", "makeup"),
    *("occluder", "occluder_a", "occluder_b", "occluder_c"),
)
_BACKGROUND = 12  # numbers that the background is drawn from


def _world(draw: np.random.Generator, occluders: float) -> dict[str, np.ndarray]:
    values = dict(zip(_WORLD, draw.random(len(_WORLD)), strict=True))
    kind = 0
    if values["occluder"] < occluders:
        kind = 1 + int(values["occluder"] / occluders * (len(OCCLUDERS) - 1) * 0.999999)
    world = {name: np.asarray(value) for name, value in values.items()}
    world["occluder"] = np.asarray(float(kind))
    world["background"] = draw.random(_BACKGROUND)
    world["noise_seed"] = np.asarray(float(draw.integers(0, 2**23)))
    return world


def _stack(rows: list[dict[str, np.ndarray]]) -> Columns:
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])).float() for name in rows[0]}


def stills(identities: Sequence[int], pictures: Sequence[int], seed: int = 0, occluders: float = 0.15) -> Columns:
    """Attributes of still pictures, one row for each pair of ``identities[i], pictures[i]``.

    Returns columns ``yaw, pitch, roll`` (degrees), ``mouth, smile, brow, blink``, ``gaze_x, gaze_y`` (degrees) and the
    world's. ``occluders`` is the share of pictures with one.
    """
    rows = []
    for identity, picture in zip(identities, pictures, strict=True):
        draw = _stream(_STILL, seed, identity, picture)
        row = {name: np.asarray(value) for name, value in _mood(draw.standard_normal(9), draw.random(3)).items()}
        rows.append(row | _world(draw, occluders))
    return _stack(rows)


def _mood(normal: np.ndarray, uniform: np.ndarray) -> dict[str, np.ndarray]:
    """Pose, expression and gaze from standard normal (9, ...) and uniform (3, ...) numbers."""
    clip = np.clip
    return {
        "yaw": clip(18.0 * normal[0], -45, 45),
        "pitch": clip(8.0 * normal[1], -22, 22),
        "roll": clip(6.0 * normal[2], -18, 18),
        "mouth": clip(0.55 * normal[3] - 0.1, 0, 1),
        "smile": clip(0.5 * normal[4] + 0.1, -1, 1),
        "brow": clip(0.45 * normal[5], -1, 1),
        "blink": clip(np.where(uniform[0] < 0.08, 1.0, 0.22 * np.abs(normal[6])), 0, 1),
        "gaze_x": clip(9.0 * normal[7], -25, 25),
        "gaze_y": clip(6.0 * normal[8], -15, 15),
    }


def clip(identity: int, number: int, frames: int, seed: int = 0, occluders: float = 0.1, fps: float = 25.0) -> Columns:
    """Attributes of one clip's frames: world fixed, pose, expression and gaze sums of slow sinusoids, short blinks."""
    draw = _stream(_CLIP, seed, identity, number)
    time = np.arange(frames) / fps  # seconds
    normal = np.zeros((9, frames))
    for rate in (0.0, 0.35, 0.8, 1.4):  # Hz; the first is the clip's resting position
        amplitude = draw.standard_normal((9, 1)) * (0.75 if rate == 0 else 0.42 / (1 + rate))
        phase = draw.random((9, 1)) * 2 * np.pi
        normal += amplitude * (1.0 if rate == 0 else np.sin(2 * np.pi * rate * time[None] + phase))
    uniform = np.ones((3, frames))
    mood = _mood(normal, uniform)
    blink_at = draw.random() * max(time[-1], 0.2) if frames else 0.0
    mood["blink"] = np.clip(mood["blink"] + np.exp(-(((time - blink_at) / 0.06) ** 2)), 0, 1)
    world = _world(draw, occluders)
    rows = []
    for frame in range(frames):
        row = {name: values[frame] for name, values in mood.items()} | world
        row["noise_seed"] = world["noise_seed"] + frame + 1
        rows.append(row)
    return _stack(rows)


def known_labels(person: Columns, owners: Tensor, occluder: Tensor) -> dict[str, Label]:
    """What is known of N pictures beside their truth, read from the parameters: nothing is drawn for it.

    ``skin``: ``melanin``, 0 the lightest colour of the painter's ramp, 1 the darkest. ``shape``: ``masculine``, 0 to 1;
    brows, lashes, neck and hair follow it, the bones do not. ``beard``: whether the painter draws one. ``glasses``: or
    sunglasses, worn in this picture; a mask or a hand before the face is no glasses.

    Args:
        person: identity columns (P,) of :func:`people`.
        owners: (N,) who of them each picture shows.
        occluder: (N,) what covers the face, indices into :data:`OCCLUDERS`.
    """
    grows = person["masculine"] * person["beard"] > BEARD
    worn = torch.tensor([name in ("glasses", "sunglasses") for name in OCCLUDERS])
    return {
        "skin": Label(person["melanin"][owners]),
        "shape": Label(person["masculine"][owners]),
        "beard": Label(grows[owners].long(), ("no beard", "beard")),
        "glasses": Label(worn[occluder].long(), ("no glasses", "glasses")),
    }
