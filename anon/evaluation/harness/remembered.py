"""Figures of a measure on a combination, kept under the keys of all that it could look at.

A measure that resamples matrices takes seconds; a second run of the same evaluation takes none. The key holds every
picture, reader, gallery and setting of the cell and the source of the measures and metrics, so it may be too careful
(a change of one measure makes the figures of all again, from what is kept of pictures and embeddings), never wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from anon.evaluation.figures import Figure
from anon.evaluation.harness.cell import Cell, Measure
from anon.evaluation.harness.readers import files_of
from anon.evaluation.harness.store import Tensors, code, key_of, made_of

_CODE = (
    *("metrics", "attributes", "identity", "evaluation/measures", "evaluation/harness/cell", "evaluation/bootstrap"),
    *("evaluation/shares", "evaluation/thresholds", "evaluation/protocol", "evaluation/gallery"),
)
BESIDE = ("draws", "each")  # tensors of a figure


def figures_of(measure: Measure, settings: Mapping[str, Any], cell: Cell) -> dict[str, Figure]:
    """``measure(cell)``, or what is kept of it.

    Args:
        settings: the measure's configuration.
    """
    made_by = [settings, files_of(settings), made_of(measure), code(*_CODE)]
    key = key_of(made_by=made_by, cell=cell.keys)
    return _decoded(cell.bench.store.get("figures", key, lambda: _encoded(measure(cell))))


def _encoded(figures: Mapping[str, Figure]) -> Tensors:
    """Names and reasons as bytes of JSON, numbers, draws and people's values as tensors."""
    words = [[name, figure.reason, figure.n] for name, figure in figures.items()]
    numbers = [
        [math.nan if part is None else part for part in (figure.value, figure.low, figure.high)]
        for figure in figures.values()
    ]
    found = {
        "words": torch.tensor(list(json.dumps(words).encode()), dtype=torch.uint8),
        "numbers": torch.tensor(numbers, dtype=torch.float64).view(-1, 3),
    }
    beside = ((f"{kind} {name}", getattr(figure, kind)) for kind in BESIDE for name, figure in figures.items())
    return found | {name: tensor for name, tensor in beside if tensor is not None}


def _decoded(kept: Tensors) -> dict[str, Figure]:
    words = json.loads(bytes(kept["words"].tolist()))
    found = {}
    for (name, reason, n), row in zip(words, kept["numbers"].tolist(), strict=True):
        value, low, high = (None if math.isnan(part) else part for part in row)
        found[name] = Figure(value, low, high, reason, n, *(kept.get(f"{kind} {name}") for kind in BESIDE))
    return found
