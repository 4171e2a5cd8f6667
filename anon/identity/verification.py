"""Verification and identification figures of a recognizer (thesis, algorithms 1 and 2; insightface's LFW procedure).

Everything is about *distances*: cosine distance ``1 - cos`` in [0, 2] unless a judge declares another metric. A pair
is accepted when its distance is *below* the threshold,

    FAR(th) = share of impostor distances < th        FRR(th) = share of genuine distances >= th

Both are step functions, constant between neighbouring distances; a threshold named here is the largest of its step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from anon.errors import Failed, UserError
from anon.faces.contract import FaceSet, batch_of
from anon.identity.contract import METRICS

PROBES = 4096  # whose distances to a gallery are in memory at a time


class Rates(NamedTuple):
    """A ROC curve: thresholds rising, with the false and true accept rates at each, all (T,) float64."""

    thresholds: Tensor
    far: Tensor
    tar: Tensor


class KFold(NamedTuple):
    """Accuracy over the folds: mean, population deviation, and the threshold that each fold was given."""

    accuracy: float
    deviation: float
    thresholds: list[float]


def distance(a: Tensor, b: Tensor, metric: str = "cosine") -> Tensor:
    """Distances of embeddings row by row, (..., D) and (..., D) -> (...); the one place that knows what a metric is.

    Args:
        a, b: unit vectors for "cosine" (in [0, 2]), raw ones for "euclidean".
    """
    if _known(metric) == "euclidean":
        return (a - b).norm(dim=-1)
    return 1.0 - (a * b).sum(-1)


def distances(a: Tensor, b: Tensor, metric: str = "cosine") -> Tensor:
    """All distances between two sets, (N, D) and (M, D) -> (N, M); see :func:`distance`."""
    if _known(metric) == "euclidean":
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return 1.0 - a @ b.T


def finite_distances(values: Tensor) -> Tensor:
    """``values`` unless one is NaN or infinite: that is below no threshold, and would count as a stranger's.

    Raises:
        Failed: one is.
    """
    if not bool(values.isfinite().all()):
        raise Failed("A distance between faces is NaN or infinite, so it says nothing about who they are.")
    return values


def _known(metric: str) -> str:
    if metric not in METRICS:
        raise UserError(f"No metric {metric!r}; known are {' and '.join(METRICS)}.")
    return metric


def roc(genuine: Tensor, impostor: Tensor) -> Rates:
    """FAR and TAR at every step; the last threshold is infinite and accepts all.

    Raises:
        UserError: no genuine or no impostor pair.
        Failed: a distance is not finite.
    """
    if genuine.numel() == 0 or impostor.numel() == 0:
        raise UserError(
            f"Verification needs genuine and impostor pairs, got {genuine.numel()} and {impostor.numel()}: "
            "use at least two identities and two images of one."
        )
    same, different = (finite_distances(part).double().sort().values for part in (genuine, impostor))
    steps = torch.cat([same, different]).unique()
    steps = torch.cat([steps, steps.new_tensor([math.inf])])
    far = torch.searchsorted(different, steps).double() / len(different)  # left side: count of distances < th
    tar = torch.searchsorted(same, steps).double() / len(same)
    return Rates(steps, far, tar)


def equal_error_rate(genuine: Tensor, impostor: Tensor) -> tuple[float, float]:
    """EER and its threshold: the mean of FAR and FRR where they differ least (of equals, the strictest).

    >>> genuine, impostor = torch.tensor([0.1, 0.2]), torch.tensor([0.5, 0.7])
    >>> equal_error_rate(genuine, impostor)
    (0.0, 0.5)
    """
    thresholds, far, tar = roc(genuine, impostor)
    frr = 1.0 - tar
    best = int((far - frr).abs().argmin())
    return float((far[best] + frr[best]) / 2), float(thresholds[best])


def threshold_at_far(impostor: Tensor, far: float = 1e-3) -> tuple[float, float]:
    """The largest threshold whose FAR does not exceed ``far``, and the FAR that it achieves; exact, ties included.

    Raises:
        UserError: fewer than 1 / far impostor pairs, which cannot tell such a rate.
        Failed: a distance is not finite.
    """
    if not 0.0 < far < 1.0:
        raise UserError(f"The false accept rate must lie between 0 and 1, got {far}.")
    allowed = math.floor(far * impostor.numel() + 1e-9)
    if allowed < 1:
        raise UserError(
            f"A threshold at FAR {far:g} needs at least {math.ceil(1 / far)} impostor pairs, got {impostor.numel()}."
        )
    ordered = finite_distances(impostor).sort().values
    threshold = ordered[allowed]  # at most `allowed` distances are smaller; any higher threshold accepts one more
    return float(threshold), float((ordered < threshold).double().mean())


def tar_at_far(genuine: Tensor, impostor: Tensor, far: float = 1e-3) -> float:
    """Share of genuine distances below :func:`threshold_at_far`."""
    threshold, _ = threshold_at_far(impostor, far)
    return float((finite_distances(genuine) < threshold).double().mean())


def pair_distances(z: Tensor, labels: Tensor, block: int = 1024, metric: str = "cosine") -> tuple[Tensor, Tensor]:
    """Distances of all pairs of a labelled set, each pair once: (genuine, impostor).

    Args:
        z: (N, D) embeddings.
        labels: (N,) identities.
        block: rows of the distance matrix in memory at a time.
        metric: see :func:`distance`.
    """
    genuine, impostor = [], []
    columns = torch.arange(len(z), device=z.device)
    for start in range(0, len(z), block):
        rows = columns[start : start + block]
        found = distances(z[rows], z, metric)  # (block, N)
        later = columns[None, :] > rows[:, None]
        same = labels[rows][:, None] == labels[None, :]
        genuine.append(found[later & same])
        impostor.append(found[later & ~same])
    return torch.cat(genuine), torch.cat(impostor)


def rank1(
    gallery: Tensor, gallery_labels: Tensor, probes: Tensor, probe_labels: Tensor, metric: str = "cosine"
) -> float:
    """Share of probes whose nearest gallery entry is of their own identity; for ``metric`` see :func:`distance`."""
    return float(identified(gallery, gallery_labels, probes, probe_labels, metric).double().mean())


def identified(
    gallery: Tensor, gallery_labels: Tensor, probes: Tensor, probe_labels: Tensor, metric: str = "cosine"
) -> Tensor:
    """Whether the nearest gallery entry of each probe is of its own identity, (P,) bool; see :func:`rank1`."""
    nearest = [distances(part, gallery, metric).argmin(1) for part in probes.split(PROBES)]
    return gallery_labels[torch.cat(nearest)] == probe_labels


def enrolled(z: Tensor, labels: Tensor, metric: str = "cosine") -> tuple[Tensor, Tensor, Tensor]:
    """The first half of each identity's embeddings (N, D), averaged, as a gallery; the others are probes.

    Returns:
        the gallery (I, D), its labels (I,), and which rows are probes (N,) bool.
    """
    gallery, names, probe = [], [], torch.zeros(len(z), dtype=torch.bool)
    for label in labels.unique():
        index = (labels == label).nonzero()[:, 0]
        half = max(1, len(index) // 2)
        mean = z[index[:half]].mean(0)
        gallery.append(torch.nn.functional.normalize(mean, dim=0) if metric == "cosine" else mean)
        names.append(label)
        probe[index[half:]] = True
    return torch.stack(gallery), torch.stack(names), probe


def kfold_accuracy(squared: Tensor, same: Tensor, folds: int = 10) -> KFold:
    """Accuracy as insightface measures LFW: the threshold that is best on the other folds, tried from 0 to 4 by .01.

    Args:
        squared: (P,) squared L2 distances of unit embeddings, in the order of the pair list; folds are contiguous.
        same: (P,) bool, whether the pair shows one person.
    """
    thresholds = (
        torch.arange(400, dtype=torch.float64) * 0.01
    )  # as NumPy has them; torch.arange(0, 4, .01) is an ulp off
    right = (finite_distances(squared).double()[:, None] < thresholds) == same[:, None]  # (P, 400)
    fold = torch.arange(len(squared)) * folds // len(squared)
    accuracies, chosen = [], []
    for number in range(folds):
        best = int(right[fold != number].double().mean(0).argmax())
        accuracies.append(right[fold == number, best].double().mean())
        chosen.append(float(thresholds[best]))
    stacked = torch.stack(accuracies)
    return KFold(float(stacked.mean()), float(stacked.std(correction=0)), chosen)


@torch.no_grad()
def embed_faces(embed: Callable[[Tensor], Tensor], faces: FaceSet, batch_size: int = 256) -> Tensor:
    """Embeddings (N, D) of a face set, in its order."""
    rows = torch.arange(len(faces)).split(batch_size)
    return torch.cat([embed(batch_of(faces, part.tolist())["image"]).float().cpu() for part in rows])


def evaluate_recognizer(
    embed: Callable[[Tensor], Tensor],
    faces: FaceSet,
    far: float = 1e-3,
    batch_size: int = 256,
    metric: str = "cosine",
) -> dict[str, float]:
    """EER, TAR at ``far``, thresholds and top-1 of a recognizer on a face set it was not trained on.

    Top-1: the first half of each identity's images is averaged into a gallery entry, the rest are probes.

    Args:
        embed: images (B, 3, H, W) -> embeddings (B, D), such as ``Judge.embed``.
        metric: the judge's; see :func:`distance`.

    Raises:
        UserError: too few pairs for the wanted FAR.
    """
    return summarize(embed_faces(embed, faces, batch_size), faces.labels, far, metric)


def summarize(z: Tensor, labels: Tensor, far: float = 1e-3, metric: str = "cosine") -> dict[str, float]:
    """The figures of :func:`evaluate_recognizer` from embeddings (N, D) and labels (N,)."""
    genuine, impostor = pair_distances(z, labels, metric=metric)
    eer, eer_threshold = equal_error_rate(genuine, impostor)
    threshold, achieved = threshold_at_far(impostor, far)
    gallery, names, probe = enrolled(z, labels, metric)
    return {
        "eer": eer,
        "eer_threshold": eer_threshold,
        "tar": float((genuine < threshold).double().mean()),
        "threshold": threshold,
        "far": achieved,
        "top1": rank1(gallery, names, z[probe], labels[probe], metric=metric),
        "identities": float(len(names)),
        "genuine_pairs": float(len(genuine)),
        "impostor_pairs": float(len(impostor)),
    }
