"""Clips of several rendered people in one place, and where each face and person is in every frame, hidden or not.

People are drawn as :mod:`anon.faces.synthetic.render` draws them, down to the chest, cut out and laid into the frame,
who is nearer over who is farther. They cross, leave, come back and go behind a pillar.

>>> crowd = crowd_of(story([3, 8], frames=2, height=96, width=160, face=40), height=96, width=160)
>>> len(crowd.frames), tuple(crowd.faces.shape)
(2, (2, 2, 4))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anon.faces.contract import to_float, to_uint8
from anon.faces.synthetic import parameters, scene
from anon.faces.synthetic.head import meet, rotation, table
from anon.faces.synthetic.paint import face, over
from anon.faces.synthetic.parameters import Columns
from anon.faces.synthetic.render import BATCH, SUPERSAMPLE, five_points

LEFT, TOP, BOTTOM = 1.45, 1.5, -2.3  # of what is drawn of a person, head units from the head's middle
FACE = 1.75  # head units from the chin to the hair
_FRONT = 0.15  # head units towards the nose from which on skin is a face
_PILLAR = (70, 66, 62)


class Walk(NamedTuple):
    """One person's way through a clip."""

    person: int  # a number of :func:`anon.faces.synthetic.parameters.people`
    face: float  # height of the face in pixels; who has a larger one is nearer
    middle: Tensor  # (T, 2) where the middle of the head is, pixels; the places may lie outside of the frame


class Crowd(NamedTuple):
    """Frames and all that is known of them. Boxes are left, top, right, bottom in pixels, not cut at the border."""

    frames: list[Tensor]  # T of uint8 (H, W, 3)
    faces: Tensor  # (T, P, 4) from the hair to the chin and from side to side
    points: Tensor  # (T, P, 5, 2)
    people: Tensor  # (T, P, 4) as far as a person is drawn, to the lower border
    shown: Tensor  # (T, P) share of the face that the frame shows, in [0, 1]
    owners: Tensor  # (T, H, W) int16: whose face a pixel shows, a number from 0 to P - 1, or -1


def story(people: Sequence[int], frames: int, height: int, width: int, face: float) -> list[Walk]:
    """Ways that are hard to follow, for one to four people.

    The first walks from left to right, the second towards it and past it, nearer; the third leaves at the right border
    and comes back; the fourth stands behind, where the others pass.

    Args:
        face: height of the faces in pixels; the second one's is larger by a fifth, the fourth's smaller.
    """
    at = torch.linspace(0, 1, frames)
    line = 0.42 * height + 0.02 * height * torch.sin(2 * math.pi * 3 * at)  # steps
    ways = (
        (1.0, 0.12 * width + 0.76 * width * at),
        (1.2, 0.88 * width - 0.76 * width * at),
        (1.0, 0.7 * width + (0.3 * width + 1.5 * face) * torch.sin(math.pi * at) ** 2),
        (0.8, 0.5 * width + 0.03 * width * torch.sin(2 * math.pi * at)),
    )
    return [
        Walk(number, face * scale, torch.stack((x, line + 0.1 * height * (scale - 1)), 1))
        for number, (scale, x) in zip(people, ways, strict=False)
    ]


@torch.no_grad()
def crowd_of(
    walks: Sequence[Walk], height: int, width: int, pillar: tuple[int, int] | None = None, seed: int = 0, sway: int = 0
) -> Crowd:
    """Render a clip.

    Args:
        walks: of the people, all with as many places; the clip is as long.
        pillar: columns, from and to, of a thing that stands before everybody.
        seed: of moods, light and the background.
        sway: pixels by which the background circles, once in a hundred frames.
    """
    length, margin = len(walks[0].middle), sway
    ground = background(height + 2 * margin, width + 2 * margin, seed)
    frames, owners = [], torch.full((length, height, width), -1, dtype=torch.int16)
    for t in range(length):
        turn = 2 * math.pi * t / 100
        x, y = round(margin + margin * math.sin(turn)), round(margin + margin * math.cos(turn))
        frames.append(ground[y : y + height, x : x + width].clone())
    count, form = len(walks), (length, len(walks))
    faces, points, people = torch.zeros(*form, 4), torch.zeros(*form, 5, 2), torch.zeros(*form, 4)
    masks: dict[tuple[int, int], tuple[Tensor, int, int]] = {}
    for p in sorted(range(count), key=lambda i: walks[i].face):
        walk, unit = walks[p], walks[p].face / FACE
        corners = (walk.middle - torch.tensor([LEFT, TOP]) * unit).round().long()  # (T, 2)
        for t, figure in enumerate(_figures(walk.person, unit, length, seed)):
            left, top = corners[t].tolist()
            own = F.pad(figure.cover[None], (0, 0, 0, height), mode="replicate")[0]
            colour = F.pad(figure.colour, (0, 0, 0, height), mode="replicate")
            _lay(frames[t], owners[t], colour, own, left, top, p)
            corner = torch.tensor([left, top], dtype=torch.float32)
            faces[t, p], points[t, p] = figure.box + corner.repeat(2), figure.points + corner
            people[t, p] = torch.tensor([left, top + figure.hair, left + own.shape[1], height], dtype=torch.float32)
            masks[t, p] = (figure.face, left, top)
    if pillar is not None:
        for frame, owner in zip(frames, owners, strict=True):
            frame[:, pillar[0] : pillar[1]] = torch.tensor(_PILLAR, dtype=torch.uint8)
            owner[:, pillar[0] : pillar[1]] = count
    seen, shown = torch.full_like(owners, -1), torch.zeros(form)
    for (t, p), (skin, left, top) in masks.items():
        rows, columns, own_rows, own_columns = _window(skin.shape, height, width, left, top)
        bare = (owners[t, rows, columns] == p) & skin[own_rows, own_columns]
        seen[t, rows, columns][bare] = p
        shown[t, p] = bare.sum() / skin.sum().clamp_min(1)
    return Crowd(frames, faces, points, people, shown, seen)


