"""Whom a network learned from: its checkpoint keeps that, and an evaluation compares it with whom it measures on.

A checkpoint holds no name, but of each person :data:`BYTES` bytes of the SHA-256 of a salt of its own and of what the
spellings of the name have in common. That is no secret: who has the checkpoint and a list of names finds out who of
them was most likely among the people. The salt only keeps lists of hashes from being made beforehand, and checkpoints
from being compared with each other. A checkpoint is as personal as the list of those whom it learned from.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from anon.errors import UserError
from anon.faces.splits import person

#: Of a hash: ten thousand people and ten thousand others have one in common by chance once in ten thousand times.
BYTES = 5
DOMAINS = ("synthetic", "photographs")
#: The people whom weights that ship have learned from, where the index does not say ``people``.
RENDERED = "the training split of the rendered faces"
_MOST = 50_000_000  # people


@dataclass(frozen=True)
class Learned:
    """What a network learned from.

    Args:
        domains: some of :data:`DOMAINS`; two where a training went on with other data.
        salt: of the hashes.
        people: hashes of the names.
        complete: nobody else; False for checkpoints that were written before they kept this.
        group: of weights that ship, which keep no hashes: the name of the set of all people that they learned from.
    """

    domains: frozenset[str]
    salt: bytes = b""
    people: frozenset[int] = frozenset()
    complete: bool = True
    group: str | None = None

    @classmethod
    def of(cls, names: Iterable[str], synthetic: bool, before: Learned | None = None) -> Learned:
        """The people of a training, beside those ``before`` where it goes on from a checkpoint."""
        salt = before.salt if before is not None and before.salt else secrets.token_bytes(8)
        own = frozenset(_hashed(salt, name) for name in names)
        domain = frozenset([DOMAINS[0 if synthetic else 1]])
        if before is None:
            return cls(domain, salt, own)
        return cls(before.domains | domain, salt, before.people | own, before.complete)

    def beside(self, other: Learned) -> Learned:
        """Both. The people of ``other`` have hashes of another salt, so of two lists this keeps its own, incomplete."""
        first, second = (self, other) if self.people or not other.people else (other, self)
        complete = first.complete and second.complete and not second.people
        return Learned(first.domains | second.domains, first.salt, first.people, complete)

    def known(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` who are, in any spelling, among the people."""
        return [name for name in names if _hashed(self.salt, name) in self.people] if self.people else []

    def shares(self, other: Learned, names: Iterable[str], rendered: bool) -> bool:
        """Whether both are known to have learned from one person or more.

        Args:
            names: people who may be among them, the training split of a data set.
            rendered: whether they are :data:`RENDERED`.
        """
        if self.group is not None and other.group is not None:
            return self.group == other.group
        names = list(names)
        one, two = (names if each.group == RENDERED and rendered else each.known(names) for each in (self, other))
        return not set(one).isdisjoint(two)

    def plain(self) -> dict[str, Any]:
        """As a checkpoint holds it: strings, a bool and int64 (N,) in rising order."""
        return {
            "domains": sorted(self.domains),
            "salt": self.salt.hex(),
            "people": torch.tensor(sorted(self.people), dtype=torch.int64),
            "complete": self.complete,
        }

    @classmethod
    def from_plain(cls, content: Any, where: object) -> Learned:
        """What :meth:`plain` gave.

        Raises:
            UserError: it is something else; ``where`` names the file.
        """
        content = content if isinstance(content, dict) else {}
        try:
            people, domains = content["people"], content["domains"]
            sound = (
                isinstance(people, torch.Tensor)
                and people.dtype == torch.int64
                and people.ndim == 1
                and len(people) <= _MOST
                and (len(people) == 0 or 0 <= int(people.min()) <= int(people.max()) < 256**BYTES)
                and isinstance(domains, list)
                and set(domains) <= set(DOMAINS)
                and isinstance(content["complete"], bool)
                and len(content["salt"]) <= 64
            )
            if sound:
                salt = bytes.fromhex(content["salt"])
                return cls(frozenset(domains), salt, frozenset(people.tolist()), content["complete"])
        except (KeyError, TypeError, ValueError):
            pass
        raise UserError(f"{where} says of whom it learned what cannot be; it is damaged.")


def remember(network: object, learned: Learned) -> None:
    """Note at a network what it learned from, for :func:`learned_of`; no part of its state dict."""
    network.__dict__["learned"] = learned


def learned_of(network: object, index: Mapping[str, Mapping[str, Any]]) -> Learned | None:
    """What is noted at a network: by :func:`remember`, by the checkpoint of this project that its weights are read
    from (:func:`anon.weights.files.load_into`), or what the index of shipped weights says of it.

    Raises:
        UserError: a checkpoint says what cannot be.
    """
    noted = network.__dict__.get("learned")
    if isinstance(noted, Learned):
        return noted
    if noted is not None:  # as the file of its weights told it
        return Learned.from_plain(noted, f"the weight file of a {type(network).__name__}")
    entry = index.get(str(network.__dict__.get("shipped")), {})
    if entry.get("domain") not in DOMAINS:
        return None
    group = entry.get("people", RENDERED if entry["domain"] == DOMAINS[0] else None)
    return Learned(frozenset([entry["domain"]]), group=group)


def _hashed(salt: bytes, name: str) -> int:
    digest = hashlib.sha256(salt + person(name).encode("utf-8", "backslashreplace")).digest()
    return int.from_bytes(digest[:BYTES], "big")
