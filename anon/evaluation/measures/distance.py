"""How far the identity has moved from the target's, by the judge: four distances, and the share that is de-identified.

``target_distance`` is the cosine distance; of unit embeddings squared_l2 is twice that. ``deidentified``: the share
above the judge's threshold (Wen et al., Face De-identification, Springer 2024, eq. 6.23).
"""

from __future__ import annotations

from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import PUBLISHED, TARGET, Cell
from anon.metrics.distances import identity_distances


class TargetDistance:
    """The measure."""

    def __call__(self, cell: Cell) -> dict[str, Figure]:
        """``target_distance``, ``l2``, ``squared_l2``, ``l1``, ``deidentified``; nothing of unchanged faces."""
        if cell.unchanged:
            return {}
        apart = identity_distances(cell.z(PUBLISHED), cell.z(TARGET))
        far = cell.below(-apart["cosine"], -cell.threshold, -cell.levels)  # above it, as `deidentified` has it
        figures = {"target_distance" if name == "cosine" else name: cell.mean(value) for name, value in apart.items()}
        return figures | {"deidentified": far}