def background(height: int, width: int, seed: int = 0) -> Tensor:
    """A wall, uint8 (H, W, 3): detail of several sizes costs a codec what a room does."""
    ground = torch.zeros(3, height, width)
    for size, strength in ((8, 0.2), (32, 0.1), (128, 0.06), (512, 0.04)):
        draw = torch.Generator().manual_seed(1000 * seed + size)
        coarse = torch.randn(1, 3, size, size, generator=draw) * strength
        coarse = torch.lerp(coarse, coarse.mean(1, keepdim=True) * math.sqrt(3), 0.8)  # little of it is colour
        ground = ground + F.interpolate(coarse, (height, width), mode="bilinear")[0]
    return to_uint8(ground.clamp(-1, 1))


class _Figure(NamedTuple):
    colour: Tensor  # (3, h, w) in [0, 1]
    cover: Tensor  # (h, w) in [0, 1]
    face: Tensor  # (h, w) bool
    box: Tensor  # (4,) of the face, pixels of the figure
    points: Tensor  # (5, 2)
    hair: int  # the first row that shows anything


def _figures(number: int, unit: float, frames: int, seed: int) -> list[_Figure]:
    """A person in every frame of a clip, ``unit`` pixels for one head unit, on nothing."""
    mood = parameters.clip(number, seed, frames, occluders=0.0)
    found = list[_Figure]()
    for start in range(0, frames, BATCH):
        part = {name: values[start : start + BATCH] for name, values in mood.items()}
        found += _drawn(parameters.people([number] * len(part["yaw"])), part, unit)
    return found


def _drawn(person: Columns, mood: Columns, unit: float) -> list[_Figure]:
    height, width = math.ceil((TOP - BOTTOM) * unit), math.ceil(2 * LEFT * unit)
    fine = [round(side * SUPERSAMPLE) for side in (height, width)]
    count = len(mood["yaw"])
    across, down = ((torch.arange(side) + 0.5) / SUPERSAMPLE - 0.5 for side in (fine[1], fine[0]))
    x, y = torch.broadcast_tensors(
        (across / unit - LEFT).expand(count, 1, -1), (TOP - down / unit)[:, None].expand(count, -1, 1)
    )
    head, turn = table(person, mood), rotation(mood)
    surface, light = meet(head, turn, x, y), scene.light_direction(mood)
    shaded = scene.lit(face(surface.point, surface.w, person, mood), surface, turn, mood, light)

    def on(level: float) -> Tensor:
        """(B, 3, h, w) with a background of one grey."""
        world = mood | {"background": torch.tensor([level / 0.85] * 6 + [0.0] * 5 + [-1.0]).expand(count, -1)}
        return over(scene.behind(x, y, person, mood, world), shaded, surface.hit.float())

    black = on(0.0)
    cover = 1.0 - (on(1.0) - black).mean(1, keepdim=True)
    both = F.interpolate(torch.cat((black, cover), 1), (height, width), mode="bilinear", antialias=True)
    cover = both[:, 3].clamp(0, 1)
    noise = torch.stack([_noise(int(each), height, width) for each in mood["noise_seed"]])
    colour = scene.sensor((both[:, :3] / cover[:, None].clamp_min(1e-3)).clamp(0, 1), mood, noise)
    _, up, towards = surface.point.unbind(1)
    skin = surface.hit & (towards > _FRONT) & (up < person["hairline"][:, None, None])
    points = five_points(person, mood, head, turn, torch.tensor([unit, LEFT * unit, TOP * unit]).expand(count, 3))
    near = F.interpolate(skin[:, None].float(), (height, width), mode="area")[:, 0] > 0.5
    near &= cover > 0.5
    return [
        _Figure(colour[i], cover[i], near[i], _box(skin[i]) / SUPERSAMPLE, points[i], int(_box(cover[i] > 0.5)[1]))
        for i in range(count)
    ]


def _noise(seed: int, height: int, width: int) -> Tensor:
    draw = np.random.Generator(np.random.Philox(key=seed))
    return torch.from_numpy(draw.standard_normal((3, height, width), dtype=np.float32))


def _box(mask: Tensor) -> Tensor:
    """(4,) around what is true of (h, w), outer edges."""
    rows, columns = (mask.any(side).nonzero()[:, 0] for side in (1, 0))
    return torch.stack((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)).float()


def _window(shape: torch.Size, height: int, width: int, left: int, top: int) -> tuple[slice, slice, slice, slice]:
    """Rows and columns of a frame, and of a picture at (left, top), in which both are."""
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + shape[-1], width), min(top + shape[-2], height)
    x1, y1 = max(x1, x0), max(y1, y0)
    return slice(y0, y1), slice(x0, x1), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)


def _lay(frame: Tensor, owner: Tensor, colour: Tensor, cover: Tensor, left: int, top: int, number: int) -> None:
    """A figure over a frame uint8 (H, W, 3), in place; and whose pixels those are, (H, W)."""
    rows, columns, own_rows, own_columns = _window(cover.shape, owner.shape[0], owner.shape[1], left, top)
    part, share = frame[rows, columns], cover[own_rows, own_columns]
    mixed = torch.lerp(to_float(part), 2 * colour[:, own_rows, own_columns] - 1, share)
    part.copy_(to_uint8(mixed))
    owner[rows, columns][share > 0.5] = number
