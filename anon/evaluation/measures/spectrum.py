"""Is the change a pattern or another face: the share of its power at high spatial frequencies.

    change_hf   of published minus original, above half the Nyquist frequency
    faces_hf    the same of the original faces themselves
    hf_ratio    change_hf / faces_hf: 1, the change is as fine as faces are; far above, a pattern

What a filter takes away belongs to its change, too: blur and noise have high shares and are no patterns. It says what a
change is made of, not how large it is (:mod:`anon.evaluation.measures.picture`). Faces that did not change have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.harness.context import TARGET, MeasureContext
from anon.evaluation.harness.suite import NONE
from anon.metrics.spectrum import HighFrequencyShare, band_power, change_power, share_of

UNCHANGED = "n/a (no face changed)"
FLAT = "n/a (the faces have no fine detail)"


class Spectrum:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "change_hf": share("fine detail of the change", "quality", HighFrequencyShare.higher_is_better),
        "faces_hf": share("fine detail of faces", "quality", None),
        "hf_ratio": MetricInfo("HF ratio", "quality", HighFrequencyShare.higher_is_better, low=0.0),
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; of unchanged faces their own share alone, and nothing with an attack."""
        if context.one.attack != NONE:
            return {}
        faces = share_of(context.applied("band power", band_power, TARGET))
        if context.unchanged and context.one.defense == NONE:
            return {"faces_hf": context.known_mean(faces)}
        change = share_of(context.compared("change power", change_power))
        both = ~(change.isnan() | faces.isnan())
        figures = {"change_hf": context.known_mean(change), "faces_hf": context.known_mean(faces)}
        if not bool((~change.isnan()).any()):
            return figures | dict.fromkeys(("change_hf", "hf_ratio"), Estimate.absent(UNCHANGED))
        if not bool((faces[both] > 0).any()):
            return figures | {"hf_ratio": Estimate.absent(FLAT)}
        ratio = context.bootstrap.ratio(change[both], faces[both], context.labels[both])
        return figures | {"hf_ratio": ratio}
