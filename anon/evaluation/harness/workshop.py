"""Builds what a combination names: the anonymizer with its policy, the defense, the attack, the change of the input.

What cannot be built because nobody trained it yet is no error but a :class:`Needs`, which the table prints.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from torch import nn

from anon.anonymizers.composed import Anonymizer, Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.plugged import as_anonymizer
from anon.attacks.contract import AttackLike
from anon.attacks.reconstruction import Reconstruction
from anon.attacks.victim import describe, title_of
from anon.defenses.contract import DefenseLike
from anon.defenses.defended import Defended, check_defense, complete
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError
from anon.evaluation.harness.inputs import Turned
from anon.evaluation.harness.store import key_of
from anon.evaluation.harness.suite import CLEAN, NONE, Combination, Suite, as_plain
from anon.evaluation.judging import judge_notes
from anon.evaluation.modes import Basis, built_policy, reach_note
from anon.evaluation.trained import adversary, attack_config, check_victim, learned_on, met, newest
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.plugs import check_call, check_has
from anon.provenance import made_of
from anon.weights.files import SHIPPED

TRAIN = "python train.py experiment=reconstruction anonymizer@attack.victim={victim}"


class Needs(NamedTuple):
    """Why a combination cannot be evaluated here, with the command or the file that changes that."""

    why: str


class Method(NamedTuple):
    """An anonymizer as it was built; who uses it takes a copy, for it may remember people."""

    title: str
    pristine: nn.Module
    key: str
    encoder: Encoder | None  # that conditions the generator
    source: bool  # it swaps in another person's face

    def fresh(self) -> nn.Module:
        """A copy without memory of anybody."""
        return copy.deepcopy(self.pristine)


class Behind(NamedTuple):
    """A defense with its key."""

    defense: DefenseLike | ParameterNoise
    key: str


class Attacker(NamedTuple):
    """An attack, or a function of the anonymizer that makes it (a parrot), with its key."""

    make: Callable[[int], AttackLike]  # a number that seeds its own randomness
    key: str
    note: str | None = None  # that it learned another policy, or another method (transfer), or nobody knows whom


class Workshop:
    """Builds each thing once.

    Args:
        suite: what the names mean.
        judge: refuses what was trained with it.
        device: of networks.
        basis: of a data set and an encoder -> what policies are made of.
        known: told every network that is built: the network, its title, the data set.
    """

    def __init__(
        self,
        suite: Suite,
        judge: JudgeLike,
        device: torch.device,
        basis: Callable[[str, Encoder], Basis],
        known: Callable[[object, str, str], None],
    ) -> None:
        self.suite, self.judge, self.device, self.basis, self.known = suite, judge, device, basis, known
        self._bases: dict[str, Any] = {}
        self._methods: dict[tuple[str, str, str, float | None], Method | Needs] = {}
        self._attacks: dict[str, AttackLike] = {}
        self.notes: list[str] = []

    def method(self, one: Combination) -> Method | Needs:
        """The combination's anonymizer with its policy.

        Raises:
            UserError: an unfit checkpoint or policy, or a generator that was trained with the judge.
        """
        key = _key(one)
        if key not in self._methods:
            self._methods[key] = self._method(one)
        return self._methods[key]

    def versions(self) -> dict[str, str]:
        """A short key of each method's weights, settings and code: what tells two runs' methods of one name apart."""
        keys: dict[str, list[str]] = {}
        for (_, name, *_), method in self._methods.items():
            if isinstance(method, Method):
                keys.setdefault(name, []).append(method.key)
        return {f"method {name}": key_of(keys=sorted(set(every)))[:12] for name, every in sorted(keys.items())}

    def check(self, method: str) -> None:
        """Read a method's weights, before any picture is read.

        Raises:
            UserError: an unfit checkpoint, or a generator that was trained with the judge.
        """
        given = as_plain(self.suite.methods[method])["anonymizer"]
        if given is None or _untrained(given):
            return
        encoder = getattr(self._base(given), "encoder", None)
        if encoder is not None:
            self._check_judge(encoder, self.title(method))

    def title(self, method: str) -> str:
        """As tables print it: by its configuration, else by the name of the generator's class."""
        settings = self.suite.methods[method]
        title = settings["title"]
        return str(
            title if title is not None else getattr(self._base(as_plain(settings)["anonymizer"]), "name", method)
        )

    def _method(self, one: Combination) -> Method | Needs:
        settings = as_plain(self.suite.methods[one.method])
        title, given = self.title(one.method), settings["anonymizer"]
        chosen = None if one.policy == NONE else as_plain(self.suite.policies[one.policy])
        if one.dial is not None:
            _turn({"anonymizer": given, "policy": chosen}, str(settings["dial"]["key"]), one.dial)
        if given is None:
            return Method(title, Unchanged(), key_of(real=True), None, False)
        if _untrained(given):
            return Needs(f"needs {settings['train']}, then protocol.methods.{one.method}.anonymizer.checkpoint=<file>")
        base = self._base(given)
        encoder = getattr(base, "encoder", None)
        if encoder is None:  # a filter, or an anonymizer that brings its own policy
            pristine = as_anonymizer(base, f"protocol.methods.{one.method}.anonymizer")
        else:
            check_has(base, f"protocol.methods.{one.method}.anonymizer", "generator")
            self._check_judge(encoder, title)
            if chosen is None:
                raise UserError("A generator needs a policy: name some in the table's grid (policies: [itm]).")
            basis = self.basis(one.data, encoder)
            policy = built_policy(chosen, base.generator.steers, basis)
            self.tell(reach_note(policy, title, basis))
            pristine = Anonymizer(encoder, policy, base.generator)
        self.known(pristine, title, one.data)
        pristine = pristine.to(self.device).eval()
        key = key_of(
            anonymizer={name: value for name, value in given.items() if name != "checkpoint"}
            if isinstance(given, dict)
            else None,
            policy=chosen,
            threshold=getattr(getattr(pristine, "policy", None), "threshold", None),
            weights=made_of(pristine),
        )
        return Method(title, pristine, key, encoder, chosen is not None and "SourceIdentity" in chosen["_target_"])

    def _base(self, given: Any) -> Any:
        """What a configuration builds, once; what is built already passes unchanged."""
        if not isinstance(given, dict):
            return given
        name = key_of(**given)
        if name not in self._bases:
            self._bases[name] = instantiate(given)
        return self._bases[name]

    def _check_judge(self, encoder: Encoder, title: str) -> None:
        for note in judge_notes(encoder, self.judge, self.suite, title):
            self.tell(note)

    def tell(self, note: str | None) -> None:
        """A reader of the tables is told once."""
        if note is not None and note not in self.notes:
            self.notes.append(note)

    def defense(self, one: Combination) -> Behind | Needs:
        """The combination's defense and its key; a gradient defense works against the attack on the method."""
        given = as_plain(self.suite.defenses[one.defense])
        made = instantiate(given)
        if isinstance(made, functools.partial):
            attack = self._trained("reconstruction", one, None)
            if isinstance(attack, Needs):
                return attack
            made = complete(made, cast(Reconstruction, attack))
            note = self._met(attack, one, "reconstruction")
            if isinstance(note, Needs):
                return note
        check_defense(made)
        if isinstance(made, ParameterNoise):
            method = self.method(one)
            if isinstance(method, Method) and not hasattr(method.pristine, "generator"):
                return Needs("n/a (no generator)")
        return Behind(made.to(self.device) if isinstance(made, nn.Module) else made, key_of(made=made_of(given, made)))

    def attack(self, one: Combination) -> Attacker | Needs:
        """The combination's attack; a parrot gets the published software, defense and all."""
        settings = as_plain(self.suite.attacks[one.attack])
        if "trained" in settings:
            found = self._trained(one.attack, one, one.defense)
            if isinstance(found, Needs):
                return found
            self.known(found, one.attack, one.data)
            note = self._met(found, one, one.attack, bool(settings.get("adaptive")))
            return note if isinstance(note, Needs) else Attacker(lambda seed: found, made_of(found), note)
        if settings["attack"] is None:
            return Needs("needs attack=reconstruction attack.checkpoint=<file>, or another attack=<choice>")
        made = adversary(settings["attack"], self.judge, self.device)
        self.known(made, one.attack, one.data)
        note = self._met(made, one, one.attack)
        if isinstance(note, Needs):
            return note
        if not isinstance(made, functools.partial):
            ready = made
            return Attacker(lambda seed: ready, key_of(attack=settings["attack"], made=made_of(ready)), note)
        method, behind = self.method(one), None if one.defense == NONE else self.defense(one)
        for part in (method, behind):
            if isinstance(part, Needs):
                return part
        assert isinstance(method, Method)

        def parrot(seed: int) -> AttackLike:
            software = cast(AnonymizerLike, method.fresh())
            if isinstance(behind, Behind):
                software = Defended(software, behind.defense)
            return self._placed(made(anonymizer=software, rng=torch.Generator(self.device).manual_seed(seed)))

        key = key_of(
            attack=made_of(settings["attack"], made),
            software=method.key,
            defense=behind.key if isinstance(behind, Behind) else None,
        )
        return Attacker(parrot, key, note)

    def _met(self, attack: object, one: Combination, name: str, adaptive: bool = False) -> str | Needs | None:
        """What a reader must know of an attack that learned another policy, nobody knows whom, or is a transfer.

        One that ships, and is the default, is no attack on a method that it did not learn: that needs one.

        Raises:
            UserError: the user's own attack learned another method, or another defense, and is not called a transfer.
        """
        method, settings = self.method(one), as_plain(self.suite.attacks[name])
        if isinstance(method, Needs):
            return method
        if isinstance(method.pristine, Unchanged):
            return None
        found = met(attack, method.pristine)
        note: str | None
        if found is not None and found.stranger and settings.get("transfer"):
            note = f"transfer from {title_of(learned_on(attack)[1] or {})}"
        elif found is not None and found.stranger and _ships(settings, one.method):
            given = "attack.checkpoint" if "attack" in settings else f"+protocol.attacks.{name}.trained.{one.method}"
            learned = title_of(learned_on(attack)[1] or {})
            return Needs(
                f"needs an attack on {method.title}, for the one that ships learned {learned}: "
                f"{self._command(name, one)}, then {given}=<its checkpoint>"
            )
        else:
            behind = self.defense(one) if adaptive and one.defense != NONE else None
            if isinstance(behind, Needs):
                return behind
            way_out = f"train one: {self._command(name, one)}; or say +protocol.attacks.{name}.transfer=true"
            defense = None if behind is None else behind.defense
            note = check_victim(attack, method.pristine, f"The attack '{name}'", way_out, defense, adaptive)
        if note is not None:
            self.tell(f"The attack '{name}' on {title_of(describe(method.pristine))}: {note}.")
        return note

    def _command(self, attack: str, one: Combination) -> str:
        """What trains an attack on a method; of a generator, with the policy whose attack stands for all."""
        settings, method = as_plain(self.suite.methods[one.method]), self._methods.get(_key(one))
        victim, given = one.method, settings["anonymizer"]
        if settings.get("policies"):
            generator = getattr(getattr(method, "pristine", None), "generator", None)
            victim = f"{one.method if generator is None else type(generator).__name__.lower()}_itm"
        command = str(as_plain(self.suite.attacks[attack]).get("train", TRAIN)).replace("{victim}", victim)
        checkpoint = given.get("checkpoint") if isinstance(given, dict) else None
        named = checkpoint is not None and not str(checkpoint).startswith(SHIPPED) and "attack.victim=" in command
        return f"{command} attack.victim.checkpoint={checkpoint}" if named else command

    def _trained(self, attack: str, one: Combination, defense: str | None) -> AttackLike | Needs:
        """The trained attack on a method, or on a method behind a defense where ``adaptive`` says so.

        Raises:
            UserError: no attack by that name is configured, an unfit checkpoint, or one that learned from the judge.
        """
        settings, method = as_plain(self.suite.attacks.get(attack) or {}), one.method
        if "trained" not in settings:
            raise UserError(
                f"protocol.attacks.{attack} must be a trained attack (trained: {{<method>: <checkpoint>}})."
            )
        adaptive = bool(settings.get("adaptive"))
        checkpoint, option = settings["trained"].get(method), f"trained.{method}"
        if adaptive:
            folder = (settings.get("folders") or {}).get(method)
            checkpoint = (checkpoint or {}).get(defense) or newest(folder, str(defense))
            option = f"folders.{method}"
            if checkpoint is None and defense == NONE:
                return Needs("n/a (no defense to adapt to)")
        if checkpoint is None:
            what = "<its folder>" if adaptive else "<file>"
            return Needs(f"needs {self._command(attack, one)}, then +protocol.attacks.{attack}.{option}={what}")
        if str(checkpoint) not in self._attacks:
            found = adversary(attack_config(str(checkpoint)), self.judge, self.device)
            self._attacks[str(checkpoint)] = cast(AttackLike, found)
        return self._attacks[str(checkpoint)]

    def _placed(self, attack: Any) -> AttackLike:
        """On the device, in eval mode."""
        return cast(AttackLike, attack.to(self.device).eval() if isinstance(attack, nn.Module) else attack)

    def degraded(self, one: Combination) -> tuple[Any, str]:
        """What is done to the combination's pictures before they are anonymized, and its key."""
        given = None if one.input == CLEAN else as_plain(self.suite.inputs[one.input])
        made = None if given is None else instantiate(given)
        if made is not None and not isinstance(made, Turned):
            check_call(made, f"protocol.inputs.{one.input}", "input(images)", "images")
        return made, key_of(input=made_of(given, made))


def _key(one: Combination) -> tuple[str, str, str, float | None]:
    return one.data, one.method, one.policy, one.dial


def _ships(settings: Mapping[str, Any], method: str) -> bool:
    """Whether the attack that a name means on a method is one that comes with the package."""
    checkpoint = settings["attack"].get("checkpoint") if "attack" in settings else settings["trained"].get(method)
    return str(checkpoint).startswith(SHIPPED)


def _untrained(given: Any) -> bool:
    """Whether a method's configuration has a checkpoint and names none."""
    return isinstance(given, dict) and given.get("checkpoint", "") is None


def _turn(settings: Mapping[str, Any], key: str, value: float) -> None:
    """Set ``anonymizer.sigma`` or ``policy.distance``; whole numbers stay whole.

    Raises:
        UserError: the key names nothing.
    """
    *path, last = key.split(".")
    place: Any = settings
    for part in path:
        place = (place or {}).get(part)
    if not isinstance(place, dict) or last not in place:
        raise UserError(
            f"The dial's key '{key}' names no setting of the method; write anonymizer.<name> or policy.<name>."
        )
    place[last] = int(value) if isinstance(place[last], int) and value == int(value) else value
