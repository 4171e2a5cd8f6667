"""Exit codes: 0 done, 2 a mistake that the user can mend (one sentence on stderr), 130 stopped by Ctrl-C, 1 a bug.

A training that a signal asked to stop, by a batch system or by hand, ends with 128 + the signal's number after saving:
138 SIGUSR1, 140 SIGUSR2, 143 SIGTERM (:mod:`anon.apps.preemption`). A user who sets ``HYDRA_FULL_ERROR=1`` gets the
traceback of a mistake as well.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from anon.errors import UserError
from anon.printable import flat

_MISTAKES = (UserError, HydraException, OmegaConfBaseException)
STOPPED = 130  # 128 + SIGINT, as a shell reports it
_ARGUMENTS = re.compile(r"unexpected keyword argument|required (?:positional|keyword-only) argument")
_LONGEST = 1000  # characters of a sentence
_EXTRAS = (
    ("hydra/sweeper/", "the searches", "sweep"),
    ("hydra/launcher/submitit", "its launchers", "slurm"),
    ("hydra/launcher/joblib", "its jobs side by side", "parallel"),
)


def guarded(task: Callable[[], object], show_traceback: bool = False) -> int:
    """Run ``task`` and return the exit code; a mendable mistake is told in one sentence on stderr."""
    try:
        task()
    except _MISTAKES as error:
        sentence = explain(error)
        if sentence is None:
            raise
        if show_traceback:
            traceback.print_exc()
        print(f"error: {shortened(sentence)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped.", file=sys.stderr)
        return STOPPED
    return 0


def is_mistake(error: BaseException) -> bool:
    """Whether the user can mend it: :func:`explain` has a sentence for it."""
    return isinstance(error, _MISTAKES) and explain(error) is not None


def shortened(sentence: str) -> str:
    """One line of at most 1,000 characters for a terminal, for it may quote a file's words."""
    line = flat(sentence)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def explain(error: BaseException) -> str | None:
    """One sentence for a mistake of the user's, None for anything else (a bug, which keeps its traceback)."""
    for link in causes(error):
        if isinstance(link, UserError):
            return flat(str(link)).strip()
    if isinstance(error, InstantiationException):
        return _unbuilt(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        return _missing(error)
    if isinstance(error, OverrideParseException):
        key, _, value = str(error.override).partition("=")
        return f"{error.override} cannot be read; a value with other than plain letters is quoted: \"{key}='{value}'\"."
    only_measures = re.match(r"In 'experiment/(\w+)': Could not override 'protocol'", str(error))
    if only_measures:  # train.py has no protocol
        name = only_measures[1]
        return f"experiment={name} trains nothing, it only measures: python evaluate.py experiment={name}."
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        told, cause = _first_sentence(error), _first_sentence(error.__cause__)
        return f"{told} ({cause})" if str(error) else f"the configuration does not compose: {cause}"
    return _first_sentence(error)


def _unbuilt(error: InstantiationException) -> str | None:
    """A name that is not to be found, or an argument that its part does not have; anything else is a bug."""
    lines, cause = [line.strip() for line in str(error).splitlines()], error.__cause__
    key = next((line.partition(":")[2].strip() for line in lines if line.startswith("full_key:")), "")
    target = re.match(r"Error (?:locating|in call to) target '([^']+)'", lines[0] if lines else "")
    if target is None or cause is None:
        return None
    if lines[0].startswith("Error locating"):
        told = _first_sentence(list(causes(cause))[-1]).rstrip(".")
        return f"{f'{key}.' if key else ''}_target_={target[1]} is not to be found ({told})."
    raised_inside = cause.__traceback__ is not None and cause.__traceback__.tb_next is not None
    if isinstance(cause, TypeError) and not raised_inside and _ARGUMENTS.search(str(cause)):
        return f"{key or target[1]} cannot be built: {_first_sentence(cause).rstrip('.')}."
    return None


def _missing(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return f"there is no configuration named '{name}'."
    for plugins, what, extra in _EXTRAS:
        if str(error.missing_cfg_file).startswith(plugins):
            return f"there is no {group} named '{name}'; {what} are an extra: pip install -e '.[{extra}]'."
    known = ", ".join(error.options or []) or "nothing yet"
    return f"there is no {group} named '{name}'; conf/{group} has: {known}."


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on to the first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
