"""VoxCeleb 1 and 2: clips of 1,251 and 6,112 people from YouTube (Nagrani et al. 2017, Chung et al. 2018).

As published, in any nesting of up to three folders (``dev/mp4``, ``unzippedFaces``)::

    id00012/21Uxsk56VDQ/00001.mp4                        VoxCeleb2
    A.J._Buckley/1.6/5r0dWxy17C8/1/01.jpg                VoxCeleb1, frames of a track; also id10001/1.6/...
    vox1_meta.csv                                        VoxCeleb1 ID, VGGFace1 ID, Gender, Nationality, Set
    vox2_meta.csv                                        VoxCeleb2 ID, VGGFace2 ID, Gender, Set

``dev`` is train, ``test`` is test; the people are disjoint. People are named by their VoxCeleb ID. Those of VoxCeleb2
are people of VGGFace2 under other names (label ``vggface``): a recognizer that was trained on one knows the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Published, csv_rows, damaged, lines

_OFFICIAL = {"dev": "train", "test": "test"}
_DEPTH = 3
_FRAME = r"\d+\.(jpg|png)"


class Speaker(NamedTuple):
    """A line of the meta files."""

    identity: str
    vggface: str
    gender: str
    official: str


class VoxCeleb(Published):
    """Item labels: ``gender``, ``vggface``, ``recording`` the YouTube id.

    Args:
        root: holds the meta file of either or both data sets.

    Raises:
        UserError: no meta file, a damaged one, or nobody of it in the folders.
    """

    name = "voxceleb"
    title = "VoxCeleb"
    origin = "request it from the authors (robots.ox.ac.uk/~vgg/data/voxceleb, CC BY 4.0 metadata)"

    def __init__(self, root: str | Path | None) -> None:
        super().__init__(root)
        self.required("vox1_meta.csv", "vox2_meta.csv")
        self.speakers: dict[str, Speaker] = {}  # by every name of their folder
        for version in (1, 2):
            path = self.root / f"vox{version}_meta.csv"
            if path.exists():
                self.speakers |= _read_meta(path, version)
        self.folders = list(self._find("", _DEPTH))
        if not self.folders:
            raise self.lacks(f"'{self.root}' has no folders id10001 of people of its meta files")

    def items(self) -> Sequence[Item]:
        """By person, recording and clip.

        Raises:
            UserError: no clip.
        """
        found = [item for folder in self.folders for item in self._clips(folder)]
        found.sort(key=lambda item: (item.identity, item.file))
        if not found:
            raise self.lacks(f"the folders of '{self.root}' hold neither .mp4 nor frames")
        return found

    def _find(self, inside: str, depth: int) -> Iterator[str]:
        names = self.folders_in(inside)
        unknown = [name for name in names if name not in self.speakers]
        yield from (f"{inside}{name}" for name in names if name in self.speakers)
        strangers = sum(re.fullmatch(r"id\d{5}", name) is not None for name in unknown)
        self.left_out(strangers, len(names), "folders are of people without a line in the meta files")
        for name in unknown if depth and len(unknown) - strangers <= 64 else ():
            if not re.fullmatch(r"id\d{5}", name):
                yield from self._find(f"{inside}{name}/", depth - 1)

    def _clips(self, folder: str) -> Iterator[Item]:
        """Clips of a person's folder: .mp4, a track's folder of frames, or a recording's that has no tracks."""
        who = self.speakers[folder.rpartition("/")[2]]
        rates = self.folders_in(folder, r"\d+\.\d+")  # 1.6 frames a second
        for top in [f"{folder}/{rate}" for rate in rates] or [folder]:
            for recording in self.folders_in(top, r"[\w-]+"):
                labels = {"gender": who.gender, "vggface": who.vggface, "recording": recording}
                place = f"{top}/{recording}"
                clips = self.files_in(place, r"\d+\.mp4")
                clips += [track for track in self.folders_in(place, r"\d+") if self._frames(f"{place}/{track}")]
                files = [f"{place}/{clip}" for clip in clips] or ([place] if self._frames(place) else [])
                for file in files:
                    yield Item(file, who.identity, video=True, official=who.official, labels=labels)

    def _frames(self, folder: str) -> bool:
        return bool(self.files_in(folder, _FRAME))


def _read_meta(path: Path, version: int) -> dict[str, Speaker]:
    """Speakers by VoxCeleb ID and, of VoxCeleb1, by the name that the folders of frames have."""
    delimiter = "\t" if "\t" in next(lines(path), "") else ","
    found = {}
    columns = [f"VoxCeleb{version} ID", f"VGGFace{version} ID", "Gender", "Set"]
    for line, (identity, vggface, gender, part) in csv_rows(path, columns, delimiter):
        if part not in _OFFICIAL or not re.fullmatch(r"id\d{5}", identity):
            raise damaged(path, line, "is no person of dev or test")
        found[identity] = speaker = Speaker(identity, vggface, gender, _OFFICIAL[part])
        if version == 1:
            found[vggface] = speaker
    return found
