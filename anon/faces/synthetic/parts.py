"""Parts of a rendered picture by themselves: the head without its surroundings, and where the face is seen.

The face is what of the head is neither hair, nor covered by glasses, a mask or a hand; neck and clothes are none of it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.faces.synthetic import scene
from anon.faces.synthetic.head import Surface, hair_mask, meet, rotation, table
from anon.faces.synthetic.paint import Paint, face
from anon.faces.synthetic.parameters import Columns


class Head(NamedTuple):
    """``image`` (B, 3, size, size) in [-1, 1], of use where ``face`` (B, 1, size, size), a coverage in [0, 1], is."""

    image: Tensor
    face: Tensor


@torch.no_grad()
def head_of(person: Columns, mood: Columns, size: int = 64) -> Head:
    """The head alone, uncovered, without noise and blur.

    Args:
        person, mood: as of :func:`anon.faces.synthetic.render.render`; of ``mood`` the columns of what is behind, worn
            and in focus are not looked at.
    """
    surface, _, _, turn = _met(person, mood, size)
    paint = face(surface.point, surface.w, person, mood)
    colour = scene.lit(paint, surface, turn, mood, scene.light_direction(mood)).clamp(0, 1)
    still = {**mood, "noise": torch.zeros_like(mood["exposure"])}
    image = scene.sensor(colour, still, torch.zeros_like(colour))
    return Head(image * 2 - 1, _uncovered(surface, person)[:, None])


@torch.no_grad()
def face_of(person: Columns, mood: Columns, size: int = 64) -> Tensor:
    """Where the face is seen in the picture that :func:`anon.faces.synthetic.render.render` gives: (B, 1, size, size).

    What covers it is laid over black and over white: their difference is what still shows.
    """
    surface, x, y, _ = _met(person, mood, size)
    light = scene.light_direction(mood)
    blank = torch.zeros_like(surface.point)
    seen = []
    for shade in (blank, blank + 1.0):
        over = scene.worn(Paint(shade, blank[:, 0]), surface.point, person, mood).colour
        seen.append(scene.hand(over, x, y, person, mood, light)[:, :1])
    return ((seen[1] - seen[0]) * _uncovered(surface, person)[:, None]).clamp(0, 1)


def _met(person: Columns, mood: Columns, size: int) -> tuple[Surface, Tensor, Tensor, Tensor]:
    """What the rays of all pixels meet, where these are, and how the head is turned."""
    x, y = torch.broadcast_tensors(*scene.framing(mood, size, 1.0)[:2])
    turn = rotation(mood)
    return meet(table(person, mood), turn, x, y), x, y, turn


def _uncovered(surface: Surface, person: Columns) -> Tensor:
    """(B, H, W): on the head, and not under hair."""
    x, y, z = surface.point.unbind(1)
    return surface.hit.float() * (1 - hair_mask(x, y, z, person, soft=0.035))
