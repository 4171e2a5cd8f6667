"""The key that a command line names for policy=rotation, and where it must not lie.

anon anonymize input=photo.png output=out.png domain=synthetic policy=rotation key.file=my.key
anon recover   input=out.png output=back.png  domain=synthetic key.file=my.key
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from anon import plain
from anon.errors import UserError
from anon.identity.keys import LONGEST, key_of
from anon.identity.rotation import KeyedRotation
from anon.plain import read_json
from anon.video.report import SUFFIX

KEY = "ANON_KEY"
_LACKING = f"policy=rotation needs a key: a password in the environment as {KEY}, or in key.file=<file>."
_MOST = 64 * 1024**2  # bytes of a report
#: Of the settings in a report: what decides which face a key gives back.
_SAME: tuple[str, ...] = ("method", "policy", "size")
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


def check_as_anonymized(sources: Iterable[Path], settings: Mapping[str, Any]) -> None:
    """See that faces are recovered by what they were anonymized by, as far as reports beside the files tell.

    Args:
        sources: what :func:`anon.apps.anonymize.anonymize` wrote.
        settings: of this run, as its report will have them.

    Raises:
        UserError: a report says otherwise, or cannot be read.
    """
    for source in sources:
        report = source.with_name(source.name + SUFFIX)
        if not report.is_file():
            continue
        told = read_json(report, _MOST)
        then = told.get("settings") if isinstance(told, dict) else None
        if not isinstance(then, dict) or "weights" not in then:
            continue  # somebody else's file
        other = [f"{name}={then.get(name)}" for name in _SAME if then.get(name) != settings.get(name)]
        if not other and then["weights"].get("method") != settings["weights"]["method"]:
            other = ["other weights, or another data set"]
        if other:
            raise UserError(
                f"'{source}' was anonymized with {', '.join(other)}, says '{report}'; this would give back another "
                "face. Recover with the same settings, or take that report away."
            )
