"""Rendered people crossed with scenes: everybody of a group in every pose, light and background that it has.

What photographs never give is exact here: the same person in another scene, and another person in the same scene. A
scene is pose, expression, gaze, light, background, what covers the face, and the sensor's noise.

    python train.py experiment=made_simple
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from anon.errors import UserError
from anon.faces.cache import built_once, cache_folder
from anon.faces.contract import Collated, FaceSet, Sample, to_float
from anon.faces.datamodule import FaceData
from anon.faces.splits import SPLITS
from anon.faces.synthetic.dataset import identity_name, people_of
from anon.faces.synthetic.parameters import Columns, people, stills
from anon.faces.synthetic.render import BATCH, render
from anon.progress import track
from anon.provenance import code


class Triple(NamedTuple):
    """Rows (N,) of the rendered pictures: ``truth``, the same person elsewhere, another person in the same scene."""

    truth: Tensor
    source: Tensor
    driving: Tensor


def triples(people: int, scenes: int, group: int) -> Triple:
    """All triples of people in groups of ``group``, each person in the ``scenes`` of the group.

    Rows go person by person. Each picture is the truth of (scenes - 1) (group - 1) triples; a last group that is not
    full has none.

    >>> [part.tolist() for part in triples(people=2, scenes=2, group=2)]
    [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1]]
    """
    whole = people - people % group
    axes = torch.arange(whole), torch.arange(scenes), torch.arange(1, scenes), torch.arange(1, group)
    person, scene, away, beside = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
    other = person - person % group + (person + beside) % group
    return Triple(person * scenes + scene, person * scenes + (scene + away) % scenes, other * scenes + scene)


class CrossedFaces(Collated, Dataset):
    """Triples of one split (:class:`anon.faces.contract.FaceSet`): an item's ``image`` is the truth.

    ``source`` and ``driving`` stand beside it, images (3, S, S) as it is: the truth's person in another scene, and
    another person of the group in the truth's scene.

    Args:
        split: train, background, attacker or evaluation.
        size: side of the pictures in pixels.
        identities: people of this split.
        images: scenes of a group of people, two or more.
        group: people who share their scenes, two or more; their number is a multiple of it, the rest are left out.
        seed: of the people and their scenes.
        cache: folder for what was rendered; default ``$ANON_CACHE`` or the user's cache folder.
        first: number of the first person who may be one of them.

    Raises:
        UserError: unknown split, or fewer people or scenes than a triple has.
    """

    synthetic = True
    raw = False

    def __init__(
        self,
        split: str,
        size: int = 64,
        identities: int = 256,
        images: int = 12,
        group: int = 4,
        seed: int = 0,
        cache: str | Path | None = None,
        first: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise UserError(f"Unknown split '{split}'; choose one of {', '.join(SPLITS)}.")
        if images < 2 or group < 2 or identities < group or size < 16:
            raise UserError(
                f"Crossed faces need two people of a group and two scenes, and 16 pixels; got {identities} identities "
                f"in groups of {group}, {images} scenes at {size} pixels."
            )
        numbers = people_of(split, identities - identities % group, first)
        self.size, self.seed, self.scenes, self.group = size, seed, images, group
        self._numbers, self._cache = numbers, cache_folder(cache)
        self.names = [identity_name(number) for number in numbers]
        self.rows = triples(len(numbers), images, group)
        self.labels = self.rows.truth // images
        self.frames = self.rows.truth % images
        self.videos = torch.full_like(self.labels, -1)
        self._pictures: np.ndarray | None = None

    def prepare(self) -> np.ndarray:
        """uint8 (P * scenes, S, S, 3), person by person; rendered at the first call, by one process for all."""
        if self._pictures is None:
            told = f"{code(_draw)[:12]}-seed{self.seed}-{self.size}px-{self.group}x{self.scenes}"
            people = f"{len(self._numbers)}from{self._numbers[0]}to{self._numbers[-1]}"
            folder = built_once(self._cache / "crossed" / told / people, self._render)
            self._pictures = np.load(folder / "faces.npy", mmap_mode="r", allow_pickle=False)
        return self._pictures

    def _render(self, part: Path) -> None:
        found, count = [], len(self._numbers)
        starts = range(0, count, self.group)
        every = self.group * self.scenes
        for start in track(starts, "rendering crossed faces", count * self.scenes, every):
            found.append(_draw(self._numbers[start : start + self.group], self.scenes, self.size, self.seed))
        np.save(part / "faces.npy", torch.cat(found).numpy(), allow_pickle=False)

    def __getitems__(self, indices: list[int]) -> Sample:
        """A collated batch: every value has a leading ``len(indices)``."""
        pictures = self.prepare()
        truth, source, driving = (to_float(torch.from_numpy(pictures[part[indices].numpy()])) for part in self.rows)
        return {**self.sample(indices, truth), "source": source, "driving": driving}  # type: ignore[typeddict-unknown-key]

    def __getstate__(self) -> dict:
        """Workers open the pictures themselves."""
        return self.__dict__ | {"_pictures": None}


def _draw(numbers: Sequence[int], scenes: int, size: int, seed: int) -> Tensor:
    """One group (P * scenes, S, S, 3) uint8, person by person; the scenes are the stills of its first person."""
    person, mood = people(numbers, seed), stills([numbers[0]] * scenes, range(scenes), seed)
    who = torch.arange(len(numbers)).repeat_interleave(scenes)
    where = torch.arange(scenes).repeat(len(numbers))
    parts = zip(who.split(BATCH), where.split(BATCH), strict=True)
    return torch.cat([render(_rows(person, who), _rows(mood, where), size).images for who, where in parts])


def _rows(columns: Columns, rows: Tensor) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def crossed_synthetic_data(
    size: int,
    identities: int | Mapping[str, int],
    images: int | Mapping[str, int],
    group: int,
    batch_size: int,
    workers: int = 0,
    seed: int = 0,
    render_seed: int = 0,
    cache: str | Path | None = None,
    name: str = "synthetic",
    first: int = 0,
) -> FaceData:
    """``data=synthetic_crossed``: see :class:`CrossedFaces`.

    Args:
        identities, images: people of a split and scenes of a group; one number for all splits or one for each.
        render_seed: seed of the faces themselves; ``seed`` only orders the training batches.
    """

    def sets(split: str) -> FaceSet:
        people, scenes = (each[split] if isinstance(each, Mapping) else each for each in (identities, images))
        return CrossedFaces(split, size, people, scenes, group, render_seed, cache, first)

    return FaceData(sets, name, size, synthetic=True, batch_size=batch_size, workers=workers, seed=seed)
