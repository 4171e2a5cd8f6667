"""RAVDESS: 24 actors speak and sing two sentences in eight expressions (Livingstone and Russo, PLoS ONE 2018).

As published: ``Actor_01/01-01-06-01-02-01-12.mp4``, in one folder or in one for each archive
(``Video_Speech_Actor_01/Actor_01/...``). The seven codes of a name:

    modality       01 picture and sound, 02 picture, 03 sound      statement    01 kids, 02 dogs
    channel        01 speech, 02 song                              repetition   01, 02
    emotion        01 neutral, calm, happy, sad, angry, fearful, disgust, 08 surprised
    intensity      01 normal, 02 strong (not of neutral)           actor        01 to 24, odd are men

Every performance is there with and without sound; the picture is the same, so it is listed once. No official split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from anon.faces.collections.contract import Item
from anon.faces.collections.listing import Published

_CODES = re.compile(r"0([123])-0([12])-0([1-8])-0([12])-0([12])-0([12])-([01]\d|2[0-4])")


class Ravdess(Published):
    """Item labels: ``expression_class``, ``intensity``, ``channel``, ``statement``, ``repetition``, ``gender``.

    Args:
        root: the data set's folder.

    Raises:
        UserError: no folder of an actor.
    """

    name = "ravdess"
    title = "RAVDESS"
    origin = "get the Video_*.zip archives from zenodo.org/records/1188976 (CC BY-NC-SA 4.0)"
    expressions = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")

    def __init__(self, root: str | Path | None) -> None:
        super().__init__(root)
        self.folders = list(self._actors())
        if not self.folders:
            raise self.lacks(f"'{self.root}' has no folders Actor_01 to Actor_24")

    def items(self) -> Sequence[Item]:
        """By actor and codes.

        Raises:
            UserError: no video.
        """
        found: dict[str, Item] = {}
        odd = count = 0
        for folder in self.folders:
            actor = folder.rpartition("/")[2]
            for file in self.files_in(folder, r"[^.].*\.mp4"):
                count += 1
                codes = _CODES.fullmatch(file[:-4])
                if codes is None or codes[7] != actor[-2:]:
                    odd += 1
                    continue
                performance = f"{actor}/{file[3:]}"
                if codes[1] != "3" and performance not in found:  # 01 sorts before 02
                    found[performance] = Item(f"{folder}/{file}", actor, video=True, labels=_labels(codes))
        self.left_out(odd, count, "have names of another form")
        if not found:
            raise self.lacks(f"the folders of '{self.root}' hold no videos 01-01-06-01-02-01-12.mp4")
        return [found[performance] for performance in sorted(found)]

    def _actors(self) -> Iterator[str]:
        """Folders Actor_01 to Actor_24 in the root and one level below."""
        for name in self.folders_in():
            if re.fullmatch(r"Actor_\d\d", name):
                yield name
            else:
                yield from (f"{name}/{actor}" for actor in self.folders_in(name, r"Actor_\d\d"))


def _labels(codes: re.Match[str]) -> dict[str, str | int]:
    return {
        "expression_class": int(codes[3]) - 1,
        "intensity": ("normal", "strong")[int(codes[4]) - 1],
        "channel": ("speech", "song")[int(codes[2]) - 1],
        "statement": int(codes[5]),
        "repetition": int(codes[6]),
        "gender": "m" if int(codes[7]) % 2 else "f",
    }
