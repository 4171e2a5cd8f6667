"""FaceForensics++: 1,000 videos and what five methods made of them (Roessler et al., ICCV 2019), and DeepFakeDetection.

As published (``videos/<name>.mp4``, or ``images/<name>/0000.png`` where frames were extracted)::

    original_sequences/youtube/c23/videos/000.mp4
    original_sequences/actors/c23/videos/01__talking_against_wall.mp4                 (DeepFakeDetection)
    manipulated_sequences/Deepfakes/c23/videos/000_003.mp4                            <target>_<source>
    manipulated_sequences/DeepFakeDetection/c23/videos/01_02__meeting_serious__YVGY8LOK.mp4
    splits/train.json, val.json, test.json      pairs of videos: 720, 140 and 140 (dataset/splits of the repository)

Who is seen. An original shows its own person, named by its number. Face swaps (Deepfakes, FaceSwap, FaceShifter,
DeepFakeDetection) show the *source's* identity in the target's video; reenactment (Face2Face, NeuralTextures) moves the
*target's* own face, so the identity is the target's. Labels name both. The two videos of a pair are in one split. The
actors of DeepFakeDetection have no official split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from anon.errors import UserError
from anon.faces.collections.contract import OFFICIAL, Item
from anon.faces.collections.listing import Published, read_json

SWAPS = ("Deepfakes", "FaceSwap", "FaceShifter", "DeepFakeDetection")
REENACTMENTS = ("Face2Face", "NeuralTextures")
COMPRESSIONS = ("raw", "c23", "c40")
_NAME = re.compile(r"(?P<target>\d{2,3})(_(?P<source>\d{2,3}))?(__\w[\w ,-]*)?", re.ASCII)


class FaceForensics(Published):
    """Item labels: ``compression``; of manipulated videos ``method``, ``target``, ``source``.

    Args:
        root: holds original_sequences and manipulated_sequences; one is enough.
        compression: ``raw``, ``c23`` or ``c40``.
        methods: names of the manipulations that are wanted; None: all that are there; empty: originals only.
        form: ``videos``, or ``images`` for extracted frames.

    Raises:
        UserError: something of the layout is missing.
    """

    name = "faceforensics"
    title = "FaceForensics++"
    origin = "request the download script from the authors (github.com/ondyari/FaceForensics, research use)"

    def __init__(
        self,
        root: str | Path | None,
        compression: str = "c23",
        methods: Sequence[str] | None = None,
        form: str = "videos",
    ) -> None:
        if compression not in COMPRESSIONS or form not in ("videos", "images"):
            raise UserError("FaceForensics++ has compression=raw, c23 or c40 and form=videos or images.")
        super().__init__(root)
        self.compression, self.form = compression, form
        known = (*SWAPS, *REENACTMENTS)
        unknown = sorted(set(methods or ()) - set(known))
        if unknown:
            raise UserError(f"FaceForensics++ has no method {unknown[0]}; it has {', '.join(known)}.")
        self.folders: list[tuple[str, str | None]] = []  # folder of the videos, method
        for part, method in [("original_sequences/youtube", None), ("original_sequences/actors", None)]:
            if (self.root / part / compression / form).is_dir():
                self.folders.append((f"{part}/{compression}/{form}", method))
        for name in known if methods is None else [name for name in known if name in methods]:
            folder = f"manipulated_sequences/{name}/{compression}/{form}"
            if methods is not None:
                self.required(folder)
            if (self.root / folder).is_dir():
                self.folders.append((folder, name))
        if not self.folders:
            raise self.lacks(f"'{self.root}' has no original_sequences/youtube/{compression}/{form}")
        where = "they are in dataset/splits of github.com/ondyari/FaceForensics; put that folder into the root"
        self.splits = [
            self.required(*(f"{place}{split}.json" for place in ("splits/", "", "dataset/splits/")), origin=where)
            for split in OFFICIAL
        ]

    def items(self) -> Sequence[Item]:
        """Originals, then method by method; by name.

        Raises:
            UserError: damaged split files, or no video.
        """
        official = _read_splits(self.splits)
        found = [item for folder, method in self.folders for item in self._folder(folder, method, official)]
        if not found:
            raise self.lacks(f"the folders of '{self.root}' hold no {self.form}")
        return found

    def _folder(self, folder: str, method: str | None, official: dict[str, str]) -> Iterator[Item]:
        files = self.files_in(folder, r".*\.mp4") if self.form == "videos" else self.folders_in(folder)
        actors = folder.startswith("original_sequences/actors") or method == "DeepFakeDetection"
        seen, odd = set(), 0
        for file in files:
            match = _NAME.fullmatch(file.removesuffix(".mp4"))
            target, source = (match["target"], match["source"]) if match else ("", None)
            split = None if actors else official.get(target)
            if match is None or (source is None) != (method is None) or (split is None and not actors):
                odd += 1
                continue
            labels = {"compression": self.compression}
            identity = target
            if method is not None and source is not None:
                labels |= {"method": method, "target": target, "source": source}
                identity = source if method in SWAPS else target
            seen.add(target)
            yield Item(f"{folder}/{file}", identity, video=True, official=split, labels=labels)
        self.left_out(odd, len(files), "have names of another form or are in no split", folder)
        if not actors:
            self.left_out(len(official.keys() - seen), len(official), "are in the splits only", folder)


def _read_splits(paths: Sequence[Path]) -> dict[str, str]:
    """Official split by the number of the video."""
    found: dict[str, str] = {}
    for path, split in zip(paths, OFFICIAL, strict=True):
        content = read_json(path, 1 << 20)
        pairs = content if isinstance(content, list) else [None]
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
                raise UserError(f"'{path}' is not a list of pairs of videos: this is not the file as published.")
            if pair[0] in found or pair[1] in found:
                raise UserError(f"'{path}' has videos that are in another pair too: this is not the file as published.")
            found |= dict.fromkeys(pair, split)
    return found
