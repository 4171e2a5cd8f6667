"""The product: one call that takes faces and gives faces, the same for filters and generators."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from anon.identity.contract import Draws, Given


@runtime_checkable
class AnonymizerLike(Protocol):
    """``(B, 3, H, W)`` in [-1, 1] -> the same form, with the identities changed.

    ``source`` is a batch of *images* of other people (for swap policies); ``key``, ``track`` and ``rng`` go to the
    policy.

    One that gives pictures which another program made has ``made_elsewhere = True``: what drawing costs is not known.
    """

    def __call__(
        self, images: Tensor, *, source: Given = None, key: Given = None, track: Given = None, rng: Draws = None
    ) -> Tensor: ...
