"""Builds the attack that a combination names, once, and says whom it learned, whom it enrols and where it accepts.

An attack is ready, or a function that still wants some of: ``anonymizer``, the published software with its defense and
a memory of its own (a parrot's); ``rng``, its own random generator; ``pairs``, embeddings of its own people before and
after that software (:class:`anon.attacks.linear.Pairs`).
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from anon.anonymizers.composed import Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.contract import Attack, AttackLike, overrides
from anon.attacks.linear import Pairs
from anon.attacks.negation import Negation
from anon.attacks.victim import describe, title_of
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError
from anon.evaluation.harness.pictures import (
    IMAGES,
    READING,
    Originals,
    Pictures,
    View,
    drawn,
    failing,
    keyed_recognizer,
)
from anon.evaluation.harness.store import Tensors, key_of
from anon.evaluation.harness.subjects import Group, keyed
from anon.evaluation.harness.suite import NONE, Combination, as_plain
from anon.evaluation.judges.gallery import Gallery
from anon.evaluation.judges.judging import check_adversary
from anon.evaluation.judges.thresholds import Calibrated
from anon.evaluation.trained import (
    adversary,
    attack_config,
    check_kind,
    check_victim,
    learned_on,
    met,
    newest,
    undefended,
    untrained,
)
from anon.faces.splits import EmptySplit
from anon.identity.contract import JudgeLike, check_judge
from anon.identity.encoder import Encoder
from anon.provenance import code, made_of
from anon.weights.files import SHIPPED

if TYPE_CHECKING:
    from anon.evaluation.harness.factory import Factory
    from anon.evaluation.harness.stages import Stages

NO_DIRECTION = "n/a (no direction)"  # of raw vectors, whose opposite is nobody's
TRAIN = "python train.py experiment=reconstruction {victim}"
ALONE = "checkpoint"  # how suite=checkpoint calls the one method that it evaluates


class Unavailable(Exception):
    """Why a combination cannot be evaluated here, with the command or the file that changes that."""


class Method(NamedTuple):
    """An anonymizer as it was built; who uses it takes a copy, for it may remember people."""

    title: str
    pristine: nn.Module
    key: str
    encoder: Encoder | None  # that conditions the generator
    source: bool  # it swaps in another person's face
    sources: Callable[[Tensor], Tensor] | None = None  # of pictures (N,), whose faces those are; None: it is told whom

    @property
    def made_on(self) -> tuple[Encoder, ...]:
        """The recognizers that it was made to deceive: the conditioning encoder, or those of a cloak."""
        return recognizers_of(self.pristine) if self.encoder is None else (self.encoder,)

    def fresh(self) -> nn.Module:
        """A copy without memory of anybody."""
        return copy.deepcopy(self.pristine)


def recognizers_of(part: Any) -> tuple[Encoder, ...]:
    """Every recognizer that trained what a method's configuration builds, or that it deceives as a cloak."""
    encoder = getattr(part, "encoder", None)
    if encoder is not None:
        return (encoder, *getattr(part, "others", ()))
    known, inside = getattr(part, "recognizers", None), getattr(part, "parts", None)
    if isinstance(inside, nn.ModuleList):  # a method of methods
        return tuple(dict.fromkeys(each for one in inside for each in recognizers_of(one)))
    if getattr(part, "cloak", None) is not None:  # a cloak over what a method draws
        return recognizers_of(part.cloak)
    return tuple(cast(Encoder, each) for each in known.values()) if isinstance(known, nn.ModuleDict) else ()


class KeyedDefense(NamedTuple):
    """A defense with its key."""

    defense: DefenseLike | ParameterNoise
    key: str


class Attacker(NamedTuple):
    """An attack, or a function of the anonymizer that makes it (a parrot), with its key."""

    make: Callable[[int], AttackLike]  # a number that seeds its own randomness
    key: str
    note: str | None = None  # that it learned another policy, or another method (transfer), or nobody knows whom


class LearningPairs(NamedTuple):
    """What an attack that is fitted here learns from, made when it is asked for, with its key."""

    pairs: Callable[[], Pairs]
    key: str


