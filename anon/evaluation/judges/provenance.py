"""Whom networks learned from, beside whom they are measured on: nobody may be both, and a reader is told what differs.

A network that knows the evaluated people is refused, for its figures say nothing about strangers
(``suite.allow_training_people=true`` marks them instead). One that never saw a photograph, measured on photographs,
is marked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from anon import weights
from anon.errors import UserError
from anon.evaluation.protocol import Protocol
from anon.faces.learned import Learned, learned_of
from anon.identity.encoder import Encoder

_KINDS = {"synthetic": "rendered faces", "photographs": "photographs"}
_OTHER = {"synthetic": "a photograph", "photographs": "a rendered face"}


class Provenance:
    """Collects what the networks of an evaluation learned from.

    Args:
        rule: says whether the evaluated people may be known.
    """

    def __init__(self, rule: Protocol) -> None:
        self.allowed = rule.allow_training_people
        self._notes: dict[str, None] = {}
        self._strangers: dict[tuple[str, str], dict[str, None]] = {}  # (data, domain) -> what learned in it alone

    def check(self, part: object, title: str, names: Sequence[str], synthetic: bool, data: str) -> None:
        """Look at all networks in a method, an attack or a judge.

        Args:
            title: what it is called in the sentences; encoders in it have their own names.
            names: of the people of the evaluation.
            synthetic: whether they belong to nobody.
            data: the data set's name.

        Raises:
            UserError: a network knows some of them, and that is not allowed.
        """
        domain = "synthetic" if synthetic else "photographs"
        for who, learned in _found(part, title):
            if learned.domains and domain not in learned.domains:
                (own,) = learned.domains
                self._strangers.setdefault((data, own), {})[who] = None
            elif not learned.complete and domain == "photographs":
                self._notes[f"The checkpoint of {who} does not say whom it learned from: some may be in {data}."] = None
            self._compare(who, learned, names, data)

    def notes(self) -> list[str]:
        """Sentences that a reader of the table must know."""
        apart = [
            f"{listed(list(titles))} learned from {_KINDS[own]} and never saw {_OTHER[own]}; the faces of {data} are "
            f"{_KINDS['photographs' if own == 'synthetic' else 'synthetic']}."
            for (data, own), titles in self._strangers.items()
        ]
        return [*self._notes, *apart]

    def _compare(self, who: str, learned: Learned, names: Sequence[str], data: str) -> None:
        known = learned.known(names)
        named = [name for name in known if any(letter.isalpha() for letter in name)]
        if named and not self.allowed:
            raise UserError(
                f"{who} learned from {len(named):,} of the {len(names):,} people of {data} who would be evaluated, so "
                "its figures would say nothing about strangers; evaluate on other people, or say "
                "suite.allow_training_people=true, which the table tells."
            )
        if named:
            note = f"{who} learned from {len(named):,} of the {len(names):,} evaluated people of {data}: its figures "
            self._notes[note + "say nothing about strangers."] = None
        if len(known) > len(named):  # people who are numbers: 0001 is somebody in many data sets
            self._notes[
                f"{who} learned from people with the numbers of {len(known) - len(named):,} of the {len(names):,} "
                f"evaluated ones of {data}: if the two data sets number the same people, it knows them."
            ] = None


def _found(part: object, title: str) -> Iterator[tuple[str, Learned]]:
    """What every network in ``part`` learned from, by name."""
    index = weights.index()
    if isinstance(part, functools.partial):  # of an attack: what it is built with
        for given in (*part.args, *part.keywords.values()):
            yield from _found(given, title)
    if not isinstance(part, nn.Module):
        return
    encoders = [inner for inner in part.modules() if isinstance(inner, Encoder)]
    own = {id(inner): encoder.name for encoder in encoders for inner in encoder.modules()}
    found = ((own.get(id(inner), title), learned_of(inner, index)) for inner in part.modules())
    yield from dict.fromkeys((who, learned) for who, learned in found if learned is not None)


def same_people(first: object, second: object, names: Sequence[str], rendered: bool) -> bool:
    """Whether two recognizers are known to have learned from the same people.

    Each checkpoint salts its hashes for itself, so they are not compared with each other: both are asked for people
    who may have trained them. What a network does not tell is not known, so it is no kin.

    Args:
        names: those people, the training split of a data set.
        rendered: whether it is that of the rendered faces, from which all that ships has learned.
    """
    one, two = ([learned for _, learned in _found(part, "")] for part in (first, second))
    return any(own.shares(other, names, rendered) for own in one for other in two)


def listed(titles: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = titles
    return f"{', '.join(first)} and {last}" if first else last
