"""``data=folder``: photographs in ``root/<identity>/``, at any depth, decoded and aligned once into a cache.

Without points the images are taken for aligned crops: centre-cropped to a square and resampled with antialiasing to
what crops of ``size`` show (:class:`anon.faces.alignment.Framing`); ``framing`` says what they show themselves. With
``points=<csv>`` (:mod:`anon.faces.points`) each face is warped onto the template (:mod:`anon.faces.alignment`).
Only the files of the split that is asked for are read; those that cannot be used are counted in one line on standard
error and listed in the cache's ``skipped.csv``, so nothing can fail in mid-epoch; where they are many, the set is
refused. Messages give counts, never names: folder and file names are often people's.

    python train.py experiment=fiva data=folder data.root=faces/lfw data.points=lfw_index.csv data.size=112
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import os
import sys
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.alignment import VIEWS
from anon.faces.cache import built_once, cache_folder
from anon.faces.contents import contents
from anon.faces.contract import Collated, Sample, to_float
from anon.faces.counterparts import Counterparts, Crops, Results, counterparts, sources_of
from anon.faces.decoding import Photograph, decode
from anon.faces.points import FivePoints, file_key, read_points
from anon.faces.splits import EmptySplit, members, one_spelling
from anon.faces.tree import files_below, spelled
from anon.provenance import code

log = logging.getLogger(__name__)


class FolderFaces(Collated):
    """One split of a folder of photographs, a :class:`anon.faces.contract.FaceSet`.

    Args:
        root: folder of identity folders; links are followed, names that begin with a dot ignored.
        split: one of :data:`anon.faces.splits.SPLITS`, or ``everyone``; identities belong to it by their folder's name.
            Folders whose names spell one person in several ways are one identity.
        size: side of the images in pixels.
        points: CSV of five points a file; None: the images are aligned crops already.
        framing: what crops without points show, one of :data:`anon.faces.alignment.VIEWS`; None: each what crops of
            its side show, if it is square.
        min_images: identities with fewer usable images are left out.
        max_damaged: largest share of the photographs that may be unusable. Files that ``points`` has no row for, and
            those that neither are photographs nor are named so, count as none.
        cache: where decoded faces are kept, by the bytes of the photographs and the code that decodes them; None:
            :func:`anon.faces.cache.cache_root`.

    Raises:
        UserError: missing or empty root, nothing usable or too little of it, bad CSV, cache not writable.
        EmptySplit: no identity of the root falls into ``split``.
    """

    synthetic = False
    raw = True

    def __init__(
        self,
        root: str | Path,
        split: str,
        size: int,
        points: str | Path | None = None,
        min_images: int = 1,
        cache: str | Path | None = None,
        framing: str | None = None,
        max_damaged: float = 0.1,
    ) -> None:
        if not 0 <= max_damaged <= 1:
            raise UserError(f"data.max_damaged={max_damaged} must be 0 to 1: a share of the photographs.")
        if size < 16:
            raise UserError(f"data.size={size} is too small for a face; 64 or more is sensible.")
        if framing is not None and (framing not in VIEWS or points is not None):
            raise UserError(
                f"data.framing={framing} must be one of {', '.join(VIEWS)}, and is for crops without data.points."
            )
        self.root, self.split, self.size = Path(root).expanduser(), split, size
        files, loose = _list_files(self.root, split)
        table = None if points is None else _points_of(files, Path(points).expanduser(), self.root)
        place = cache_folder(cache)
        self._files, self._table, self._framing, self._place = files, table, framing, place
        key = _key(files, self._contents(files, place / "contents"), table, size, framing)
        self.folder = built_once(
            place / "folder" / key, lambda part: decode(part, self.root, files, table, size, framing)
        )
        index = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
        self.summary = _summary(f"{self.root.name} ({split})", index, self.folder / "skipped.csv", loose)
        if not index["faces"]:
            raise UserError(f"Nothing usable in data.root='{self.root}'. {self.summary}")
        if index["damaged"] > max_damaged * (index["damaged"] + index["faces"]):
            raise UserError(
                f"{index['damaged']:,} of {index['damaged'] + index['faces']:,} photographs cannot be used, more than "
                f"data.max_damaged={max_damaged:g} of them; mend or remove them, or raise data.max_damaged. "
                f"{self.summary}"
            )
        if all(os.environ.get(name, "0") in ("", "0") for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
            (_tell if index["skipped"] or loose else log.info)(self.summary)
            if index["repeated"]:
                listing = self.folder / "repeated.csv"
                log.warning(
                    f"{self.root.name} ({split}): {index['repeated']:,} pictures are, byte for byte, those of another "
                    f"person too (listed in {listing}); remove them from the wrong folder."
                )
        labels = torch.from_numpy(np.load(self.folder / "labels.npy"))
        enough = torch.bincount(labels, minlength=len(index["names"])) >= min_images
        if not enough.any():
            raise UserError(f"No identity of '{self.root}' ({split}) has data.min_images={min_images} usable images.")
        self._rows = enough[labels].nonzero().squeeze(1).numpy()  # (N,) rows of the cache
        self.names: list[str] = list(itertools.compress(index["names"], enough.tolist()))
        self.digests = np.load(self.folder / "digests.npy")[self._rows]  # (N,) of the pictures' bytes
        self.labels: Tensor = (enough.cumsum(0) - 1)[labels[self._rows]]
        self.videos: Tensor = torch.full_like(self.labels, -1)
        starts = torch.searchsorted(self.labels, torch.arange(len(self.names)))  # labels ascend
        self.frames: Tensor = torch.arange(len(self.labels)) - starts[self.labels]
        landmarks = self.folder / "landmarks.npy"
        self._landmarks = torch.from_numpy(np.load(landmarks)[self._rows]) if landmarks.exists() else None
        self._faces: np.ndarray | None = None

    def _contents(self, files: list[Photograph], place: Path) -> list[str]:
        """Hashes of the photographs, which are remembered in ``place``."""
        root = self.root.resolve()
        name = hashlib.sha256(f"{root} {self.split}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
        with contextlib.suppress(OSError):  # said when the faces are written
            place.mkdir(parents=True, exist_ok=True)
        return contents([root / file.name for file in files], place / f"{name}.npy")

    def files(self) -> list[str]:
        """Names of the photographs, relative to the root, by index."""
        used = np.load(self.folder / "used.npy")[self._rows, 0]
        return [self._files[number].name for number in used.tolist()]

    def counterparts(self, results: Results, framing: str | None = None) -> Counterparts:
        """What another tool made of these faces, row by row.

        Args:
            framing: what the results show, where they are aligned crops of photographs that are none.
        """
        return counterparts(
            results,
            self._files,
            sources_of(self._files, np.load(self.folder / "used.npy"), self._table),
            np.load(self.folder / "faces.npy", mmap_mode="r"),
            Crops(self.size, self._framing, framing, results.panel),
            self._place,
            self._rows,
        )

    def __getitems__(self, indices: list[int]) -> Sample:
        """The batch of ``indices``, collated: every entry has a leading ``B``."""
        batch = self.raw_batch(indices)
        return cast(Sample, {**batch, "image": to_float(batch["image"]).contiguous()})

    def raw_batch(self, indices: list[int], out: Tensor | None = None) -> Sample:
        """The same with ``image`` uint8 ``(B, S, S, 3)``, see :class:`anon.faces.contract.RawFaces`."""
        if self._faces is None:  # opened here, so that worker processes map the file themselves
            self._faces = np.load(self.folder / "faces.npy", mmap_mode="r")
        if out is None:
            out = torch.empty((len(indices), self.size, self.size, 3), dtype=torch.uint8)
        # Any mode but "raise" writes to `out` directly; rows are never out of range.
        np.take(self._faces, self._rows[indices], axis=0, out=out.numpy(), mode="clip")
        sample = self.sample(indices, out)
        if self._landmarks is not None:
            sample["landmarks"] = self._landmarks[indices]
        return sample

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_faces": None}


def _list_files(root: Path, split: str) -> tuple[list[Photograph], int]:
    """Every visible file of the split's identities, by identity and name; and how many lie in nobody's folder."""
    where = f"data.root='{root}'"
    try:
        with os.scandir(root) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror}.") from error
    # os.path.isdir, as a directory entry's own is_dir() raises on a link to itself
    folders = [entry.name for entry in visible if os.path.isdir(entry.path)]
    if not folders:
        found = "files but no folders" if visible else "nothing"
        raise UserError(
            f"{where} holds {found}; data=folder reads <root>/<identity>/<image>, and anon prepare "
            "packs any other arrangement."
        )
    if (root / "index.json").is_file() and "units" in folders:
        raise UserError(f"{where} is a packed data set; say data=packed data.root='{root}'.")
    people = one_spelling(map(spelled, folders), where)
    written: dict[str, list[str]] = {}
    for folder in sorted(folders):
        written.setdefault(people[spelled(folder)], []).append(folder)
    identities = members(written, split)
    if not identities:
        raise EmptySplit(
            f"None of the {len(written):,} identities of {where} falls into the split '{split}'; "
            "data.everyone=true evaluates all of them."
        )
    files = [
        Photograph(identity, f"{folder}/{entry.name}")
        for identity in identities
        for folder in written[identity]
        for entry in files_below(root / folder, f"a folder inside {where}")
        if entry.aside is None
    ]
    if not files:
        raise UserError(f"The identity folders of {where} in the split '{split}' hold no files.")
    return files, len(visible) - len(folders)


def _points_of(files: list[Photograph], path: Path, root: Path) -> FivePoints:
    """Those of ``files``, by their names."""
    table, found = read_points(path), FivePoints()
    for file in files:
        key = file_key(file.name)
        if key in table:
            found[file.name] = table[key]
        elif key in table.faulty:
            found.faulty[file.name] = table.faulty[key]
    if not found:
        raise UserError(
            f"None of the {len(table):,} rows of data.points='{path}' names a file of data.root='{root}' in this "
            "split; its column 'file' must hold <identity>/<image>, relative to data.root."
        )
    return found


def _key(files: list[Photograph], hashes: list[str], table: FivePoints | None, size: int, framing: str | None) -> str:
    digest = hashlib.sha256(f"{code(decode)} {size} {table is not None} {framing}".encode())
    for file, content in zip(files, hashes, strict=True):
        digest.update(repr((*file, content)).encode())
        if table is not None and file.name in table:
            digest.update(table[file.name].tobytes())
        elif table is not None:
            digest.update(table.lacking(file.name).encode())
    return digest.hexdigest()[:24]


@functools.cache
def _tell(text: str) -> None:
    """On standard error, whatever the log level: a set that shrank in silence gives figures of another one."""
    print(text, file=sys.stderr, flush=True)


def _summary(name: str, index: dict, listing: Path, loose: int) -> str:
    people = len(set(np.load(listing.with_name("labels.npy")).tolist()))
    line = f"{name}: {index['files']:,} files, {index['faces']:,} faces of {people:,} people"
    if index["skipped"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in index["skipped"].items())
        line += f"; skipped {sum(index['skipped'].values()):,}: {reasons} (listed in {listing})"
    if loose:
        line += f"; {loose:,} in no identity's folder are not read"
    if index["reframed"]:
        line += f"; {index['reframed']:,} crops of another framing brought into that of data.size"
    return line + "."
