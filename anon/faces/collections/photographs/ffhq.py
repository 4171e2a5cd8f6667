"""FFHQ: 70,000 aligned photographs from Flickr (Karras et al., CVPR 2019). Nobody is named: each is its own person.

As published::

    ffhq-dataset-v2.json                       68 landmarks of each photograph at 1024 x 1024
    images1024x1024/00000/00000.png            or thumbnails128x128/00000/00000.png

The first 60,000 are the official training set. The 10,000 of the official validation set are what FFHQ holds out, so
they are ``test`` here, and evaluation people of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anon.errors import UserError
from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Listing, Published, five_of_68, read_json

_SIDES = {"images1024x1024": 1024, "thumbnails128x128": 128}
_SPLITS = {"training": "train", "validation": "test"}
_MOST = 1 << 29  # bytes of the JSON; the published one has 255 MB


class FFHQ(Published):
    """Item labels: ``landmarks68``.

    Args:
        root: the data set's folder.
        images: ``images1024x1024`` or ``thumbnails128x128``.

    Raises:
        UserError: something of the layout is missing.
    """

    name = "ffhq"
    title = "FFHQ"
    origin = "get it with download_ffhq.py of github.com/NVlabs/ffhq-dataset (CC BY-NC-SA 4.0)"

    def __init__(self, root: str | Path | None, images: str = "images1024x1024") -> None:
        if images not in _SIDES:
            raise UserError(f"FFHQ has the folders {' and '.join(_SIDES)}, not images={images}.")
        super().__init__(root)
        self.images = images
        self.folder = self.required(images)
        self.json = self.required("ffhq-dataset-v2.json")

    def items(self) -> Sequence[Item]:
        """By number.

        Raises:
            UserError: damaged JSON.
        """
        content = read_json(self.json, _MOST)
        if not isinstance(content, dict):
            raise UserError(f"'{self.json}' holds no photographs: this is not the file as published; get it again.")
        entries = sorted((_number(key, self.json), key) for key in content)
        found = {f"{number:05d}": _entry(content.pop(key), self.json) for number, key in entries}  # frees as it goes
        there = {
            file[:-4]
            for folder in self.folders_in(self.folder, r"\d{5}")
            for file in self.files_in(self.folder / folder, r"\d{5}\.png")
            if file[:2] == folder[:2]
        }
        names = self.present(found, there)
        scale = _SIDES[self.images] / 1024

        def make(index: int) -> Item:
            name = names[index]
            split, landmarks = found[name]
            points = [(float(x), float(y)) for x, y in (landmarks + 0.5) * scale - 0.5]  # pixel centres
            file = f"{self.images}/{name[:2]}000/{name}.png"
            labels = {"landmarks68": [list(point) for point in points]}
            return Item(file, name, official=split, points=five_of_68(points), labels=labels)

        return Listing(len(names), make)


def _number(key: str, path: Path) -> int:
    if not (key.isdecimal() and key.isascii() and len(key) <= 5):
        raise UserError(f"'{path}' has an entry that is no photograph's number: this is not the file as published.")
    return int(key)


def _entry(entry: object, path: Path) -> tuple[str, np.ndarray]:
    """Our official split and the landmarks (68, 2)."""
    try:
        split = _SPLITS[entry["category"]]  # type: ignore[index]
        landmarks = np.asarray(entry["image"]["face_landmarks"], np.float64)  # type: ignore[index]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' has an entry without category or landmarks; get the file again.") from error
    if landmarks.shape != (68, 2) or not np.isfinite(landmarks).all():
        raise UserError(f"'{path}' has an entry without 68 landmarks; get the file again.")
    return split, landmarks.astype(np.float32)
