"""Borghetto's four comparisons of a swapped video: who is seen before and after, against both people.

Borghetto (De-identification methods for visual privacy protection, MSc thesis, Milano 2020) compares 1000 frames of the
original and of the swapped video with the person filmed (original) and the one put on (swapped), by the dlib
recognizer's Euclidean distance with its threshold of 0.6, and prints mean and deviation. ``swapped_original`` is the
de-identification: the higher the better; ``swapped_swapped`` is the swap: the lower the better; ``original_original``
is how far a person is from himself and ``original_swapped`` how far two people are, which the other two are read
against.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from anon.identity.verification import distances

#: The video, then the identity that its frames are compared with.
PAIRS = ("original_original", "original_swapped", "swapped_original", "swapped_swapped")


def reference_distances(frames: Tensor, references: Tensor, metric: str = "cosine") -> Tensor:
    """Distance of each frame (N, D) to a person's reference embeddings (K, D), their mean, (N,).

    >>> reference_distances(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([0.5000])
    """
    return distances(frames, references, metric).mean(1)


def four_comparisons(
    original: Tensor, swapped: Tensor, original_identity: Tensor, swapped_identity: Tensor, metric: str = "cosine"
) -> dict[str, Tensor]:
    """Mean and deviation of the distances over the frames, ``<video>_<identity>_mean`` and ``_std``, () float32 each.

    Args:
        original, swapped: (N, D) and (M, D) a judge's embeddings of frames of both videos.
        original_identity, swapped_identity: (K, D) and (L, D) reference embeddings of both people, outside the videos;
            with several, a frame's distance is the mean of those to each.
        metric: the judge's; see :func:`anon.identity.verification.distance`.

    The deviation is the population's.

    >>> a, b = torch.eye(2).split(1)
    >>> found = four_comparisons(torch.cat([a, a]), torch.cat([b, a]), a, b)
    >>> {name: float(found[name]) for name in ("original_swapped_mean", "swapped_original_mean")}
    {'original_swapped_mean': 1.0, 'swapped_original_mean': 0.5}
    """
    comparisons = FourComparisons(metric)
    comparisons.update(original, swapped, original_identity, swapped_identity)
    return comparisons.compute()


class FourComparisons(Metric):
    """:func:`four_comparisons` over the frames of many videos, each against its own two people."""

    full_state_update = False
    total: Tensor
    squares: Tensor
    frames: Tensor

    def __init__(self, metric: str = "cosine") -> None:
        super().__init__()
        self.metric = metric
        for name in ("total", "squares", "frames"):
            self.add_state(name, torch.zeros(len(PAIRS), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, original: Tensor, swapped: Tensor, original_identity: Tensor, swapped_identity: Tensor) -> None:
        """One video and its swap, as :func:`four_comparisons` takes them."""
        pairs = [(video, who) for video in (original, swapped) for who in (original_identity, swapped_identity)]
        for at, (video, who) in enumerate(pairs):
            apart = reference_distances(video, who, self.metric).double()
            self.total[at] += apart.sum()
            self.squares[at] += apart.square().sum()
            self.frames[at] += len(apart)

    def compute(self) -> dict[str, Tensor]:
        """As there; NaN without frames."""
        mean = self.total / self.frames
        deviation = (self.squares / self.frames - mean.square()).clamp_min(0).sqrt()
        figures = (("mean", mean), ("std", deviation))
        return {f"{pair}_{what}": values[at].float() for at, pair in enumerate(PAIRS) for what, values in figures}
