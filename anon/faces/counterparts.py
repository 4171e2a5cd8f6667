"""Pictures that another tool made of the photographs of a folder, brought into the same crops.

They are matched by relative path, whatever of the photographs' formats they are in, or by FaceForensics++'s names of
swaps: ``003_012/...`` or ``003_012.mp4`` for what lies in ``003``, with the face of ``012``, or by a list of their own
(``outputs``), for tools that name a result after target and source. They are aligned with the five points of the
*originals*: whoever looks sees the same crop of both, wherever the tool moved the face. A video in the place of a
folder of frames gives its n-th frame for the n-th of them by name. A picture of another size and the same shape is the
same picture. Of a sheet, which shows the result in a row with source and target, one ``panel`` is the result.

What cannot be used is counted by its reason and listed. In its place stands the original: a tool that gave nothing
for a picture has not anonymized it. Messages give counts, never names, which are often people's.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anon.errors import UserError
from anon.faces.cache import built_once
from anon.faces.contents import contents
from anon.faces.decoding import WORKERS, Framed, Photograph, ahead, digest, face_of, framed, write_header
from anon.faces.images import ImageError, is_photograph, read_image
from anon.faces.points import FivePoints, file_key
from anon.faces.tree import files_below
from anon.faces.video import VideoError, is_still, is_video, natural, read_video
from anon.printable import as_csv
from anon.progress import track
from anon.provenance import code

MISSING, SEVERAL, SHAPE = "missing", "given several times", "of another shape than the original"
LENGTH = "in a video of another length"
_SWAP = re.compile(r"(?P<target>\d{2,3})_(?P<source>\d{2,3})", re.ASCII)
MOST_MISSING = 0.1  # of the pictures, before a folder is refused


class Source(NamedTuple):
    """Where a face of the data set is from."""

    file: Photograph
    canvas: tuple[int, int]  # (H, W) of the photograph
    points: Tensor | None  # (5, 2) in it


class Result(NamedTuple):
    """A file of the results; where it is a video, the ``frame`` of the ``frames`` that it must have."""

    name: str
    frame: int | None = None
    frames: int = 1


class Crops(NamedTuple):
    """How faces are cut out: the side, and what aligned pictures show (``data.framing``); None: by the size of each.

    ``results``: what the results show, where they are aligned crops of photographs that are none. ``panel``: which of
    how many pictures in a row the result is, from 1; None: it is alone.
    """

    size: int
    originals: str | None
    results: str | None = None
    panel: tuple[int, int] | None = None

    def part_of(self, frame: Tensor, source: Source) -> tuple[Framed, bool]:
        """The part of a result that the face needs, and whether it is of another size than the original.

        Raises:
            ImageError: it is of another shape.
        """
        if self.panel is not None:
            number, count = self.panel
            if frame.shape[1] % count:
                raise ImageError(SHAPE)
            frame = frame.chunk(count, 1)[number - 1].contiguous()
        height, width = frame.shape[:2]
        if self.results is not None:
            if height != width:
                raise ImageError(SHAPE)
            return framed(frame, None, self.size, self.results), False
        tall, wide = source.canvas
        # Rounded to whole pixels, a side may be one off what the other one says.
        if abs(height * wide - width * tall) > max(tall, wide):
            raise ImageError(SHAPE)
        resized = (height, width) != source.canvas
        points = source.points
        if points is not None and resized:  # pixel centres lie at integers
            points = (points + 0.5) * torch.tensor([width / wide, height / tall]) - 0.5
        return framed(frame, points, self.size, self.originals), resized


class Results:
    """The files of a folder of results, by the names that originals have.

    Args:
        root: the folder.
        where: how messages call it.
        outputs: original -> its result's path in the folder, both as :func:`anon.faces.points.file_key` spells them;
            an original that it does not name has its result at its own path.
        panel: of :class:`Crops`.

    Raises:
        UserError: it cannot be read, or holds no picture and no video.
    """

    def __init__(
        self,
        root: Path,
        where: str,
        outputs: Mapping[str, str] | None = None,
        panel: tuple[int, int] | None = None,
    ) -> None:
        self.root, self.where = root, where
        self.outputs, self.panel = dict(outputs or {}), panel
        self.pictures: dict[str, list[str]] = collections.defaultdict(list)  # by name without ending
        self.by_key: dict[str, str] = {}  # pictures as ``outputs`` spells them -> as they lie there
        self.videos: dict[str, str] = {}
        self.twice: set[str] = set()  # names that several videos have
        self.swapped: dict[str, str] = {}  # whose face a person's results show, by FaceForensics++'s names
        for entry in files_below(root, where):
            if entry.aside is not None:
                continue
            stem, name = _stem(file_key(entry.file)), entry.name
            if is_video(name) and not is_still(entry.path):
                self.twice |= {stem} & self.videos.keys()
                self.videos[stem] = name
            elif is_photograph(name):
                self.pictures[stem].append(name)
                self.by_key[file_key(entry.file)] = name
        self.hashes: dict[str, str] = {}
        if not self.pictures and not self.videos:
            raise UserError(f"{where} holds no picture and no video; results lie as their originals do, at any depth.")

    def look(self, memory: Path) -> None:
        """Fill ``hashes``, SHA-256 by name; those of unchanged files are remembered in a folder."""
        if self.hashes:
            return
        names = sorted([name for group in self.pictures.values() for name in group] + list(self.videos.values()))
        place = hashlib.sha256(str(self.root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        with contextlib.suppress(OSError):  # said when the faces are written
            memory.mkdir(parents=True, exist_ok=True)
        found = contents([self.root / name for name in names], memory / f"{place}.npy")
        self.hashes = dict(zip(names, found, strict=True))

    def of(self, files: Sequence[Photograph]) -> list[Result | str]:
        """The result of each original, or why there is none.

        Args:
            files: all photographs of the originals' folder, for a name may fit two of them.
        """
        exact = {file_key(file.name) for file in files}
        people = {name.partition("/")[0] for name in exact}
        tops = {stem.partition("/")[0] for stem in (*self.pictures, *self.videos)} - people
        swaps = [swap for swap in map(_SWAP.fullmatch, sorted(tops)) if swap is not None and swap["target"] in people]
        aside = {swap["target"]: swap for swap in swaps}
        several = {swap["target"] for swap in swaps if aside[swap["target"]] is not swap}
        self.swapped |= {target: swap["source"] for target, swap in aside.items()}
        frames: dict[str, list[str]] = collections.defaultdict(list)  # by the folder that a video may stand for
        for name in sorted(filter(is_photograph, exact), key=lambda name: natural(os.path.basename(name))):
            frames[os.path.dirname(name)].append(name)
        places = {name: number for names in frames.values() for number, name in enumerate(names)}
        found = []
        for name in (file_key(file.name) for file in files):
            if name in self.outputs:
                output = self.by_key.get(self.outputs[name])
                found.append(MISSING if output is None else Result(output))
                continue
            target = name.partition("/")[0]
            swapped = aside[target][0] + name[len(target) :] if target in aside else name
            each = self._picture(name, swapped, exact)
            video = self.videos.get(os.path.dirname(name)) or self.videos.get(os.path.dirname(swapped))
            if each == MISSING and video is not None and name in places:
                each = Result(video, places[name], len(frames[os.path.dirname(name)]))
                each = SEVERAL if _stem(video) in self.twice else each
            if target in several and each != MISSING and _stem(name) not in self.pictures:
                each = SEVERAL  # two swaps of one target: nobody knows which
            found.append(each)
        return found

    def _picture(self, name: str, swapped: str, exact: set[str]) -> Result | str:
        """Of an original, which is ``swapped`` by FaceForensics++'s names; no picture that is another's by its name."""
        pictures = next((self.pictures[stem] for stem in map(_stem, (name, swapped)) if stem in self.pictures), [])
        own = [each for each in pictures if file_key(each) == name]
        free = own or [each for each in pictures if file_key(each) not in exact]
        if len(free) == 1:
            return Result(free[0])
        return SEVERAL if free else MISSING


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


class Counterparts:
    """What a tool made of the faces of one split, row by row of the set's cache.

    ``reasons`` (N,) why there is none, empty where there is one, and ``listing`` has the names of those without;
    ``digests`` int64 (N,) of the originals' bytes (:func:`anon.faces.decoding.digest`).
    """

    def __init__(self, folder: Path, rows: np.ndarray) -> None:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self._faces = np.load(folder / "faces.npy", mmap_mode="r")
        self._rows = rows
        said = np.load(folder / "reasons.npy")[rows]
        self.reasons = [index["reasons"][each] for each in said.tolist()]
        self.resized = int(np.load(folder / "resized.npy")[rows].sum())
        self.digests = np.load(folder / "digests.npy")[rows]
        self.listing = folder / "failed.csv"

    def __len__(self) -> int:
        return len(self._rows)

    def images(self, places: Sequence[int]) -> Tensor:
        """(B, S, S, 3) uint8; the original where there is none."""
        return torch.from_numpy(np.take(self._faces, self._rows[list(places)], axis=0))

    @property
    def failed(self) -> collections.Counter[str]:
        """How many have none, by reason."""
        return collections.Counter(reason for reason in self.reasons if reason)


def counterparts(
    results: Results,
    files: Sequence[Photograph],
    sources: Sequence[Source],
    originals: np.ndarray,
    crops: Crops,
    cache: Path,
    rows: np.ndarray,
) -> Counterparts:
    """Decode and align the results once.

    Args:
        results: of the tool.
        files: all photographs of the split, used or not.
        sources: N, of every face of the cache.
        originals: (N, S, S, 3) uint8 faces as they are.
        cache: folder for what was read.
        rows: of the cache, of the faces that are asked about.
    """
    by_name = dict(zip((file.name for file in files), results.of(files), strict=True))
    found = [by_name[source.file.name] for source in sources]
    results.look(cache / "contents")
    key = hashlib.sha256(f"{code(_decode)} {crops}".encode())
    for source, each in zip(sources, found, strict=True):
        told = each if isinstance(each, str) else (*each, results.hashes[each.name])
        key.update(repr((source.file, source.canvas, told)).encode("utf-8", "backslashreplace"))
        if source.points is not None:
            key.update(source.points.numpy().tobytes())
    key.update(originals.tobytes())
    folder = built_once(
        cache / "counterparts" / key.hexdigest()[:24],
        lambda part: _decode(part, results.root, sources, found, originals, crops),
    )
    return Counterparts(folder, rows)


def _decode(
    part: Path,
    root: Path,
    sources: Sequence[Source],
    found: Sequence[Result | str],
    originals: np.ndarray,
    crops: Crops,
) -> None:
    """Write faces.npy, digests.npy (of the originals), reasons.npy, resized.npy, index.json and failed.csv."""
    needed, free = originals.nbytes, shutil.disk_usage(part).free
    if needed > free:
        raise UserError(
            f"Reading {len(sources):,} results at {crops.size} px needs {needed / 1e9:.1f} GB, but '{part.parent}' has "
            f"{free / 1e9:.1f} GB free; set ANON_CACHE to a folder with room or lower data.size."
        )
    names = [""]
    reasons = np.zeros(len(sources), np.int32)
    resized = np.zeros(len(sources), bool)
    failed = []
    with open(part / "faces.npy", "wb") as output, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        write_header(output, len(sources), crops.size)
        faces = _faces(root, sources, found, crops)
        for place, face in enumerate(track(faces, "reading results", len(sources))):
            if isinstance(face, str):
                if face not in names:
                    names.append(face)
                reasons[place] = names.index(face)
                failed.append((sources[place].file.name, face))
                output.write(originals[place].tobytes())
            else:
                output.write(face[0].numpy().tobytes())
                resized[place] = face[1]
    np.save(part / "digests.npy", np.array([digest(face.tobytes()) for face in originals], np.int64))
    np.save(part / "reasons.npy", reasons)
    np.save(part / "resized.npy", resized)
    (part / "index.json").write_text(json.dumps({"reasons": names}), encoding="utf-8")
    with open(part / "failed.csv", "w", encoding="utf-8", errors="backslashreplace", newline="") as listing:
        listing.write(as_csv([("file", "reason"), *failed]))


def _faces(
    root: Path,
    sources: Sequence[Source],
    found: Sequence[Result | str],
    crops: Crops,
) -> Iterator[tuple[Tensor, bool] | str]:
    """In order: the face and whether its picture was of another size, or why there is none."""
    videos: dict[str, dict[int, int]] = collections.defaultdict(dict)  # places by the number of the frame
    for place, each in enumerate(found):
        if isinstance(each, Result) and each.frame is not None:
            videos[each.name][each.frame] = place
    ready: dict[int, tuple[Tensor, bool] | str] = {}

    def read(place: int) -> tuple[Framed, bool] | str | None:
        each = found[place]
        if isinstance(each, str) or each.frame is not None:
            return each if isinstance(each, str) else None
        try:
            return crops.part_of(read_image(root / each.name), sources[place])
        except ImageError as error:
            return str(error)

    with ThreadPoolExecutor(WORKERS) as pool:
        for place, picture in enumerate(ahead(pool, read, range(len(found)))):
            if isinstance(picture, str):
                yield picture
            elif picture is not None:
                yield face_of(picture[0], crops.size)[0], picture[1]
            else:
                video = cast(Result, found[place])
                if place not in ready:
                    ready |= _of_video(root / video.name, video.frames, videos[video.name], sources, crops)
                yield ready.pop(place)


def _of_video(
    path: Path,
    frames: int,
    wanted: Mapping[int, int],
    sources: Sequence[Source],
    crops: Crops,
) -> dict[int, tuple[Tensor, bool] | str]:
    """The faces of a video by their places; all of them fail where it has more frames or fewer than its originals.

    Args:
        frames: how many there are of them.
        wanted: places by the number of the frame.
    """
    made: dict[int, tuple[Tensor, bool] | str] = {}
    count = 0
    try:
        for number, frame in enumerate(read_video(path)):
            count = number + 1
            if number in wanted:
                place = wanted[number]
                try:
                    part, resized = crops.part_of(frame, sources[place])
                    made[place] = face_of(part, crops.size)[0], resized
                except ImageError as error:
                    made[place] = str(error)
    except VideoError as error:
        return dict.fromkeys(wanted.values(), f"in a video that is {error}")
    return made if count == frames else dict.fromkeys(wanted.values(), LENGTH)


def sources_of(files: Sequence[Photograph], used: np.ndarray, table: FivePoints | None) -> list[Source]:
    """Where each face of a folder's cache is from: ``used`` (N, 3) is what :func:`anon.faces.decoding.decode` wrote."""
    found = []
    for number, height, width in used.tolist():
        file = files[number]
        points = None if table is None else torch.from_numpy(table[file.name])
        found.append(Source(file, (height, width), points))
    return found
