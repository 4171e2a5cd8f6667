"""The composed configuration, before anything is made of it: its parts, their settings, and none that nothing reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf

from anon.apps.config import at, plain_yaml
from anon.apps.door.limits import of_other_types, out_of_range, settings
from anon.apps.door.parts import unfit
from anon.apps.door.words import did_you_mean
from anon.apps.keys import KEY
from anon.apps.run_folders.newest import NEWEST
from anon.apps.run_folders.started import choices as chosen
from anon.apps.run_folders.started import overrides
from anon.apps.stores import KEY as STORE_KEY
from anon.apps.untrusted.parts import targets
from anon.errors import UserError
from anon.faces.datamodule import NEEDS_ROOT
from anon.weights.files import SHIPPED

_NETWORK = "this experiment names none in its model; experiment=fiva and other swappers do."
_WHOM = "an attack learns a method by a policy (experiment=reconstruction, experiment=parrot); tables name theirs."
_TRAINED = dict.fromkeys(("encoder", "generator", "discriminator", "objective"), _NETWORK)
_TRAINED |= {"method": _WHOM, "policy": _WHOM}
_LEARNED = "what was trained is in the checkpoint, with its networks; train.py reads this."
_EVALUATED = dict.fromkeys(("encoder", "generator", "discriminator", "objective", "model"), _LEARNED)
_EVALUATED |= {
    "policy": "tables name policies (suite.tables.<name>.grid), and suite.policies has their settings.",
    "experiment": "no table asks for its checkpoint; this suite names its methods (suite.tables.<name>.grid).",
    "method": "no table asks for it; method=<choice> makes the tables those of one method.",
    "attack": "no table asks for it; experiment=fiva attack=<choice> does, and suite.attacks has those of tables.",
    "checkpoint": "no table asks for it; suite.methods.<name>.anonymizer.checkpoint=<file> is that of a method.",
}
_ANONYMIZED = {
    "checkpoint": "method=checkpoint takes it; a method's own is method.anonymizer.checkpoint=<file>.",
    "checkpoints": "this method has no trained generator; method=fiva and method=facedancer have.",
}
_CLIPS = "this suite shows clips to what anon anonymize works by"
_OF_CLIPS = _ANONYMIZED | {
    **dict.fromkeys(("encoder", "generator", "discriminator", "objective", "model"), _LEARNED),
    "experiment": f"{_CLIPS}; method=checkpoint checkpoint=<run folder> is what was trained.",
    **dict.fromkeys(("attack", "attributes", "lpips", "detectors"), f"{_CLIPS}, and no measure of it reads this."),
}
_TARGET = "anon.video.suite.settings.Clips"
_LOOSE = ("lacks", "margins")  # values for others to read
#: Keys of what is read.
_PLACES = re.compile(
    r"(^|\.)(root|points|labels|pairs|weights|(judge|panel\.\w+)\.path|anonymizer\.file|checkpoint|ckpt_path|lpips|inception|celeba|trained(\.\w+)+)$|^suite\.threshold(\.[^.]+)?$"
)
_WORDS = ("", "last", "auto", "random", MISSING)


def check_config(config: DictConfig) -> None:
    """Refuse a configuration that cannot be built or makes no sense; what defines its parts is imported, nothing built.

    Raises:
        UserError: the first of its faults, by the shortest name that it has.
    """
    for key in (KEY, STORE_KEY):
        if key in OmegaConf.to_yaml(config):  # not resolved
            raise UserError(f"a setting refers to {key}, and settings are kept beside results; leave it where it is.")
    for sentence in (*not_given_so(), *left_unread(config)):
        raise UserError(sentence)
    plain_yaml(config)  # what has no value, or refers to nothing
    begun = config.copy()
    if OmegaConf.select(begun, "run.dir", default="") is None:
        begun.run.dir = "runs"  # not known yet
    content = cast(dict[str, Any], OmegaConf.to_container(begun, resolve=True))
    for faults in (of_other_types(content), out_of_range(content), unfit(content), unread(config, content)):
        _tell_first(faults)


def check_places(config: DictConfig) -> None:
    """Refuse data that say not where they are, and files and folders that are not there.

    Of the configuration that a run really has, which may be an older one's.

    Raises:
        UserError: ``data.root`` is not given, or the first of the places that there is not.
    """
    name = str(OmegaConf.select(config, "data._target_")).rpartition(".")[2]
    if name in NEEDS_ROOT and not OmegaConf.select(config, "data.root"):
        raise UserError(NEEDS_ROOT[name])
    _tell_first(
        (key, f"{key}={value}: there is no such file or folder.")
        for key, value, foreign in settings(OmegaConf.to_container(config, resolve=True))
        if isinstance(value, str) and not foreign and _PLACES.search(key) and not _is_there(value)
    )


def _tell_first(faults: Iterable[tuple[str, str]]) -> None:
    """What one part takes from another (${data.size}) is told once, where it stands."""
    found = min(faults, key=lambda fault: (fault[0].count("."), len(fault[0])), default=None)
    if found is not None:
        raise UserError(found[1])


def _is_there(value: str) -> bool:
    """Whether there is such a place; words that stand for one are told elsewhere."""
    if value in _WORDS or value.startswith((SHIPPED, NEWEST)):
        return True
    try:
        return os.path.lexists(os.path.expanduser(value))
    except ValueError:  # a zero byte
        return False


def not_given_so() -> Iterator[str]:
    """A sentence for each word of the command line that would do nothing."""
    for word in overrides():
        key = word.lstrip("+~").partition("=")[0]
        if key.partition(".")[0] == "run":
            yield f"{key} is on record for the program alone; runs go where paths.runs=<folder> says."
        elif key == "data" and word.startswith("~"):
            yield f"{word} would leave nothing to work on; data=<choice> takes other data."


def left_unread(config: DictConfig) -> Iterator[str]:
    """A sentence for each word of the command line about a group that nothing here reads.

    A group is read where the rest of the configuration refers to it; an evaluation has its networks from checkpoints.
    """
    rest = [str(name) for name in config if name not in ("method", "logger")]
    text = OmegaConf.to_yaml(OmegaConf.masked_copy(config, rest), resolve=False)
    clips = OmegaConf.select(config, "suite._target_") == _TARGET
    if "${method" in text or clips or config.task == "anonymize":  # then what it refers to is read too
        text += OmegaConf.to_yaml(config.method, resolve=False)
    reads = {"train": _TRAINED, "anonymize": _ANONYMIZED}.get(config.task, _OF_CLIPS if clips else _EVALUATED)
    for word in overrides():
        group = re.split(r"[.@=]", word.lstrip("+~"), maxsplit=1)[0]
        read = _refers(text, rf"{group}[.}},]") and not (clips and group == "experiment")  # a title's, not a network's
        if group in reads and not word.startswith("~") and not read:
            yield f"{word} would do nothing here: {reads[group]}"


def _refers(text: str, name: str) -> bool:
    """Whether an interpolation in a configuration's text begins with such a name."""
    return re.search(rf"\$\{{(oc\.select:)?{name}", text) is not None


def unread(config: DictConfig, content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings that the command line adds (``+stpes=5``) and no part or other setting takes, with the sentence."""
    text = OmegaConf.to_yaml(config, resolve=False)
    for word in overrides():
        found = re.match(r"\++([\w.]+)=", word)
        if found is None or found[1] in chosen():  # of a group: +sweep=optuna
            continue
        *above, name = found[1].split(".")
        first = (*above, name)[0]
        if first in _LOOSE or _refers(text, rf"{re.escape(found[1])}\b") or _is_read(content, [*above, name]):
            continue
        beside = at(content, above)
        others = [other for other in (beside if isinstance(beside, Mapping) else {}) if other != name]
        yield found[1], f"nothing reads {found[1]}{did_you_mean(name, others)}"


def _is_read(content: Mapping[str, Any], names: list[str]) -> bool:
    """Whether a part takes the setting (its signature has been asked), is set by it, or is below a known one."""
    node: Any = content
    for name in names:
        if isinstance(node, Mapping) and "_target_" in node:
            return True
        node = node.get(name) if isinstance(node, Mapping) else None
    return next(targets(node), None) is not None
