"""Thresholds of recognizers on one data set, each made once: from background people, its pairs, or given.

Sets that are too small for splits of their own are evaluated whole, and what calibrates comes from elsewhere:

    data.everyone=true           all people are evaluated, none of them calibrates or is an anchor
    suite.threshold=0.62         a distance of the judge, taken as exact
    suite.threshold=<folder>     what another evaluation (its results.json) calibrated for this judge, with its spread
    suite.threshold={a: .62, b: <folder>}   one or the other of each judge of a panel, by their names
    suite.reference=<name>       other data, whose background people calibrate and whose training people are anchors
    suite.enrolment=same         one picture a person is enrolled, and searched for with what becomes of it

A given threshold is looked at on the unchanged faces of the evaluated people, which it was not tuned on: a judge that
takes a tenth of the strangers there for one person, or does not find half of the people themselves, says nothing about
changed faces. Tables tell each of these.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from anon.errors import UserError
from anon.evaluation.document import Recognizer, read
from anon.evaluation.harness.pictures import KeyedRecognizer, Originals
from anon.evaluation.harness.subjects import Subjects
from anon.evaluation.harness.suite import RENDERED, SAME, Suite
from anon.evaluation.judges.gallery import templates
from anon.evaluation.judges.judging import check_recognizes, settings_of
from anon.evaluation.judges.pairs import Scale, calibrated_pairs, scale_of
from anon.evaluation.judges.thresholds import Calibrated, as_given, calibrated, calibrated_probes
from anon.evaluation.protocol import Calibration, Data
from anon.faces.splits import EVERYONE
from anon.identity.contract import DISTANCES, JudgeLike
from anon.identity.verification import distances, equal_error_rate

if TYPE_CHECKING:
    from anon.evaluation.harness.stages import Stages

FARTHEST = {"cosine": 2.0, "euclidean": math.inf}  # beyond any distance
FOUND = 0.5  # least share of unchanged faces that a judge may find


class GivenThreshold(NamedTuple):
    """Thresholds of probes against averages and of two pictures, with their spread where it is known."""

    probes: Calibration
    pictures: Calibration
    source: str  # where they are from, as tables say it


class Calibrations:
    """Of probes against the enrolled, as ID and RA compare, and of pictures against each other.

    The judge's may be given, and the judge must recognize.
    """

    def __init__(self, stages: Stages) -> None:
        self.suite, self.judge, self.given, self.seed = stages.suite, stages.judge, stages.given, stages.seed
        self.subjects, self.z = stages.subjects, stages.z
        self._made: dict[tuple[str, str, str], Calibrated] = {}
        self._pairs: dict[str, Scale] = {}

    def of_probes(self, data: str, by: KeyedRecognizer) -> Calibrated:
        """A recognizer's threshold of probes against the enrolled.

        Raises:
            UserError: the judge does not recognize, or there are too few people for the FAR.
        """
        name = (data, by.key, "probes")
        if name not in self._made:
            self._made[name] = self._of_probes(data, by)
        return self._made[name]

    def _of_probes(self, data: str, by: KeyedRecognizer) -> Calibrated:
        if by is self.judge and self.by_pairs(data):
            made = calibrated_pairs(self.of_pairs(data))
        elif by is self.judge and self.given is not None:
            return as_given(self._looked_at(data, self.given))  # looked at in a way of its own
        else:
            z, judge = self.z(Originals(self.subjects(data).background), by), by.recognizer
            made = self.anew(data, z, judge.name, judge.metric)
        if by is self.judge:
            check_recognizes(made.found, by.recognizer, self.suite)
        return made

    def of_pictures(self, data: str, by: KeyedRecognizer) -> Calibration:
        """A recognizer's threshold of two pictures.

        Raises:
            UserError: there are too few people for the FAR.
        """
        if by is self.judge and self.by_pairs(data):
            return self.of_probes(data, by).found
        if by is self.judge and self.given is not None:
            return self.given.pictures
        name = (data, by.key, "pictures")
        if name not in self._made:
            people, suite = self.subjects(data), self.suite
            which = people.calibrating.pictures
            z, labels = self.z(Originals(people.background), by)[which], people.background.labels[which]
            judge = by.recognizer
            self._made[name] = calibrated(z, labels, suite.far, judge.name, suite.resamples, self.seed, judge.metric)
        return self._made[name].found

    def by_pairs(self, data: str) -> bool:
        """Whether the judge's thresholds are those of the unchanged pairs that the data set brings."""
        return self.subjects(data).pairs is not None

    def of_pairs(self, data: str) -> Scale:
        """The unchanged pairs that the data set brings, by the judge, and their thresholds."""
        if data not in self._pairs:
            people = self.subjects(data)
            assert people.pairs is not None
            groups = (people.enrolled, people.items)  # each first photograph is enrolled or, elsewhere, a second
            found = torch.cat([self.z(Originals(group), self.judge) for group in groups])
            real = torch.full((len(people.items.faces), found.shape[1]), torch.nan)
            real[torch.cat([group.indices for group in groups])] = found
            metric = self.judge.recognizer.metric
            self._pairs[data] = scale_of(people.pairs, real, self.suite.far, people.bootstrap, metric)
        return self._pairs[data]

    def anew(self, data: str, z: Tensor, who: str, metric: str) -> Calibrated:
        """The threshold of probes against the enrolled from embeddings (N, D) of the background pictures."""
        people, suite = self.subjects(data), self.suite
        group, roles = people.background, people.calibrating
        how = (suite.far, who, suite.resamples, self.seed, metric)
        return calibrated_probes(z, group.labels, group.videos, roles, *how)

    def _looked_at(self, data: str, given: GivenThreshold) -> Calibration:
        people = self.subjects(data)
        probes = self.z(Originals(people.items), self.judge)[people.probes]
        z = self.z(Originals(people.enrolled), self.judge)
        metric = self.judge.recognizer.metric
        entries, owners = templates(z, people.enrolled.labels, people.enrolled.videos, metric)
        own = people.items.labels[people.probes][:, None] == owners[None]
        return looked_at(given, distances(probes, entries, metric), own, self.judge.recognizer, self.suite, people.name)


