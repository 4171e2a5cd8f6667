"""What a clip says of the heart after it was anonymized: the pulse that is read of the face, against the true one.

    pulse_error_<by>   mean absolute error of the rate, beats a minute
    pulse_snr_<by>     how clearly the true rate stands out, decibels

by POS and by CHROM (:mod:`anon.attributes.pulse`), of the mean colour of the same box of every frame. Whoever wants the
pulse for telemedicine wants the error low; whoever publishes clips may want it high. A rate that is guessed has an
error, too: rates are drawn between 50 and 120, so that always saying 85 is 17.5 off in the mean. Only of data that know
the rate (``data=synthetic_pulse``), as intervals over people.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from anon.attributes.pulse import chrom, heart_rate, passed, pos, signal_to_noise, skin_means
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.context import PUBLISHED, MeasureContext
from anon.evaluation.harness.suite import NONE

_BY = {"POS": pos, "CHROM": chrom}


class Pulse:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        **{
            f"pulse_error_{by}": MetricInfo(f"pulse error, {by}", "utility", False, "beats a minute", low=0.0)
            for by in _BY
        },
        **{f"pulse_snr_{by}": MetricInfo(f"pulse SNR, {by}", "utility", True, "dB") for by in _BY},
    }

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]:
        """The figures; nothing of data without a pulse, or with an attack."""
        rates = context.people.truth.get("pulse")
        if rates is None or context.one.attack != NONE:
            return {}
        faces = context.people.items.faces
        clips, fps, length = context.people.clips, getattr(faces, "fps", None), getattr(faces, "length", None)
        if len(clips) == 0 or fps is None:
            return dict.fromkeys(self.metrics, Estimate.absent("n/a (no clips)"))
        if clips.shape[1] != length:  # frames with others between them would tell a faster heart
            way_out = f"n/a ({clips.shape[1]} of {length} frames; suite.clip_frames={length} takes all)"
            return dict.fromkeys(self.metrics, Estimate.absent(way_out))
        colours = context.of_items().applied("skin colour", skin_means, PUBLISHED)
        figures: dict[str, Estimate] = {}
        for by, read in _BY.items():
            found = torch.tensor([_read(read(colours[clip], fps), fps, float(rates[clip[0]])) for clip in clips])
            for name, values in (("error", found[:, 0]), ("snr", found[:, 1])):
                figures[f"pulse_{name}_{by}"] = context.known_mean(values.double(), labels=context.clip_labels)
        return figures


def _read(signal: Tensor, fps: float, rate: float) -> tuple[float, float]:
    """Absolute error in beats a minute and signal to noise in decibels; NaN where nothing moves."""
    signal = passed(signal, fps)
    return abs(heart_rate(signal, fps) - rate), signal_to_noise(signal, fps, rate)
