"""Sets that are too small for splits of their own: everyone is evaluated, and what calibrates comes from elsewhere.

    data.everyone=true           all people are evaluated, none of them calibrates or is an anchor
    suite.threshold=0.62      a distance of the judge, taken as exact
    suite.threshold=<folder>  what another evaluation (its results.json) calibrated for this judge, with its spread
    suite.reference=<name>    other data, whose background people calibrate and whose training people are anchors
    suite.enrolment=same      one picture a person is enrolled, and searched for with what becomes of it

A given threshold is looked at on the unchanged faces of the evaluated people, which it was not tuned on: a judge that
takes a tenth of the strangers there for one person, or does not find half of the people themselves, says nothing about
changed faces. Tables tell each of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from anon.errors import UserError
from anon.evaluation.document import Recognizer, read
from anon.evaluation.harness.subjects import Subjects
from anon.evaluation.harness.suite import RENDERED, SAME, Suite
from anon.evaluation.judging import settings_of
from anon.evaluation.protocol import Calibration, Data
from anon.faces.splits import EVERYONE
from anon.identity.contract import JudgeLike
from anon.identity.verification import equal_error_rate

FOUND = 0.5  # least share of unchanged faces that a judge may find


class GivenThreshold(NamedTuple):
    """Thresholds of probes against averages and of two pictures, with their spread where it is known."""

    probes: Calibration
    pictures: Calibration
    source: str  # where they are from, as tables say it


def given_threshold(suite: Suite, judge: JudgeLike) -> GivenThreshold | None:
    """What ``suite.threshold`` says; None where it says nothing.

    Raises:
        UserError: no distance, no results of a suite, or those of another judge or false accept rate.
    """
    value = suite.threshold
    if value is None:
        return None
    if isinstance(value, str) and not _is_number(value):
        return _from_results(value, suite, judge)
    if isinstance(value, bool) or not 0 < float(value) < 2:
        raise UserError(
            f"suite.threshold={value} is no cosine distance between 0 and 2, below which the judge takes two faces "
            "for one person, and no results.json of another evaluation."
        )
    exact = Calibration(float(value), math.nan, math.nan, 0)
    return GivenThreshold(exact, exact, "given and taken as exact")


def looked_at(
    given: GivenThreshold, apart: Tensor, own: Tensor, judge: JudgeLike, suite: Suite, data: str
) -> Calibration:
    """The threshold with its false accept rate and equal error rate on the unchanged faces of the evaluated people.

    Args:
        apart, own: (P, G) distances of the probes to everybody's entry, and which entries are the probes' own.

    Raises:
        UserError: the judge does not tell these people apart, or not at this threshold.
    """
    genuine, impostor = apart[own], apart[~own]
    limit = given.probes.threshold
    accepted = float((impostor < limit).double().mean()) if len(impostor) else 0.0
    eer = math.nan
    if suite.enrolment != SAME and len(genuine) and len(impostor):
        eer = equal_error_rate(genuine, impostor)[0]
    found = 1.0 if suite.enrolment == SAME else float((genuine < limit).double().mean())
    if accepted > suite.max_eer or eer > suite.max_eer or found < FOUND:
        rates = f"accepts {accepted:.1%} of the pairs of different people and {found:.1%} of those of one"
        rates += "" if math.isnan(eer) else f" (equal error rate {eer:.1%})"
        raise UserError(
            f"The judge '{judge.name}' at the distance {limit:.4g} ({given.source}) {rates} among the unchanged faces "
            f"of {data}, so what it says of changed ones means nothing; check the threshold, the judge's weights, its "
            f"mean and std and how the faces are aligned, or raise suite.max_eer ({suite.max_eer:g})."
        )
    return given.probes._replace(far=accepted, eer=eer, impostor_pairs=len(impostor))


def reference_of(suite: Suite, data: Data, given: GivenThreshold | None) -> str | None:
    """Name of the data set that thresholds and anchors are from; None: the evaluated one.

    Raises:
        UserError: everyone is evaluated, and nothing says where the judge's threshold is from.
    """
    if suite.reference is not None or not getattr(data, "everyone", False):
        return suite.reference
    if given is None:
        raise UserError(
            f"data.everyone=true leaves nobody of {data.name} to take the threshold from: say "
            "suite.threshold=<distance, or results.json of an evaluation by this judge>, or "
            "suite.reference=<name>, a data set of suite.datasets."
        )
    return RENDERED


def split_of(people: Subjects) -> str:
    """The evaluated split as tables call it."""
    return EVERYONE if people.everyone else "evaluation"


def set_notes(
    people: Subjects, suite: Suite, judge: JudgeLike, given: GivenThreshold | None, known: Calibration
) -> list[str]:
    """What a reader must know of a set that is evaluated otherwise than by its own splits.

    Args:
        known: the judge's threshold with its false accept rate.
    """
    notes = []
    if given is not None and people.pairs is None:
        notes.append(
            f"The threshold of {judge.name} is {known.threshold:.4g}, {given.source}; on the unchanged faces of "
            f"{people.name} it accepts {known.far:.2%} of {known.impostor_pairs:,} pairs of different people."
        )
    elif given is not None:
        notes.append(f"suite.threshold does not hold for {people.name}, whose pairs have those of the other folds.")
    if people.everyone:
        count = len(people.items.faces.names)
        notes.append(f"All {count:,} people of {people.name} are evaluated: none of them calibrates or is an anchor.")
    if people.reference is not None:
        others = given is not None or people.pairs is not None
        whose = "recognizers other than the judge" if others else "recognizers"
        notes.append(
            f"Anchors of fake identities are training people of {people.reference}, and thresholds of {whose} are "
            "those of its background people."
        )
    if suite.enrolment == SAME:
        notes.append(
            f"One picture of each person of {people.name} is enrolled unchanged, and searched for with what becomes of "
            "the same picture: re-identification against the original, which is easier than against another picture of "
            "the person; unchanged faces (Real) find themselves."
        )
    return notes


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _from_results(path: str, suite: Suite, judge: JudgeLike) -> GivenThreshold:
    document = read(path)
    if len(document.judges) != 1:
        raise UserError(
            f"suite.threshold='{path}' has thresholds on {len(document.judges)} data sets "
            f"({', '.join(document.judges)}); give that of one of them as a number."
        )
    ((data, known),) = document.judges.items()
    if known.fingerprint is None or known.source is not None:
        why = "was itself given" if known.source else "is of a version that did not keep which judge it is of"
        raise UserError(f"suite.threshold='{path}': the threshold there {why}; evaluate again, or give the number.")
    if known.fingerprint != settings_of(judge):
        raise UserError(
            f"suite.threshold='{path}' is of the judge '{known.name}', in other weights or settings than the judge "
            f"'{judge.name}' here; a threshold holds for one judge only: take judge=... from there."
        )
    if known.far != suite.far:
        raise UserError(
            f"suite.threshold='{path}' was taken at FAR {known.far:g}, and suite.far is {suite.far:g}; say "
            f"suite.far={known.far:g}."
        )
    probes = _calibration(path, known.threshold, known.threshold_low, known.threshold_high, known.threshold_levels)
    picture = (known.picture_threshold, known.picture_threshold_low, known.picture_threshold_high)
    pictures = _calibration(path, *picture, known.picture_threshold_levels)
    who = document.people.get(data)
    return GivenThreshold(probes, pictures, _told(known, data if who is None else who.reference or data))


def _told(known: Recognizer, data: str) -> str:
    return f"taken from {data}: FAR {known.far:g} on {known.impostor_pairs:,} pairs of its {known.split} people"


def _calibration(
    path: str, threshold: float | None, low: float | None, high: float | None, levels: Sequence[float]
) -> Calibration:
    """A threshold of a file, whose numbers are finite (:mod:`anon.evaluation.typed`) and may be any."""
    ends = [end for end in (threshold, low, high, *levels) if end is not None]
    if not threshold or not all(0 <= end <= 2 for end in ends) or len(levels) > 1000:
        raise UserError(f"suite.threshold='{path}' holds thresholds that are no cosine distances; it is damaged.")
    return Calibration(threshold, math.nan, math.nan, 0, low, high, tuple(levels))
