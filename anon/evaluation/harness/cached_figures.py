"""Figures of a measure on a combination, kept under the keys of all that it could look at.

A measure that resamples matrices takes seconds; a second run of the same evaluation takes none. The key holds every
picture, reader, gallery and setting of the context and the code of the measure and of the context, so it may be too
careful, never wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from anon.errors import Failed
from anon.evaluation.bootstrap import Bootstrap
from anon.evaluation.estimates import Estimate
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.adversary import adversary_of
from anon.evaluation.harness.calibrations import Calibrations
from anon.evaluation.harness.context import Measure, MeasureContext
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Tensors, key_of
from anon.provenance import code, made_of

# What a measure can call.
_CODE = (MeasureContext, adversary_of, Stages.rows, Stages.gallery, Calibrations, Bootstrap, Gallery)
BESIDE = ("draws", "each")  # tensors of a figure


def figures_of(measure: Measure, settings: Mapping[str, Any], context: MeasureContext) -> dict[str, Estimate]:
    """``measure(context)``, or what is kept of it.

    Args:
        settings: the measure's configuration.
    """
    key = key_of(made_by=[made_of(settings), context.stages.made_of(measure), code(*_CODE)], context=context.keys)
    return _decoded(context.stages.store.get("figures", key, lambda: _encoded(_made(measure, context))))


def _made(measure: Measure, context: MeasureContext) -> dict[str, Estimate]:
    """
    Raises:
        Failed: the measure gave no figures by name.
    """
    found = measure(context)
    if not isinstance(found, Mapping) or not all(isinstance(figure, Estimate) for figure in found.values()):
        what = type(found).__name__ if not isinstance(found, Mapping) else "other things than figures"
        raise Failed(f"the measure {type(measure).__name__} gave {what}, not a Figure for each name")
    return dict(found)


def _encoded(figures: Mapping[str, Estimate]) -> Tensors:
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


def _decoded(kept: Tensors) -> dict[str, Estimate]:
    words = json.loads(bytes(kept["words"].tolist()))
    found = {}
    for (name, reason, n), row in zip(words, kept["numbers"].tolist(), strict=True):
        value, low, high = (None if math.isnan(part) else part for part in row)
        found[name] = Estimate(value, low, high, reason, n, *(kept.get(f"{kind} {name}") for kind in BESIDE))
    return found
