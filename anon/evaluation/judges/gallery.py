"""Who is enrolled with a recognizer, and below which distance it accepts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from anon.evaluation.protocol import Calibration
from anon.identity.policies import average


@dataclass(frozen=True)
class Gallery:
    """One averaged entry for each person, and one for each picture."""

    averages: Tensor  # (G, D)
    people: Tensor  # (G,)
    pictures: Tensor  # (E, D)
    owners: Tensor  # (E,)
    threshold: float
    levels: Tensor | None = None  # (K,) the threshold's quantiles over resampled people; None: it is known
    metric: str = "cosine"  # by which the recognizer compares

    @staticmethod
    def of(z: Tensor, owners: Tensor, videos: Tensor, found: Calibration, metric: str = "cosine") -> Gallery:
        """Enrol pictures by their embeddings (E, D), owners (E,) and clips (E,), -1 for stills."""
        levels = torch.tensor(found.levels) if found.levels else None
        return Gallery(*templates(z, owners, videos, metric), z, owners, found.threshold, levels, metric)


def templates(z: Tensor, owners: Tensor, videos: Tensor, metric: str = "cosine") -> tuple[Tensor, Tensor]:
    """One embedding of each person (G, D) and who that is (G,): a clip weighs as much as one still.

    The frames of a clip are averaged first, then the clips with the stills.

    Args:
        z: (E, D) embeddings, unit vectors for "cosine".
        owners: (E,) whose they are.
        videos: (E,) number of the clip among its owner's, -1 for stills.
        metric: averages of raw vectors, which "euclidean" compares, stay raw.

    >>> z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]))
    >>> templates(z, torch.tensor([7, 7, 7, 7]), torch.tensor([-1, 3, 3, 3]))[0]
    tensor([[0.7071, 0.7071]])
    """
    if bool((videos < 0).all()):
        return average(z, owners, metric)
    alone = torch.where(videos < 0, -1 - torch.arange(len(z)), videos)  # a still is a clip of its own
    units, place = torch.stack([owners, alone], 1).unique(dim=0, return_inverse=True)
    return average(average(z, place, metric)[0], units[:, 0], metric)
