"""The identity store that a command line names: its key, and whether it fits the method.

anon anonymize input=photo.jpg output=out.jpg method=fiva domain=synthetic store=people.store store.key_file=people.key
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from torch import nn

from anon.anonymizers.composed import Anonymizer
from anon.apps.keys import password
from anon.errors import UserError
from anon.identity.store.file import Store
from anon.identity.store.remembering import Remembering
from anon.identity.store.sealed import Secret
from anon.identity.tracking import IdentityTracker
from anon.weights.files import fingerprint

KEY = "ANON_STORE_KEY"
SHORTEST, LONGEST = 12, 4096  # bytes of a key
_TRACKER = f"{IdentityTracker.__module__}.{IdentityTracker.__name__}"


def key_of(file: str | Path | None, told: str = "store.key_file=<file>") -> Secret:
    """The user's key: a file's content but for the end of its last line, or else what the environment has.

    Args:
        told: how the file of a key is named, for a sentence.

    Raises:
        UserError: there is no key, or none that a store should have.
    """
    lacking = f"an identity store is encrypted: put its key into the environment as {KEY}, or into {told}."
    given, where = password(file, KEY, lacking)
    if not SHORTEST <= len(given) <= LONGEST:
        raise UserError(
            f"the key in {where} has {len(given)} bytes; take {SHORTEST} to {LONGEST:,}, such as openssl rand -hex 32 "
            "gives, or whoever finds the store may guess it."
        )
    return Secret(given)


def store_of(file: str | None, key_file: str | None) -> Store | None:
    """The store of ``store=<file>``, not opened yet; None where none is named.

    Raises:
        UserError: a key for no store, no key for a store, or a place that cannot be a store's.
    """
    if file is None:
        if key_file is not None:
            raise UserError("store.key_file would do nothing without a store; name one with store=<file>.")
        return None
    path = Path(file).expanduser()
    if not file.strip() or path.is_dir() or not path.parent.is_dir():
        raise UserError(f"store={file} is no place for a file; name one in a folder that is there.")
    return Store(path, key_of(key_file))


def check_places(file: str | None, key_file: str | None, results: Iterable[Path]) -> None:
    """See that neither a store nor its key lies where something is written, whether it is there already or not.

    Args:
        results: files that are written, and their reports.

    Raises:
        UserError: one of them would be lost.
    """
    if file is None:
        return
    path, taken = os.path.realpath(Path(file).expanduser()), {os.path.realpath(each) for each in results}
    own = {path, f"{path}.journal"}
    if own & taken:
        raise UserError(f"store={file} is where a result would be written; name another place for one of them.")
    if key_file is not None and os.path.realpath(Path(key_file).expanduser()) in own | taken:
        raise UserError(
            f"store.key_file={key_file} would be written over; name another place for the store or the result."
        )


def check_used(base: object, policy: Any) -> dict[str, Any]:
    """Refuse a store for what gives nobody an identity, or gives a face another one each time.

    Args:
        base: the method's anonymizer.
        policy: one of ``conf/policy``, as plain data.

    Returns:
        The policy.

    Raises:
        UserError: a filter, a method with a policy of its own, or another policy than ITM.
    """
    if getattr(base, "generator", None) is None:
        raise UserError("store=<file> would do nothing here: this method gives nobody an identity; method=fiva does.")
    if not isinstance(policy, dict) or policy.get("_target_") != _TRACKER:
        raise UserError("store=<file> keeps the identities of policy=itm, and this policy keeps none; take that one.")
    return policy


def opened(store: Store, base: Any, policy: MutableMapping[str, Any]) -> None:
    """Read a store that is there, for a method's encoder; the policy's threshold becomes the store's.

    Raises:
        UserError: it does not open, or was filled with another encoder or threshold.
    """
    if not os.path.lexists(store.path):  # so that a dry run leaves nothing, no lock either
        store.check_there()
        return
    with store:
        if store.about is None:
            return
        store.check(*whose(base.encoder))
        asked, own = policy.get("threshold"), store.about.threshold
        if asked is not None and float(asked) != own:
            raise UserError(
                f"policy.threshold={asked} is not {own:.6g}, with which {store.path} was begun; leave it out."
            )
        policy["threshold"] = own


def remember(method: nn.Module, store: Store) -> None:
    """Let a generator's policy know the people of a store, which is begun if it is new."""
    assert isinstance(method, Anonymizer) and isinstance(method.policy, IdentityTracker)
    if store.about is None:
        store.begin(*whose(method.encoder), method.policy.threshold)
    method.policy = Remembering(method.policy.policy, store).eval()


def whose(encoder: Any) -> tuple[str, int]:
    """By what a store knows an encoder: the hash of its weights, and the numbers of an embedding."""
    return getattr(encoder, "fingerprint", None) or fingerprint(encoder), int(encoder.dim)
