"""The stages between a data set and a figure; each is kept in the store under the keys of what it was made from.

    pictures -> changed -> defended -> attacked        any of them -> embeddings, readings, detections, comparisons

Pictures are kept in eight bits, as they are published, and everything is measured on those, so a figure does not depend
on whether its pictures were just drawn or lay in the store. Every unit is drawn by a fresh copy of its anonymizer (no
memory of other units) with its own random generator, so it does not depend on their order either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.composed import Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.contract import AttackLike, overrides
from anon.attacks.linear import Pairs
from anon.attributes.contract import check_readings
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended
from anon.defenses.parameters import ParameterNoise
from anon.errors import Failed
from anon.evaluation import protocol as rules
from anon.evaluation.gallery import Gallery
from anon.evaluation.harness.built import KeyedDefense, LearningPairs, Method, Unavailable
from anon.evaluation.harness.calibrations import Calibrations
from anon.evaluation.harness.factory import Factory
from anon.evaluation.harness.inputs import Turned
from anon.evaluation.harness.pictures import IMAGES, READING, Originals, Pictures, drawn, drawn_by, failing
from anon.evaluation.harness.readers import (
    KeyedRecognizer,
    Readers,
    adversary_recognizer,
    as_it_conditions,
    embeddings,
    folded,
    keyed_recognizer,
)
from anon.evaluation.harness.small_sets import given_threshold, reference_of
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.evaluation.harness.subjects import Group, Subjects, images_at, keyed, subjects
from anon.evaluation.harness.suite import CLEAN, NONE, SAME, Combination, Suite
from anon.evaluation.judging import check_cosine, kinship_notes
from anon.evaluation.modes import Basis
from anon.evaluation.provenance import Provenance
from anon.faces.folder import EmptySplit
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.metrics.detection_confidence import best_detections
from anon.provenance import code, made_of

NO_POSE = "needs attributes=<choice> (which faces are turned away is not known)"


class Stages:
    """The stages.

    Args:
        suite: the choices.
        datasets: data modules by name.
        judge: the recognizer that measures.
        tools: other readers of faces.
        store: keeps everything.
        seed: of all randomness.
        device: of networks.
    """

    def __init__(
        self,
        suite: Suite,
        datasets: Callable[[str], rules.Data],
        judge: JudgeLike,
        readers: Readers,
        store: Store,
        seed: int,
        device: torch.device,
    ) -> None:
        check_cosine(judge, "The judge")
        self.suite, self.datasets, self.readers, self.store, self.seed, self.device = (
            suite,
            datasets,
            readers,
            store,
            seed,
            device,
        )
        self.judge = keyed_recognizer(judge)
        self.given = given_threshold(suite, judge)
        self.provenance = Provenance(suite)
        self.factory = Factory(suite, judge, device, self._basis, self.known, self._pairs)
        self._subjects: dict[str, Subjects] = {}
        self._attackers: dict[str, Group] = {}
        self.calibrations = Calibrations(suite, self.judge, self.given, seed, self.subjects, self.z)
        self._compared: set[tuple[str, str]] = set()
        self._conditioning: dict[int, KeyedRecognizer] = {}  # they hold their encoders, so that no id is used twice
        self._hashes: dict[int, tuple[object, str]] = {}

    def made_of(self, part: object) -> str:
        """:func:`anon.provenance.made_of`, once for each part of an evaluation."""
        if id(part) not in self._hashes:
            self._hashes[id(part)] = part, made_of(part)
        return self._hashes[id(part)][1]

    # who is evaluated

    def subjects(self, data: str) -> Subjects:
        """The people of a data set."""
        if data not in self._subjects:
            suite = self.suite
            made, basis = self._data(data)
            self._subjects[data] = subjects(
                made, suite, suite.attacked_probes, self.seed, basis, suite.enrolment == SAME
            )
        return self._subjects[data]

    def _data(self, name: str) -> tuple[rules.Data, rules.Data | None]:
        """A data set, and the other that calibrates in its place, if there is one."""
        made = self.datasets(name)
        other = reference_of(self.suite, made, self.given)
        return made, None if other in (None, name) else self.datasets(cast(str, other))

    def conditioning(self, encoder: Encoder) -> KeyedRecognizer:
        """The recognizer that conditions a generator, as it conditions; hashed once."""
        if id(encoder) not in self._conditioning:
            self._conditioning[id(encoder)] = keyed_recognizer(as_it_conditions(encoder))
        return self._conditioning[id(encoder)]

    def compare_judge(self, one: Combination) -> None:
        """Note where the judge takes the same strangers for alike as the encoder of the combination's method."""
        method = self.factory.method(one)
        if isinstance(method, Method) and method.encoder is not None and (one.data, one.method) not in self._compared:
            self._compared.add((one.data, one.method))
            group = self.subjects(one.data).background
            z = [self.z(Originals(group), by) for by in (self.judge, self.conditioning(method.encoder))]
            for note in kinship_notes(self.judge.recognizer, z[0], z[1], group.labels, method.title):
                self.factory.tell(note)

    def gallery(self, data: str, by: KeyedRecognizer) -> Gallery:
        """The enrolled people as a recognizer sees them, with its threshold."""
        group, found = self.subjects(data).enrolled, self.calibrations.of_probes(data, by).found
        return Gallery.of(self.z(Originals(group), by), group.labels, group.videos, found)

    def _basis(self, data: str, encoder: Encoder) -> Basis:
        by, people = self.conditioning(encoder), self.subjects(data)

        def anchors() -> Tensor:
            z = self.z(Originals(people.anchors), by)
            return rules.anchors(z, people.anchors.labels, self.suite.anchors, self.seed).to(self.device)

        def threshold() -> float:
            return self.calibrations.of_pictures(data, by).threshold

        return Basis(anchors, lambda: self.z(Originals(people.background), by), threshold)

    def known(self, part: object, title: str, data: str) -> None:
        """See that no network in ``part`` knows the evaluation people of a data set.

        Raises:
            UserError: one does, and that is not allowed.
        """
        made = self.datasets(data)
        faces = made.faces("evaluation")  # their names: no picture is read
        self.provenance.check(part, title, faces.names, bool(faces.synthetic), made.name)

    # what is drawn

    def rows(self, one: Combination) -> Tensor:
        """Places (R,) among the items of the probes that the combination is measured on: all, or the few.

        An input that chooses faces (turned away) does so by what the data knows of their pose, else by the estimator's
        reading; there may be none.
        """
        people = self.subjects(one.data)
        degraded = None if one.input == CLEAN else self.factory.degraded(one)[0]
        if isinstance(degraded, Turned):
            pose = self._pose(people)
            if pose is None:
                return people.attacked[:0]
            chosen = people.probes[degraded.choose(pose[people.probes])]
            return chosen[rules.first_of_each(people.items.labels[chosen], self.suite.attacked_probes)]
        return people.attacked if self.is_few(one) or one.defense != NONE or one.attack != NONE else people.probes

    def _pose(self, people: Subjects) -> Tensor | None:
        """(N, 3) of the items; None where neither the data nor an estimator tells it."""
        known = people.truth.get("pose")
        return self.read(Originals(people.items)).get("pose") if known is None else known

    def is_few(self, one: Combination) -> bool:
        """Whether the combination is drawn for its rows only: its input is degraded, or its dial swept."""
        return one.input != CLEAN or one.redrawn

    def targets(self, one: Combination, rows: Tensor) -> Pictures:
        """What is anonymized: all items, or the rows (R,) of them after the combination's input was made worse."""
        people = self.subjects(one.data)
        if not self.is_few(one):
            return Originals(people.items)
        few = Originals(self.group(one.data, people.items.indices[rows]))
        degraded, settings = self.factory.degraded(one)
        if degraded is None or isinstance(degraded, Turned):
            return few

        def make() -> Tensors:
            made = []
            for part in few.batches(self.suite.batch_size, f"preparing {one.input} faces"):
                with failing(f"the input '{one.input}'"):
                    made.append(drawn(degraded(part), part, f"The input '{one.input}'"))
            return {IMAGES: torch.cat(made)}

        key = key_of(of=few.key, input=settings, code=code(Stages.targets, *READING))
        return Pictures(self.store, "targets", key, make, len(few))

    def group(self, data: str, indices: Tensor) -> Group:
        """Some pictures of the evaluation people, by their indices in the set."""
        people = self.subjects(data)
        return Group(people.items.faces, indices, key_of(of=people.items.key, indices=indices.tolist()))

    def changed(self, one: Combination, rows: Tensor) -> Pictures | Unavailable:
        """The anonymized :meth:`targets`, with ``wanted`` (N, D) and ``mask_area`` (N,) where there are such."""
        method = self.factory.method(one)
        if isinstance(method, Unavailable):
            return method
        people = self.subjects(one.data)
        target = self.targets(one, rows)
        if len(target) == 0:
            return Unavailable("n/a (no such face)" if self._pose(people) is not None else NO_POSE)
        if isinstance(method.pristine, Unchanged):
            return target
        sources = people.sources[rows] if self.is_few(one) else people.sources
        return self._changed(method, target, people, sources)

    def _changed(self, method: Method, target: Pictures, people: Subjects, sources: Tensor) -> Pictures:
        def make() -> Tensors:
            return self._draw(method, target, people, sources)

        swapped = key_of(sources=sources.tolist()) if method.source else None
        key = key_of(
            of=target.key,
            method=method.key,
            sources=swapped,
            seed=self.seed,
            batch=self.suite.batch_size,
            device=self.device.type,
            code=code(Stages._draw, *READING),
        )
        return Pictures(self.store, "changed", key, make, len(target))

    @torch.no_grad()
    def _draw(self, method: Method, target: Pictures, people: Subjects, sources: Tensor) -> Tensors:
        anonymizer, rng = method.fresh(), torch.Generator(self.device).manual_seed(self.seed)
        parts: list[Tensors] = []
        done = 0
        for batch in target.batches(self.suite.batch_size, f"anonymizing with {method.title}"):
            images = batch.to(self.device)
            source = None
            if method.source:
                source = images_at(people.items.faces, sources[done : done + len(images)]).to(self.device)
            done += len(images)
            with failing(method.title):
                parts.append(drawn_by(anonymizer, images, source, rng, method.title))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def defended(self, one: Combination, changed: Pictures, places: Tensor, rows: Tensor) -> Pictures | Unavailable:
        """The rows behind the combination's defense. ``places``: where they lie among the changed ones."""
        behind = self.factory.defense(one)
        if isinstance(behind, Unavailable):
            return behind
        few = self.targets(one, rows)
        if not self.is_few(one):
            few = Originals(self.group(one.data, self.subjects(one.data).items.indices[rows]))
        return self._defended(one, behind, few, changed, places)

    def _defended(
        self, one: Combination, behind: KeyedDefense, few: Pictures, changed: Pictures, places: Tensor
    ) -> Pictures:
        def make() -> Tensors:
            return self._defend(one, behind, few, changed, places)

        key = key_of(
            of=changed.key,
            places=places.tolist(),
            few=few.key,
            defense=behind.key,
            seed=self.seed,
            batch=self.suite.batch_size,
            code=code(Stages._defend, *READING),
        )
        return Pictures(self.store, "defended", key, make, len(places))

    def _defend(
        self, one: Combination, behind: KeyedDefense, few: Pictures, changed: Pictures, places: Tensor
    ) -> Tensors:
        rng = torch.Generator(self.device).manual_seed(self.seed)
        noisy = None
        if isinstance(behind.defense, ParameterNoise):
            noisy = Defended(cast(AnonymizerLike, cast(Method, self.factory.method(one)).fresh()), behind.defense)
        published = []
        faces = changed.at(places)
        done = 0
        for batch in few.batches(self.suite.batch_size, f"defending with {one.defense}"):
            target = batch.to(self.device)
            face = faces[done : done + len(target)].to(self.device)
            done += len(target)
            with failing(f"the defense '{one.defense}'"):
                with torch.no_grad() if noisy is not None else torch.enable_grad():
                    if noisy is not None:
                        worse = noisy(target, rng=rng)
                    else:
                        worse = cast(DefenseLike, behind.defense)(face, target=target, rng=rng)
                published.append(drawn(worse, target, f"The defense '{one.defense}'"))
        return {IMAGES: torch.cat(published)}

    def attacked(self, one: Combination, published: Pictures, places: Tensor) -> Pictures | Unavailable:
        """What the combination's attack makes of the published faces; the faces themselves, if it works otherwise."""
        attacker = self.factory.attackers.attack(one)
        if isinstance(attacker, Unavailable):
            return attacker
        attack = attacker.make(self.seed + 1)

        @torch.no_grad()
        def make() -> Tensors:
            made = []
            for faces in published.at(places).split(self.suite.batch_size):
                part = faces.to(self.device)
                with failing(f"the attack '{one.attack}'"):
                    made.append(drawn(attack.images(part), part, f"The attack '{one.attack}'"))
            return {IMAGES: torch.cat(made)}

        rows = key_of(places=places.tolist())
        if not overrides(attack, "images"):

            def same() -> Tensors:
                return {IMAGES: published.tensors()[IMAGES][places]}

            return Pictures(Store(None), "published", key_of(of=published.key, places=rows), same, len(places))
        key = key_of(of=published.key, places=rows, attack=attacker.key, code=code(Stages.attacked, *READING))
        return Pictures(self.store, "attacked", key, make, len(places))

    def _pairs(self, one: Combination) -> LearningPairs | Unavailable:
        """What an attack that is fitted here learns from: the attacker's people before and after the software."""
        method = self.factory.method(one)
        behind = None if one.defense == NONE else self.factory.defense(one)
        for part in (method, behind):
            if isinstance(part, Unavailable):
                return part
        made, basis = self._data(one.data)
        method, people = cast(Method, method), self.subjects(one.data)
        if method.source:
            return Unavailable("n/a (a swap needs another person's face)")
        if one.data not in self._attackers:
            try:
                faces = (made if basis is None else basis).faces("attacker")
            except EmptySplit:
                return Unavailable("n/a (nobody in the split 'attacker')")
            self._attackers[one.data] = keyed(faces, torch.arange(len(faces)))[0]
        group = self._attackers[one.data]
        if len(group.labels.unique()) < 2:
            return Unavailable("n/a (one person in the split 'attacker')")
        original: Pictures = Originals(group)
        published = original
        if not isinstance(method.pristine, Unchanged):
            published = self._changed(method, original, people, people.sources[:0])
        if isinstance(behind, KeyedDefense):
            published = self._defended(one, behind, original, published, torch.arange(len(group)))

        def pairs() -> Pairs:
            return Pairs(self.z(published, self.judge), self.z(original, self.judge), group.labels)

        return LearningPairs(pairs, key_of(changed=published.key, original=original.key, by=self.judge.key))

    # what is seen

    def z(self, pictures: Pictures, by: KeyedRecognizer, attack: AttackLike | None = None) -> Tensor:
        """(N, D) embeddings, by a recognizer or by the one that an attack brings in its place."""
        own = by if attack is None else adversary_recognizer(attack, by)
        return embeddings(self.store, pictures, own, self.suite.batch_size, self.device)

    def read(self, pictures: Pictures) -> Tensors:
        """What the estimator of attributes reads, each (N, ...); nothing without one."""
        estimator = self.readers.attributes
        if estimator is None:
            return {}

        @torch.no_grad()
        def make() -> Tensors:
            found, fast = [], folded(estimator, self.readers.attributes_key)
            for part in pictures.batches(self.suite.batch_size, "reading attributes"):
                read = check_readings(fast(part.to(self.device)), len(part), "The estimator of attributes")
                found.append({name: value.float().cpu() for name, value in read.items()})
            return {name: torch.cat([part[name] for part in found]) for name in found[0]}

        key = key_of(of=pictures.key, by=self.readers.attributes_key, code=code(Stages.read, *READING))
        return self.store.get("readings", key, make)

    def detections(self, pictures: Pictures, name: str) -> Tensors:
        """``scores`` (N,) and ``boxes`` (N, 4) of a detector."""

        def make() -> Tensors:
            found = [
                best_detections(self.readers.detectors[name], part)
                for part in pictures.batches(self.suite.batch_size, f"detecting with {name}")
            ]
            scores, boxes = (torch.cat(parts).float().cpu() for parts in zip(*found, strict=True))
            if len(scores) != len(pictures) or not bool(((scores >= 0) & (scores <= 1)).all()):
                raise Failed(f"The detector '{name}' gave scores that are no confidences in [0, 1].")
            return {"scores": scores, "boxes": boxes}

        key = key_of(of=pictures.key, by=self.readers.detector_keys[name], code=code(Stages.detections, *READING))
        return self.store.get("detections", key, make)
