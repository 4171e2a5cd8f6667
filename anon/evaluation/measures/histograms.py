"""Densities of distances over common bins, as :class:`anon.evaluation.document.Histogram` has them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def densities(parts: Mapping[str, Tensor], bins: int) -> tuple[tuple[float, ...], dict[str, tuple[float, ...]]]:
    """Edges (bins + 1) from the least to the largest of all values, and each part's density (bins).

    >>> densities({"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([0.2])}, 2)
    ((0.0, 0.5, 1.0), {'a': (1.0, 1.0), 'b': (2.0, 0.0)})
    """
    every = torch.cat(list(parts.values())).double()
    low, high = float(every.min()), float(every.max())
    width = max(high - low, 1e-9) / bins
    found = {}
    for name, values in parts.items():
        place = ((values.double() - low) / width).long().clamp_(0, bins - 1)
        shares = torch.bincount(place, minlength=bins).double() / (len(values) * width)
        found[name] = tuple(shares.tolist())
    return tuple(low + width * step for step in range(bins + 1)), found