class Attackers:
    """Builds each attack once, on what the factory builds."""

    def __init__(self, factory: Factory, stages: Stages) -> None:
        self.factory, self.stages = factory, stages
        self.suite, self.device = factory.suite, factory.device
        self._attacks: dict[str, AttackLike] = {}
        self._people: dict[str, Group] = {}

    def share(self, other: Attackers) -> None:
        """Take over the attackers' people. Attacks are built anew: every judge is compared with what they learned."""
        self._people = other._people

    def attack(self, one: Combination) -> Attacker:
        """The combination's attack.

        Raises:
            Unavailable: nobody trained it.
        """
        settings = self._settings(one.attack)
        if "attack" not in settings:
            ready = self.trained(one.attack, one, one.defense)
            self.factory.known(ready, one.attack, one.data)
            note = self.met(ready, one, one.attack, bool(settings.get("adaptive")))
            return Attacker(lambda seed: ready, self.stages.made_of(ready), note)
        given = settings["attack"]
        if given is None:
            needs = "needs attack=reconstruction, which takes the newest on this method, or another attack=<choice>"
            unchanged = as_plain(self.suite.methods[one.method])["anonymizer"] is None
            raise Unavailable(
                needs if unchanged else f"{needs}; {self._command(one.attack, one)} trains one on this method"
            )
        where = untrained(given, "attack")
        if where is not None:
            command = settings.get("train", TRAIN).replace("{victim}", self._victim(one))
            raise Unavailable(f"needs {command}, then suite.attacks.{one.attack}.{where}=<its checkpoint>")
        made = adversary(given, self.factory.judge, self.device)
        if isinstance(made, Negation) and self.factory.judge.metric != "cosine":
            raise Unavailable(NO_DIRECTION)
        self.factory.known(made, one.attack, one.data)
        note = self.met(made, one, one.attack)
        if isinstance(made, functools.partial):
            return self._completed(made, one, note)
        return Attacker(lambda seed: made, key_of(attack=given, made=made_of(made)), note)

    def _completed(self, made: functools.partial, one: Combination, note: str | None) -> Attacker:
        """An attack that gets what it still wants each time that it is made."""
        method = self.factory.method(one)
        keyed_defense = None if one.defense == NONE else self.factory.defense(one)
        wanted = set(inspect.signature(made).parameters) - set(made.keywords)
        learned = self._pairs(one, method, keyed_defense) if "pairs" in wanted else None

        def make(seed: int) -> AttackLike:
            offers = {
                "anonymizer": lambda: _software(method, keyed_defense),
                "rng": lambda: torch.Generator(self.device).manual_seed(seed),
                "pairs": lambda: cast(LearningPairs, learned).pairs,
            }
            attack = made(**{name: offer() for name, offer in offers.items() if name in wanted})
            return cast(AttackLike, attack.to(self.device).eval() if isinstance(attack, nn.Module) else attack)

        key = key_of(
            attack=made_of(self._settings(one.attack)["attack"], made),
            software=method.key,
            defense=None if keyed_defense is None else keyed_defense.key,
            learned=None if learned is None else learned.key,
        )
        return Attacker(make, key, note)

    def _pairs(self, one: Combination, method: Method, keyed_defense: KeyedDefense | None) -> LearningPairs:
        """What an attack that is fitted here learns from: the attacker's people before and after the software."""
        stages, data = self.stages, one.data
        if method.source and method.sources is None:
            raise Unavailable("n/a (a swap needs another person's face)")
        group, people = self.people(data), stages.subjects(data)
        if len(group.labels.unique()) < 2:
            raise Unavailable("n/a (one person in the split 'attacker')")
        original: Pictures = Originals(group)
        published = original
        if not isinstance(method.pristine, Unchanged):
            published = stages.changed_by(method, original, people, people.sources[:0])
        if keyed_defense is not None:
            published = stages.defended(one, keyed_defense, View.whole(original), View.whole(published))

        def pairs() -> Pairs:
            changed, unchanged = (stages.z(pictures, stages.judge) for pictures in (published, original))
            return Pairs(changed, unchanged, group.labels, stages.judge.recognizer.metric)

        return LearningPairs(pairs, key_of(changed=published.key, original=original.key, by=stages.judge.key))

    def people(self, data: str) -> Group:
        """All pictures of the people whom an attacker of a data set owns.

        Raises:
            Unavailable: there are none.
        """
        if data not in self._people:
            made, basis = self.stages.data(data)
            try:
                faces = (made if basis is None else basis).faces("attacker")
            except EmptySplit as error:
                raise Unavailable("n/a (nobody in the split 'attacker')") from error
            self._people[data] = keyed(faces, torch.arange(len(faces)))[0]
        return self._people[data]

    def met(self, attack: object, one: Combination, name: str, adaptive: bool = False) -> str | None:
        """What a reader must know of an attack that learned another policy, nobody knows whom, or is a transfer.

        One that ships, and is the default, is no attack on a method that it did not learn: that needs one.

        Raises:
            Unavailable: the attack that ships did.
            UserError: the user's own attack learned another method, or another defense, and is not called a transfer.
        """
        method, settings = self.factory.method(one), self._settings(name)
        if isinstance(method.pristine, Unchanged):
            return None
        found, learned = met(attack, method.pristine), title_of(learned_on(attack)[1] or {})
        note: str | None
        if found is not None and found.stranger and settings.get("transfer"):
            note = f"transfer from {learned}"
        elif found is not None and found.stranger and _ships(settings, one.method):
            given = "attack.checkpoint" if "attack" in settings else f"+suite.attacks.{name}.trained.{one.method}"
            raise Unavailable(
                f"needs an attack on {method.title}, for the one that ships learned {learned}: "
                f"{self._command(name, one)}, then {given}=<its checkpoint>"
            )
        else:
            keyed_defense = self.factory.defense(one) if adaptive and one.defense != NONE else None
            way_out = f"train one: {self._command(name, one)}; or say +suite.attacks.{name}.transfer=true"
            who, defense = f"The attack '{name}'", None if keyed_defense is None else keyed_defense.defense
            if one.turns_defense and defense is not None:  # one that learned the defense at some strength meets all
                check_kind(attack, defense, who, way_out)
                defense, adaptive = None, False
            note = check_victim(attack, method.pristine, who, way_out, defense, adaptive)
        if note is not None:
            self.factory.tell(f"The attack '{name}' on {title_of(describe(method.pristine))}: {note}.")
        return note

    def trained(self, attack: str, one: Combination, defense: str | None) -> AttackLike:
        """The trained attack on a method, or on a method behind a defense where ``adaptive`` says so.

        Raises:
            Unavailable: nobody trained it.
            UserError: no attack by that name is configured, an unfit checkpoint, or one that learned from the judge.
        """
        settings, method = self._settings(attack), one.method
        if "trained" not in settings and "checkpoint" not in settings:
            raise UserError(f"suite.attacks.{attack} must be a trained attack (trained: {{<method>: <checkpoint>}}).")
        if "checkpoint" in settings:
            checkpoint = settings["checkpoint"] or newest(settings.get("folder"), str(settings.get("victim")))
            option, what = "checkpoint", "<file>"
        elif settings.get("adaptive"):
            folder = (settings.get("folders") or {}).get(method)
            checkpoint = (settings["trained"].get(method) or {}).get(defense) or newest(folder, str(defense))
            option, what = f"folders.{method}", "<its folder>"
            if checkpoint is None and defense == NONE:
                raise Unavailable("n/a (no defense to adapt to)")
        else:
            checkpoint = undefended(settings, method)
            option, what = f"trained.{method}", "<file>"
        if checkpoint is None:
            raise Unavailable(f"needs {self._command(attack, one)}, then +suite.attacks.{attack}.{option}={what}")
        if str(checkpoint) not in self._attacks:
            found = adversary(attack_config(str(checkpoint)), self.factory.judge, self.device)
            self._attacks[str(checkpoint)] = cast(AttackLike, found)
        return self._attacks[str(checkpoint)]

    def _settings(self, attack: str) -> dict[str, Any]:
        return as_plain(self.suite.attacks.get(attack) or {})

    def _victim(self, one: Combination) -> str:
        """The choices that train an attack on a method; of a generator, with the policy whose attack stands for all."""
        settings = as_plain(self.suite.methods[one.method])
        if not settings.get("policies"):
            root = settings.get("root")
            name = one.method if one.method != ALONE else "<its choice>"
            return f"method={name}" if root is None else f"method=folder method.root={root}"
        try:
            generator = getattr(self.factory.method(one).pristine, "generator", None)
        except Unavailable:
            generator = None
        name = one.method if generator is None else type(generator).__name__.lower()
        return f"method={name} policy=itm"

    def _command(self, attack: str, one: Combination) -> str:
        """What trains an attack on a method."""
        settings = self._settings(attack)
        victim = f"method={settings['victim']}" if settings.get("victim") else self._victim(one)
        command = str(settings.get("train", TRAIN)).replace("{victim}", victim)
        given = as_plain(self.suite.methods[one.method])["anonymizer"]
        checkpoint = given.get("checkpoint") if isinstance(given, dict) and "victim" not in settings else None
        named = checkpoint is not None and not str(checkpoint).startswith(SHIPPED) and " method=" in command
        return f"{command} method.anonymizer.checkpoint={checkpoint}" if named else command


