"""Swaps, where another person's face is put on the target: whose face it is, and what the expression did.

    swap_ID            the nearest enrolled person is the source; no threshold, as published (FIVA, table 4)
    swap_ID_threshold  and below the judge's threshold            swap_ID_target   it is the target
    cosine_source, cosine_target   to the pictures that were swapped, by the judge

``C_<video>_<identity>`` and ``.._std`` are Borghetto's four comparisons (:mod:`anon.metrics.comparisons`): original and
swapped faces against the original and the swapped person, who are the averages of their enrolled pictures.

``swap_<read>_t2c``, ``_closer`` and ``_error`` are Paper II's (Rosberg's thesis, table 5.2) for the expression and for
landmarks, which are centred, scaled and turned onto each other: mean distance of target and changed; share of the swaps
that are closer to the target than to the source; root mean square of the difference between the distances
target-source and target-changed (how the paper's "L2 error" is averaged is not said).

Paper I's distributions are :mod:`anon.evaluation.measures.areas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.figures import Figure
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.cell import PUBLISHED, TARGET, Cell
from anon.evaluation.harness.pictures import Originals
from anon.evaluation.harness.store import Tensors
from anon.evaluation.measures.areas import METRICS, pairing_figures
from anon.evaluation.measures.intervals import columns, resampled
from anon.evaluation.measures.reading import read, unread
from anon.evaluation.metric_info import MetricInfo, share
from anon.identity.verification import distance
from anon.metrics.comparisons import PAIRS
from anon.metrics.retrieval import retrieval_distances
from anon.metrics.shape import shape_distance

_BETTER = {"swapped_original": True, "swapped_swapped": False}  # of Borghetto's comparisons, as distances


class Swap:
    """The measure.

    Args:
        bins: of the histograms whose overlap is measured.
    """

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "swap_ID": share("swap ID", "privacy", True),
        "swap_ID_threshold": share("swap ID below the threshold", "privacy", True),
        "swap_ID_target": share("target found", "privacy", False),
        "cosine_source": MetricInfo("cosine to the source", "privacy", True, low=-1.0, high=1.0),
        "cosine_target": MetricInfo("cosine to the target", "privacy", False, low=-1.0, high=1.0),
        **{
            f"C_{name}{end}": MetricInfo(
                f"C {name}{end}".replace("_", " "), "privacy", None if end else _BETTER.get(name), low=0.0, high=2.0
            )
            for name in PAIRS
            for end in ("", "_std")
        },
        **METRICS,
        **{
            f"swap_{name}_{what}": MetricInfo(f"swap {name} {what}", "utility", better, low=0.0, high=high)
            for name in ("expression", "landmarks")
            for what, better, high in (("t2c", False, None), ("closer", True, 1.0), ("error", None, None))
        },
    }

    def __init__(self, bins: int = 50) -> None:
        self.bins = bins

    def __call__(self, cell: Cell) -> dict[str, Figure]:
        """The figures; none where nobody is swapped in."""
        if not cell.method.source:
            return {}
        if bool((cell.source_labels == cell.labels).all()):
            return {"swap_ID": Figure.absent("n/a (nobody else to swap in)")}
        gallery = cell.bench.gallery(cell.one.data, cell.bench.judge)
        changed, target, source = cell.z(PUBLISHED), cell.z(TARGET), cell.z_of_sources()
        return {
            **_whose(cell, gallery, changed),
            "cosine_source": cell.mean((changed * source).sum(1)),
            "cosine_target": cell.mean((changed * target).sum(1)),
            **_comparisons(cell, gallery, target, changed),
            **pairing_figures(cell, target, source, changed, self.bins),
            **_kept(cell),
        }


def _whose(cell: Cell, gallery: Gallery, z: Tensor) -> dict[str, Figure]:
    asked = {
        "swap_ID": (cell.source_labels, float("inf"), None),
        "swap_ID_threshold": (cell.source_labels, gallery.threshold, gallery.levels),
        "swap_ID_target": (cell.labels, float("inf"), None),
    }
    return {
        name: cell.below(retrieval_distances(z, who, gallery.averages, gallery.people), limit, levels)
        for name, (who, limit, levels) in asked.items()
    }


def _comparisons(cell: Cell, gallery: Gallery, original: Tensor, swapped: Tensor) -> dict[str, Figure]:
    """Means and population deviations of :data:`PAIRS`, video by identity."""
    order = gallery.people.argsort()
    ordered = gallery.people[order]
    references = [  # of every row's own person and of the one that was put on, (R, D)
        gallery.averages[order[torch.searchsorted(ordered, who)]] for who in (cell.labels, cell.source_labels)
    ]
    apart = [distance(video, who).double() for video in (original, swapped) for who in references]
    figures: dict[str, Figure] = {}
    for name, values in zip(PAIRS, apart, strict=True):
        figures[f"C_{name}"] = cell.mean(values)
        figures[f"C_{name}_std"] = _deviation(cell, values)
    return figures


def _deviation(cell: Cell, values: Tensor) -> Figure:
    people, weights = columns(cell.bootstrap, cell.labels), cell.bootstrap.weights
    centred = values - values.mean()
    powers = torch.stack([torch.ones_like(values), centred, centred.square()], 1)
    sums = torch.zeros(weights.shape[1], 3, dtype=torch.float64).index_add_(0, people, powers)
    count, first, second = (weights @ sums).unbind(1)
    draws = (second / count - (first / count).square()).clamp_min(0).sqrt()
    return resampled(float(values.std(correction=0)), draws, cell.labels)


def _kept(cell: Cell) -> dict[str, Figure]:
    """Paper II's table 5.2: is the swap's expression the target's or the source's?"""
    changed, target = read(cell, PUBLISHED), read(cell, TARGET)
    source = _read_sources(cell) if changed else {}
    figures: dict[str, Figure] = {}
    for name in ("expression", "landmarks"):
        names = tuple(f"swap_{name}_{what}" for what in ("t2c", "closer", "error"))
        if name not in changed:
            figures |= dict.fromkeys(names, unread(cell, name))
            continue
        t2s, t2c, s2c = (
            _apart(name, one[name], other[name])
            for one, other in ((source, target), (changed, target), (changed, source))
        )
        closer = torch.where(t2c.isnan() | s2c.isnan(), torch.nan, (t2c < s2c).double())
        error = _root(cell.known_mean((t2s - t2c).square()))
        values = (cell.known_mean(t2c), cell.known_mean(closer, share=True), error)
        figures |= dict(zip(names, values, strict=True))
    return figures


def _apart(name: str, one: Tensor, other: Tensor) -> Tensor:
    """(R,): L2 of expressions, Procrustes' distance of landmarks."""
    return shape_distance(one, other) if name == "landmarks" else (one - other).norm(dim=1)


def _root(figure: Figure) -> Figure:
    """The root of a mean and of its interval, which the root keeps."""
    if figure.value is None:
        return figure
    low, high = (None if end is None else end**0.5 for end in (figure.low, figure.high))
    draws = None if figure.draws is None else figure.draws.sqrt()
    return Figure(figure.value**0.5, low, high, n=figure.n, draws=draws)


def _read_sources(cell: Cell) -> Tensors:
    """Of the pictures that were swapped in, row by row."""
    sources = cell.people.sources
    every = sources.unique()
    place = torch.searchsorted(every, sources[cell.rows])
    found = cell.bench.read(Originals(cell.bench.group(cell.one.data, every)))
    return {name: value[place] for name, value in found.items()}
