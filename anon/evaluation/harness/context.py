"""What a measure sees of one combination: embeddings, readings, pictures and people, each made when it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from anon.errors import Failed
from anon.evaluation.document.estimates import Estimate
from anon.evaluation.document.metric_info import MetricInfo
from anon.evaluation.harness.attackers import NO_DIRECTION, Adversary, Attacker, Method, Unavailable, adversary_of
from anon.evaluation.harness.inputs import Turned
from anon.evaluation.harness.pictures import READING, Originals, View, failing
from anon.evaluation.harness.stages import Stages
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.subjects import Subjects
from anon.evaluation.harness.suite import CLEAN, NONE, Combination
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.judges.pairs import Scale
from anon.evaluation.protocol import first_of_each
from anon.faces.contract import Label, to_float
from anon.identity.contract import check_embeddings
from anon.identity.encoder import Encoder
from anon.parallel import in_parts
from anon.provenance import code, made_of

#: The four states of a face: as it was given, anonymized, behind the defense, and after the attack.
TARGET, CHANGED, PUBLISHED, ATTACKED = "target", "changed", "published", "seen"


class Measure(Protocol):
    """Figures of a combination by name. One that cannot be taken here is :meth:`Estimate.absent`, with the reason.

    ``metrics`` describes every figure that it can give; a part in angle brackets stands for a name that the run knows.
    One that has more to give has ``plots(context, label, line)`` -> curves and histograms, or ``files(context, label)``
    -> texts by their path in a folder of the measure's name beside results.json.
    """

    @property
    def metrics(self) -> Mapping[str, MetricInfo]: ...

    def __call__(self, context: MeasureContext) -> dict[str, Estimate]: ...


class MeasureContext:
    """One combination. Its rows are the probes (R), or the first few of each person where that costs too much.

    ``labels`` (R,) say who they are; every array of a context has these rows, on the CPU. ``rows``: others, as places
    among the items.
    """

    def __init__(self, stages: Stages, one: Combination, rows: Tensor | None = None) -> None:
        self.stages, self.one = stages, one
        self.people = stages.subjects(one.data)
        self.bootstrap: Bootstrap = self.people.bootstrap
        self.rows = stages.rows(one) if rows is None else rows  # places among the items
        self.labels = self.people.items.labels[self.rows]
        self._views: dict[str, View] = {}
        self._attacker: Attacker | None = None

    def needs(self) -> str | None:
        """Why the combination cannot be evaluated; None if it can be. Builds networks, draws nothing."""
        try:
            for of in (TARGET, CHANGED, PUBLISHED, ATTACKED):
                self.view(of)
        except Unavailable as missing:
            return str(missing)
        return None

    @functools.cached_property
    def sources(self) -> Tensor:
        """(R,) index of a picture of whoever is swapped in, among the :attr:`donors`; -1 where it is none of them."""
        return self.stages.donors.sources(self.one)[self.rows]

    @functools.cached_property
    def source_labels(self) -> Tensor:
        """(R,) who is swapped in; only where all :attr:`sources` are known."""
        return self.donors.items.faces.labels[self.sources]

    @property
    def donors(self) -> Subjects:
        """Who is swapped in: the evaluated people, or those of ``suite.sources``."""
        return self.stages.donors.of(self.one)

    @property
    def source_gallery(self) -> Gallery:
        """The donors as they are enrolled."""
        return self.stages.gallery(self.stages.donors.data(self.one), self.stages.judge)

    @functools.cached_property
    def keys(self) -> dict[str, object]:
        """Of all that a measure can look at: pictures, people, readers, and how figures are resampled."""
        stages, suite = self.stages, self.stages.suite
        views = {of: self.view(of).key for of in (TARGET, CHANGED, PUBLISHED, ATTACKED)}
        groups = (self.people.items, self.people.enrolled, self.people.background, self.people.anchors)
        return {
            "views": views,
            "what": vars(self.one),
            "method": self.method.key,
            "attack": None if self._attacker is None else self._attacker.key,
            "groups": [group.key for group in groups],
            "pairs": None
            if self.people.pairs is None
            else key_of(of=[part.tolist() for part in self.people.pairs[:4]]),
            "labels": self.people.labels_key,
            "places": key_of(of=[part.tolist() for part in (self.rows, self.people.clips)]),
            "swapped": self._swapped(),
            "readers": [stages.judge.key, stages.readers.attributes_key, dict(stages.readers.detector_keys)],
            "rule": [suite.far, suite.resamples, suite.batch_size, stages.seed, suite.enrolment, stages.given],
        }

    def _swapped(self) -> list[object] | None:
        """Of who is swapped in: the places of their pictures, and where they are looked for."""
        if not self.method.source:
            return None
        donors = self.donors
        return [self.sources.tolist(), *(group.key for group in (donors.items, donors.enrolled, donors.background))]

    @property
    def unchanged(self) -> bool:
        """Whether the faces are as they were given: the row Real."""
        return self.method.encoder is None and self.one.method == "real"

    def of_unchanged(self) -> MeasureContext:
        """The same of the faces as they are: behind the same defense, and met by the same attack."""
        dial = (self.one.dial, self.one.turns) if self.one.turns_defense else (None, None)
        return MeasureContext(self.stages, replace(self.one, method="real", policy=NONE, dial=dial[0], turns=dial[1]))

    def of_items(self) -> MeasureContext:
        """The same of everything that is changed, probes or not."""
        return MeasureContext(self.stages, self.one, torch.arange(len(self.people.items)))

    def of_first(self) -> MeasureContext:
        """The same of the first rows of each person, as many as are attacked: for what takes long."""
        first = first_of_each(self.labels, self.stages.suite.attacked_probes)
        return self if bool(first.all()) else MeasureContext(self.stages, self.one, self.rows[first])

    @property
    def chosen(self) -> bool:
        """Whether the input chooses faces, so that the others are not evaluated."""
        return self.one.input != CLEAN and isinstance(self.stages.factory.degraded(self.one)[0], Turned)

    @property
    def pairs(self) -> Scale | None:
        """The data set's pairs with their unchanged embeddings and thresholds; None where it brings none."""
        return None if self.people.pairs is None else self.stages.calibrations.of_pairs(self.one.data)

    @property
    def method(self) -> Method:
        """The anonymizer."""
        return self.stages.factory.method(self.one)

    @property
    def learned(self) -> str | None:
        """Whom the attack learned, where it was not just this anonymizer."""
        return None if self._attacker is None else self._attacker.note

    @property
    def title(self) -> str:
        """The method as tables print it."""
        return self.stages.factory.title(self.one.method)

    # pictures

    def view(self, of: str) -> View:
        """The rows' pictures in one of their four states."""
        if of not in self._views:
            self._views[of] = self._view(of)
        return self._views[of]

    def _view(self, of: str) -> View:
        one, stages = self.one, self.stages
        if of in (TARGET, CHANGED):
            pictures = stages.targets(one, self.rows) if of == TARGET else stages.changed(one, self.rows)
            return View.whole(pictures) if stages.is_swept(one) else View(pictures, self.rows)
        if of == PUBLISHED:
            changed = self.view(CHANGED)
            if one.defense == NONE:
                return changed
            return View.whole(stages.defended(one, stages.factory.defense(one), self.view(TARGET), changed))
        published = self.view(PUBLISHED)
        if one.attack == NONE:
            return published
        self._attacker = stages.factory.attackers.attack(one)
        return stages.attacked(one, self._attacker, published)

    def beside(self, name: str) -> Tensor | None:
        """What else the anonymizer told of the rows: ``wanted`` (R, D), ``mask_area`` (R,)."""
        changed = self.view(CHANGED)
        found = changed.pictures.tensors().get(name)
        return None if found is None else found[changed.places]

    # who it is

    @functools.cached_property
    def adversary(self) -> Adversary:
        """Who is enrolled, by the judge, or by an adversary who does it for himself, and where he accepts."""
        self.view(ATTACKED)
        return adversary_of(self.stages, self.one, self._attacker)

    @property
    def gallery(self) -> Gallery:
        """Who is enrolled, with the threshold."""
        return self.adversary.gallery

    @property
    def rethresholded(self) -> bool:
        """Whether the threshold is the adversary's own."""
        return self.adversary.anew

    @property
    def metric(self) -> str:
        """How the judge compares: ``cosine`` of unit vectors, or ``euclidean`` of raw ones."""
        return self.stages.judge.recognizer.metric

    @property
    def threshold(self) -> float:
        """Distance below which the judge takes two *pictures* for one person; averages have the gallery's."""
        return self.stages.calibrations.of_pictures(self.one.data, self.stages.judge).threshold

    @property
    def levels(self) -> Tensor:
        """(K,) quantiles of that threshold over resampled background people."""
        return torch.tensor(self.stages.calibrations.of_pictures(self.one.data, self.stages.judge).levels)

    def z(self, of: str) -> Tensor:
        """(R, D) embeddings by the judge; ``ATTACKED``: what the adversary compares with :attr:`gallery`."""
        view = self.view(of)
        if of == ATTACKED and self._attacker is not None:
            return self._probes
        return self.stages.z(view.pictures, self.stages.judge)[view.places]

    @functools.cached_property
    def _probes(self) -> Tensor:
        """The adversary's: made once, for an attack may be fitted first."""
        view, attack = self.view(ATTACKED), cast(Attacker, self._attacker).make(self.stages.seed + 1)
        seen = self.stages.z(view.pictures, self.stages.judge, attack)[view.places]
        with failing(f"the attack '{self.one.attack}'"):
            return check_embeddings(attack.probe(seen), len(view), attack.judge(self.stages.judge.recognizer))

    def z_of_sources(self) -> Tensor:
        """(R, D) embeddings by the judge of the people who were swapped in."""
        sources = self.sources.unique()
        group = Originals(self.stages.group(self.stages.donors.data(self.one), sources))
        return self.stages.z(group, self.stages.judge)[torch.searchsorted(sources, self.sources)]

    def by_encoder(self, of: str) -> tuple[Tensor, Gallery] | None:
        """Embeddings (R, D) and the gallery by the recognizer that conditioned the generator; None without one."""
        return None if self.method.encoder is None else self.by_recognizer(of, self.method.encoder)

    def by_recognizer(self, of: str, recognizer: Encoder) -> tuple[Tensor, Gallery]:
        """The same by a recognizer that the method was made to deceive."""
        by, view = self.stages.conditioning(recognizer), self.view(of)
        return self.stages.z(view.pictures, by)[view.places], self.stages.gallery(self.one.data, by)

    def clips(self, of: str = CHANGED) -> Tensor:
        """(M, n, D) embeddings by the judge of frames of clips; none where the rows are a few stills of each person."""
        if self.rows is not self.people.probes or len(self.people.clips) == 0:
            return torch.zeros(0, 2, 1)
        return self.stages.z(self.view(of).pictures, self.stages.judge)[self.people.clips]

    @property
    def clip_labels(self) -> Tensor:
        """(M,) whose clips they are."""
        return self.people.items.labels[self.people.clips[:, 0]]

    # what stays

    def truth(self) -> Tensors:
        """What the data knows of the rows, each (R, ...)."""
        return {name: value[self.rows] for name, value in self.people.truth.items()}

    @property
    def annotations(self) -> Mapping[str, Label]:
        """The data's named labels of all items, by name."""
        return self.people.annotations

    def read(self, of: str) -> Tensors:
        """What the estimator of attributes reads, each (R, ...); nothing without an estimator."""
        view = self.view(of)
        return {name: value[view.places] for name, value in self.stages.read(view.pictures).items()}

    def read_clips(self, of: str) -> Tensors:
        """The same of the frames of clips, each (M, n, ...)."""
        if self.rows is not self.people.probes or len(self.people.clips) == 0:
            return {}
        view = self.view(of)
        return {name: value[self.people.clips] for name, value in self.stages.read(view.pictures).items()}

    def detections(self, of: str, detector: str) -> Tensors:
        """``scores`` (R,) and ``boxes`` (R, 4)."""
        view = self.view(of)
        return {name: value[view.places] for name, value in self.stages.detections(view.pictures, detector).items()}

    def compared(
        self,
        name: str,
        function: Callable[[Tensor, Tensor], Tensor],
        of: str = PUBLISHED,
        against: str = TARGET,
        **settings: Any,
    ) -> Tensor:
        """``function(pictures, pictures they are compared with) -> (B,)`` of every row, kept.

        Args:
            settings: what the function's result depends on besides the pictures, its code and what it closes over.
        """
        values = self._looked_at(name, function, (of, against), settings)
        if bool(values.isnan().any()):
            raise Failed(f"The comparison '{name}' gave no number for a face.")
        return values

    def applied(self, name: str, function: Callable[[Tensor], Tensor], of: str = PUBLISHED, **settings: Any) -> Tensor:
        """``function(pictures) -> (B, ...)`` of every row, kept; ``settings`` as in :meth:`compared`."""
        return self._looked_at(name, function, (of,), settings)

    def _looked_at(
        self, name: str, function: Callable[..., Tensor], states: Sequence[str], settings: Mapping[str, Any]
    ) -> Tensor:
        views = [self.view(of) for of in states]

        @torch.no_grad()
        def make() -> Tensors:
            size, device = self.stages.suite.batch_size, self.stages.device
            batches = zip(*(view.eight_bits().split(size) for view in views), strict=True)
            seen = ([to_float(part).to(device) for part in batch] for batch in batches)
            values = torch.cat([in_parts(function, *batch, by=function) for batch in seen])
            if len(values) != len(views[0]):
                raise Failed(f"The comparison '{name}' gave no number for a face.")
            return {"values": values}

        made_by = [settings, made_of(function), code(MeasureContext._looked_at, *READING)]
        key = key_of(what=name, of=[view.key for view in views], made_by=made_by)
        return self.stages.store.get("comparisons", key, make)["values"]

    def kept(self, name: str, make: Callable[[], Tensors], of: Sequence[str], **settings: Any) -> Tensors:
        """Whatever else takes long, under the keys of the states ``of`` which it is made."""
        keys = {state: self.view(state).key for state in of}
        if ATTACKED in of and self._attacker is not None:
            keys["attack"] = self._attacker.key  # one that leaves the pictures alone still shows them to another judge
        people = key_of(people=self.people.items.key, resamples=self.stages.suite.resamples, seed=self.stages.seed)
        made_by = [settings, made_of(make)]
        key = key_of(what=name, of=keys, people=people, by=self.stages.judge.key, made_by=made_by)
        return self.stages.store.get("figures", key, make)

    # figures

    def mean(self, values: Tensor, share: bool = False) -> Estimate:
        """The mean of the rows' values (R,) with its interval over identities."""
        return self.bootstrap.mean(values, self.labels, share)

    def cosine(self, z: Tensor, other: Tensor) -> Estimate:
        """The mean cosine of the judge's embeddings (R, D); absent of a Euclidean judge, who compares no directions."""
        if self.metric != "cosine":
            return Estimate.absent(NO_DIRECTION)
        return self.mean((z * other).sum(1))

    def below(self, distance: Tensor, threshold: float, levels: Tensor | None = None) -> Estimate:
        """The share of the rows' distances (R,) below a threshold, with its spread where that has quantiles (K,)."""
        return self.bootstrap.below(distance, threshold, levels, self.labels)

    def known_mean(self, values: Tensor, share: bool = False, labels: Tensor | None = None) -> Estimate:
        """The mean of the values that are known (not NaN); ``labels``: whose they are, the rows' by default."""
        known, labels = ~values.isnan(), self.labels if labels is None else labels
        if not bool(known.any()):
            return Estimate.absent("n/a (never known)")
        return self.bootstrap.mean(values[known], labels[known], share)
