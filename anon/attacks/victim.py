"""Whom an attack learned: a record of plain values that travels with its weights, and whether it is whom it meets.

An attack that learned another anonymizer finds nobody, and that is no privacy. What ``experiment=reconstruction`` and
``experiment=parrot`` train keeps the record in its checkpoint (``run.victim``), and every evaluation compares it.

    {"method": "FIVA", "settings": {"class": ...}, "weights": SHA-256, "encoder": SHA-256, "code": SHA-256,
     "policy": {"class": "IdentityTracker", "threshold": .35, "policy": {"class": "AnchorSampling", "m": -.5, ...}},
     "defense": None or {"class": "UniformNoise", "epsilon": .15, ..., "code": SHA-256}}

What the plain settings do not show (private ones, tensors, paths, the code) is in ``code``, without the versions of
packages (:func:`anon.provenance.made_of`); a record from before there was one is compared without.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import nn

from anon.anonymizers.composed import Anonymizer
from anon.anonymizers.plugged import name_of, plain
from anon.errors import UserError
from anon.provenance import UNSHARED, made_of
from anon.weights.files import fingerprint

Record = Mapping[str, Any]

_METHOD = ("method", "settings", "weights", "encoder")  # whose equality makes two anonymizers one method
_FORM: Mapping[str, Any] = {
    **dict.fromkeys(("method",), str),
    **dict.fromkeys(("weights", "encoder", "code"), str | None),
    **dict.fromkeys(("settings", "policy", "defense"), Mapping | None),
}
_OF_THE_DATA = ("threshold", "people")  # of a policy: they follow from the people at hand, not from what was chosen
_TITLES = {"Negation": "", "AnchorSampling": " + Sampling", "IdentityTracker": " + ITM"}


class Acquaintance(NamedTuple):
    """How an attack's record and an anonymizer compare.

    ``stranger``: it learned another method, or who it learned is not known to be this one by name. ``note``: what a
    reader must know of figures with it; None: it learned just this. ``behind``: the defense that it learned from is
    the one that is asked about.
    """

    stranger: bool
    note: str | None
    behind: bool


def describe(anonymizer: object, defense: object | None = None) -> dict[str, Any]:
    """The record of an anonymizer, asked for before it has seen anybody, with the defense behind it."""
    if isinstance(anonymizer, Anonymizer):
        generator, policy = anonymizer.generator, anonymizer.policy
        found = {
            "method": type(generator).__name__,
            "settings": {"class": _class(generator), "steers": generator.steers},
            "weights": _weights(generator),
            "encoder": _weights(anonymizer.encoder),
            "code": _code(generator),
            "policy": settings(policy, deep=True),
        }
    else:
        found = {
            "method": name_of(anonymizer),
            "settings": settings(plain(anonymizer)),
            "weights": _weights(plain(anonymizer)),
            "encoder": None,
            "code": _code(plain(anonymizer)),
            "policy": None,
        }
    if type(defense).__name__ in ("NoneType", "NoDefense"):
        return found | {"defense": None}
    # A gradient defense holds the attack that it works against, another one for every run.
    code = {} if hasattr(defense, "attack") else {"code": _code(defense)}
    return found | {"defense": settings(defense) | code}


def check_record(record: Any, where: str) -> Record | None:
    """A record that was read from a file, if it has the form of one; None where there is none.

    Raises:
        UserError: it has another.
    """
    if record is None:
        return None
    whole = isinstance(record, Mapping) and all(
        isinstance(record.get(part), kinds) for part, kinds in _FORM.items() if part in record
    )
    if not whole or "method" not in record:
        raise UserError(
            f"The record of whom the attack in {where} learned is damaged; name another checkpoint, or train it again."
        )
    return record


def settings(part: object, deep: bool = False) -> dict[str, Any]:
    """The plain values that a part was made with: its class and public attributes; ``deep``: of its parts as well.

    A gradient defense is described when it has its attack, which is no plain value.
    """
    attributes = getattr(part, "__dict__", {})
    values = {name: value for name, value in attributes.items() if not name.startswith("_") and name != "training"}
    found = {"class": _class(part), **{name: _plain(value) for name, value in values.items() if _is_plain(value)}}
    if deep and isinstance(part, nn.Module):
        found |= {name: settings(child, deep=True) for name, child in part.named_children()}
    return found


def compare(record: Record | None, met: Record) -> Acquaintance:
    """An attack's record against that of the anonymizer it is used on, both as :func:`describe` gives them.

    Another policy of the same generator is noted and no stranger: the papers attack every mode of a generator with the
    R of one of them.
    """
    if record is None:
        return Acquaintance(False, "whom the attack learned is unknown: its checkpoint has no record of a victim", True)
    behind = _same_defense(record.get("defense"), met.get("defense"))
    if apart := [part for part in _METHOD if record.get(part) != met.get(part)]:
        title, known = title_of(record), title_of(met)
        which = f"another {title}, of other {_and(apart)}" if title == known else title
        return Acquaintance(True, f"the attack learned {which}", behind)
    if "code" in record and record["code"] != met.get("code"):
        if str(met.get("code")).startswith(UNSHARED):
            note = f"whether the attack learned just this {title_of(record)} cannot be told"
            return Acquaintance(False, note, behind)
        return Acquaintance(True, f"the attack learned {title_of(record)} with other code or inner settings", behind)
    apart = sorted(_differences(record.get("policy"), met.get("policy")))
    if not apart:
        return Acquaintance(False, None, behind)
    named = title_of(record) != title_of(met)
    return Acquaintance(
        False, f"learned on {title_of(record)}{'' if named else f' whose policy had {_and(apart)}'}", behind
    )


def title_of(record: Record) -> str:
    """``FIVA + ITM``, ``GaussianBlur (sigma 0.1)``, ``FIVA + ITM behind UniformNoise (epsilon 0.15, ...)``."""
    policy, defense = record.get("policy"), record.get("defense")
    name = str(record.get("method"))
    if policy is not None:
        kind = str(policy.get("class")).rpartition(".")[2]
        name += _TITLES.get(kind, f" + {kind}")
    else:
        name += _bracketed(record.get("settings") or {})
    if defense is not None:
        name += f" behind {str(defense.get('class')).rpartition('.')[2]}{_bracketed(defense)}"
    return name


def _same_defense(learned: Any, met: Any) -> bool:
    if isinstance(learned, Mapping) and isinstance(met, Mapping) and "code" not in learned:
        met = {name: value for name, value in met.items() if name != "code"}
    return bool(learned == met)


def _code(part: object) -> str | None:
    """Of a user's part as it is used, in eval mode; None of what is this project's own.

    Its settings and weights tell the latter: an attack learned the same FIVA before and after its code was rearranged.
    """
    if all(type(one).__module__.partition(".")[0] in ("anon", "torch") for one in _modules(part)):
        return None
    return made_of(copy.deepcopy(part).eval() if isinstance(part, nn.Module) else part, versions=False)


def _modules(part: object) -> list[object]:
    return list(part.modules()) if isinstance(part, nn.Module) else [part]


def _class(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _weights(part: object) -> str | None:
    return fingerprint(part) if isinstance(part, nn.Module) and part.state_dict() else None


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _differences(learned: Any, met: Any, where: str = "") -> Iterator[str]:
    """What differs between two policies, as ``m -0.5 (here -0.3)``."""
    if isinstance(learned, Mapping) and isinstance(met, Mapping):
        for name in sorted({*learned, *met} - set(_OF_THE_DATA)):
            yield from _differences(learned.get(name), met.get(name), name)
    elif learned != met:
        yield f"{where} {learned} (here {met})"


def _bracketed(values: Mapping[str, Any]) -> str:
    told = [f"{name} {value}" for name, value in values.items() if name not in ("class", "code")]
    return f" ({', '.join(told)})" if told else ""


def _and(parts: list[str]) -> str:
    return " and ".join(parts)
