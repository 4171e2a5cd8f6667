"""What a run that goes on is made of: its own configuration, changed only by what the command line gives.

    python train.py experiment=fiva ckpt_path=last                                  # whatever the defaults are now
    python train.py experiment=fiva ckpt_path=last model.lr=2e-4 steps=3000         # with these two changed

The run's ``config.yaml`` holds values; the configuration composed now says how they hang together (``model.steps:
${steps}``). Where both agree the connection is kept, so a value that is given reaches all that follow it. A choice of a
group that the run does not have (``data=packed``) takes that group's place. What differs is printed, a line each.
"""

from __future__ import annotations

import copy
import functools
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anon.apps.config import CONFIG, GONE, Key, at, leaves, own_yaml
from anon.apps.run_folders.started import choices, overrides, run_config, start_record
from anon.apps.untrusted import check_targets
from anon.errors import UserError

#: What belongs to a start and not to the run: where it runs, and how.
_OF_THE_START = ("ckpt_path", "trust", "cache", "paths", "run")
_OF_NO_WEIGHT = ("logger", "monitor")  # what changes nothing of what is trained
_CHOSEN_BEFORE = ("experiment", "scale", "experiment_scale")  # equal in both, or it would be another run
_WRITERS = ("callbacks", "logger", "trainer")
_MOST = 30  # lines


def continued(config: DictConfig, folder: Path) -> tuple[DictConfig, list[str]]:
    """The configuration with which the run in ``folder`` goes on, and a line for each thing that differs.

    Args:
        config: as it is composed now.

    Raises:
        UserError: the run's configuration is not readable, or names parts that are nobody's here.
    """
    where = folder / CONFIG
    own = OmegaConf.to_container(run_config(folder))
    now = OmegaConf.to_container(config)
    here = config.copy()
    here.run.dir = str(folder)
    assert isinstance(own, dict) and isinstance(now, dict)
    composed = OmegaConf.to_container(here, resolve=True)
    check_targets(own, where, [composed, *_files()])
    _check_places(own, composed, str(at(own, ("run", "dir"))), where)

    kept = _connected(own, now)
    lines = _apply_groups(kept, own, now, folder) + _apply_values(kept, own, now)
    _moved(kept, str(at(own, ("run", "dir"))), str(folder))
    for key in [key for key in now if key in _OF_THE_START or key not in kept]:
        kept[key] = copy.deepcopy(now[key])
    made = OmegaConf.create(kept)
    made.run.dir = str(folder)
    stays = _stays(OmegaConf.to_container(made, resolve=True), composed)
    made.run.dir = config.run.dir
    return made, lines + stays


def differences(config: DictConfig, folder: Path, longer: bool) -> list[str]:
    """What was given, now or when the run in ``folder`` was begun, and is not what that run was trained with.

    A place that was moved makes no other run, nor does what belongs to a start, where figures go, or more steps.

    Args:
        config: as it is composed now.
        longer: whether more steps than the run's are no difference.

    Raises:
        UserError: the run's configuration is not readable.
    """
    own = OmegaConf.to_container(run_config(folder))
    here = config.copy()
    here.run.dir = str(at(own, ("run", "dir")))
    now = OmegaConf.to_container(here, resolve=True)
    record, chosen, found = start_record(folder), choices(), []
    known = record.get("choices") or {}
    given = _parsed(overrides())
    keys = {(each.key_or_group, each.package) for each in given}
    begun = record.get("overrides")
    words = [word for word in begun if isinstance(word, str)] if isinstance(begun, list) else []
    past = [each for each in _parsed(words) if (each.key_or_group, each.package) not in keys]
    for each in [*given, *past]:
        name, first = _name(each), tuple(each.key_or_group.split("."))
        if first[0] in (*_OF_THE_START, *_CHOSEN_BEFORE, *_OF_NO_WEIGHT) or first == ("data", "root"):
            continue  # data.root is compared where the run is looked for
        if name in known or name in chosen:
            same = _kind(at(own, _place(each))) == _kind(at(now, _place(each)))
            if known[name] != chosen.get(name) if name in known else not same:
                found.append(f"{name} {known.get(name, 'another')}, not {chosen.get(name, 'none')}")
            continue
        for key in _keys(each):
            before, wanted = at(own, key), at(now, key)
            more = longer and each in given and key == ("steps",) and isinstance(before, int) and before < wanted
            if before != wanted and not more and not _one_place(before, wanted):
                found.append(f"{_dotted(key)} {_shown(before)}, not {_shown(wanted)}")
    return list(dict.fromkeys(found))


