"""Pairs of photographs as a data set: the first of each pair is enrolled, the second is what an evaluation changes.

Who is enrolled and who probes is the list's own choice, not that of a split, so the set says it itself (``roles``), and
it brings the pairs, whose mismatched ones give thresholds fold by fold (LFW, Huang et al., 2007). Nobody is trained or
calibrated on it: ``python evaluate.py experiment=<name> suite=lfw`` names other data for that.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.alignment import align
from anon.faces.cache import cache_folder
from anon.faces.collections.contract import Collection
from anon.faces.collections.photographs.lfw import Pair
from anon.faces.contract import Collated, Sample, to_float, to_uint8
from anon.faces.counterparts import Counterparts, Crops, Results, Source, counterparts
from anon.faces.decoding import Photograph
from anon.faces.detection.contract import Detector
from anon.faces.images import ImageError, read_image
from anon.progress import track

#: Where the five points of LFW's 250 x 250 deep-funneled photographs lie on average (YuNet, sets 1 to 4 of View 2).
CENTRE = ((104.0, 112.9), (146.8, 112.3), (125.8, 137.6), (107.5, 157.7), (144.8, 157.2))


class Paired(Collection, Protocol):
    """A collection with lists of pairs."""

    def pairs(self, view: str = ...) -> list[Pair]: ...


class Roles(NamedTuple):
    """What a data set's own protocol makes of its evaluation faces: indices, each once, rising."""

    enrol: Tensor  # (E,)
    probe: Tensor  # (P,) all of them among the changed
    changed: Tensor  # (N,) what is anonymized


class Pairs(NamedTuple):
    """Pairs of faces of a set, in folds of equal size one after the other."""

    first: Tensor  # (P,) indices of the faces that stay as they are
    second: Tensor  # (P,) of those that are changed
    people: Tensor  # (P, 2) labels of both
    fold: Tensor  # (P,) from 0
    view: str  # the list's name

    @property
    def same(self) -> Tensor:
        """(P,) bool: matched pairs."""
        return self.people[:, 0] == self.people[:, 1]

    @property
    def folds(self) -> int:
        """How many."""
        return int(self.fold.max()) + 1

    def roles(self) -> Roles:
        """Probes are the second photographs of matched pairs; enrolled are the first ones of all pairs that are no
        probe, so that nobody is compared with the very photograph. Probes of people who are not enrolled are left out.
        """
        owner = torch.zeros(int(max(self.first.max(), self.second.max())) + 1, dtype=torch.long)
        owner[self.first], owner[self.second] = self.people[:, 0], self.people[:, 1]
        probes, enrolled = self.second[self.same].unique(), self.first.unique()
        enrolled = enrolled[~torch.isin(enrolled, probes)]
        probes = probes[torch.isin(owner[probes], owner[enrolled])]
        return Roles(enrolled, probes, self.second.unique())


