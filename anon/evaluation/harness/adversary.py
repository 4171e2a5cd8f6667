"""Whom an adversary enrols, by which recognizer, and where it accepts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.attacks.contract import overrides
from anon.evaluation.embeddings import embedded
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.built import Attacker, Method
from anon.evaluation.harness.pictures import READING, Originals, drawn, failing
from anon.evaluation.harness.readers import adversary_recognizer, folded, keyed_recognizer
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.subjects import Group
from anon.evaluation.harness.suite import Combination
from anon.evaluation.judging import check_adversary, check_cosine
from anon.evaluation.thresholds import Calibrated
from anon.faces.contract import to_float
from anon.provenance import code


class Adversary(NamedTuple):
    """Whom an adversary enrolled, and where it accepts."""

    gallery: Gallery
    accepts: Calibrated
    anew: bool  # the threshold is the adversary's own


def by_judge(stages: Stages, data: str) -> Adversary:
    """Whom the judge enrolled, and where it accepts."""
    return Adversary(stages.gallery(data, stages.judge), stages.calibrations.of_probes(data, stages.judge), anew=False)


def adversary_of(stages: Stages, one: Combination, attacker: Attacker) -> Adversary:
    """The gallery of the combination's adversary: the judge's, unless it enrols or recognizes for itself.

    Then its threshold is taken anew, at the same false accept rate of probes against the enrolled, on background people
    treated as it treats those whom it enrols, by a second instance that remembers nobody of them.

    Raises:
        UserError, Failed: see :func:`anon.evaluation.judging.check_adversary`.
    """
    attack = attacker.make(stages.seed + 1)
    recognizer = attack.judge(stages.judge.recognizer)
    if recognizer is stages.judge.recognizer and not overrides(attack, "gallery"):
        return Adversary(
            stages.gallery(one.data, stages.judge), stages.calibrations.of_probes(one.data, stages.judge), anew=False
        )
    check_cosine(recognizer, f"The recognizer of '{one.attack}'")
    people, suite = stages.subjects(one.data), stages.suite
    z = _enrolled(stages, people.background, attacker, stages.seed + 2, f"calibrating {one.attack}")
    accepts = stages.calibrations.anew(one.data, z, f"the adversary '{one.attack}'")
    if recognizer is not stages.judge.recognizer:
        method, own = stages.factory.method(one), keyed_recognizer(recognizer)
        encoder = method.encoder if isinstance(method, Method) else None
        check_adversary(
            recognizer,
            encoder,
            suite,
            one.attack,
            accepts.found,
            lambda: stages.calibrations.of_probes(one.data, own).found,
        )
    z = _enrolled(stages, people.enrolled, attacker, stages.seed + 1, f"enrolling for {one.attack}")
    gallery = Gallery.of(z, people.enrolled.labels, people.enrolled.videos, accepts.found)
    return Adversary(gallery, accepts, anew=True)


def _enrolled(stages: Stages, group: Group, attacker: Attacker, seed: int, what: str) -> Tensor:
    @torch.no_grad()
    def make() -> Tensors:
        attack = attacker.make(seed)
        fast, parts = folded(*adversary_recognizer(attack, stages.judge)), []
        for faces in Originals(group).batches(stages.suite.batch_size, what):
            known = faces.to(stages.device)
            with failing(f"the adversary, {what}"):
                seen = to_float(drawn(attack.gallery(known), known, f"The adversary, {what},")).to(stages.device)
                parts.append(embedded(fast, seen).cpu())
        return {"z": torch.cat(parts)}

    key = key_of(
        of=group.key,
        attack=attacker.key,
        judge=stages.judge.key,
        seed=seed,
        batch=stages.suite.batch_size,
        code=code(_enrolled, *READING),
    )
    return stages.store.get("enrolled", key, make)["z"]