def _one_place(before: Any, now: Any) -> bool:
    """Whether two texts name one place: spelled in two ways, or moved, so that nothing is where it was."""
    if not (isinstance(before, str) and isinstance(now, str) and os.sep in before + now):
        return False
    old, new = (Path(os.path.expanduser(text)).resolve() for text in (before, now))
    return old == new or (not old.exists() and new.exists())


def _connected(own: dict[Any, Any], now: dict[Any, Any]) -> dict[Any, Any]:
    """The run's values, with those that are made of others by today's interpolations, where these give the same."""
    links = {key: raw for key, raw in leaves(now) if isinstance(raw, str) and "${" in raw and key[0] != "paths"}
    links = {key: raw for key, raw in links.items() if at(own, key) is not GONE}
    joined = copy.deepcopy(own)
    for key, raw in links.items():
        _put(joined, key, raw)
    tried = OmegaConf.create(joined)
    for key, raw in links.items():
        if "${run." in raw or "${paths." in raw:  # where this start reads and writes
            continue
        try:
            node = functools.reduce(operator.getitem, key, tried)
            value = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
        except (OmegaConfBaseException, LookupError, TypeError):
            value = GONE
        if value != at(own, key):
            _put(joined, key, copy.deepcopy(at(own, key)))
    return joined


def _apply_groups(kept: dict[Any, Any], own: dict[Any, Any], now: dict[Any, Any], folder: Path) -> list[str]:
    """Take the groups whose choice is given, and is not the run's."""
    recorded, chosen, lines = start_record(folder).get("choices") or {}, choices(), []
    for given in _parsed(overrides()):
        name = _name(given)
        if name not in chosen or given.key_or_group in _CHOSEN_BEFORE:
            continue
        choice, place = chosen[name], _place(given)
        content = _global_file(given.key_or_group, str(choice))
        node, before = at(now, place), at(own, place)
        if recorded.get(name, GONE) == choice or (
            name not in recorded and content is None and _kind(node) == _kind(before)
        ):
            continue
        if content is None:
            _put(kept, place, copy.deepcopy(node))
        for key, _ in leaves(content) if content else ():
            if key[0] not in (*_OF_THE_START, "defaults", "hydra") and at(now, key) is not GONE:
                _put(kept, key, copy.deepcopy(at(now, key)))
        lines.append(f"{name} {recorded.get(name, 'another')} -> {choice}, given on the command line")
    return lines


def _apply_values(kept: dict[Any, Any], own: dict[Any, Any], now: dict[Any, Any]) -> list[str]:
    """Take the values that are given, and leave out what is given to be left out."""
    lines, chosen = [], choices()
    for given in _parsed(overrides()):
        if _name(given) in chosen or given.key_or_group.split(".")[0] in _OF_THE_START:
            continue
        for key in _keys(given):
            before, wanted = at(own, key), at(now, key)
            if wanted is GONE:
                inner = at(kept, key[:-1])
                if isinstance(inner, dict):
                    inner.pop(key[-1], None)
            else:
                _put(kept, key, copy.deepcopy(wanted), own)
            if before != wanted:
                lines.append(f"{_dotted(key)} {_shown(before)} -> {_shown(wanted)}, given on the command line")
    return lines


