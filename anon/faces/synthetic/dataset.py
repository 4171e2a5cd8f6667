"""Synthetic faces as a data set: split by identity, rendered once to a cache, the same bytes for the same seed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from anon.errors import UserError
from anon.faces.cache import cache_folder
from anon.faces.contract import Collated, Label, Sample, float_batch
from anon.faces.splits import SPLITS, split_of
from anon.faces.synthetic.attributes import celeba_labels
from anon.faces.synthetic.look import look_of
from anon.faces.synthetic.parameters import Columns, known_labels, people, stills
from anon.faces.synthetic.shards import PEOPLE, PICTURES, Shard, ensure, folder, mend
from anon.progress import track

ALONE = 1500  # pictures below which starting more processes does not pay
LIMIT = 200_000  # people that are searched for a split's members


def identity_name(number: int) -> str:
    """Name of a synthetic person; its hash decides the split."""
    return f"synthetic-{number:06d}"


def people_of(split: str, count: int, first: int = 0) -> list[int]:
    """Numbers of the first ``count`` people of a split, from the person ``first`` on.

    Those from :data:`LIMIT` on are nobody in the data sets that begin with the person 0.
    """
    numbers = (number for number in range(first, first + LIMIT) if split_of(identity_name(number)) == split)
    return list(itertools.islice(numbers, count))


class SyntheticFaces(Collated, Dataset):
    """One split of the synthetic people, a :class:`anon.faces.contract.FaceSet` whose samples have all keys.

    Args:
        split: train, background, attacker or evaluation.
        size: side of the pictures in pixels.
        identities: people of this split (any number up to the tens of thousands; shards hold 16).
        images: stills of each person (shards hold 4).
        clips: clips of each person, ``clip_frames`` frames each at 25 fps.
        seed: of the people and their pictures; the splits do not depend on it.
        cache: folder for rendered shards; default ``$ANON_CACHE`` or the user's cache folder.
        first: number of the first person who may be one of them; sets that begin far apart have nobody in common.

    Items are ordered by person, stills before clips. Pictures are rendered when first needed, or by :meth:`prepare`.

    Raises:
        UserError: unknown split, or nothing asked for.
    """

    synthetic = True
    raw = True

    def __init__(
        self,
        split: str,
        size: int = 64,
        identities: int = 256,
        images: int = 8,
        clips: int = 0,
        clip_frames: int = 10,
        seed: int = 0,
        cache: str | Path | None = None,
        first: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise UserError(f"Unknown split '{split}'; choose one of {', '.join(SPLITS)}.")
        if identities < 1 or images < 0 or clips < 0 or images + clips < 1 or size < 16 or clip_frames < 1:
            raise UserError(
                f"Synthetic faces need at least one identity and one image or clip, and 16 pixels; got {identities} "
                f"identities, {images} images, {clips} clips of {clip_frames} frames at {size} pixels."
            )
        self.split, self.size, self.seed = split, size, seed
        self._asked = {"split": split, "size": size, "identities": identities, "images": images, "clips": clips}
        self._asked |= {"clip_frames": clip_frames, "seed": seed, "cache": str(cache_folder(cache)), "first": first}
        numbers = people_of(split, identities, first)
        self._numbers = numbers
        self.names = [identity_name(number) for number in numbers]
        where = folder(cache_folder(cache), size, seed, first)
        self.shards = _plan(where, split, numbers, images, clips, clip_frames, first)
        rows = _rows(self.shards, numbers, images)
        rows = rows[np.lexsort((rows[:, 4], rows[:, 3], rows[:, 3] >= 0, rows[:, 2]))]
        self._place = rows[:, :2]  # shard, row in the shard
        self.labels = torch.from_numpy(rows[:, 2].copy())
        self.videos = torch.from_numpy(rows[:, 3].copy())
        self.frames = torch.from_numpy(rows[:, 4].copy())
        self._images: list[np.ndarray] = []
        self._truth: list[dict[str, Tensor]] = []

    def prepare(self, processes: int | None = None) -> None:
        """Render what is missing, with a progress bar. Safe when several processes do it at once.

        Args:
            processes: that share the work; default: one per core, up to eight, where there is much to do.
        """
        missing = [shard for shard in self.shards if not shard.done]
        pictures = sum(len(shard.numbers) * shard.length for shard in missing)
        if processes is None:
            processes = min(os.cpu_count() or 1, 8) if pictures > ALONE else 1
        each = pictures // max(len(missing), 1)
        with _companions(processes - 1, self._asked):
            for _ in track(ensure(missing, self.size, self.seed), f"rendering {self.split} faces", pictures, each):
                pass

    def _open(self) -> None:
        if not self._images:
            self.prepare()
            mend(self.shards, self.size, self.seed)
            self._truth = [shard.truth() for shard in self.shards]
            self._images = [shard.images() for shard in self.shards]

    def __getitems__(self, indices: list[int]) -> Sample:
        """A collated batch: every value has a leading ``len(indices)``."""
        return float_batch(self.raw_batch(indices))

    def raw_batch(self, indices: list[int], out: Tensor | None = None) -> Sample:
        """The same with ``image`` uint8 ``(B, S, S, 3)``, see :class:`anon.faces.contract.RawFaces`."""
        self._open()
        places = [tuple(self._place[index]) for index in indices]
        if out is None:
            out = torch.empty((len(places), self.size, self.size, 3), dtype=torch.uint8)
        np.stack([self._images[shard][row] for shard, row in places], out=out.numpy())
        truth = {
            name: torch.stack([self._truth[shard][name][row] for shard, row in places])
            for name in ("pose", "expression", "gaze", "light", "landmarks")
        }
        return cast(Sample, self.sample(list(indices), out) | truth)

    def annotations(self) -> Mapping[str, Label]:
        """Skin tone, shape, beard and glasses (:func:`anon.faces.synthetic.parameters.known_labels`)."""
        return known_labels(people(self._numbers, self.seed), self.labels, self._known("occluder"))

    def attributes(self) -> Mapping[str, Label]:
        """What is seen of each picture, by CelebA's names (:func:`anon.faces.synthetic.attributes.celeba_labels`)."""
        worn, shown = self._known("occluder"), self._known("expression")
        return celeba_labels(people(self._numbers, self.seed), self.labels, worn, shown)

    def _known(self, name: str) -> Tensor:
        """The truth of all pictures (N, ...)."""
        self._open()
        return torch.stack([self._truth[shard][name][row] for shard, row in self._place.tolist()])

    def drawn_from(self, labels: Tensor, frames: Tensor) -> tuple[Columns, Columns]:
        """What still pictures were rendered from: identity and attribute columns, one row for each (label, frame)."""
        numbers = [self._numbers[label] for label in labels.tolist()]
        return people(numbers, self.seed), stills(numbers, frames.tolist(), self.seed)

    def look(self) -> Tensor:
        """(P, K) identity parameters of the people ``names``, see :func:`anon.faces.synthetic.look.look_of`."""
        return look_of(people(self._numbers, self.seed))

    def __getstate__(self) -> dict:
        """Workers open the shards themselves."""
        return self.__dict__ | {"_images": [], "_truth": []}


