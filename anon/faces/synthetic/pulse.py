"""Rendered clips of people whose pulse shows: their skin's colour beats at a known rate, each clip at its own.

    skin(t) = skin · (1 + A p(t) g),   p(t) = sin(2π f t + φ) + .3 sin(4π f t + 2 φ)

A is a share of the skin's colour, g how strongly red, green and blue take part (most light is absorbed in the green:
de Haan and Jeanne, IEEE TBME 2013), f the rate. Nothing else beats: not hair, eyes, teeth, clothes or what is behind.

The painter is not asked for the pulse, so no other rendered byte changes with it. A picture is linear in the skin's
colour, in which two pictures of a person differ whose melanin differs a little (hair and irises, which go with it, are
held); their difference says how much of every pixel is skin, under every light.

    python evaluate.py suite=pulse
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from anon.errors import UserError
from anon.faces.cache import built_once, cache_folder
from anon.faces.contract import Collated, FaceSet, Sample, to_float
from anon.faces.datamodule import FaceData
from anon.faces.synthetic import scene
from anon.faces.synthetic.dataset import SyntheticFaces, identity_name, people_of
from anon.faces.synthetic.head import meet, rotation, table
from anon.faces.synthetic.paint import face, over, skin_colour
from anon.faces.synthetic.parameters import Columns, clip, people
from anon.faces.synthetic.render import BATCH, SUPERSAMPLE
from anon.progress import track
from anon.provenance import code

RATES = (50.0, 120.0)  # beats a minute
BEATS = (0.33, 0.77, 0.53)  # how much red, green and blue beat
_SECOND, _STEP = 0.3, 0.01
_RATE, _NOISE = 44, 55  # domains of draws, beside those of the parameters
_MOVES = ("yaw", "pitch", "roll", "mouth", "smile", "brow", "blink", "gaze_x", "gaze_y")


class Clip(NamedTuple):
    """``images`` (n, S, S, 3) uint8, ``rate`` in beats a minute."""

    images: Tensor
    rate: float


def rate_of(number: int, clip_number: int, seed: int = 0) -> tuple[float, float]:
    """Beats a minute in :data:`RATES` and phase in radians of a person's clip."""
    drawn = np.random.Generator(np.random.Philox(np.random.SeedSequence([_RATE, seed, number, clip_number]))).random(2)
    return RATES[0] + (RATES[1] - RATES[0]) * float(drawn[0]), 2 * np.pi * float(drawn[1])


def wave(rate: float, phase: float, count: int, fps: float) -> Tensor:
    """p(t) of ``count`` frames (n,).

    >>> wave(60.0, 0.0, 4, 4.0)[[1, 3]].round(decimals=3).tolist()  # a beat a second: sin(2 π t) + .3 sin(4 π t)
    [1.0, -1.0]
    """
    angle = 2 * np.pi * rate / 60 * torch.arange(count, dtype=torch.float64) / fps + phase
    return (angle.sin() + _SECOND * (2 * angle).sin()).float()


