"""The key that a command line names for policy=rotation, and where it must not lie.

anon anonymize input=photo.png output=out.png domain=synthetic policy=rotation key.file=my.key
anon recover   input=out.png output=back.png  domain=synthetic key.file=my.key
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from anon import plain
from anon.errors import UserError
from anon.identity.keys import LONGEST, key_of
from anon.identity.rotation import KeyedRotation

KEY = "ANON_KEY"
_LACKING = f"policy=rotation needs a key: a password in the environment as {KEY}, or in key.file=<file>."
_ROTATION = f"{KeyedRotation.__module__}.{KeyedRotation.__name__}"


def key_named(key: Any, recover: bool, policy: Any, redraws: bool) -> Tensor | None:
    """The key (1, n) of a policy that turns identities; None for every other.

    Args:
        key: ``key`` of ``conf/anonymize.yaml``, composed.
        policy: one of ``conf/policy``, composed.
        redraws: whether the method asks a policy.

    Raises:
        UserError: a key that nothing reads, none where one is needed, or one that is none.
    """
    if redraws and isinstance(policy, Mapping) and policy.get("_target_") == _ROTATION:
        given, _ = password(key["file"], KEY, _LACKING)
        return key_of(given, os.fsencode(str(key["salt"] or "")))
    if recover:
        raise UserError(
            "anon recover undoes policy=rotation of a generator: name the domain or the method that was used."
        )
    for name in ("file", "salt"):
        if key[name] is not None:
            raise UserError(f"key.{name} would do nothing here: it is of policy=rotation and of a generator.")
    return None


def password(file: Any, variable: str, lacking: str) -> tuple[bytes, str]:
    """A password, and where it was: a file's content but for the end of its last line, or else the environment's.

    Args:
        variable: its name in the environment.
        lacking: what to say where there is none.

    Raises:
        UserError: there is none, or the file cannot be read.
    """
    if file is not None:
        return plain.read_bytes(Path(str(file)).expanduser(), LONGEST).rstrip(b"\r\n"), f"'{file}'"
    if variable not in os.environ:
        raise UserError(lacking)
    return os.fsencode(os.environ[variable]), variable


def check_place(file: str | None, results: Any) -> None:
    """See that a key does not lie where something is written.

    Raises:
        UserError: it would be lost.
    """
    if file is not None and os.path.realpath(Path(file).expanduser()) in {os.path.realpath(each) for each in results}:
        raise UserError(f"key.file={file} would be written over; name another place for the result.")
