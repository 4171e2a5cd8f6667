"""The key that a command line names for policy=rotation, and the policy that holds it.

anon anonymize input=photo.png output=out.png domain=synthetic policy=rotation key.file=my.key
anon recover   input=out.png output=back.png  domain=synthetic key.file=my.key
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from anon import plain
from anon.anonymizers.composed import Anonymizer
from anon.errors import UserError
from anon.identity.keys import LONGEST, key_of
from anon.identity.rotation import Keyed

KEY = "ANON_KEY"


def check_named(key: Any, recover: bool, policy: Any, redraws: bool) -> None:
    """See that a key is named for a policy with one, and for no other; nothing is derived yet.

    Args:
        key: ``key`` of ``conf/anonymize.yaml``, as plain data.
        policy: one of ``conf/policy``, as plain data.
        redraws: whether the method asks a policy.

    Raises:
        UserError: a key that nothing reads, or none where one is needed.
    """
    takes = redraws and isinstance(policy, dict) and str(policy.get("_target_")).endswith(".KeyedRotation")
    if takes and key["file"] is None and KEY not in os.environ:
        raise UserError(
            f"policy=rotation needs a key: put a password into the environment as {KEY}, or key.file=<file>."
        )
    if not takes and recover:
        raise UserError("anon recover undoes policy=rotation of a generator; name the method that was used.")
    for name in ("file", "salt"):
        if not takes and key[name] is not None:
            raise UserError(
                f"key.{name} would do nothing here; it is of policy=rotation with a generator (method=fiva)."
            )


def with_key(method: nn.Module, key: Any, recover: bool) -> None:
    """Let a generator's policy hold the user's key, to turn identities or to turn them back.

    Raises:
        UserError: the file of the key cannot be read, or holds none to take.
    """
    assert isinstance(method, Anonymizer)
    if key["file"] is not None:
        given = plain.read_bytes(Path(str(key["file"])).expanduser(), LONGEST).rstrip(b"\r\n")
    else:
        given = os.fsencode(os.environ[KEY])
    method.policy = Keyed(method.policy, key_of(given, os.fsencode(str(key["salt"] or ""))), recover).eval()  # type: ignore[arg-type]


def check_place(file: str | None, results: Any) -> None:
    """See that a key does not lie where something is written.

    Raises:
        UserError: it would be lost.
    """
    if file is not None and os.path.realpath(Path(file).expanduser()) in {os.path.realpath(each) for each in results}:
        raise UserError(f"key.file={file} would be written over; name another place for the result.")
