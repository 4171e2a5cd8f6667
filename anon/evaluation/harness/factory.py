"""Builds what a combination names: the anonymizer with its policy, the defense, the attack, the change of the input.

What cannot be built because nobody trained it yet is no mistake: :class:`Unavailable` is raised, and the table
prints it.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from hydra.utils import instantiate
from torch import nn

from anon.anonymizers.composed import Unchanged
from anon.anonymizers.plugged import as_anonymizer
from anon.attacks.reconstruction import Reconstruction
from anon.defenses.defended import check_defense, complete
from anon.defenses.parameters import ParameterNoise
from anon.errors import UserError
from anon.evaluation.harness.attackers import Attackers, KeyedDefense, Method, Unavailable, recognizers_of
from anon.evaluation.harness.inputs import Turned
from anon.evaluation.harness.store import key_of
from anon.evaluation.harness.suite import CLEAN, NONE, Combination, as_plain
from anon.evaluation.judges.judging import judge_notes
from anon.evaluation.modes import Basis, posed, reach_note, without_latent
from anon.identity.contract import PolicyLike
from anon.identity.encoder import Encoder
from anon.identity.policies import sampling_of
from anon.plugs import built_of, check_call
from anon.provenance import made_of

if TYPE_CHECKING:
    from anon.evaluation.harness.stages import Stages


_WITHIN = ".methods."


class Factory:
    """Builds each thing once; what was trained with the stages' judge is refused, and they are told every network."""

    def __init__(self, stages: Stages) -> None:
        self.suite, self.judge, self.device = stages.suite, stages.judge.recognizer, stages.device
        self.basis, self.known, self.datasets = stages.basis, stages.known, stages.datasets
        self._bases: dict[str, Any] = {}
        self._checked: set[tuple[object, ...]] = set()
        self._methods: dict[tuple[object, ...], Method] = {}
        self._titles: dict[str, str] = {}  # of methods that know more of themselves when they have met the data
        self._met: dict[
            tuple[int, str], tuple[Any, nn.Module]
        ] = {}  # they hold their bases, so that no id is used twice
        self.attackers = Attackers(self, stages)
        self.notes: list[str] = []

    def share(self, other: Factory) -> None:
        """Take over what is built for another judge, and what is built later; this judge is looked at for itself."""
        self._bases, self._methods, self.notes = other._bases, other._methods, other.notes
        self._met, self._titles = other._met, other._titles
        self.attackers.share(other.attackers)

    def method(self, one: Combination) -> Method:
        """The combination's anonymizer with its policy.

        Raises:
            Unavailable: nobody trained it.
            UserError: an unfit checkpoint or policy, or a generator that was trained with the judge.
        """
        key = _key(one)
        if key not in self._methods:
            self._methods[key] = self._method(one)
        method = self._methods[key]
        for recognizer in method.made_on:  # it may have been built for another judge
            self._check_judge(recognizer, method.title)
        return method

    def versions(self) -> dict[str, str]:
        """A short key of each method's weights, settings and code: what tells two runs' methods of one name apart."""
        keys: dict[str, list[str]] = {}
        for (_, name, *_), method in self._methods.items():
            keys.setdefault(str(name), []).append(method.key)
        return {f"method {name}": key_of(keys=sorted(set(every)))[:12] for name, every in sorted(keys.items())}

    def check(self, method: str, data: str, donors: Sequence[str] = ()) -> None:
        """Read a method's weights, before any picture is read.

        Args:
            donors: data sets whose people are swapped in, whom a generator may know as little as the evaluated ones.

        Raises:
            UserError: an unfit checkpoint, or a generator that was trained with the judge or knows the people.
        """
        settings = self._settings(method)
        given = settings["anonymizer"]
        for inner in settings.get("methods") or ():
            self.check(_inside(method, inner), data, donors)
        if given is None or _untrained(given) or settings.get("methods"):
            return
        base, title = self._base(given, method), self.title(method)
        encoder = getattr(base, "encoder", None)
        if isinstance(base, functools.partial):  # it asks for the data, which may not fit it
            try:
                base = self._plugged(base, method, data)
            except Unavailable:  # nobody trained it on these data, which its line says
                return
        for recognizer in recognizers_of(base):
            self._check_judge(recognizer, title)
        for part, name in itertools.product((getattr(base, "generator", base), encoder), (data, *donors)):
            self.known(part, title, name)

    def title(self, method: str) -> str:
        """As tables print it: by its configuration, else by the name of the generator's class."""
        if method in self._titles:
            return self._titles[method]
        settings = self._settings(method)
        title = settings["title"]
        if title is None:
            title = getattr(self._base(settings["anonymizer"], method), "name", method)
        return str(title)

    def _settings(self, method: str) -> dict[str, Any]:
        """A method's configuration; ``<method>.methods.<name>`` is one inside of a method of methods."""
        first, *inside = method.split(_WITHIN)
        settings = as_plain(self.suite.methods[first])
        for name in inside:
            settings = settings["methods"][name]
        return settings

    def _joined(self, one: Combination, settings: Mapping[str, Any], title: str) -> Method:
        """A method of methods: each of them as it is alone, with the policy where it takes one.

        Raises:
            Unavailable: nobody trained it, or one of them.
        """
        parts = {}
        for name, inner in settings["methods"].items():
            policy = one.policy if inner.get("policies") else NONE
            part = replace(one, method=_inside(one.method, name), policy=policy, dial=None, turns=None)
            parts[name] = self.method(part)
        given = settings["anonymizer"]
        if _untrained(given):
            raise Unavailable(_needed(one.method, settings))
        made = built_of(given, f"suite.methods.{one.method}.anonymizer")
        pristine = made(parts={name: part.pristine for name, part in parts.items()}).to(self.device).eval()
        self.known(pristine, title, one.data)
        own = (
            {name: value for name, value in given.items() if name != "checkpoint"} if isinstance(given, dict) else None
        )
        key = key_of(made=made_of(own, pristine), parts={name: part.key for name, part in parts.items()})
        return Method(title, pristine, key, None, any(part.source for part in parts.values()))

    def _method(self, one: Combination) -> Method:
        settings = self._settings(one.method)
        title, given = self.title(one.method), settings["anonymizer"]
        chosen = None if one.policy == NONE else as_plain(self.suite.policies[one.policy])
        if one.redrawn:
            _turn({"anonymizer": given, "policy": chosen}, str(one.turns or settings["dial"]["key"]), one.dial)
        if given is None:
            return Method(title, Unchanged(), key_of(real=True), None, False)
        if settings.get("methods"):
            return self._joined(one, settings, title)
        if _untrained(given):
            raise Unavailable(_needed(one.method, settings))
        base = self._base(given, one.method)
        encoder = getattr(base, "encoder", None)
        if encoder is None:  # a filter, or an anonymizer that brings its own policy
            pristine = as_anonymizer(base, f"suite.methods.{one.method}.anonymizer", self.datasets(one.data))
            own, incomplete = (
                settings["title"] or getattr(pristine, "name", title),
                getattr(pristine, "incomplete", None),
            )
            title = self._titles[one.method] = f"{own} ({incomplete})" if incomplete else str(own)
        else:
            self._check_judge(encoder, title)
            if chosen is not None and getattr(getattr(base, "generator", None), "steers", None) == 0:
                told = without_latent(chosen)
                if told is not None:
                    raise Unavailable(f"n/a ({told})")
            basis = self.basis(one.data, encoder)
            pristine = posed(base, chosen, basis, f"suite.methods.{one.method}.anonymizer")
            self._tell_reach(pristine.policy, title, basis, one.data)
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
        swaps, sources = chosen is not None and "SourceIdentity" in chosen["_target_"], None
        if getattr(pristine, "swaps", False):  # it says itself who was swapped in
            swaps, sources = True, pristine.sources
        return Method(title, pristine, key, encoder, swaps, cast(Any, sources))

    def _plugged(self, base: Any, method: str, data: str) -> nn.Module:
        """What brings its own policy, or needs none; what asks for the data gets them, once."""
        name = id(base), data
        if name not in self._met:
            found = as_anonymizer(base, f"suite.methods.{method}.anonymizer", self.datasets(data))
            own = self._settings(method)["title"] or getattr(found, "name", self.title(method))
            incomplete = getattr(found, "incomplete", None)
            self._titles[method] = f"{own} ({incomplete})" if incomplete else str(own)
            self._met[name] = base, found
        return self._met[name][1]

    def _base(self, given: Any, method: str) -> Any:
        """What a configuration builds, once; what is built already passes unchanged."""
        who = f"suite.methods.{method}.anonymizer"
        if not isinstance(given, dict):
            return given
        name = key_of(**given)
        if name not in self._bases:
            self._bases[name] = built_of(given, who)
        return self._bases[name]

    def _check_judge(self, encoder: Encoder, title: str) -> None:
        if (encoder, title) not in self._checked:
            self._checked.add((encoder, title))
            for note in judge_notes(encoder, self.judge, self.suite, title):
                self.tell(note)

    def _tell_reach(self, policy: PolicyLike, title: str, basis: Basis, data: str) -> None:
        """Once for each sampling, whatever tracks it."""
        reach = title, data, made_of(sampling_of(policy))
        if reach not in self._checked:
            self._checked.add(reach)
            self.tell(reach_note(policy, title, basis))

    def notes_of_methods(self) -> list[str]:
        """What methods say of their own, such as the pictures that a folder of results lacks."""
        told = (getattr(method.pristine, "notes", None) for method in self._methods.values())
        return list(dict.fromkeys(note for notes in told if callable(notes) for note in notes()))

    def tell(self, note: str | None) -> None:
        """A reader of the tables is told once."""
        if note is not None and note not in self.notes:
            self.notes.append(note)

    def defense(self, one: Combination) -> KeyedDefense:
        """The combination's defense and its key; a gradient defense works against the attack on the method.

        Raises:
            Unavailable: nobody trained that attack, or there is no generator whose parameters could be changed.
        """
        given = as_plain(self.suite.defenses[one.defense])
        if one.turns_defense:
            _turn({"defense": given}, str(one.turns), one.dial)
        made = instantiate(given)
        if isinstance(made, functools.partial):
            attack = self.attackers.trained("reconstruction", one, None)
            made = complete(made, cast(Reconstruction, attack))
            self.attackers.met(attack, one, "reconstruction")
        check_defense(made)
        if isinstance(made, ParameterNoise) and not hasattr(self.method(one).pristine, "generator"):
            raise Unavailable("n/a (no generator)")
        return KeyedDefense(
            made.to(self.device) if isinstance(made, nn.Module) else made, key_of(made=made_of(given, made))
        )

    def degraded(self, one: Combination) -> tuple[Any, str]:
        """What is done to the combination's pictures before they are anonymized, and its key."""
        given = None if one.input == CLEAN else as_plain(self.suite.inputs[one.input])
        made = None if given is None else built_of(given, f"suite.inputs.{one.input}")
        if made is not None and not isinstance(made, Turned):
            check_call(made, f"suite.inputs.{one.input}", "input(images)", "images")
        return made, key_of(input=made_of(given, made))