def given_threshold(suite: Suite, judge: JudgeLike) -> GivenThreshold | None:
    """What ``suite.threshold`` says; None where it says nothing.

    Raises:
        UserError: no distance, no results of an evaluation, or those of another judge or false accept rate.
    """
    value = suite.threshold.get(judge.name) if isinstance(suite.threshold, Mapping) else suite.threshold
    if value is None:
        return None
    if isinstance(value, str) and not _is_number(value):
        return _from_results(value, suite, judge)
    if isinstance(value, bool) or not 0 < float(value) < FARTHEST[judge.metric]:
        kind = f"{DISTANCES[judge.metric]} {'between 0 and 2' if judge.metric == 'cosine' else 'above 0'}"
        raise UserError(
            f"suite.threshold={value} is no {kind}, below which the judge takes two faces "
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
    if suite.sources is not None:
        notes.append(f"Whoever is swapped in is of the data set {suite.sources}, and found among those enrolled there.")
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
    known = next((each for each in document.panel.get(data, ()) if each.fingerprint == settings_of(judge)), known)
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
    most = FARTHEST[judge.metric]
    limits = (known.threshold, known.threshold_low, known.threshold_high)
    probes = _calibration(path, most, *limits, known.threshold_levels)
    limits_of_pictures = (known.picture_threshold, known.picture_threshold_low, known.picture_threshold_high)
    pictures = _calibration(path, most, *limits_of_pictures, known.picture_threshold_levels)
    who = document.people.get(data)
    return GivenThreshold(probes, pictures, _told(known, data if who is None else who.reference or data))


def _told(known: Recognizer, data: str) -> str:
    return f"taken from {data}: FAR {known.far:g} on {known.impostor_pairs:,} pairs of its {known.split} people"


def _calibration(
    path: str, most: float, threshold: float | None, low: float | None, high: float | None, levels: Sequence[float]
) -> Calibration:
    """A threshold of a file, whose numbers are finite (:mod:`anon.evaluation.document.typed`) and may be any.

    Args:
        most: the largest distance that there is.
    """
    ends = [end for end in (threshold, low, high, *levels) if end is not None]
    if not threshold or not all(0 <= end <= most for end in ends) or len(levels) > 1000:
        raise UserError(f"suite.threshold='{path}' holds thresholds that are no distances of the judge; it is damaged.")
    return Calibration(threshold, math.nan, math.nan, 0, low, high, tuple(levels))