def _software(method: Method, keyed_defense: KeyedDefense | None) -> AnonymizerLike:
    """What was published: the anonymizer without memory, with the defense."""
    software = cast(AnonymizerLike, method.fresh())
    return software if keyed_defense is None else Defended(software, keyed_defense.defense)


def _ships(settings: Mapping[str, Any], method: str) -> bool:
    """Whether the attack that a name means on a method is one that comes with the package."""
    if "attack" in settings:
        checkpoint = settings["attack"].get("checkpoint")
    else:
        checkpoint = settings["checkpoint"] if "checkpoint" in settings else undefended(settings, method)
    return str(checkpoint).startswith(SHIPPED)


class Adversary(NamedTuple):
    """Whom an adversary enrolled, and where it accepts."""

    gallery: Gallery
    accepts: Calibrated
    anew: bool  # the threshold is the adversary's own
    recognizer: JudgeLike  # the judge, or the adversary's own


def adversary_of(stages: Stages, one: Combination, attacker: Attacker | None) -> Adversary:
    """The gallery of the combination's adversary: the judge's, unless there is one who enrols or recognizes for itself.

    Then its threshold is taken anew, at the same false accept rate of probes against the enrolled, on background people
    treated as it treats those whom it enrols, by a second instance that remembers nobody of them.

    Raises:
        UserError, Failed: see :func:`anon.evaluation.judges.judging.check_adversary`.
    """
    data, judge = one.data, stages.judge
    attack = Attack() if attacker is None else attacker.make(stages.seed + 1)
    recognizer = attack.judge(judge.recognizer)
    if attacker is None or (recognizer is judge.recognizer and not overrides(attack, "gallery")):
        return Adversary(stages.gallery(data, judge), stages.calibrations.of_probes(data, judge), False, recognizer)
    check_judge(recognizer)
    people, suite = stages.subjects(data), stages.suite
    z = _enrolled(stages, people.background, attacker, stages.seed + 2, f"calibrating {one.attack}")
    accepts = stages.calibrations.anew(data, z, f"the adversary '{one.attack}'", recognizer.metric)
    if recognizer is not judge.recognizer:
        encoder, own = stages.factory.method(one).encoder, keyed_recognizer(recognizer)
        clear = functools.partial(stages.calibrations.of_probes, data, own)
        check_adversary(recognizer, encoder, suite, one.attack, accepts.found, lambda: clear().found)
    z = _enrolled(stages, people.enrolled, attacker, stages.seed + 1, f"enrolling for {one.attack}")
    gallery = Gallery.of(z, people.enrolled.labels, people.enrolled.videos, accepts.found, recognizer.metric)
    return Adversary(gallery, accepts, True, recognizer)


def _enrolled(stages: Stages, group: Group, attacker: Attacker, seed: int, what: str) -> Tensor:
    """(N, D) of a group's pictures as the adversary enrols them; the pictures are drawn once for all judges."""
    attack, originals = attacker.make(seed), Originals(group)
    if not overrides(attack, "gallery"):
        return stages.z(originals, stages.judge, attack)

    @torch.no_grad()
    def make() -> Tensors:
        parts = []
        for faces in originals.batches(stages.suite.batch_size, what):
            known = faces.to(stages.device)
            with failing(f"the adversary, {what}"):
                parts.append(drawn(attack.gallery(known), known, f"The adversary, {what},"))
        return {IMAGES: torch.cat(parts)}

    key = key_of(
        of=group.key,
        attack=attacker.key,
        seed=seed,
        batch=stages.suite.batch_size,
        device=stages.device.type,
        code=code(_enrolled, *READING),
    )
    return stages.z(Pictures(stages.store, "enrolled", key, make, len(group)), stages.judge, attack)
