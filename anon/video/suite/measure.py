"""The figures of clips: who was missed, what was left, what was covered, who stays one person, how quick it was.

Of one clip intervals are over its tracks, and over its people where it is known who they are; of several clips they are
over the clips, whose faces are alike: the same room, the same light.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo, share
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.measures.temporal import Temporal
from anon.video.gate import COVERED, REASONS, UNVERIFIED, VERIFIED
from anon.video.report import STATUSES
from anon.video.suite.records import NOBODY, Record

NO_TRUTH = "n/a (nobody knows who is where in it: of rendered crowds alone)"
NO_FACE = "n/a (no face)"
NO_TRACK = "n/a (no judge saw a face of one track twice)"
#: Of the faces that the fallback covers, the share of each reason: names of figures by :data:`anon.video.gate.REASONS`.
WHY = dict(zip(("recognized", "failed", "small", "turned", "without_points"), REASONS, strict=True))
NO_FALLBACK = "n/a (no face by the fallback)"
NO_JUDGE = "needs a judge, and a method whose faces it may see: judge=<choice>"

#: Of the faces (N,) of a record: a value for each, and whose it is.
_Values = Callable[[Record], tuple[Tensor, Tensor]]


class ClipContext:
    """One clip or several, as one judge sees their tracks.

    Args:
        records: what became of them.
        resamples, seed: of the bootstrap.
        judge: which of the judges, by number; None: there is none.
    """

    def __init__(self, records: Sequence[Record], resamples: int, seed: int, judge: int | None = 0) -> None:
        self.records, self.resamples, self.seed, self.judge = list(records), resamples, seed, judge

    @property
    def known(self) -> bool:
        """Whether it is known who is where in all of them."""
        return all(record.truth is not None for record in self.records)

    def mean(self, values: _Values, shares: bool = False, absent: str = NO_FACE) -> Estimate:
        """The mean of what ``values`` gives of each record, (N,) and the people or tracks (N,) whose it is.

        Args:
            shares: values are 0 or 1.
            absent: the reason where there is none.
        """
        found = [values(record) for record in self.records]
        every = torch.cat([value.double() for value, _ in found])
        if not len(every):
            return Estimate.absent(absent)
        owners = torch.cat([self._cluster(number, whose) for number, (_, whose) in enumerate(found)])
        return Bootstrap(owners, self.resamples, self.seed).mean(every, owners, shares)

    def rate(self, above: Sequence[float], below: Sequence[float]) -> Estimate:
        """``sum(above) / sum(below)`` of one number for each clip."""
        numbers = torch.arange(len(self.records))
        by = Bootstrap(numbers, self.resamples, self.seed)
        return by.ratio(torch.tensor(above, dtype=torch.float64), torch.tensor(below, dtype=torch.float64), numbers)

    def count(self, of: Callable[[Record], int]) -> Estimate:
        """A sum over the clips: what was counted has no interval."""
        return Estimate(float(sum(map(of, self.records))), n=len(self.records))

    def _cluster(self, number: int, whose: Tensor) -> Tensor:
        return whose.long() if len(self.records) == 1 else torch.full((len(whose),), number)


class OfClips:
    """The measure."""

    metrics: ClassVar[Mapping[str, MetricInfo]] = {
        "faces_due": MetricInfo("faces due", "cost", low=0.0, whole=True),
        "missed_faces": MetricInfo("missed faces", "privacy", False, low=0.0, judged=False, whole=True),
        "missed": share("missed", "privacy", False, judged=False),
        "unchanged_faces": MetricInfo("unchanged faces", "privacy", False, low=0.0, judged=False, whole=True),
        "unchanged": share("unchanged", "privacy", False, judged=False),
        "filled_in": share("filled in", "cost", None),
        "fallback": share("by the fallback", "utility", False, judged=False),
        **{f"fallback_{name}": share(reason, "utility", None, judged=False) for name, reason in WHY.items()},
        "verified": share("verified", "privacy", None, judged=False),
        "covered": share("covered", "privacy", None, judged=False),
        "unverified": share("unverified", "privacy", False, judged=False),
        "tracks": MetricInfo("tracks", "cost", low=0.0, whole=True),
        "switches": MetricInfo("identity switches", "utility", False, low=0.0, whole=True),
        "false_tracks": MetricInfo("boxes of nobody", "cost", False, low=0.0, whole=True),
        "frames": MetricInfo("frames", "cost", low=0.0, whole=True),
        "frames_per_second": MetricInfo("frames/s", "cost", True, low=0.0),
        "M_tc_mu": Temporal.metrics["M_tc_mu"],
        "M_tc_mu_before": MetricInfo("M_tc mu, originals", "utility", None, low=0.0, judged=True),
        "M_tc_sigma": Temporal.metrics["M_tc_sigma"],
        "M_tc_sigma_before": MetricInfo("M_tc sigma, originals", "utility", None, low=0.0, judged=True),
    }

    def __call__(self, context: ClipContext) -> dict[str, Estimate]:
        """All of :attr:`metrics`; those that a judge gives are the context's judge's."""
        found = {
            "frames": context.count(lambda record: record.frames),
            "tracks": context.count(lambda record: len(record.faces[:, 0].unique())),
            "filled_in": context.mean(_filled, shares=True),
            "fallback": context.mean(_fallback, shares=True),
            **{
                f"fallback_{name}": context.mean(_for(reason), shares=True, absent=NO_FALLBACK)
                for name, reason in WHY.items()
            },
            **{name: context.mean(_of_status(name), shares=True) for name in (VERIFIED, COVERED, UNVERIFIED)},
            "frames_per_second": context.rate(
                [record.frames for record in context.records], [record.seconds for record in context.records]
            ),
        }
        return found | (_by_truth(context) if context.known else _by_tracks(context)) | _consistency(context)


def _by_truth(context: ClipContext) -> dict[str, Estimate]:
    """Of clips of which it is known who is where."""
    return {
        "faces_due": context.count(lambda record: len(_due(record))),
        "missed_faces": context.count(lambda record: int(_due(record)[:, 1].sum())),
        "missed": context.mean(lambda record: (_due(record)[:, 1], _due(record)[:, 0]), shares=True),
        "unchanged_faces": context.count(lambda record: int(_due(record)[:, 2].sum())),
        "unchanged": context.mean(lambda record: (_due(record)[:, 2], _due(record)[:, 0]), shares=True),
        "switches": context.count(lambda record: record.mot.switches if record.mot else 0),
        "false_tracks": context.count(lambda record: record.mot.false_positives if record.mot else 0),
    }


def _by_tracks(context: ClipContext) -> dict[str, Estimate]:
    """Of others: due is whom the detector finds, or a track leads over; whom both miss nobody knows."""
    unknown = ("missed_faces", "missed", "switches", "false_tracks")
    return dict.fromkeys(unknown, Estimate.absent(NO_TRUTH)) | {
        "faces_due": context.count(lambda record: len(_left(record)[0])),
        "unchanged_faces": context.count(lambda record: int(_left(record)[0].sum())),
        "unchanged": context.mean(_left, shares=True),
    }


def _consistency(context: ClipContext) -> dict[str, Estimate]:
    """M_tc of the faces that the method drew, and of what they were, mean over tracks (FIVA, eq. 7)."""
    names = ("M_tc_mu_before", "M_tc_mu", "M_tc_sigma_before", "M_tc_sigma")
    if context.judge is None:
        return dict.fromkeys(names, Estimate.absent(NO_JUDGE))
    return {name: context.mean(_of_judge(context.judge, place), absent=NO_TRACK) for place, name in enumerate(names, 1)}


def _of_judge(judge: int, place: int) -> _Values:
    return lambda record: (record.consistency[judge][:, place], record.consistency[judge][:, 0])


def _of_status(name: str) -> _Values:
    return lambda record: (record.faces[:, 1] == STATUSES.index(name), record.faces[:, 0])


def _filled(record: Record) -> tuple[Tensor, Tensor]:
    return record.faces[:, 2], record.faces[:, 0]


def _fallback(record: Record) -> tuple[Tensor, Tensor]:
    return record.fallbacks >= 0, record.faces[:, 0]


def _for(reason: str) -> _Values:
    """Of the faces that the fallback covers, whether it does for that reason."""

    def values(record: Record) -> tuple[Tensor, Tensor]:
        rows = record.fallbacks >= 0
        place = record.reasons.index(reason) if reason in record.reasons else len(record.reasons)
        return record.fallbacks[rows] == place, record.faces[rows, 0]

    return values


def _left(record: Record) -> tuple[Tensor, Tensor]:
    """Whether each face is unchanged, without those of which the frame shows nothing; and its track."""
    rows = record.faces[:, 3] != NOBODY
    return record.faces[rows, 3], record.faces[rows, 0]


def _due(record: Record) -> Tensor:
    assert record.truth is not None
    return record.truth
