"""Of the identities themselves: how many people share a fake one, and whether judge and training encoder err alike.

``shared_identity`` counts collisions: the people whose first probe is given an identity that another person is given
too. ``impostor_correlation`` is Pearson's correlation of both recognizers' scores between unchanged faces of different
people; a judge near 1 tells little that the encoder does not.
"""

from __future__ import annotations

from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import TARGET, Cell
from anon.evaluation.harness.suite import NONE
from anon.evaluation.measures.intervals import columns, resampled
from anon.evaluation.protocol import first_of_each
from anon.metrics.correlation import correlation, pair_sums


class Identities:
    """The measure."""

    def __call__(self, cell: Cell) -> dict[str, Figure]:
        """``shared_identity``, and ``impostor_correlation`` where an encoder conditions and all probes are measured."""
        if cell.unchanged:
            return {}
        one = cell.one
        figures = {"shared_identity": _shared(cell)}
        whole = not cell.bench.is_few(one) and one.defense == NONE and one.attack == NONE
        return figures | ({"impostor_correlation": _correlation(cell)} if whole and cell.method.encoder else {})


def _shared(cell: Cell) -> Figure:
    wanted = cell.beside("wanted")
    if wanted is None:
        return Figure.absent("n/a (no fake identity)")
    first = first_of_each(cell.labels, 1)
    _, which, counts = wanted[first].unique(dim=0, return_inverse=True, return_counts=True)
    return cell.bootstrap.mean((counts[which] > 1).double(), cell.labels[first], share=True)


def _correlation(cell: Cell) -> Figure:
    found = cell.by_encoder(TARGET)
    people, place = columns(cell.bootstrap, cell.labels).unique(return_inverse=True)
    if found is None or len(people) < 2:
        return Figure.absent("n/a (one person)")
    sums = pair_sums(cell.z(TARGET), found[0], place)
    draws = correlation(sums, cell.bootstrap.weights[:, people])
    return resampled(float(correlation(sums)), draws, cell.labels)
