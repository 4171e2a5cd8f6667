"""What combinations are built of: methods, defenses and attacks with their keys, or what is missing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from anon.attacks.contract import AttackLike
from anon.attacks.linear import Pairs
from anon.defenses.contract import DefenseLike
from anon.defenses.parameters import ParameterNoise
from anon.identity.encoder import Encoder


class Unavailable(NamedTuple):
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