@torch.no_grad()
def seen(person: Columns, mood: Columns, size: int) -> tuple[Tensor, Tensor]:
    """Pictures before the sensor (B, 3, S, S), and what of them is the skin's colour (the same form, 0 off the skin).

    Args:
        person, mood: columns, one row a picture, without a hand before the face.
    """
    x, y = torch.broadcast_tensors(*scene.framing(mood, size, SUPERSAMPLE)[:2])
    turn = rotation(mood)
    surface, light = meet(table(person, mood), turn, x, y), scene.light_direction(mood)
    drawn = []
    other = _darker(person)
    for who in (person, other):
        paint = scene.worn(face(surface.point, surface.w, who, mood), surface.point, who, mood)
        colour = scene.behind(x, y, who, mood, mood)
        colour = over(colour, scene.lit(paint, surface, turn, mood, light), surface.hit.float())
        colour = F.interpolate(colour, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        drawn.append(scene.blur(colour, mood))
    skin, shifted = skin_colour(person), skin_colour(other)
    return drawn[0], (drawn[1] - drawn[0]) * skin / (shifted - skin)


def _darker(person: Columns) -> Columns:
    """The same people with a little more melanin, or less at the ramp's end, and the hair and irises that they have."""
    melanin = person["melanin"]
    part = melanin * 4 % 1  # the ramp of skin has four pieces, and is linear in each
    other = melanin + torch.where(part < 0.5, _STEP, -_STEP)
    hair = person["hair_light"] * (1 - 0.85 * melanin) / (1 - 0.85 * other)
    iris = person["iris_hue"] * (1.2 - melanin) / (1.2 - other)
    return {**person, "melanin": other, "hair_light": hair, "iris_hue": iris}


def beating(
    number: int, clip_number: int, frames: int, size: int, seed: int, fps: float, amplitude: float, motion: float
) -> Clip:
    """A clip of a person who sits still; the rate is that of :func:`rate_of` whatever the amplitude.

    Args:
        amplitude: A; 0: nothing beats.
        motion: share of the usual motion of rendered clips.
    """
    mood = clip(number, clip_number, frames, seed, occluders=0.0, fps=fps)
    for name in _MOVES:
        mood[name] = torch.lerp(mood[name].mean(0, keepdim=True), mood[name], motion)
    rate, phase = rate_of(number, clip_number, seed)
    beats = amplitude * wave(rate, phase, frames, fps)[:, None, None, None] * torch.tensor(BEATS)[:, None, None]
    person = people([number], seed)
    draw = np.random.Generator(np.random.Philox(np.random.SeedSequence([_NOISE, seed, number, clip_number])))
    parts = []
    for rows in torch.arange(frames).split(BATCH):
        own = {name: column[rows] for name, column in mood.items()}
        plain, skin = seen(
            {name: column.expand(len(rows), *column.shape[1:]) for name, column in person.items()}, own, size
        )
        noise = torch.from_numpy(draw.standard_normal((len(rows), 3, size, size), dtype=np.float32))
        parts.append((scene.sensor(plain + beats[rows] * skin, own, noise) * 255).round().to(torch.uint8))
    return Clip(torch.cat(parts).permute(0, 2, 3, 1).contiguous(), rate)


class PulseFaces(Collated, Dataset):
    """The evaluation people with stills and one clip each, in which their pulse shows (:class:`FaceSet`).

    Samples have ``pulse``, beats a minute, NaN of stills.

    Args:
        size: side of the pictures in pixels.
        identities: people.
        images: stills of each, as :class:`anon.faces.synthetic.dataset.SyntheticFaces` has them; two or more.
        clip_frames: of the clip; ``fps`` of them are a second.
        amplitude, motion: see :func:`beating`.
        seed: of the people, their pictures and their pulse.
        cache: folder for what was rendered; default ``$ANON_CACHE`` or the user's cache folder.
        first: number of the first person who may be one of them.

    Raises:
        UserError: a clip shorter than four seconds, or too slow for the fastest pulse.
    """

    synthetic = True
    raw = False

    def __init__(
        self,
        size: int = 64,
        identities: int = 24,
        images: int = 2,
        clip_frames: int = 250,
        fps: float = 25.0,
        amplitude: float = 0.01,
        motion: float = 0.1,
        seed: int = 0,
        cache: str | Path | None = None,
        first: int = 0,
    ) -> None:
        if fps < 8.0 or clip_frames < 4 * fps:
            raise UserError(
                f"A pulse needs 8 frames a second or more and clips of four seconds or more, not {clip_frames} frames "
                f"at {fps:g}; raise data.clip_frames."
            )
        self.size, self.seed, self.fps = size, seed, float(fps)
        self.amplitude, self.motion, self.length = float(amplitude), float(motion), int(clip_frames)
        self._cache = cache_folder(cache)
        self._stills = SyntheticFaces("evaluation", size, identities, images, 0, 1, seed, cache, first)
        self._numbers = people_of("evaluation", identities, first)
        self.names = [identity_name(number) for number in self._numbers]
        people_, frames = torch.arange(identities), torch.arange(self.length)
        own = self._stills
        self.labels = torch.cat((own.labels, people_.repeat_interleave(self.length)))
        self.videos = torch.cat((own.videos, torch.zeros(identities * self.length, dtype=torch.long)))
        self.frames = torch.cat((own.frames, frames.repeat(identities)))
        rates = torch.tensor([rate_of(number, 0, seed)[0] for number in self._numbers])
        self.rates = torch.cat((torch.full((len(own),), torch.nan), rates.repeat_interleave(self.length)))
        self._clips: np.ndarray | None = None

    def prepare(self) -> np.ndarray:
        """uint8 (P, n, S, S, 3); rendered at the first call, by one process for all."""
        if self._clips is None:
            what = f"{self.length}at{self.fps:g}-{self.amplitude:g}-{self.motion:g}"
            told = f"{code(beating)[:12]}-seed{self.seed}-{self.size}px-{what}"
            names = f"{len(self._numbers)}from{self._numbers[0]}to{self._numbers[-1]}"
            folder = built_once(self._cache / "pulse" / told / names, self._render)
            self._clips = np.load(folder / "clips.npy", mmap_mode="r", allow_pickle=False)
        return self._clips

    def _render(self, part: Path) -> None:
        bar = track(self._numbers, "rendering pulses", len(self._numbers) * self.length, self.length)
        asked = (self.length, self.size, self.seed, self.fps, self.amplitude, self.motion)
        found = [beating(number, 0, *asked).images for number in bar]
        np.save(part / "clips.npy", torch.stack(found).numpy(), allow_pickle=False)

    def __getitems__(self, indices: list[int]) -> Sample:
        """A collated batch: every value has a leading ``len(indices)``."""
        clips, stills = self.prepare(), len(self._stills)
        images = torch.empty(len(indices), self.size, self.size, 3, dtype=torch.uint8)
        for row, index in enumerate(indices):
            if index < stills:
                self._stills.raw_batch([index], images[row : row + 1])
            else:
                person, frame = divmod(index - stills, self.length)
                images[row] = torch.from_numpy(np.array(clips[person, frame]))
        return cast(Sample, self.sample(indices, to_float(images)) | {"pulse": self.rates[indices]})

    def __getstate__(self) -> dict:
        """Workers open the pictures themselves."""
        return self.__dict__ | {"_clips": None}


def pulse_synthetic_data(
    size: int,
    identities: Mapping[str, int],
    images: int | Mapping[str, int],
    clip_frames: int,
    fps: float,
    amplitude: float,
    motion: float,
    batch_size: int,
    workers: int = 0,
    seed: int = 0,
    render_seed: int = 0,
    cache: str | Path | None = None,
    name: str = "synthetic",
    first: int = 0,
) -> FaceData:
    """``data=synthetic_pulse``: :class:`PulseFaces` of the evaluation people, stills of all others.

    Args:
        identities, images: people of a split and stills of each; of stills one number for all splits or one for each.
        render_seed: seed of the faces themselves; ``seed`` only orders the training batches.
    """

    def sets(split: str) -> FaceSet:
        stills = images[split] if isinstance(images, Mapping) else images
        if split != "evaluation":
            return SyntheticFaces(split, size, identities[split], stills, 0, 1, render_seed, cache, first)
        beats = (clip_frames, fps, amplitude, motion)
        return PulseFaces(size, identities[split], stills, *beats, render_seed, cache, first)

    return FaceData(sets, name, size, synthetic=True, batch_size=batch_size, workers=workers, seed=seed)
