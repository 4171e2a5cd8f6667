"""Who is enrolled with a recognizer, and below which distance it accepts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from anon.identity.policies import average


@dataclass(frozen=True)
class Gallery:
    """One averaged entry for each person, and one for each picture."""

    averages: Tensor  # (G, D)
    people: Tensor  # (G,)
    pictures: Tensor  # (E, D)
    owners: Tensor  # (E,)
    threshold: float

    @staticmethod
    def of(z: Tensor, owners: Tensor, threshold: float) -> Gallery:
        """Enrol pictures by their embeddings (E, D) and their owners (E,)."""
        return Gallery(*average(z, owners), z, owners, threshold)
