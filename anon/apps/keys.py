"""The key that a command line names for policy=rotation, and where it must not lie.

anon anonymize input=photo.png output=out.png domain=synthetic policy=rotation key.file=my.key
anon recover   input=out.png output=back.png  domain=synthetic key.file=my.key
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from anon import plain
from anon.errors import UserError
from anon.identity.keys import LONGEST, key_of
from anon.identity.rotation import KeyedRotation

KEY = "ANON_KEY"
_ROTATION = f"{KeyedRotation.__module__}.{KeyedRotation.__name__}"


def key_named(key: Any, recover: bool, policy: Any, redraws: bool) -> Tensor | None:
    """The key (1, n) of a policy that turns identities; None for every other.

    Args:
        key: ``key`` of ``conf/anonymize.yaml``, as plain data.
        policy: one of ``conf/policy``, as plain data.
        redraws: whether the method asks a policy.

    Raises:
        UserError: a key that nothing reads, none where one is needed, or one that is none.
    """
    if redraws and isinstance(policy, dict) and policy.get("_target_") == _ROTATION:
        return key_of(_password(key["file"]), os.fsencode(str(key["salt"] or "")))
    if recover:
        raise UserError(
            "anon recover undoes policy=rotation of a generator: name the domain or the method that was used."
        )
    for name in ("file", "salt"):
        if key[name] is not None:
            raise UserError(f"key.{name} would do nothing here: it is of policy=rotation and of a generator.")
    return None


def _password(file: Any) -> bytes:
    if file is not None:
        return plain.read_bytes(Path(str(file)).expanduser(), LONGEST).rstrip(b"\r\n")
    if KEY not in os.environ:
        raise UserError(f"policy=rotation needs a key: a password in the environment as {KEY}, or in key.file=<file>.")
    return os.fsencode(os.environ[KEY])


def check_place(file: str | None, results: Any) -> None:
    """See that a key does not lie where something is written.

    Raises:
        UserError: it would be lost.
    """
    if file is not None and os.path.realpath(Path(file).expanduser()) in {os.path.realpath(each) for each in results}:
        raise UserError(f"key.file={file} would be written over; name another place for the result.")
