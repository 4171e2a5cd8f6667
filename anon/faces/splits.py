"""Four identity-disjoint splits by a hash of the identity's name, the same for every data set and forever.

Shipped weights depend on them: an identity that trained a recognizer must never be evaluated. The split of a name is a
pure function of the name, so it does not change when a data set grows, is subsampled or is read on another machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from anon.errors import UserError

#: Split names with their share of the identities. ``train``: generators and recognizers. ``background``: thresholds and
#: other calibration. ``attacker``: the people whose pairs an attacker owns. ``evaluation``: figures only.
SHARES: dict[str, float] = {"train": 0.5, "background": 0.1, "attacker": 0.2, "evaluation": 0.2}
SPLITS: tuple[str, ...] = tuple(SHARES)


def split_of(identity: str) -> str:
    """Split of an identity, by the first 8 bytes of the SHA-256 of its UTF-8 name.

    >>> split_of("n000001"), split_of("n000001") == split_of("n000001")
    ('attacker', True)
    """
    position = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    edge = 0.0
    for name, share in SHARES.items():
        edge += share
        if position < edge:
            return name
    return SPLITS[-1]


def members(identities: Iterable[str], split: str) -> list[str]:
    """The identities of one split, sorted by name.

    Raises:
        UserError: unknown split.
    """
    if split not in SHARES:
        raise UserError(f"Unknown split '{split}'; choose one of {', '.join(SPLITS)}.")
    return sorted(name for name in identities if split_of(name) == split)
