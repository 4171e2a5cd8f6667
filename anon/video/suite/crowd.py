"""The clips of an evaluation: files that somebody names, or rendered crowds with their ground truth.

Crowds are those of :mod:`anon.faces.synthetic.crowds`, of people of the evaluation split, whom no network that ships
has seen. They are kept as they were rendered and written as H.264 by the writer that ``anon anonymize`` has, so what
reads them is what reads a user's clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from anon import checksums
from anon.errors import UserError
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.faces.live import source_of
from anon.faces.synthetic.crowds import crowd_of, story
from anon.faces.synthetic.dataset import people_of
from anon.faces.video import Timed
from anon.metrics.tracking import Labelled
from anon.provenance import code
from anon.video import clips, jobs
from anon.video.suite.settings import Crowds

RATE = 25  # frames a second of a rendered clip
SEEN = 0.5  # share of a face that must show before it has to be found
_PEOPLE = 12  # from whom the clips are cast in turn


class Truth(NamedTuple):
    """Who is where in every frame of a rendered clip; see :class:`anon.faces.synthetic.crowds.Crowd`."""

    shown: Tensor  # (T, P) share of the face that the frame shows
    owners: Tensor  # (T, H, W) int16: whose face a pixel shows, a number from 0 to P - 1, or -1

    def showing(self, frame: int) -> Labelled:
        """Whose faces show in a frame by half or more, and the boxes of what shows."""
        people = (self.shown[frame] >= SEEN).nonzero()[:, 0].tolist()
        places = [(self.owners[frame] == p).nonzero() for p in people]  # rows and columns
        boxes = [torch.cat((place.amin(0).flip(0), place.amax(0).flip(0) + 1)).float() for place in places]
        return Labelled(people, torch.stack(boxes) if boxes else torch.zeros(0, 4))


class Clip(NamedTuple):
    """A clip to evaluate."""

    name: str  # as tables call it
    file: Path
    key: str  # of its content
    truth: Truth | None = None  # None: nobody knows


def given_clips(place: str, results: Path) -> list[Clip]:
    """The clips that ``input=`` names: a file, all of a folder at any depth, or of a pattern.

    Args:
        results: a folder that is nobody's input.

    Raises:
        UserError: it names nothing, there is nothing, no video, or a camera.
    """
    if not place.strip():
        raise UserError("input=<clip or folder> must not be empty; leave it out for rendered crowds.")
    if source_of(place) is not None:
        raise UserError(f"input={place} is read live, once; record it first, and give the recording.")
    todo = jobs.jobs_of(place, f"{results}/")
    videos = [job for job in todo.jobs if job.video]
    if not videos:
        raise UserError(f"input={place} holds no video; anon anonymize does photographs.")
    found = []
    for job in videos:
        name = job.target.name if todo.folder is None else str(job.target.relative_to(todo.folder))
        found.append(Clip(name, job.source, _content(job.source)))
    return found


def _content(file: Path) -> str:
    """The key of a file; one that cannot be read fails when it is anonymized, and says why."""
    try:
        return key_of(file=checksums.of_file(file))
    except OSError:
        return key_of(unreadable=file.name)


def rendered_clips(crowds: Crowds, store: Store, folder: Path, seed: int) -> Iterator[Clip]:
    """Crowds, each rendered when it is asked for, or found in the store, and written as a file into ``folder``."""
    cast = people_of("evaluation", _PEOPLE)
    for number in range(crowds.clips):
        count, pillar = 2 + number % 3, number % 2 == 1
        people = [cast[(2 * number + i) % len(cast)] for i in range(count)]
        key = key_of(
            people=people,
            pillar=pillar,
            settings=vars(crowds) | {"clips": None},
            seed=seed + number,
            code=code(_rendered, crowd_of, story),
        )

        def make(people: list[int] = people, pillar: bool = pillar, seed: int = seed + number) -> Tensors:
            return _rendered(crowds, people, pillar, seed)

        kept = store.get("crowds", key, make)
        file = folder / f"crowd_{number + 1}.mp4"
        _write(file, kept["frames"])
        title = f"crowd {number + 1}: {count} people{', a pillar' if pillar else ''}"
        yield Clip(title, file, key, Truth(kept["shown"], kept["owners"]))


def _rendered(crowds: Crowds, people: list[int], pillar: bool, seed: int) -> Tensors:
    """``frames`` (T, H, W, 3) uint8, ``shown`` and ``owners`` of :class:`Truth`."""
    walks = story(people, crowds.frames, crowds.height, crowds.width, crowds.face)
    left = round(0.27 * crowds.width)
    stands = (left, left + round(1.2 * crowds.face)) if pillar else None
    found = crowd_of(walks, crowds.height, crowds.width, stands, seed)
    return {"frames": torch.stack(found.frames), "shown": found.shown, "owners": found.owners}


def _write(file: Path, frames: Tensor) -> None:
    step = Fraction(1, RATE)
    about = clips.Told(Fraction(RATE), step, len(frames), None, None, ())
    with checksums.written_whole(file) as stream:
        writer = clips.Writer(stream, file.suffix, file, about, sound=False)
        try:
            for number, pixels in enumerate(frames):
                writer.add(Timed(pixels, number * step, step), pixels, number)
            writer.close()
        except BaseException:
            writer.leave()
            raise