def _parsed(words: list[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(words)


def _name(given: Override) -> str:
    """How Hydra calls the group, or the setting, of a word of the command line."""
    return given.key_or_group + (f"@{given.package}" if given.package else "")


def _place(given: Override) -> Key:
    """Where a choice stands in the configuration."""
    return tuple((given.package or given.key_or_group).replace("/", ".").split("."))


def _keys(given: Override) -> list[Key]:
    """The settings that a word of the command line gives: one, or those inside a mapping."""
    value = None if given.is_delete() else given.value()
    inner: list[Key] = [key for key, _ in leaves(value)] if isinstance(value, dict) and value else [()]
    return [(*given.key_or_group.split("."), *rest) for rest in inner]


def _stays(mine: Any, composed: Any) -> list[str]:
    """What the run has otherwise than the configuration composed now; a value that several keys follow comes once."""
    theirs, seen, lines = dict(leaves(composed)), set(), []
    for key, value in sorted(leaves(mine), key=lambda leaf: (len(leaf[0]), str(leaf[0]))):
        other = theirs.get(key, GONE)
        told = (key[-1], _shown(value), _shown(other))
        if key[0] in _OF_THE_START or value == other or told in seen:
            continue
        seen.add(told)
        lines.append(f"{_dotted(key)} {told[1]} as in the run; a new run would have {told[2]}")
    return lines if len(lines) <= _MOST else [*lines[:_MOST], f"... and {len(lines) - _MOST} more"]


def _moved(kept: dict[Any, Any], before: str, folder: str) -> None:
    """Paths in the run's folder, as they are where it lies now."""
    for key, value in list(leaves(kept)):
        if isinstance(value, str) and (value == before or value.startswith(before + os.sep)):
            _put(kept, key, folder + value[len(before) :])


def _check_places(own: Any, composed: Any, before: str, where: Path) -> None:
    """What writes may write into the run's folder, or where the command line says: not where a file says.

    Raises:
        UserError: a callback, a logger or the trainer has another path.
    """
    theirs, before = dict(leaves(composed)), os.path.normpath(before)
    for key, value in leaves(own):
        if key[0] not in _WRITERS or key[-1] == "_target_" or not isinstance(value, str) or value == theirs.get(key):
            continue
        inside = Path(before) in (path := Path(os.path.normpath(value)), *path.parents) and Path(before).is_absolute()
        if (os.sep in value or value.startswith(("~", "."))) and not inside and key[:2] != ("logger", "wandb"):
            raise UserError(f"{where} lets {_dotted(key)} write to {value}; give that on the command line if it shall.")


def _kind(node: Any) -> Any:
    """What two choices of a group do not have in common, as far as their contents tell."""
    if not isinstance(node, dict):
        return node
    target, name = node.get("_target_"), node.get("name")
    return target, None if str(target).endswith(f".{name}_data") else name  # data=folder had its own name until 0.1.0


def _folders() -> Iterator[Path]:
    """Where the configuration comes from: conf/, and what ``--config-dir`` names."""
    for source in HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ():
        if source.schema == "file":
            yield Path(source.path)


def _files() -> Iterator[Any]:
    """Contents of all configuration files that this command could take."""
    for folder in _folders():
        for file in sorted(folder.rglob("*.yaml")):
            try:
                yield own_yaml(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):  # not one that it did take
                continue


def _global_file(group: str, choice: str) -> dict[Any, Any] | None:
    """What a choice sets where its file stands for the whole configuration, such as ``debug=fast``; None elsewhere."""
    for folder in _folders():
        file = folder / group / f"{choice}.yaml"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        if text.startswith("# @package _global_"):
            return own_yaml(text)
    return None


def _put(node: dict[Any, Any], key: Key, value: Any, own: dict[Any, Any] | None = None) -> None:
    """Set a value; a mapping on the way that is an interpolation becomes the run's own one."""
    for depth, part in enumerate(key[:-1], 1):
        if not isinstance(node.get(part), dict):
            known = at(own, key[:depth])
            node[part] = copy.deepcopy(known) if isinstance(known, dict) else {}
        node = node[part]
    node[key[-1]] = value


def _dotted(key: Key) -> str:
    return ".".join(map(str, key))


def _shown(value: Any) -> str:
    return "nothing" if value is GONE else str(value)
