"""What each map of a recognizer holds of identity and of attributes, measured on swapped faces (thesis, figure 5.8).

For a map f_l and three faces, a target, a source and the target redrawn to be the source:

    c2t = 1 - cos(f_l(changed), f_l(target))     c2s = 1 - cos(f_l(changed), f_l(source))
    negative = 1 - cos(f_l(target), f_l(source)), two people who have nothing to do with each other

Where c2t and negative are apart, the map holds what a swap keeps; where c2s and negative are apart, it holds the
identity, and IFSR must leave it out. The margins of IFSR are the means of c2t (FaceDancer, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anon.identity.verification import equal_error_rate
from anon.losses.ifsr import map_distance
from anon.metrics.states import Kept


class Layer(NamedTuple):
    """One map's figures: mean distances in [0, 2], and equal error rates in [0, 1] of telling two kinds apart."""

    c2t: float
    c2s: float
    negative: float
    eer_c2t: float  # c2t against negative; 0: the map holds what is kept
    eer_c2s: float  # c2s against negative; 0: it holds the identity
    eer: float  # c2t against c2s; 0.5: it no longer tells target from source


def layer_figures(c2t: Tensor, c2s: Tensor, negative: Tensor) -> Layer:
    """The figures of one map from its distances (N,) each.

    >>> near, far = torch.tensor([0.1, 0.2]), torch.tensor([0.8, 0.9])
    >>> found = layer_figures(near, far, far + 0.05)
    >>> round(found.c2t, 3), found.eer_c2t, found.eer_c2s, found.eer
    (0.15, 0.0, 0.5, 0.0)
    """
    return Layer(
        c2t=float(c2t.mean()),
        c2s=float(c2s.mean()),
        negative=float(negative.mean()),
        eer_c2t=equal_error_rate(c2t, negative)[0],
        eer_c2s=equal_error_rate(c2s, negative)[0],
        eer=equal_error_rate(c2t, c2s)[0],
    )


class LayerDistances(Kept):
    """:func:`layer_figures` of every map, over batches.

    Args:
        layers: how many maps.
    """

    parts = ("c2t", "c2s", "negative")
    empty = "Distances of layers need faces, got none."

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers

    def update(self, target: Sequence[Tensor], changed: Sequence[Tensor], source: Sequence[Tensor]) -> None:  # type: ignore[override]
        """Each a list of maps (B, C_l, H_l, W_l)."""
        pairs = ((changed, target), (changed, source), (target, source))
        super().update(*(torch.stack(list(map(map_distance, *pair)), 1) for pair in pairs))  # (B, L) each

    def compute(self) -> list[Layer]:
        kept = self.kept()
        return [layer_figures(*(part[:, at] for part in kept)) for at in range(self.layers)]
