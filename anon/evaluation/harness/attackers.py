"""Builds the attack that a combination names, once, and says whom it learned.

An attack is ready, or a function that still wants some of: ``anonymizer``, the published software with its defense and
a memory of its own (a parrot's); ``rng``, its own random generator; ``pairs``, embeddings of its own people before and
after that software (:class:`anon.attacks.linear.Pairs`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from anon.anonymizers.composed import Unchanged
from anon.anonymizers.contract import AnonymizerLike
from anon.attacks.contract import AttackLike
from anon.attacks.victim import describe, title_of
from anon.defenses.defended import Defended
from anon.errors import UserError
from anon.evaluation.harness.built import Attacker, KeyedDefense, LearningPairs, Method, Unavailable
from anon.evaluation.harness.store import key_of
from anon.evaluation.harness.suite import NONE, Combination, as_plain
from anon.evaluation.trained import adversary, attack_config, check_victim, learned_on, met, newest
from anon.provenance import made_of
from anon.weights.files import SHIPPED

if TYPE_CHECKING:
    from anon.evaluation.harness.factory import Factory

TRAIN = "python train.py experiment=reconstruction {victim}"


class Attackers:
    """Builds each attack once.

    Args:
        workshop: builds what is attacked.
        pairs: of a combination -> what an attack that is fitted here learns from.
    """

    def __init__(self, factory: Factory, pairs: Callable[[Combination], LearningPairs | Unavailable]) -> None:
        self.factory, self.pairs = factory, pairs
        self.suite, self.device = factory.suite, factory.device
        self._attacks: dict[str, AttackLike] = {}

    def attack(self, one: Combination) -> Attacker | Unavailable:
        """The combination's attack."""
        settings = self._settings(one.attack)
        if "attack" not in settings:
            ready = self.trained(one.attack, one, one.defense)
            if isinstance(ready, Unavailable):
                return ready
            self.factory.known(ready, one.attack, one.data)
            note = self.met(ready, one, one.attack, bool(settings.get("adaptive")))
            return note if isinstance(note, Unavailable) else Attacker(lambda seed: ready, made_of(ready), note)
        given = settings["attack"]
        if given is None:
            needs = "needs attack=reconstruction, which takes the newest on this generator, or another attack=<choice>"
            unchanged = as_plain(self.suite.methods[one.method])["anonymizer"] is None
            return Unavailable(
                needs if unchanged else f"{needs}; {self._command(one.attack, one)} trains one on this method"
            )
        where = _untrained(given, "attack")
        if where is not None:
            command = settings.get("train", TRAIN).replace("{victim}", self._victim(one))
            return Unavailable(f"needs {command}, then suite.attacks.{one.attack}.{where}=<its checkpoint>")
        made = adversary(given, self.factory.judge, self.device)
        self.factory.known(made, one.attack, one.data)
        note = self.met(made, one, one.attack)
        if isinstance(note, Unavailable):
            return note
        if isinstance(made, functools.partial):
            return self._completed(made, one, note)
        return Attacker(lambda seed: made, key_of(attack=given, made=made_of(made)), note)

    def _completed(self, made: functools.partial, one: Combination, note: str | None) -> Attacker | Unavailable:
        """An attack that gets what it still wants each time that it is made."""
        method = self.factory.method(one)
        behind = None if one.defense == NONE else self.factory.defense(one)
        wanted = set(inspect.signature(made).parameters) - set(made.keywords)
        learned = self.pairs(one) if "pairs" in wanted else None
        for part in (method, behind, learned):
            if isinstance(part, Unavailable):
                return part

        def make(seed: int) -> AttackLike:
            offers = {
                "anonymizer": lambda: _software(cast(Method, method), cast("KeyedDefense | None", behind)),
                "rng": lambda: torch.Generator(self.device).manual_seed(seed),
                "pairs": lambda: cast(LearningPairs, learned).pairs,
            }
            attack = made(**{name: offer() for name, offer in offers.items() if name in wanted})
            return cast(AttackLike, attack.to(self.device).eval() if isinstance(attack, nn.Module) else attack)

        key = key_of(
            attack=made_of(self._settings(one.attack)["attack"], made),
            software=cast(Method, method).key,
            defense=behind.key if isinstance(behind, KeyedDefense) else None,
            learned=learned.key if isinstance(learned, LearningPairs) else None,
        )
        return Attacker(make, key, note)

    def met(self, attack: object, one: Combination, name: str, adaptive: bool = False) -> str | Unavailable | None:
        """What a reader must know of an attack that learned another policy, nobody knows whom, or is a transfer.

        One that ships, and is the default, is no attack on a method that it did not learn: that needs one.

        Raises:
            UserError: the user's own attack learned another method, or another defense, and is not called a transfer.
        """
        method, settings = self.factory.method(one), self._settings(name)
        if isinstance(method, Unavailable):
            return method
        if isinstance(method.pristine, Unchanged):
            return None
        found, learned = met(attack, method.pristine), title_of(learned_on(attack)[1] or {})
        note: str | None
        if found is not None and found.stranger and settings.get("transfer"):
            note = f"transfer from {learned}"
        elif found is not None and found.stranger and _ships(settings, one.method):
            given = "attack.checkpoint" if "attack" in settings else f"+suite.attacks.{name}.trained.{one.method}"
            return Unavailable(
                f"needs an attack on {method.title}, for the one that ships learned {learned}: "
                f"{self._command(name, one)}, then {given}=<its checkpoint>"
            )
        else:
            behind = self.factory.defense(one) if adaptive and one.defense != NONE else None
            if isinstance(behind, Unavailable):
                return behind
            way_out = f"train one: {self._command(name, one)}; or say +suite.attacks.{name}.transfer=true"
            who, defense = f"The attack '{name}'", None if behind is None else behind.defense
            if one.turns_defense and defense is not None:  # one that learned the defense at some strength meets all
                _check_kind(attack, defense, who, way_out)
                defense, adaptive = None, False
            note = check_victim(attack, method.pristine, who, way_out, defense, adaptive)
        if note is not None:
            self.factory.tell(f"The attack '{name}' on {title_of(describe(method.pristine))}: {note}.")
        return note

    def trained(self, attack: str, one: Combination, defense: str | None) -> AttackLike | Unavailable:
        """The trained attack on a method, or on a method behind a defense where ``adaptive`` says so.

        Raises:
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
                return Unavailable("n/a (no defense to adapt to)")
        else:
            checkpoint, option, what = settings["trained"].get(method), f"trained.{method}", "<file>"
        if checkpoint is None:
            return Unavailable(f"needs {self._command(attack, one)}, then +suite.attacks.{attack}.{option}={what}")
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
            return f"method={one.method}"
        generator = getattr(getattr(self.factory.method(one), "pristine", None), "generator", None)
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


def _software(method: Method, behind: KeyedDefense | None) -> AnonymizerLike:
    """What was published: the anonymizer without memory, with the defense."""
    software = cast(AnonymizerLike, method.fresh())
    return software if behind is None else Defended(software, behind.defense)


def _check_kind(attack: object, defense: object, who: str, way_out: str) -> None:
    learned = learned_on(attack)[1]
    kind = str(((learned or {}).get("defense") or {}).get("class")).rpartition(".")[2]
    if learned is not None and kind != type(defense).__name__:
        raise UserError(f"{who} learned no faces behind {type(defense).__name__}, but {title_of(learned)}; {way_out}.")


def _ships(settings: Mapping[str, Any], method: str) -> bool:
    """Whether the attack that a name means on a method is one that comes with the package."""
    if "attack" in settings:
        checkpoint = settings["attack"].get("checkpoint")
    else:
        checkpoint = settings["checkpoint"] if "checkpoint" in settings else settings["trained"].get(method)
    return str(checkpoint).startswith(SHIPPED)


def _untrained(given: Any, where: str) -> str | None:
    """Where in an attack's configuration a checkpoint is asked for and none is named."""
    if not isinstance(given, Mapping):
        return None
    if given.get("checkpoint", "") is None:
        return f"{where}.checkpoint"
    return next((found for name, part in given.items() if (found := _untrained(part, f"{where}.{name}"))), None)
