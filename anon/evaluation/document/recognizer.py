"""The judges of an evaluation, with their thresholds, and how alike two of them are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recognizer:
    """A judge with its calibrated thresholds and their 95 % intervals, and on what they were calibrated.

    ``threshold``: of probes against enrolled averages, as ID and RA compare; ``impostor_pairs``, ``far_achieved`` and
    ``eer`` are of such pairs. ``picture_threshold``: of two pictures, as ``ID_per_image`` and ``deidentified`` have
    it; None in results of versions that had one threshold, of pictures, for both. ``..._levels`` are quantiles of each
    over resampled people. ``source``: where a threshold that was given came from; then FAR and EER are those on the
    ``split`` that is evaluated, the EER None where a picture is compared with itself. ``fingerprint``: of the judge's
    weights and settings. Of a panel's judges: ``architecture``, the network's class where there is one, and ``kin``,
    the methods whose encoder learned from the same people.
    """

    name: str
    metric: str
    threshold: float
    far: float  # wanted
    far_achieved: float
    impostor_pairs: int
    eer: float | None
    split: str = "background"
    threshold_low: float | None = None
    threshold_high: float | None = None
    picture_threshold: float | None = None
    picture_threshold_low: float | None = None
    picture_threshold_high: float | None = None
    threshold_levels: tuple[float, ...] = ()
    picture_threshold_levels: tuple[float, ...] = ()
    source: str | None = None
    fingerprint: str | None = None
    architecture: str | None = None
    kin: tuple[str, ...] = ()


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of two judges' scores between different background people of a data set."""

    data: str
    first: str
    second: str
    value: float
