"""The stages between a data set and a figure; each is kept in the store under the keys of what it was made from.

    pictures -> changed -> defended -> attacked        any of them -> embeddings, readings, detections, comparisons

Pictures are kept in eight bits, as they are published, and everything is measured on those, so a figure does not depend
on whether its pictures were just drawn or lay in the store. Every unit is drawn by a fresh copy of its anonymizer (no
memory of other units) with its own random generator, so it does not depend on their order either.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor

from anon.anonymizers.composed import Anonymizer, Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.contract import AttackLike, overrides
from anon.attributes.contract import check_readings
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended
from anon.defenses.parameters import ParameterNoise
from anon.errors import Failed
from anon.evaluation import protocol as rules
from anon.evaluation.harness.attackers import Attacker, KeyedDefense, Method, Unavailable
from anon.evaluation.harness.calibrations import Calibrations, given_threshold, reference_of
from anon.evaluation.harness.donors import Donors
from anon.evaluation.harness.factory import Factory
from anon.evaluation.harness.inputs import Turned
from anon.evaluation.harness.pictures import (
    IMAGES,
    READING,
    KeyedRecognizer,
    Originals,
    Pictures,
    Readers,
    View,
    adversary_recognizer,
    as_it_conditions,
    drawn,
    drawn_by,
    embeddings,
    failing,
    folded,
    in_time,
    keyed_recognizer,
)
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.evaluation.harness.subjects import Group, Subjects, images_at, subjects
from anon.evaluation.harness.suite import CLEAN, NONE, SAME, Combination, Suite
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.judges.provenance import Provenance
from anon.evaluation.modes import Basis, basis_in
from anon.faces.contract import to_float
from anon.identity.contract import JudgeLike, check_judge
from anon.identity.encoder import Encoder
from anon.metrics.detection_confidence import best_detections
from anon.parallel import in_parts
from anon.provenance import code, made_of

NO_POSE = "needs attributes=<choice> (which faces are turned away is not known)"


class Stages:
    """The stages.

    Args:
        suite: the choices.
        datasets: data modules by name.
        judge: the recognizer that measures.
        readers: other readers of faces.
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
        check_judge(judge)
        self.suite, self.datasets, self.readers = suite, datasets, readers
        self.store, self.seed, self.device = store, seed, device
        self.judge = keyed_recognizer(judge)
        self.given = given_threshold(suite, judge)
        self.provenance = Provenance(suite)
        self.factory = Factory(self)
        self._subjects: dict[str, Subjects] = {}
        self.calibrations = Calibrations(self)
        self.donors = Donors(self)
        self._conditioning: dict[int, KeyedRecognizer] = {}  # they hold their encoders, so that no id is used twice
        self._hashes: dict[int, tuple[object, str]] = {}

    def beside(self, judge: JudgeLike) -> Stages:
        """The same for a further judge: people, networks, their keys and what readers are told are shared."""
        other = Stages(self.suite, self.datasets, judge, self.readers, self.store, self.seed, self.device)
        other.provenance, other._subjects = self.provenance, self._subjects
        other._conditioning, other._hashes = self._conditioning, self._hashes
        other.factory.share(self.factory)
        return other

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
            made, basis = self.data(data)
            self._subjects[data] = subjects(
                made, suite, suite.attacked_probes, self.seed, basis, suite.enrolment == SAME
            )
        return self._subjects[data]

    def data(self, name: str) -> tuple[rules.Data, rules.Data | None]:
        """A data set, and the other that calibrates in its place, if there is one."""
        made = self.datasets(name)
        other = reference_of(self.suite, made, self.given)
        return made, None if other in (None, name) else self.datasets(cast(str, other))

    def conditioning(self, encoder: Encoder) -> KeyedRecognizer:
        """The recognizer that conditions a generator, as it conditions; hashed once."""
        if id(encoder) not in self._conditioning:
            self._conditioning[id(encoder)] = keyed_recognizer(as_it_conditions(encoder))
        return self._conditioning[id(encoder)]

    def gallery(self, data: str, by: KeyedRecognizer) -> Gallery:
        """The enrolled people as a recognizer sees them, with its threshold."""
        group, found = self.subjects(data).enrolled, self.calibrations.of_probes(data, by).found
        return Gallery.of(self.z(Originals(group), by), group.labels, group.videos, found, by.recognizer.metric)

    def basis(self, data: str, encoder: Encoder) -> Basis:
        """What policies of an encoder's generators are made of."""
        return basis_in(self, data, self.conditioning(encoder))

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
        """Places (R,) among the items of the probes that the combination is measured on: all, or the attacked ones.

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
        return people.attacked if self.is_swept(one) or one.defense != NONE or one.attack != NONE else people.probes

    def _pose(self, people: Subjects) -> Tensor | None:
        """(N, 3) of the items; None where neither the data nor an estimator tells it."""
        known = people.truth.get("pose")
        return self.read(Originals(people.items)).get("pose") if known is None else known

    def is_swept(self, one: Combination) -> bool:
        """Whether the combination is drawn for its rows only: its input is degraded, or its dial swept."""
        return one.input != CLEAN or one.redrawn

    def targets(self, one: Combination, rows: Tensor) -> Pictures:
        """What is anonymized: all items, or the rows (R,) of them after the combination's input was made worse."""
        people = self.subjects(one.data)
        if not self.is_swept(one):
            return Originals(people.items)
        originals = Originals(self.group(one.data, people.items.indices[rows]))
        degraded, settings = self.factory.degraded(one)
        if degraded is None or isinstance(degraded, Turned):
            return originals
        return self._made("targets", originals, degraded, degraded, f"the input '{one.input}'", input=settings)

    def _made(
        self, kind: str, of: Pictures | View, act: Callable[[Tensor], Tensor], by: object, who: str, **made_by: object
    ) -> Pictures:
        """What ``act`` makes of pictures, a batch (B, 3, H, W) at a time.

        Args:
            by: what acts, and
            who: its name, "the ...".
            made_by: all that it depends on.
        """

        @torch.no_grad()
        def make() -> Tensors:
            made = []
            for batch in of.batches(self.suite.batch_size, who):
                images = batch.to(self.device)
                with failing(who):
                    made.append(drawn(in_parts(act, images, by=by), images, f"T{who[1:]}"))
            return {IMAGES: torch.cat(made)}

        key = key_of(of=of.key, **made_by, code=code(Stages._made, *READING))
        return Pictures(self.store, kind, key, make, len(of))

    def group(self, data: str, indices: Tensor) -> Group:
        """Some pictures of the evaluation people, by their indices in the set."""
        people = self.subjects(data)
        return Group(people.items.faces, indices, key_of(of=people.items.key, indices=indices.tolist()))

    def changed(self, one: Combination, rows: Tensor) -> Pictures:
        """The anonymized :meth:`targets`, with ``wanted`` (N, D) and ``mask_area`` (N,) where there are such.

        Raises:
            Unavailable: nobody trained the method, or the input chooses no face.
        """
        method = self.factory.method(one)
        people = self.subjects(one.data)
        target = self.targets(one, rows)
        if len(target) == 0:
            raise Unavailable("n/a (no such face)" if self._pose(people) is not None else NO_POSE)
        if isinstance(method.pristine, Unchanged):
            return target
        if getattr(method.pristine, "temporal", False):
            clips = people.items.clips
            return self._changed_in_time(method, target, clips[rows] if self.is_swept(one) else clips)
        if not method.source or method.sources is not None:  # nobody is swapped in, or who was is known
            return self.changed_by(method, target, people, people.sources[:0])
        sources = self.donors.sources(one)
        return self.changed_by(method, target, self.donors.of(one), sources[rows] if self.is_swept(one) else sources)

    def changed_by(self, method: Method, target: Pictures, donors: Subjects, sources: Tensor) -> Pictures:
        """Pictures as a method draws them; ``sources`` (N,) are the donors' faces that a swap puts on."""

        def make() -> Tensors:
            return self._draw(method, target, donors, sources)

        swapped = key_of(sources=sources.tolist(), of=donors.items.key) if method.source else None
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

    def _changed_in_time(self, method: Method, target: Pictures, clips: Tensor) -> Pictures:
        """Pictures of a method that works on clips: it is told which of them (N,) each frame is of."""
        size = self.suite.batch_size
        key = key_of(
            of=target.key,
            method=method.key,
            clips=clips.tolist(),
            seed=self.seed,
            batch=size,
            code=code(in_time, *READING),
        )
        make = partial(in_time, method.fresh, target, clips, size, self.device, method.title, self.seed)
        return Pictures(self.store, "changed", key, make, len(target))

    @torch.no_grad()
    def _draw(self, method: Method, target: Pictures, donors: Subjects, sources: Tensor) -> Tensors:
        anonymizer, rng = method.fresh(), torch.Generator(self.device).manual_seed(self.seed)
        z = self._identities(method, target) if isinstance(anonymizer, Anonymizer) else None
        parts: list[Tensors] = []
        done = 0
        for batch in target.batches(self.suite.batch_size, f"anonymizing with {method.title}"):
            images = batch.to(self.device)
            source, rows = None, slice(done, done + len(images))
            if method.source and method.sources is None:
                source = images_at(donors.items.faces, sources[rows]).to(self.device)
            done += len(images)
            with failing(method.title):
                own = None if z is None else z[rows].to(self.device)
                parts.append(drawn_by(anonymizer, images, own, source, rng, method.title))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _identities(self, method: Method, target: Pictures) -> Tensor:
        """(N, D) of pictures, which condition their generator under every policy."""

        @torch.no_grad()
        def make() -> Tensors:
            anonymizer, parts = cast(Anonymizer, method.pristine), []
            for batch in target.batches(self.suite.batch_size, "who the faces are"):
                with failing(method.title):
                    parts.append(anonymizer.identify(batch.to(self.device)).cpu())
            return {"z": torch.cat(parts)}

        key = key_of(
            of=target.key,
            by=self.conditioning(cast(Encoder, method.encoder)).key,
            batch=self.suite.batch_size,
            device=self.device.type,
            code=code(Anonymizer.identify, *READING),
        )
        return self.store.get("identities", key, make)["z"]

    def defended(self, one: Combination, keyed_defense: KeyedDefense, target: View, changed: View) -> Pictures:
        """Changed faces, which were ``target``, behind the combination's defense."""

        def make() -> Tensors:
            return self._defend(one, keyed_defense, target, changed)

        key = key_of(
            of=changed.key,
            target=target.key,
            defense=keyed_defense.key,
            seed=self.seed,
            batch=self.suite.batch_size,
            code=code(Stages._defend, *READING),
        )
        return Pictures(self.store, "defended", key, make, len(changed))

    def _defend(self, one: Combination, keyed_defense: KeyedDefense, target: View, changed: View) -> Tensors:
        rng, size = torch.Generator(self.device).manual_seed(self.seed), self.suite.batch_size
        noisy = None
        if isinstance(keyed_defense.defense, ParameterNoise):
            noisy = Defended(cast(AnonymizerLike, self.factory.method(one).fresh()), keyed_defense.defense)
        published = []
        faces = target.batches(size, f"defending with {one.defense}")
        for batch, part in zip(faces, changed.eight_bits().split(size), strict=True):
            images, face = batch.to(self.device), to_float(part).to(self.device)
            with failing(f"the defense '{one.defense}'"):
                if noisy is not None:
                    with torch.no_grad():
                        worse = noisy(images, rng=rng)
                else:  # one that works against an attack needs gradients
                    worse = cast(DefenseLike, keyed_defense.defense)(face, target=images, rng=rng)
                published.append(drawn(worse, images, f"The defense '{one.defense}'"))
        return {IMAGES: torch.cat(published)}

    def attacked(self, one: Combination, attacker: Attacker, published: View) -> View:
        """What the combination's attack makes of the published faces; the faces themselves, if it works otherwise."""
        attack = attacker.make(self.seed + 1)
        if not overrides(attack, "images"):
            return published
        who = f"the attack '{one.attack}'"
        return View.whole(self._made("attacked", published, attack.images, attack, who, attack=attacker.key))

    def processed(self, view: View, act: Callable[[Tensor], Tensor], by: object, who: str) -> View:
        """What ``act`` of the part ``by`` makes of pictures, whatever they are; ``who``: its name, "the ..."."""
        return View.whole(self._made("processed", view, act, by, who, part=self.made_of(by)))

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
