"""A password made into the key of a rotation: 256 bits that cost a guesser 128 MiB and a third of a second a guess.

scrypt (RFC 7914), as of an identity store (:mod:`anon.identity.store.sealed`). The six digits that the book takes for a
password (section 6.4.1) are a million guesses, and refused.

A picture holds no salt: a password gives one key wherever ``salt`` is the same. A long password, or a salt of one's
own, keeps others' tables of passwords from fitting.
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.errors import UserError

SALT = b"anon rotation 1"
COST = 17  # log2 of scrypt's n
SHORTEST, LONGEST = 12, 4096  # bytes of a password


def key_of(password: bytes, salt: bytes = b"") -> Tensor:
    """The key (1, 4) int64 of a password.

    Args:
        salt: of one's own; whoever recovers needs it, too.

    Raises:
        UserError: a password too short or too long, or the package cryptography is not installed.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise UserError(
            f"The key has {len(password)} bytes; take {SHORTEST} to {LONGEST:,}, such as openssl rand -hex 32 "
            "gives, or whoever has the picture may guess it."
        )
    try:
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ImportError as error:
        raise UserError("a key is made with the package cryptography: pip install 'anon-faces[store]'.") from error
    made = Scrypt(salt=SALT + salt, length=32, n=2**COST, r=8, p=1).derive(password)
    return torch.frombuffer(bytearray(made), dtype=torch.int64).clone()[None]
