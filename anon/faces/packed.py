"""``data=packed``: what ``anon prepare`` wrote, read by random access; no tar is ever scanned.

An index says where each face lies, so a face is one ``pread`` and one decode. Files are opened in the process that
reads them, and ``pread`` has no position to share, so loader processes may be forked or spawned.

    python train.py experiment=fiva data=packed data.root=<folder>
"""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file
from simplejpeg import decode_jpeg, decode_jpeg_header
from torch import Tensor

from anon import plain
from anon.errors import UserError
from anon.faces.alignment import Framing, reframe, reframing, similarity, template, transform, warp
from anon.faces.contract import Collated, Label, Sample, to_float
from anon.faces.labels import label_of_numbers
from anon.faces.packed_index import FORMATS, fault_of_columns, fault_of_info
from anon.faces.splits import EVERYONE, SPLITS, EmptySplit

INDEX, COLUMNS = "index.json", "index.safetensors"
_MAX_INDEX = 4 << 30  # bytes
_MAX_INFO, _MAX_VALUES = 128 << 20, 5_000_000  # of index.json; the largest set has 2 million people
_LONGEST = 1 << 16  # bytes of a line of files.jsonl
_OPEN = 128  # shards that are kept open


class Part(NamedTuple):
    """A square of a packed crop, in its pixels' outer edges, to be seen at ``size`` pixels."""

    left: float
    top: float
    right: float
    bottom: float
    size: int

    def of(self, image: Image.Image) -> Image.Image:
        """Antialiased; a JPEG that is to become less than half as large is decoded at half, a quarter, an eighth."""
        side = image.width
        wanted = round(self.size * side / (self.right - self.left))
        if image.format == "JPEG":
            image.draft("RGB", (wanted, wanted))
        shrunk = image.width / side
        left, top, right, bottom = (edge * shrunk for edge in self[:4])
        if min(left, top) < 0 or max(right, bottom) > image.width:  # a frame of one pixel, see _inside
            image = Image.fromarray(np.pad(np.asarray(image), ((1, 1), (1, 1), (0, 0)), mode="edge"))
            left, top, right, bottom = left + 1, top + 1, right + 1, bottom + 1
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))


class Pack:
    """A packed data set as it lies on disk: all splits, whole index, frames by row.

    Attributes:
        info: the content of index.json: name, size, framing, margin, codec, names, shards.
        columns: the content of index.safetensors, one row a face.

    Raises:
        UserError: no packed data set, an unfinished one, or one whose parts do not fit together.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.info = self._read_info()
        self.columns = self._read_columns()
        self.count = int(self.info["faces"])
        self._check_files()
        self._open: dict[int, BinaryIO] = {}

    def frame(self, row: int, part: Part | None = None, out: np.ndarray | None = None) -> np.ndarray:
        """uint8 ``(S, S, 3)`` of one face, or ``part`` of it at another size; written to ``out`` where it is given."""
        shard, offset, length = (int(self.columns[key][row]) for key in ("shard", "offset", "length"))
        content = os.pread(self._file(shard).fileno(), length, offset)
        side, codec = self.info["size"], self.info["codec"]
        try:
            if codec == "jpg" and part is None:  # libjpeg-turbo writes where the face is wanted; Pillow copies it twice
                height, width, colours, _ = decode_jpeg_header(content)
                if (height, width) == (side, side) and colours in ("YCbCr", "RGB"):
                    return decode_jpeg(content, "RGB", buffer=out)
            else:
                with Image.open(io.BytesIO(content), formats=[FORMATS[codec]]) as image:
                    if image.size == (side, side) and image.mode == "RGB":
                        found = np.asarray(image if part is None else part.of(image))
                        if out is None:
                            return found
                        out[...] = found
                        return out
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise self._damaged(f"'{self.info['shards'][shard]['name']}' holds a damaged face") from error
        raise self._damaged(f"'{self.info['shards'][shard]['name']}' holds a face that is not {side} px RGB")

    def files(self) -> list[str]:
        """The input's name relative to the root that was packed, by row."""
        path = self.root / "files.jsonl"
        try:
            inputs = self.columns["input"].tolist()
            wanted, names = set(inputs), {}
            with plain.opened(path) as lines:
                for number, line in enumerate(iter(lambda: lines.readline(_LONGEST), b"")):
                    if number in wanted:
                        names[number] = str(json.loads(line))
            return [names[number] for number in inputs]
        except (OSError, ValueError, KeyError, RecursionError) as error:
            raise self._damaged("files.jsonl does not fit") from error

    def _file(self, shard: int) -> BinaryIO:
        file = self._open.get(shard)
        if file is None:
            path = self.root / self.info["shards"][shard]["name"]
            try:
                file = plain.opened(path)  # closed with the last reader's reference
            except OSError as error:
                raise self._damaged(f"'{path.name}' cannot be read ({error.strerror})") from error
            if len(self._open) >= _OPEN:
                self._open = {}  # other threads may still read from these
            self._open[shard] = file
        return file

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}

    def _damaged(self, what: str) -> UserError:
        return UserError(f"Packed data set '{self.root}': {what}; run prepare again.")

    def _read_info(self) -> dict[str, Any]:
        path = self.root / INDEX
        if not path.is_file():
            if (self.root / "prepare.json").is_file():
                raise UserError(
                    f"data.root='{self.root}' is not finished; run the same anon prepare ... --out {self.root} again."
                )
            raise UserError(
                f"data.root='{self.root}' is no packed data set: pack the photographs (anon prepare "
                "--root <them> --out <a new folder>) and give that folder, or say data=folder."
            )
        try:
            info = plain.read_json(path, _MAX_INFO, _MAX_VALUES)
            wrong = fault_of_info(info)
        except (UserError, KeyError, TypeError) as error:
            raise self._damaged("index.json is damaged or too large") from error
        if wrong:
            raise self._damaged(wrong)
        return {"framing": Framing.of(info["size"]).view, **info}

    def _read_columns(self) -> dict[str, np.ndarray]:
        path = self.root / COLUMNS
        try:
            if path.stat().st_size > _MAX_INDEX:
                raise self._damaged("index.safetensors is too large")
            columns = dict(load_file(path))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise self._damaged("index.safetensors is missing or damaged") from error
        wrong = fault_of_columns(columns, self.info)
        if wrong:
            raise self._damaged(wrong)
        return columns

    def _check_files(self) -> None:
        """Every shard is there, in this folder, and as long as the index states."""
        for shard in self.info["shards"]:
            path = self.root / shard["name"]
            if path.is_symlink() or not path.is_file() or path.stat().st_size != shard["bytes"]:
                raise self._damaged(f"'{shard['name']}' is missing, a link, or of another size than the index states")


