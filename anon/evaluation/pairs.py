"""Pairs of photographs: reading and aligning them, changing the second of each, and the figures of verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anon.anonymizers.contract import AnonymizerLike
from anon.errors import UserError
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.eyes import Embed
from anon.evaluation.figures import Figure
from anon.faces.alignment import align
from anon.faces.collections.photographs.lfw import LFW, Pair
from anon.faces.contract import check_images, check_made, to_float
from anon.faces.detection.contract import Detector
from anon.faces.images import ImageError, read_image
from anon.identity.verification import kfold_accuracy
from anon.metrics.retrieval import retrieval_distances
from anon.progress import track

#: Where the five points of LFW's 250 x 250 deep-funneled photographs lie on average (YuNet, sets 1 to 4 of View 2).
CENTRE = ((104.0, 112.9), (146.8, 112.3), (125.8, 137.6), (107.5, 157.7), (144.8, 157.2))
RESAMPLED = 64  # thresholds of resampled people, over which the figures' intervals are taken


class Validation(NamedTuple):
    """Over the folds: mean true accept rate, its population deviation, and the mean false accept rate."""

    val: float
    deviation: float
    far: float


class PairSet:
    """The photographs of the pairs, each once, and where they stand in the pairs.

    ``first``, ``second`` (P,) index into ``files``; ``same`` (P,) bool; ``people`` (P, 2) index into ``names``;
    ``fold`` (P,) from 0. ``placed`` counts where the points came from.

    Args:
        collection: LFW; its points are used where it has them.
        view: list of pairs, see :meth:`LFW.pairs`.
        size: side of the aligned faces in pixels.
        detector: for the photographs without points: the face nearest to the centre, whom LFW is about; where it finds
            none, the mean place of LFW's faces.

    Raises:
        UserError: unfit pairs; see :class:`LFW`.
    """

    def __init__(self, collection: LFW, view: str, size: int, detector: Detector | None = None) -> None:
        self.root, self.size, self.detector = collection.root, size, detector
        pairs: list[Pair] = collection.pairs(view)
        self.files = sorted({file for pair in pairs for file in (pair.first, pair.second)})
        self.names = sorted({name for pair in pairs for name in pair.people})
        place, who = ({name: n for n, name in enumerate(names)} for names in (self.files, self.names))
        self.first = torch.tensor([place[pair.first] for pair in pairs])
        self.second = torch.tensor([place[pair.second] for pair in pairs])
        self.people = torch.tensor([[who[name] for name in pair.people] for pair in pairs])
        self.same = self.people[:, 0] == self.people[:, 1]
        self.fold = torch.tensor([pair.fold for pair in pairs])
        self.folds = int(self.fold.max()) + 1
        if not torch.equal(self.fold, torch.arange(len(pairs)) * self.folds // len(pairs)):
            raise UserError(f"The sets of {view} have different numbers of pairs, which the folds cannot have.")
        points = {item.file: item.points for item in collection.items()}
        self.points = [points[file] for file in self.files]
        bare = sum(found is None for found in self.points)
        if bare and detector is None:
            raise UserError(
                f"{bare:,} of the {len(self.files):,} photographs have no points: give "
                "protocol.collection.points=<csv> or a protocol.detector."
            )
        self.placed = {"given": len(self.files) - bare, "detected": 0, "centre": 0}

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Aligned faces (B, 3, size, size) in [-1, 1].

        Raises:
            UserError: a photograph that cannot be read; the protocol needs all of them.
        """
        return torch.stack([self._face(index) for index in indices])

    def _face(self, index: int) -> Tensor:
        try:
            frame = read_image(self.root / self.files[index])
        except ImageError as error:
            raise UserError(
                f"A photograph of the pairs in '{self.root}' is {error}; get the data set again."
            ) from error
        given = self.points[index]
        points = self._find(frame) if given is None else torch.tensor(given)
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