def _inside(method: str, name: str) -> str:
    """The name of one of the methods of a method of methods, by which sentences name its settings."""
    return f"{method}{_WITHIN}{name}"


def _key(one: Combination) -> tuple[str, str, str, float | None, str | None]:
    """Of what decides over a method."""
    dial = (one.dial, one.turns) if one.redrawn else (None, None)
    return one.data, one.method, one.policy, *dial


def _needed(method: str, settings: Mapping[str, Any]) -> str:
    """What a table prints of a method that nobody trained."""
    return f"needs {settings['train']}, then suite.methods.{method}.anonymizer.checkpoint=<file>"


def _untrained(given: Any) -> bool:
    """Whether a method's configuration has a checkpoint and names none."""
    return isinstance(given, dict) and given.get("checkpoint", "") is None


def _turn(settings: Mapping[str, Any], key: str, value: float | None) -> None:
    """Set ``anonymizer.sigma``, ``policy.distance`` or ``defense.share``; whole numbers stay whole.

    Raises:
        UserError: the key names nothing.
    """
    *path, last = key.split(".")
    place: Any = settings
    for part in path:
        place = (place or {}).get(part)
    if not isinstance(place, dict) or last not in place:
        raise UserError(
            f"The dial's key '{key}' names no setting of what it turns; write anonymizer.<name>, policy.<name> or "
            "defense.<name>."
        )
    whole = isinstance(place[last], int) and value is not None and value == int(value)
    place[last] = int(cast(float, value)) if whole else value