class PackedFaces(Collated):
    """One split of a packed data set, a :class:`anon.faces.contract.FaceSet`.

    Labels of numbers that all faces have (``pose``, ``valence``, ...) are entries of the samples.

    Args:
        root: folder that prepare wrote.
        split: one of :data:`anon.faces.splits.SPLITS`, or ``everyone``.
        size: side of the images in pixels; None: as packed. Whatever was packed, margin included, they show what crops
            of that size show (:class:`anon.faces.alignment.Framing`).
        min_images: identities with fewer images are left out.
        threads: that decode a batch.

    Raises:
        UserError: see :class:`Pack`; an unknown split.
        EmptySplit: no identity falls into ``split``.
    """

    synthetic = False

    def __init__(
        self, root: str | Path, split: str, size: int | None = None, min_images: int = 1, threads: int = 1
    ) -> None:
        if split not in (*SPLITS, EVERYONE):
            raise UserError(f"Unknown split '{split}'; choose one of {', '.join(SPLITS)}.")
        self.pack = Pack(root)
        self.split, self.size, self.threads = split, size or int(self.pack.info["size"]), threads
        if self.size < 16 or threads < 1:
            raise UserError(f"data.size={self.size} must be at least 16 and data.threads={threads} at least 1.")
        column = self.pack.columns
        everyone = column["label"]
        inside = np.ones(len(everyone), bool) if split == EVERYONE else column["split"] == SPLITS.index(split)
        images = np.bincount(everyone[inside], minlength=len(self.pack.info["names"]))
        chosen = inside & (images[everyone] >= max(min_images, 1))
        rows = np.flatnonzero(chosen)
        self._rows = rows[np.argsort(everyone[rows], kind="stable")]  # by person, as packed within
        if not len(self._rows):
            fewer = f" with {min_images} images or more" if min_images > 1 else ""
            raise EmptySplit(
                f"No identity{fewer} of data.root='{root}' falls into the split '{split}'; data.everyone=true "
                "evaluates all of them."
            )
        present, labels = np.unique(everyone[self._rows], return_inverse=True)
        self.names: list[str] = [self.pack.info["names"][label] for label in present.tolist()]
        self.labels = torch.from_numpy(labels.astype(np.int64))
        self.videos = torch.from_numpy(column["video"][self._rows])
        self.frames = torch.from_numpy(column["frame"][self._rows])
        self._matrix = _between(self.pack.info, self.size)
        self._part = None if self._matrix is None else _inside(self._matrix, int(self.pack.info["size"]), self.size)
        self.raw = self._matrix is None or self._part is not None
        self._shown = None if float(self.pack.info["margin"]) else str(self.pack.info["framing"])
        if not self.raw and self._shown is not None:
            packed = int(self.pack.info["size"])
            self._matrix = reframing(packed, packed, Framing.of(self.size), self._shown)[None]
        points = torch.from_numpy(column["landmarks"][self._rows])
        self._landmarks = points if self._matrix is None else transform(self._matrix, points)
        self._labels = {
            key.removeprefix("labels."): torch.from_numpy(values[self._rows])
            for key, values in column.items()
            if key.startswith("labels.")
        }
        self._pool: tuple[int, ThreadPoolExecutor] | None = None  # with the process that made it

    def files(self) -> list[str]:
        """Names of the photographs and videos, relative to the root that was packed, by index."""
        every = self.pack.files()
        return [every[row] for row in self._rows.tolist()]

    def annotations(self) -> Mapping[str, Label]:
        """The packed labels that are one number a face, and those of a table."""
        own = {name: label_of_numbers(values) for name, values in self._labels.items()}
        return {name: label for name, label in own.items() if label is not None} | dict(self.given)

    def __getitems__(self, indices: list[int]) -> Sample:
        """The batch of ``indices``, collated: every entry has a leading ``B``."""
        frames = self._frames(indices)
        images = to_float(frames).contiguous()
        if not self.raw and self._shown is not None:  # to the edge in full; a warp mixes black into the last pixels
            images = reframe(images, Framing.of(self.size), self._shown)
        elif not self.raw:
            images = warp(images + 1.0, cast(Tensor, self._matrix).expand(len(images), 2, 3), (self.size,) * 2) - 1.0
        return self._batch(indices, images)

    def raw_batch(self, indices: list[int], out: Tensor | None = None) -> Sample:
        """The same with ``image`` uint8 ``(B, S, S, 3)``, see :class:`anon.faces.contract.RawFaces`."""
        return self._batch(indices, self._frames(indices, out))

    def _batch(self, indices: list[int], images: Tensor) -> Sample:
        own = {key: values[indices] for key, values in self._labels.items()}
        return cast(Sample, own | self.sample(indices, images) | {"landmarks": self._landmarks[indices]})

    def _frames(self, indices: list[int], out: Tensor | None = None) -> Tensor:
        """uint8 ``(B, S, S, 3)``, at the packed size where they are yet to be warped."""
        if out is None:
            side = self.size if self.raw else int(self.pack.info["size"])
            out = torch.empty((len(indices), side, side, 3), dtype=torch.uint8)
        parts = itertools.repeat(self._part)
        decode = map if self.threads == 1 else self._threads().map
        for _ in decode(self.pack.frame, self._rows[indices].tolist(), parts, out.numpy()):
            pass
        return out

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None or self._pool[0] != os.getpid():  # threads do not survive a fork
            self._pool = os.getpid(), ThreadPoolExecutor(self.threads)
        return self._pool[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_pool": None}


def view(framing: Framing, margin: float) -> Tensor:
    """The template ``(5, 2)`` in a crop that shows ``1 + margin`` times as much in each direction."""
    middle = (framing.size - 1) / 2
    return (framing.points() - middle) / (1 + margin) + middle


def _between(info: dict[str, Any], wanted: int) -> Tensor | None:
    """``(1, 2, 3)``: pixels of the packed crop to those of a crop of ``wanted`` pixels; None where both are one."""
    packed, margin = Framing(info["framing"], int(info["size"])), float(info["margin"])
    if packed == Framing.of(wanted) and margin == 0:
        return None
    return similarity(view(packed, margin)[None], template(wanted))


def _inside(matrix: Tensor, packed: int, wanted: int) -> Part | None:
    """The part of a packed crop that another size shows; None where it reaches over the crop's edge."""
    scale = float(matrix[0, 0, 0])
    # Centres of pixels are whole numbers to the matrix, edges to the part.
    edges = [(edge - float(matrix[0, axis, 2])) / scale + 0.5 for edge in (-0.5, wanted - 0.5) for axis in (0, 1)]
    # Templates scale the centres of pixels, so views that agree may differ by half a pixel at an edge.
    if min(edges) < -0.75 or max(edges) > packed + 0.75:
        return None
    left, top, right, bottom = edges
    return Part(left, top, right, bottom, wanted)
