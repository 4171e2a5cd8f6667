"""The product: one call that takes faces and gives faces, the same for filters and generators."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class AnonymizerLike(Protocol):
    """``(B, 3, H, W)`` in [-1, 1] -> the same form, with the identities changed.

    ``source`` is a batch of *images* of other people (for swap policies); ``key``, ``track`` and ``rng`` go to the
    policy.
    """

    def __call__(
        self,
        images: Tensor,
        *,
        source: Tensor | None = None,
        key: Tensor | None = None,
        track: Tensor | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor: ...
