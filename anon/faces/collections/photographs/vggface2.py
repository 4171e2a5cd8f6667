"""VGGFace2: 3.3 million photographs of 9,131 people (Cao et al., FG 2018).

As published::

    train/n000002/0001_01.jpg         8,631 people
    test/n000001/0001_01.jpg          500 other people
    bb_landmark/loose_landmark_train.csv, loose_landmark_test.csv, loose_bb_train.csv, loose_bb_test.csv
    identity_meta.csv                 (also meta/identity_meta.csv) Class_ID, Name, Sample_Num, Flag, Gender

The five points are MTCNN's, in pixels of the loosely cropped photographs.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

from anon.errors import UserError
from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Listing, Published, csv_rows, numbers, pairs_of

_POINTS = [f"P{point}{axis}" for point in range(1, 6) for axis in "XY"]


class VGGFace2(Published):
    """Item labels: ``gender`` (m, f) where identity_meta.csv is there.

    Args:
        root: holds train, test and bb_landmark; one of train and test is enough.
        landmarks: read boxes and points from bb_landmark; False: a detector will find the faces.

    Raises:
        UserError: something of the layout is missing.
    """

    name = "vggface2"
    title = "VGGFace2"
    origin = "the authors' site (robots.ox.ac.uk/~vgg/data/vgg_face2) lists who passes the archives on today"

    def __init__(self, root: str | Path | None, landmarks: bool = True) -> None:
        super().__init__(root)
        self.parts = [part for part in ("train", "test") if (self.root / part).is_dir()]
        if not self.parts:
            raise self.lacks(f"'{self.root}' has neither train/ nor test/")
        self.tables: dict[str, tuple[Path, Path]] = {}
        if landmarks:
            way_out = "bb_landmark.tar.gz of the data set has it, and landmarks=false does without"
            for part in self.parts:
                points = self.required(f"bb_landmark/loose_landmark_{part}.csv", origin=way_out)
                boxes = self.required(f"bb_landmark/loose_bb_{part}.csv", origin=way_out)
                self.tables[part] = (points, boxes)

    def items(self) -> Sequence[Item]:
        """Train before test, by identity and file.

        Raises:
            UserError: damaged annotation, or no photograph.
        """
        files: list[tuple[str, str, str]] = []  # part, identity, file
        places: dict[tuple[str, str], int] = {}
        annotated = array("d")  # 14 numbers a listed photograph: five points, then x, y, width, height of the box
        for part in self.parts:
            for identity in self.folders_in(part, r"n\d{6}"):
                found = self.files_in(f"{part}/{identity}", r"\d+_\d+\.jpg")
                files += [(part, identity, file) for file in found]
            if part in self.tables:
                self._read(part, places, annotated)
        if not files:
            raise self.lacks(f"'{self.root}' has no photographs train/n000002/0001_01.jpg")
        gender = self._genders()
        if self.tables:
            bare = sum((part, f"{identity}/{file[:-4]}") not in places for part, identity, file in files)
            self.left_out(bare, len(files), "photographs have none in bb_landmark", "points")

        def make(index: int) -> Item:
            part, identity, file = files[index]
            place = places.get((part, f"{identity}/{file[:-4]}"))
            points, box = None, None
            if place is not None:
                row = annotated[14 * place : 14 * place + 14]
                x, y, width, height = row[10:]
                points, box = pairs_of(row[:10]), (x, y, x + width, y + height)
            labels = {"gender": gender[identity]} if identity in gender else {}
            return Item(f"{part}/{identity}/{file}", identity, official=part, box=box, points=points, labels=labels)

        return Listing(len(files), make)

    def _read(self, part: str, places: dict[tuple[str, str], int], annotated: array[float]) -> None:
        """Both tables of a part; they list the same photographs in the same order."""
        points, boxes = self.tables[part]
        both = zip(csv_rows(points, ["NAME_ID", *_POINTS]), csv_rows(boxes, ["NAME_ID", *"XYWH"]), strict=False)
        for (line, row), (other, box) in both:
            if row[0] != box[0]:
                raise UserError(f"Line {line:,} of '{points}' and of '{boxes}' are of different photographs.")
            places[part, row[0]] = len(annotated) // 14
            annotated.extend(numbers(row[1:], points, line) + numbers(box[1:], boxes, other))

    def _genders(self) -> dict[str, str]:
        for name in ("identity_meta.csv", "meta/identity_meta.csv"):
            if (self.root / name).exists():
                rows = csv_rows(self.root / name, ["Class_ID", "Gender"])
                return {identity: gender for _, (identity, gender) in rows}
        return {}