@torch.no_grad()
def embed_pairs(
    pictures: PairSet,
    methods: Mapping[str, AnonymizerLike | None],
    judge: Embed,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Embeddings (F, D) of all files as each method leaves them, on the CPU.

    Only the second photographs of pairs are changed; the rows of the others are NaN, so that nothing can compare them.
    A method that is None is the faces as they are, and gives all rows.
    """
    changed = torch.zeros(len(pictures.files), dtype=torch.bool)
    changed[pictures.second] = True
    found: dict[str, list[Tensor]] = {name: [] for name in methods}
    parts = torch.arange(len(pictures.files)).split(batch_size)
    for part in track(parts, "comparing pairs", len(pictures.files), batch_size):
        target = check_images(pictures.batch(part.tolist()).to(device))
        chosen = changed[part].to(device)
        real = judge(target)
        for name, anonymizer in methods.items():
            z = real
            if anonymizer is not None:
                z = torch.full_like(real, torch.nan)
                if bool(chosen.any()):
                    z[chosen] = judge(check_made(anonymizer(target[chosen]), target[chosen], name))
            found[name].append(z.float().cpu())
    return {name: torch.cat(rows) for name, rows in found.items()}


def val_at_far(squared: Tensor, same: Tensor, far: float = 1e-3, folds: int = 10) -> Validation:
    """VAL at a FAR as insightface measures LFW: on the other folds the threshold is interpolated, 0 to 4 by .001.

    Args:
        squared, same: see :func:`anon.identity.verification.kfold_accuracy`.

    Where the wanted rate is exactly that of several thresholds, the largest counts; insightface's ``slinear`` does not
    define it, and with SciPy 1.10 and later refuses such curves altogether.
    """
    thresholds = torch.arange(4000, dtype=torch.float64) * 0.001  # as NumPy has them; see kfold_accuracy
    accepted = squared.double()[:, None] < thresholds  # (P, 4000)
    fold = torch.arange(len(squared)) * folds // len(squared)
    vals, fars = [], []
    for number in range(folds):
        test = fold == number
        curve = accepted[~test & ~same].double().mean(0)
        reached = float(curve[-1]) >= far
        threshold = float(np.interp(far, curve.numpy(), thresholds.numpy())) if reached else 0.0
        below = squared.double() < threshold
        vals.append(below[test & same].double().mean())
        fars.append(below[test & ~same].double().mean())
    stacked = torch.stack(vals)
    return Validation(float(stacked.mean()), float(stacked.std(correction=0)), float(torch.stack(fars).mean()))


class Scale(NamedTuple):
    """What all rows share: embeddings of the unchanged photographs, the threshold, and the resampled people."""

    real: Tensor  # (F, D)
    thresholds: Tensor  # (K + 1, folds) of the unchanged photographs, see :func:`fold_thresholds`
    far: float
    bootstrap: Bootstrap


def distances(real: Tensor, z: Tensor, pictures: PairSet) -> Tensor:
    """Cosine distances (P,) float64 between the unchanged first and the second photograph of each pair."""
    return 1.0 - (real[pictures.first].double() * z[pictures.second].double()).sum(1)


def fold_thresholds(distance: Tensor, pictures: PairSet, far: float, bootstrap: Bootstrap) -> Tensor:
    """Thresholds (K + 1, folds) float64: for each fold the largest whose FAR on the *other* folds is at most ``far``.

    The first row has every pair once; in the others (:data:`RESAMPLED` of them) a mismatched pair of persons i and j
    counts ``w_i w_j`` times, as :class:`anon.evaluation.bootstrap.Bootstrap` draws people.

    Args:
        distance: (P,) of the pairs.
    """
    apart, order = distance[~pictures.same].double().sort()
    fold, people = pictures.fold[~pictures.same][order], pictures.people[~pictures.same][order]
    drawn = bootstrap.weights[:RESAMPLED]  # (K, I)
    drawn = torch.cat([torch.ones_like(drawn[:1]), drawn])
    first, second = (drawn[:, torch.searchsorted(bootstrap.people, part)] for part in people.T.contiguous())
    found = []
    for number in range(pictures.folds):
        weights = (first * second)[:, fold != number].cumsum(1)  # (K + 1, pairs of the other folds)
        place = (weights <= far * weights[:, -1:] + 1e-9).sum(1).clamp(max=weights.shape[1] - 1)
        found.append(apart[fold != number][place])
    return torch.stack(found, 1)


def score_pairs(z: Tensor, pictures: PairSet, scale: Scale) -> dict[str, Figure]:
    """The figures of one row; every threshold is that of the other folds (:func:`fold_thresholds`).

    ``TPR``: matched pairs below the threshold of the *unchanged* mismatched pairs; ``FPR``: mismatched pairs below it,
    with the second changed. ``TPR_own``: with the threshold taken from the changed mismatched pairs, an adversary who
    knows the method. ``ID``: identification, the nearest of the enrolled photographs is the person's and below the
    threshold. ``accuracy`` and ``VAL`` are insightface's, folds and all, on the changed pairs.

    Args:
        z: (F, D) as :func:`embed_pairs` gives.
    """
    distance = distances(scale.real, z, pictures)
    same, person = pictures.same, pictures.people[:, 0]
    own = fold_thresholds(distance, pictures, scale.far, scale.bootstrap)
    folds = kfold_accuracy(2.0 * distance, same, pictures.folds)  # squared L2 of unit vectors: 2 (1 - cos)
    val = val_at_far(2.0 * distance, same, scale.far, pictures.folds)

    def share(apart: Tensor, thresholds: Tensor, where: Tensor, who: Tensor) -> Figure:
        levels = thresholds[:, where]  # (K + 1, N)
        return scale.bootstrap.below(apart, levels[0], levels[1:], who)

    probes, owners, gallery, people = enrolled(pictures)
    fold = torch.zeros(len(pictures.files), dtype=torch.long)
    fold[pictures.second[same]] = pictures.fold[same]
    nearest = retrieval_distances(z[probes], owners, scale.real[gallery], people).double()
    return {
        "TPR": share(distance[same], scale.thresholds, pictures.fold[same], person[same]),
        "FPR": share(distance[~same], scale.thresholds, pictures.fold[~same], person[~same]),
        "TPR_own": share(distance[same], own, pictures.fold[same], person[same]),
        "ID": share(nearest, scale.thresholds, fold[probes], owners),
        "accuracy": Figure(folds.accuracy, n=len(distance)),
        "accuracy_deviation": Figure(folds.deviation, n=pictures.folds),
        "VAL": Figure(val.val, n=len(distance)),
        "VAL_deviation": Figure(val.deviation, n=pictures.folds),
        "VAL_FAR": Figure(val.far, n=len(distance)),
    }


def enrolled(pictures: PairSet) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Probes and gallery of the identification: (probes, whose they are, enrolled, whose they are), indices of files.

    Probes are the second photographs of matched pairs, each once; enrolled are the first photographs of all pairs that
    are no probe, so that nobody is compared with the very photograph. Probes of people who are not enrolled are left
    out.
    """
    owner = torch.zeros(len(pictures.files), dtype=torch.long)
    owner[pictures.first], owner[pictures.second] = pictures.people[:, 0], pictures.people[:, 1]
    probes = pictures.second[pictures.same].unique()
    gallery = pictures.first.unique()
    gallery = gallery[~torch.isin(gallery, probes)]
    probes = probes[torch.isin(owner[probes], owner[gallery])]
    return probes, owner[probes], gallery, owner[gallery]
