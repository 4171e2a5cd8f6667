"""Exit codes: 0 done, 2 a mistake that the user can mend (one sentence on stderr), 130 stopped by Ctrl-C, 1 a bug.

A training that a signal asked to stop, by a batch system or by hand, ends with 128 + the signal's number after saving:
138 SIGUSR1, 140 SIGUSR2, 143 SIGTERM (:mod:`anon.apps.launch.preemption`). A user who sets ``HYDRA_FULL_ERROR=1`` gets
the traceback of a mistake as well.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import yaml
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anon.apps.config import choices, config_dir
from anon.apps.door.words import did_you_mean, several, unreadable
from anon.commands import ended, of_a_place
from anon.errors import UserError
from anon.printable import flat

_MISTAKES = (UserError, HydraException, OmegaConfBaseException, yaml.YAMLError)
_EXTRAS = (
    ("hydra/sweeper/", "the searches", "sweep"),
    ("hydra/launcher/submitit", "its launchers", "slurm"),
    ("hydra/launcher/joblib", "its jobs side by side", "parallel"),
)


def guarded(task: Callable[[], object], show_traceback: bool = False) -> int:
    """Run ``task`` and return the exit code; a mendable mistake is told in one sentence on stderr."""

    def told() -> None:
        try:
            task()
        except _MISTAKES as error:
            sentence = explain(error)
            if sentence is None:
                raise
            if show_traceback:
                traceback.print_exc()
            raise UserError(sentence) from error

    return ended(told)


@contextmanager
def unwrapped() -> Iterator[None]:
    """A mistake that Hydra wrapped when it built a part is raised as it is, so that its run folder is removed."""
    try:
        yield
    except (InstantiationException, OSError) as error:
        sentence = explain(error) if isinstance(error, InstantiationException) else of_a_place(error)
        if sentence is None:
            raise
        raise UserError(sentence) from error


def is_mistake(error: BaseException) -> bool:
    """Whether the user can mend it: :func:`explain` has a sentence for it."""
    return isinstance(error, _MISTAKES) and explain(error) is not None


def explain(error: BaseException) -> str | None:
    """One sentence for a mistake of the user's, None for anything else (a bug, which keeps its traceback)."""
    for link in causes(error):
        if isinstance(link, UserError):
            return flat(str(link)).strip()
        if (sentence := of_a_place(link)) is not None:
            return flat(sentence)
        if isinstance(link, yaml.YAMLError):
            return flat(_no_yaml(link))
    if isinstance(error, InstantiationException):
        return None  # what the door lets in is built, or the fault is ours
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        return _missing(error)
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    return _composing(error) or _first_sentence(error)


def _no_yaml(error: yaml.YAMLError) -> str:
    """The sentence about a file that cannot be read as YAML: the place and what is wrong there."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}, line {mark.line + 1}" if mark else getattr(error, "name", None) or "a configuration"
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or _first_sentence(error)
    return f"{where}: this is no YAML ({reason}); mend the file or take it away."


def _composing(error: BaseException) -> str | None:
    """What is wrong with a setting or a choice that is there, or is not; None for anything else."""
    text, cause = str(error), error.__cause__
    if (unknown := re.match(r"Could not override '(\w+)'\. No match in the defaults list", text)) and (
        told := _of_the_other_script(unknown[1])
    ):
        return told
    if ambiguous := re.match(r"Ambiguous value for argument '(.*)'$", text, re.MULTILINE):
        return several(ambiguous[1])
    if taken := re.match(r"Could not append to config\. An item is already at '(.*)'\.", text):
        return f"there is a setting {taken[1]} already; write {taken[1]}=<value>, without the +."
    if not isinstance(error, ConfigCompositionException) or not isinstance(cause, OmegaConfBaseException):
        return None
    absent = re.match(r"Could not override '(.*)'\.", text)
    if absent and isinstance(cause.parent_node, DictConfig):
        return f"there is no setting '{absent[1]}'{did_you_mean(str(cause.key), cause.parent_node)}"
    told, reason = _first_sentence(error), _first_sentence(cause)
    return f"{told} ({reason})" if text else f"the configuration does not compose: {reason}"


def _of_the_other_script(group: str) -> str | None:
    """The sentence about a group that one of the two scripts alone has; None for any other."""
    trains, measures = (
        any(group in entry for entry in OmegaConf.load(config_dir() / f"{script}.yaml").defaults)
        for script in ("train", "evaluate")
    )
    if trains == measures:
        return None
    lacking, does, having = ("evaluate", "trains", "train") if trains else ("train", "measures", "evaluate")
    return f"{lacking}.py {does} nothing; {group} is of python {having}.py {group}=<name>."


def _missing(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if not group:
        return f"there is no configuration named '{name}'."
    for plugins, what, extra in _EXTRAS:
        if str(error.missing_cfg_file).startswith(plugins):
            return f"there is no {group} named '{name}'; {what} are an extra: pip install -e '.[{extra}]'."
    others = [other for other in ("suite", "experiment", "method") if other != group and name in choices(other)]
    if others:
        return f"there is no {group} named '{name}', but {others[0]}={name} is one."
    known = ", ".join(error.options or []) or "nothing yet"
    return (
        f"there is no {group} named '{name}'{did_you_mean(name, error.options or ())[:-1]}; conf/{group} has: {known}."
    )


def _first_sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on to the first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