@contextlib.contextmanager
def _companions(count: int, asked: dict) -> Iterator[None]:
    """``count`` more processes that render the same set; the shards' locks share the work out.

    One thread each: several processes of one thread are faster than one of several, and suffer less from neighbours.
    """
    if count < 1:
        yield
        return
    package = Path(__file__).resolve().parents[3]
    path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-W", "ignore", "-m", "anon.faces.synthetic.dataset", json.dumps(asked)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    null = subprocess.DEVNULL
    others = [subprocess.Popen(command, env=environment, stdin=null, stdout=null, stderr=null) for _ in range(count)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for other in others:
            other.terminate()
            other.wait()


def _plan(
    where: Path, split: str, numbers: list[int], images: int, clips: int, frames: int, first_person: int
) -> list[Shard]:
    shards = []
    for start in range(0, len(numbers), PEOPLE):
        block = start // PEOPLE
        # The whole block, also where fewer people are wanted: a shard's content depends on its name alone.
        people = tuple(people_of(split, start + PEOPLE, first_person)[start:])
        for first in range(0, images, PICTURES):
            shards.append(Shard(where, split, block, people, -1, first, PICTURES))
        for clip in range(clips):
            shards.append(Shard(where, split, block, people, clip, 0, frames))
    return shards


def _rows(shards: list[Shard], numbers: list[int], images: int) -> np.ndarray:
    """(N, 5): shard, row in the shard, label, video, frame, without what was not asked for."""
    label = {number: place for place, number in enumerate(numbers)}
    rows = []
    for number, shard in enumerate(shards):
        for place, person in enumerate(shard.numbers):
            for picture in range(shard.length):
                frame = shard.first + picture
                if person in label and (shard.clip >= 0 or frame < images):
                    rows.append((number, place * shard.length + picture, label[person], shard.clip, frame))
    return np.asarray(rows, dtype=np.int64)


if __name__ == "__main__":
    SyntheticFaces(**json.loads(sys.argv[1])).prepare(processes=1)
