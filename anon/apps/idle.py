"""Settings of ``anonymize.py`` that what was chosen does not read: refused, for whoever names one means something.

What nothing reads whatever was chosen is told by :mod:`anon.apps.door.config`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from torch import nn

from anon.anonymizers.filters import Filter
from anon.errors import UserError
from anon.video.gate import Gate, leaves_nothing

_SIZED = ("size", "gate.min_size", "gate.max_turn")
_MASK = "the method itself leaves nothing of any face"


def check_read(words: Iterable[str], method: nn.Module, gate: Gate, domain: str, redraws: bool) -> None:
    """See that every setting that a command line names is read.

    Args:
        words: overrides.
        redraws: whether a policy says whom the method makes of a person.

    Raises:
        UserError: the first that is not.
    """
    for word in words:
        for idle, reason in _idle(method, gate, domain, redraws):
            if any(key == idle or key.startswith((f"{idle}.", f"{idle}@")) for key in keys_of(word)):
                raise UserError(f"{word} would do nothing here: {reason}.")


def keys_of(word: str) -> list[str]:
    """Settings that an override sets, those of a mapping, too.

    >>> keys_of("gate={far: 0.1, min_size: 5}"), keys_of("+size=3")
    (['gate.far', 'gate.min_size'], ['size'])
    """
    key, _, value = word.lstrip("+~").partition("=")
    if not value.startswith("{"):
        return [key]
    found = OverridesParser.create().parse_override(f"{key}={value}").value()
    return [f"{key}.{name}" for name in found] if isinstance(found, dict) else [key]


def check_photograph(words: Iterable[str]) -> None:
    """See that none of them is for videos.

    Raises:
        UserError: the first that is.
    """
    for word in words:
        if word.lstrip("+~").partition("=")[0] in ("audio", "batch"):
            raise UserError(f"{word} would do nothing here: a photograph has neither sound nor further frames.")


def check_live(words: Iterable[str], live: bool) -> None:
    """See that a camera is told nothing of sound, and nothing but a camera how it is read.

    Raises:
        UserError: the first word that nothing would read.
    """
    for word in words:
        for key in keys_of(word):
            if live and key == "audio":
                raise UserError(f"{word} would do nothing here: of what is live no sound is recorded.")
            if not live and key.partition(".")[0] == "live":
                raise UserError(f"{word} would do nothing here: it is of a camera or a pipe, as in input=camera:0.")


def _idle(method: nn.Module, gate: Gate, domain: str, redraws: bool) -> Iterator[tuple[str, str]]:
    """Groups and settings that nothing reads, and why."""
    calibrates = any(each.judge.threshold is None for each in gate.judging)
    if not redraws:
        yield "policy", "this method redraws nobody as another; method=fiva does"
        yield "seed", "this method draws nothing by it; method=fiva does"
        if not calibrates:
            yield "data", "they are whom a generator makes of a person, and who calibrate judges; this run has neither"
    if isinstance(method, Filter):
        for name in _SIZED:
            yield name, "a filter takes every face as it is, however small or turned; method=fiva reads it"
    if not calibrates:
        yield "gate.far", "no judge is calibrated; it is for those that ship and are given no threshold"
    if leaves_nothing(method):
        for name in ("method@fallback", "fallback"):
            yield name, f"{_MASK}; name a method that can fail, such as method=blur"
        if domain == "photographs":  # the other one brings a panel
            for name in ("judge", "panel"):
                yield name, f"{_MASK}, so there is nothing to judge; name another method"
