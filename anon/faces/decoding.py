"""Photographs to a cache of aligned uint8 faces: what :class:`anon.faces.folder.FolderFaces` reads.

Threads decode (Pillow works outside Python's lock), the calling thread warps, in the order of the files.
"""

from __future__ import annotations

import collections
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anon.errors import UserError
from anon.faces.alignment import Framing, align, crop_box, reframe, similarity, template, transform
from anon.faces.contract import to_float, to_uint8
from anon.faces.images import NO_IMAGE, ImageError, is_photograph, read_image
from anon.faces.points import WITHOUT, FivePoints, fault_in
from anon.faces.video import is_video
from anon.printable import as_csv
from anon.progress import track

VIDEO = "a video, which anon prepare reads"
WORKERS = 2  # threads
_AHEAD = 32  # decoded images that may wait: bounds the memory

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Photograph(NamedTuple):
    """A file of the data set."""

    identity: str
    name: str  # relative to the root


def decode(
    part: Path,
    root: Path,
    files: list[Photograph],
    table: FivePoints | None,
    size: int,
    framing: str | None = None,
) -> None:
    """Write faces.npy, labels.npy, landmarks.npy, digests.npy, used.npy, index.json, skipped.csv and repeated.csv.

    used.npy (N, 3) int64: the place among ``files`` that each face is of, height and width of that photograph.

    Args:
        framing: what pictures show that come without points; None: the framing of each one's side, if it is square.
    """
    needed, free = len(files) * size * size * 3, shutil.disk_usage(part).free
    if needed > free:
        raise UserError(
            f"Decoding {len(files):,} files at {size} px needs {needed / 1e9:.1f} GB, but '{part.parent}' has "
            f"{free / 1e9:.1f} GB free; set ANON_CACHE to a folder with room or lower data.size."
        )
    names = list(dict.fromkeys(file.identity for file in files))
    position = {name: i for i, name in enumerate(names)}
    labels: list[int] = []
    landmarks: list[np.ndarray] = []
    skipped: list[tuple[str, str]] = []
    digests: list[int] = []
    used: list[tuple[int, int, int]] = []
    reframed = 0

    def read(file: Photograph) -> tuple[Framed, tuple[int, int]] | str:
        if table is None:
            points = None
        elif file.name in table:
            points = torch.from_numpy(table[file.name])
        else:
            return table.lacking(file.name)
        try:
            frame = read_image(root / file.name)
            return framed(frame, points, size, framing), (frame.shape[0], frame.shape[1])
        except ImageError as error:
            return VIDEO if str(error) == NO_IMAGE and is_video(file.name) else str(error)

    with (
        open(part / "faces.npy", "wb") as output,
        warnings.catch_warnings(),
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged metadata; what matters is counted below
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        write_header(output, len(files), size)
        results = track(ahead(pool, read, files), "reading faces", len(files))
        for number, (file, found) in enumerate(zip(files, results, strict=True)):
            if isinstance(found, str):
                skipped.append((file.name, found))
            else:
                part_of, canvas = found
                face, placed = face_of(part_of, size)
                reframed += part_of.shown != Framing.of(size).view
                content = face.numpy().tobytes()
                output.write(content)
                digests.append(digest(content))
                used.append((number, *canvas))
                labels.append(position[file.identity])
                if placed is not None:
                    landmarks.append(placed.numpy())
        output.seek(0)
        write_header(output, len(labels), size)  # numpy pads the header for a first axis that changes
    np.save(part / "labels.npy", np.array(labels, dtype=np.int64))
    if table is not None:
        np.save(part / "landmarks.npy", np.array(landmarks, dtype=np.float32).reshape(-1, 5, 2))
    np.save(part / "digests.npy", np.array(digests, dtype=np.int64))
    np.save(part / "used.npy", np.array(used, dtype=np.int64).reshape(-1, 3))
    reasons = collections.Counter(reason for _, reason in skipped)
    damaged = sum(not _other(name, reason) for name, reason in skipped)
    same = repeated(digests, labels)
    index = {"files": len(files), "faces": len(labels), "skipped": dict(reasons.most_common()), "names": names}
    index |= {"damaged": damaged, "repeated": len(same), "reframed": reframed}
    (part / "index.json").write_text(json.dumps(index), encoding="utf-8")
    for name, head, rows in (
        ("skipped.csv", "reason", skipped),
        ("repeated.csv", "picture", [(files[used[at][0]].name, f"{digests[at] % 2**64:016x}") for at in same]),
    ):
        with open(part / name, "w", encoding="utf-8", errors="backslashreplace", newline="") as listing:
            listing.write(as_csv([("file", head), *rows]))


def _other(name: str, reason: str) -> bool:
    """Whether a file that is not used is none that should have been: not asked for, or no photograph by its name."""
    return reason in (WITHOUT, VIDEO) or (reason == NO_IMAGE and not is_photograph(name))


def digest(content: bytes) -> int:
    """64 bits that tell whether two pictures are the same bytes; they fit an int64."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True)


def repeated(digests: Sequence[int], people: Sequence[int] | Sequence[str]) -> list[int]:
    """Places of the pictures that several people have byte for byte, in groups of the same picture.

    >>> repeated([5, 7, 5, 7, 7], ["Ann", "Ann", "Bob", "Ann", "Ann"])
    [0, 2]
    """
    owners: dict[int, set[object]] = {}
    for mark, owner in zip(digests, people, strict=True):
        owners.setdefault(mark, set()).add(owner)
    return sorted((i for i, mark in enumerate(digests) if len(owners[mark]) > 1), key=lambda i: (digests[i], i))


def write_header(output: BinaryIO, count: int, size: int) -> None:
    shape = (count, size, size, 3)
    np.lib.format.write_array_header_1_0(output, {"descr": "|u1", "fortran_order": False, "shape": shape})


class Framed(NamedTuple):
    """The part of a photograph that a face needs, the points in it, and what it shows: one of ``VIEWS``."""

    frame: Tensor
    points: Tensor | None
    shown: str


def framed(frame: Tensor, points: Tensor | None, size: int, framing: str | None) -> Framed:
    """What an aligned crop of ``size`` needs of a photograph, by its points or as its middle.

    Most of a large picture stays uint8. One that is not square is no aligned crop: what it shows is taken as it is.
    """
    height, width, _ = frame.shape
    wanted = Framing.of(size).view
    if points is None:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        shown = framing or (Framing.of(side).view if height == width else wanted)
        return Framed(frame[top : top + side, left : left + side].contiguous(), None, shown)
    if fault := fault_in(points, (height, width)):
        raise ImageError(f"with {fault}")
    matrix = similarity(points[None], template(size))[0]
    left, top, right, bottom = crop_box(matrix, size, (height, width))
    return Framed(frame[top:bottom, left:right].contiguous(), points - torch.tensor([left, top]), wanted)


def face_of(part: Framed, size: int) -> tuple[Tensor, Tensor | None]:
    """uint8 ``(size, size, 3)`` and, where points are known, where they came to lie."""
    frame, points, shown = part
    image = to_float(frame)[None].contiguous()
    if points is None:
        return to_uint8(reframe(image, Framing.of(size), shown)[0]).contiguous(), None
    placed = transform(similarity(points[None], template(size)), points[None])[0]
    return to_uint8(align(image, points[None], size)[0]).contiguous(), placed


def ahead(pool: ThreadPoolExecutor, function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """``pool.map`` in order with at most ``_AHEAD`` results waiting."""
    waiting: collections.deque[Future[_Out]] = collections.deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