class PairFaces(Collated):
    """The photographs of the pairs, each once, aligned when asked for: an :class:`anon.faces.contract.FaceSet`.

    ``placed`` counts where the points of the photographs came from that were read so far.

    Args:
        collection: the photographs and their pairs; its points are used where it has them.
        view: list of pairs, see :meth:`anon.faces.collections.photographs.lfw.LFW.pairs`.
        size: side of the aligned faces in pixels.
        detector: for the photographs without points: the face nearest to the centre, whom LFW is about; where it finds
            none, the mean place of LFW's faces.

    Raises:
        UserError: unfit pairs, or photographs without points and no detector.
    """

    synthetic = False

    def __init__(self, collection: Paired, view: str, size: int, detector: Detector | None = None) -> None:
        self.root, self.size, self.detector = collection.root, size, detector
        pairs = collection.pairs(view)
        self.files = sorted({file for pair in pairs for file in (pair.first, pair.second)})
        self.names = sorted({name for pair in pairs for name in pair.people})
        place, who = ({name: n for n, name in enumerate(names)} for names in (self.files, self.names))
        first, second = (torch.tensor([place[getattr(pair, end)] for pair in pairs]) for end in ("first", "second"))
        people = torch.tensor([[who[name] for name in pair.people] for pair in pairs])
        self.pairs = Pairs(first, second, people, torch.tensor([pair.fold for pair in pairs]), view)
        if not torch.equal(self.pairs.fold, torch.arange(len(pairs)) * self.pairs.folds // len(pairs)):
            raise UserError(f"The sets of {view} have different numbers of pairs, which the folds cannot have.")
        self.labels = torch.empty(len(self.files), dtype=torch.long)
        self.labels[first], self.labels[second] = people[:, 0], people[:, 1]
        self.videos = torch.full_like(self.labels, -1)
        shown: defaultdict[int, Iterator[int]] = defaultdict(itertools.count)
        self.frames = torch.tensor([next(shown[label]) for label in self.labels.tolist()])
        points = {item.file: item.points for item in collection.items()}
        self._points = [None if points[file] is None else torch.tensor(points[file]) for file in self.files]
        bare = sum(found is None for found in self._points)
        if bare and detector is None:
            raise UserError(
                f"{bare:,} of the {len(self.files):,} photographs have no points: give collection.points=<csv> or a "
                "detector, as in +detector@suite.datasets.lfw.detector=yunet."
            )
        self.placed = {"given": len(self.files) - bare, "detected": 0, "centre": 0}
        self._canvas = [(0, 0)] * len(self.files)  # (H, W) of those that were read

    def counterparts(self, results: Results, framing: str | None = None) -> Counterparts:
        """What another tool made of the photographs, see :meth:`anon.faces.folder.FolderFaces.counterparts`."""
        parts = torch.arange(len(self)).split(64)
        read = [
            to_uint8(self.__getitems__(part.tolist())["image"]) for part in track(parts, "reading pairs", len(parts))
        ]
        files = [Photograph(self.names[label], file) for file, label in zip(self.files, self.labels, strict=True)]
        sources = list(map(Source, files, self._canvas, self._points))
        crops, faces = Crops(self.size, None, framing, results.panel), torch.cat(read).numpy()
        return counterparts(results, files, sources, faces, crops, cache_folder(None), np.arange(len(files)))

    def __getitems__(self, indices: list[int]) -> Sample:
        """The batch of ``indices``, ``image`` (B, 3, size, size) in [-1, 1].

        Raises:
            UserError: a photograph that cannot be read; the pairs need all of them.
        """
        return self.sample(indices, torch.stack([self._face(index) for index in indices]))

    def _face(self, index: int) -> Tensor:
        try:
            frame = read_image(self.root / self.files[index])
        except ImageError as error:
            raise UserError(
                f"A photograph of the pairs in '{self.root}' is {error}; get the data set again."
            ) from error
        self._canvas[index] = frame.shape[0], frame.shape[1]
        points = self._points[index]
        if points is None:
            points = self._points[index] = self._find(frame)  # found once, however often the face is read
        return align(to_float(frame)[None], points[None], self.size)[0].clamp(-1.0, 1.0)

    def _find(self, frame: Tensor) -> Tensor:
        assert self.detector is not None
        found = self.detector.detect(frame)
        centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        usable = found.points.isfinite().all(-1).all(-1)
        self.placed["detected" if bool(usable.any()) else "centre"] += 1
        if not bool(usable.any()):
            return torch.tensor(CENTRE) * (frame.shape[0] / 250)
        middle = torch.tensor([frame.shape[1] / 2, frame.shape[0] / 2])
        return found.points[usable][(centres[usable] - middle).norm(dim=1).argmin()]


class PairData:
    """The data module: faces of the split ``evaluation`` alone, with the ``roles`` and the ``pairs`` of their list.

    Args:
        collection, view, size, detector: see :class:`PairFaces`.

    Raises:
        UserError: see :class:`PairFaces`; or a size that is none.
    """

    def __init__(self, collection: Paired, view: str = "pairs.txt", size: int = 112, detector: Detector | None = None):
        if type(size) is not int or not 16 <= size <= 4096:
            raise UserError(f"size={size!r:.60} of the pairs must be a whole number from 16 to 4,096.")
        self.name = collection.name
        self._faces = PairFaces(collection, view, size, detector)
        self.pairs = self._faces.pairs
        self.roles = self.pairs.roles()

    def faces(self, split: str) -> PairFaces:
        """The photographs of the pairs.

        Raises:
            UserError: another split than ``evaluation``.
        """
        if split != "evaluation":
            raise UserError(
                f"The pairs of {self.name} are evaluated and have no split '{split}': name the data that gives anchors "
                "and trackers' thresholds, suite.reference=default or a name of suite.datasets."
            )
        return self._faces
