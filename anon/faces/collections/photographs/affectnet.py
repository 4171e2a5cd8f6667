"""AffectNet: photographs with eight expressions, valence and arousal (Mollahosseini et al., TAC 2019).

Two layouts were published. 2017, where faces lie in whole pictures::

    Manually_Annotated_Images/103/29a3...jpg     (also Manually_Annotated/Manually_Annotated_Images)
    training.csv, validation.csv                 (also Manually_Annotated_file_lists/)

and the newer one, crops of 224 x 224::

    train_set/images/0.jpg   train_set/annotations/0_exp.npy, 0_val.npy, 0_aro.npy, 0_lnd.npy
    val_set/...

Classes 0 to 7 are used; 8 (none), 9 (uncertain) and 10 (no face) are left out. Valence or arousal of -2 is missing.
Nobody is named: each photograph is its own person. There is no public test set, so the validation set, which papers
report on, is ``test`` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from anon.faces.collections.contract import Item
from anon.faces.collections.listing import (
    Listing,
    Published,
    csv_rows,
    damaged,
    five_of_68,
    numbers,
    pairs_of,
    read_array,
)
from anon.progress import track

_COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks"),
    *("expression", "valence", "arousal"),
)
_LISTS = (("training.csv", "train"), ("validation.csv", "test"))
_SETS = (("train_set", "train"), ("val_set", "test"))


class Face(NamedTuple):
    """An annotated photograph, kept small: there are 400,000."""

    file: str
    official: str
    emotion: int
    valence: float
    arousal: float
    landmarks: np.ndarray | None  # (136,) float32
    box: tuple[float, float, float, float] | None


class AffectNet(Published):
    """Item labels: ``expression_class``, ``valence``, ``arousal``, ``landmarks68``.

    Args:
        root: the data set's folder, in either layout.

    Raises:
        UserError: something of the layout is missing.
    """

    name = "affectnet"
    title = "AffectNet"
    origin = "request it from the authors (mohammadmahoor.com/affectnet, research use)"
    expressions = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")

    def __init__(self, root: str | Path | None) -> None:
        super().__init__(root)
        self.sets = [(part, split) for part, split in _SETS if (self.root / part).is_dir()]
        self.lists: list[tuple[Path, str]] = []
        if self.sets:
            for part, _ in self.sets:
                for inside in ("images", "annotations"):
                    self.required(f"{part}/{inside}")
            return
        folders = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
        self.folder = self.required(*folders, "train_set")
        for name, split in _LISTS:
            places = (name, f"Manually_Annotated_file_lists/{name}", f"Manually_Annotated/{name}")
            self.lists.append((self.required(*places), split))

    def items(self) -> Sequence[Item]:
        """Training before validation; in the order of the lists, or by number.

        Raises:
            UserError: damaged list.
        """
        faces: list[Face] = []
        for part, split in self.sets:
            faces += self._numbered(part, split)
        if self.lists:
            folders = self.folders_in(self.folder)
            there = {f"{name}/{file}" for name in folders for file in self.files_in(self.folder / name, r"[^.].*\.\w+")}
            for path, split in self.lists:
                faces += self._listed(path, split, there)
        return Listing(len(faces), lambda index: _item(faces[index]))

    def _listed(self, path: Path, split: str, there: set[str]) -> Iterator[Face]:
        """Of the layout of 2017."""
        inside = self.folder.relative_to(self.root).as_posix()
        listed = missing = 0
        for line, row in csv_rows(path, _COLUMNS, published=_COLUMNS):
            x, y, width, height, emotion, valence, arousal = numbers(row[1:5] + row[6:], path, line)
            if not 0 <= emotion < len(self.expressions):
                continue
            listed += 1
            if row[0] not in there:
                missing += 1
                continue
            landmarks = numbers(row[5].split(";"), path, line)
            if len(landmarks) != 136:
                raise damaged(path, line, "does not have 68 landmarks")
            box = (x, y, x + width, y + height)
            yield Face(
                f"{inside}/{row[0]}", split, int(emotion), valence, arousal, np.array(landmarks, np.float32), box
            )
        self.left_out(missing, listed, "listed photographs are not there", path.name)

    def _numbered(self, part: str, split: str) -> Iterator[Face]:
        """Of the newer layout."""
        files = sorted((file[:-4] for file in self.files_in(f"{part}/images", r"\d{1,9}\.jpg")), key=int)
        if not files:
            raise self.lacks(f"'{self.root / part / 'images'}' has no photographs 0.jpg")
        bad = 0
        for name in track(files, f"reading annotations of {part}", len(files)):
            beside = self.root / part / "annotations"
            try:
                emotion, valence, arousal = (_number(beside / f"{name}_{what}.npy") for what in ("exp", "val", "aro"))
                landmarks = _landmarks(beside / f"{name}_lnd.npy")
                if emotion != int(emotion):
                    raise ValueError("no class")
            except ValueError:
                bad += 1
                continue
            if 0 <= emotion < len(self.expressions):
                yield Face(f"{part}/images/{name}.jpg", split, int(emotion), valence, arousal, landmarks, None)
        self.left_out(bad, len(files), "photographs have missing or damaged annotations", part)


def _item(face: Face) -> Item:
    labels: dict[str, Any] = {"expression_class": face.emotion}
    told = (("valence", face.valence), ("arousal", face.arousal))
    labels |= {name: value for name, value in told if -1 <= value <= 1}
    points = None
    if face.landmarks is not None:
        every = pairs_of(face.landmarks.tolist())
        labels["landmarks68"], points = [list(point) for point in every], five_of_68(every)
    identity = face.file.rpartition(".")[0].replace("/", "_")
    return Item(face.file, identity, official=face.official, box=face.box, points=points, labels=labels)


def _number(path: Path) -> float:
    """One finite number, stored as such or as a string."""
    array = read_array(path)
    if array.size != 1 or array.dtype.kind not in "iufUS":
        raise ValueError("not one number")
    value = float(array.reshape(-1)[0])  # a string of a number too
    if not np.isfinite(value):
        raise ValueError("not finite")
    return value


def _landmarks(path: Path) -> np.ndarray | None:
    """(136,) float32; None where the file is not there."""
    if not path.exists():
        return None
    array = read_array(path)
    if array.size != 136 or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError("not 68 landmarks")
    return array.reshape(-1).astype(np.float32)
