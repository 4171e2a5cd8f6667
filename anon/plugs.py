"""The door of what somebody plugs in: it has the parts, and takes the arguments, that it will be asked for.

One sentence when it is built, where a ``TypeError`` in the middle of a run would have been.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hydra.utils
from torch import nn

from anon.errors import UserError

_HYDRAS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


def built_of(given: Mapping[str, Any], who: str) -> Any:
    """What a configuration builds; a function that still wants its arguments is that function, as with ``_partial_``.

    Args:
        who: of whom the sentence speaks, such as "suite.methods.mine.anonymizer".

    Raises:
        UserError: a class that still wants something.
    """
    target = given["_target_"]
    found = hydra.utils.get_object(target) if isinstance(target, str) else target
    named = {str(name): value for name, value in given.items() if str(name) not in _HYDRAS}
    if not given.get("_partial_") and not given.get("_args_"):
        try:
            inspect.signature(found).bind(**named)
        except ValueError:  # a builtin tells no signature
            pass
        except TypeError as error:
            if not inspect.isroutine(found):
                raise UserError(f"{who} is a {found.__name__}, which cannot be built so ({error}).") from error
            given = {**given, "_partial_": True}
    return hydra.utils.instantiate(given)


def check_call(part: object, who: str, form: str, *arguments: str, keywords: Sequence[str] = ()) -> None:
    """See that ``part(*arguments, **keywords)`` is a call that it takes.

    Args:
        who: of whom the sentence speaks, such as "The attack 'mine'".
        form: how the call is written, for the sentence.

    Raises:
        UserError: it cannot be called so.
    """
    if not callable(part):
        raise UserError(f"{who} is a {type(part).__name__}, which cannot be called as {form}.")
    signature = signature_of(part)
    if signature is None:
        return
    try:
        signature.bind(*arguments, **dict.fromkeys(keywords))
    except TypeError as error:
        raise UserError(f"{who} is a {_name(part)}, which cannot be called as {form} ({error}).") from error


def check_has(part: object, who: str, *names: str) -> None:
    """See that it has these methods and attributes.

    Raises:
        UserError: it lacks one.
    """
    missing = [name for name in names if not hasattr(part, name)]
    if missing:
        raise UserError(f"{who} is a {_name(part)}, which has no {', '.join(missing)}.")


def taken(part: Callable[..., Any], keywords: Sequence[str]) -> tuple[str, ...]:
    """Those of the keywords that it takes."""
    signature = signature_of(part)
    if signature is None:
        return ()
    parameters = signature.parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return tuple(keywords)
    named = {each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
    return tuple(name for name in keywords if name in named)


def signature_of(part: Callable[..., Any]) -> inspect.Signature | None:
    """Of a network its ``forward``'s; None for what does not tell."""
    try:
        return inspect.signature(part.forward if isinstance(part, nn.Module) else part)
    except (TypeError, ValueError):
        return None


def _name(part: object) -> str:
    return part.__name__ if inspect.isroutine(part) else type(part).__name__
