"""Whom an adversary enrols, by which recognizer, and where it accepts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from anon.attacks.contract import overrides
from anon.evaluation.embeddings import embedded
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.bench import Bench
from anon.evaluation.harness.built import Attacker, Method
from anon.evaluation.harness.pictures import READING, Originals, drawn, failing
from anon.evaluation.harness.readers import eye, eye_of, folded
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.subjects import Group
from anon.evaluation.harness.suite import Combination
from anon.evaluation.judging import check_adversary, check_cosine
from anon.evaluation.thresholds import Calibrated
from anon.faces.contract import to_float
from anon.provenance import code


class Armed(NamedTuple):
    """Whom an adversary enrolled, and where it accepts."""

    gallery: Gallery
    accepts: Calibrated
    anew: bool  # the threshold is the adversary's own


def by_judge(bench: Bench, data: str) -> Armed:
    """Whom the judge enrolled, and where it accepts."""
    return Armed(bench.gallery(data, bench.judge), bench.calibrations.of_probes(data, bench.judge), anew=False)


def arm(bench: Bench, one: Combination, attacker: Attacker) -> Armed:
    """The gallery of the combination's adversary: the judge's, unless it enrols or recognizes for itself.

    Then its threshold is taken anew, at the same false accept rate of probes against the enrolled, on background people
    treated as it treats those whom it enrols, by a second instance that remembers nobody of them.

    Raises:
        UserError, Failed: see :func:`anon.evaluation.judging.check_adversary`.
    """
    attack = attacker.make(bench.seed + 1)
    recognizer = attack.judge(bench.judge.recognizer)
    if recognizer is bench.judge.recognizer and not overrides(attack, "gallery"):
        return Armed(
            bench.gallery(one.data, bench.judge), bench.calibrations.of_probes(one.data, bench.judge), anew=False
        )
    check_cosine(recognizer, f"The recognizer of '{one.attack}'")
    people, suite = bench.subjects(one.data), bench.suite
    z = _enrolled(bench, people.background, attacker, bench.seed + 2, f"calibrating {one.attack}")
    accepts = bench.calibrations.anew(one.data, z, f"the adversary '{one.attack}'")
    if recognizer is not bench.judge.recognizer:
        method, own = bench.workshop.method(one), eye(recognizer)
        encoder = method.encoder if isinstance(method, Method) else None
        check_adversary(
            recognizer,
            encoder,
            suite,
            one.attack,
            accepts.found,
            lambda: bench.calibrations.of_probes(one.data, own).found,
        )
    z = _enrolled(bench, people.enrolled, attacker, bench.seed + 1, f"enrolling for {one.attack}")
    gallery = Gallery.of(z, people.enrolled.labels, people.enrolled.videos, accepts.found)
    return Armed(gallery, accepts, anew=True)


def _enrolled(bench: Bench, group: Group, attacker: Attacker, seed: int, what: str) -> Tensor:
    @torch.no_grad()
    def make() -> Tensors:
        attack = attacker.make(seed)
        fast, parts = folded(*eye_of(attack, bench.judge)), []
        for faces in Originals(group).batches(bench.suite.batch_size, what):
            known = faces.to(bench.device)
            with failing(f"the adversary, {what}"):
                seen = to_float(drawn(attack.gallery(known), known, f"The adversary, {what},")).to(bench.device)
                parts.append(embedded(fast, seen).cpu())
        return {"z": torch.cat(parts)}

    key = key_of(
        of=group.key,
        attack=attacker.key,
        judge=bench.judge.key,
        seed=seed,
        batch=bench.suite.batch_size,
        code=code(_enrolled, *READING),
    )
    return bench.store.get("enrolled", key, make)["z"]
