"""Thresholds of recognizers on one data set, each made once: from background people, its pairs, or given."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anon.evaluation import protocol as rules
from anon.evaluation.gallery import templates
from anon.evaluation.harness.pictures import Originals, Pictures
from anon.evaluation.harness.readers import KeyedRecognizer
from anon.evaluation.harness.small_sets import GivenThreshold, looked_at
from anon.evaluation.harness.subjects import Subjects
from anon.evaluation.harness.suite import Suite
from anon.evaluation.judging import check_recognizes
from anon.evaluation.pairs import Scale, calibrated_pairs, scale_of
from anon.evaluation.thresholds import Calibrated, as_given, calibrated, calibrated_probes
from anon.identity.verification import distances


class Calibrations:
    """Of probes against the enrolled, as ID and RA compare, and of pictures against each other.

    Args:
        suite: the rules.
        judge: the recognizer whose threshold may be given, and who must recognize.
        given: its threshold from elsewhere; None: from the background people.
        seed: of the resampling.
        subjects: the people of a data set.
        z: embeddings of pictures by a recognizer.
    """

    def __init__(
        self,
        suite: Suite,
        judge: KeyedRecognizer,
        given: GivenThreshold | None,
        seed: int,
        subjects: Callable[[str], Subjects],
        z: Callable[[Pictures, KeyedRecognizer], Tensor],
    ) -> None:
        self.suite, self.judge, self.given, self.seed = suite, judge, given, seed
        self.subjects, self.z = subjects, z
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
            made = self.anew(data, self.z(Originals(self.subjects(data).background), by), by.recognizer.name)
        if by is self.judge:
            check_recognizes(made.found, by.recognizer, self.suite)
        return made

    def of_pictures(self, data: str, by: KeyedRecognizer) -> rules.Calibration:
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
            self._made[name] = calibrated(z, labels, suite.far, by.recognizer.name, suite.resamples, self.seed)
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
            self._pairs[data] = scale_of(people.pairs, real, self.suite.far, people.bootstrap)
        return self._pairs[data]

    def anew(self, data: str, z: Tensor, who: str) -> Calibrated:
        """The threshold of probes against the enrolled from embeddings (N, D) of the background pictures."""
        people, suite = self.subjects(data), self.suite
        group, roles = people.background, people.calibrating
        return calibrated_probes(z, group.labels, group.videos, roles, suite.far, who, suite.resamples, self.seed)

    def _looked_at(self, data: str, given: GivenThreshold) -> rules.Calibration:
        people = self.subjects(data)
        probes = self.z(Originals(people.items), self.judge)[people.probes]
        z = self.z(Originals(people.enrolled), self.judge)
        entries, owners = templates(z, people.enrolled.labels, people.enrolled.videos)
        own = people.items.labels[people.probes][:, None] == owners[None]
        return looked_at(given, distances(probes, entries), own, self.judge.recognizer, self.suite, people.name)
