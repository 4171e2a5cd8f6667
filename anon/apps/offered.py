"""What an evaluation may name: every choice of the groups, one's own among them, without a list to extend by hand.

``hydra.searchpath=[file:///my/conf]`` or ``--config-dir`` adds ``my/conf/method/mine.yaml``, and tables that say
``methods: [generators]`` have it. Before Hydra composes, :func:`offer` lists the groups as Hydra finds them and stores
a configuration ``suite/offered`` that holds every choice; ``conf/suite/base.yaml`` includes it. Each is composed there
alone, by Hydra: as defaults of the whole they would be that many merges of all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigSource
from omegaconf import DictConfig, OmegaConf, open_dict

from anon.errors import UserError

#: Where the choices of a group stand in a suite.
GROUPS = {
    "method": "methods.{}",
    "policy": "policies.{}",
    "defense": "defenses.{}",
    "attack": "attacks.{}.attack",
    "input": "inputs.{}",
    "measure": "measures.{}",
}
#: A checkpoint or a file is a method only where it is named; what does nothing is no entry.
_NEVER = {"method": {"checkpoint", "onnx", "torchscript", "folder"}, "attack": {"none"}, "defense": {"none"}}
_HERE = "here"  # where a choice is composed
_last: dict[str, Any] = {}  # what was offered last in this process, of which files


@dataclass
class _Kept(ConfigNode):
    """Hydra copies its whole store for each composition, though it only reads there, and this is the bulk of it."""

    def __deepcopy__(self, memo: dict[int, object]) -> _Kept:
        return self


def offer(words: Sequence[str], conf: Path, name: str) -> None:
    """Store ``suite/offered`` for the command line ``words`` of ``name`` and the own configurations in ``conf``.

    Only an evaluation reads it. What ``suite/base.yaml`` defines itself is not taken from a group.

    Raises:
        UserError: ``hydra.searchpath`` names a place that is not there.
    """
    options = get_args_parser().parse_known_args(list(words))[0]
    search = create_config_search_path(f"file://{conf}")
    if options.config_dir is not None:
        path = f"file://{Path(options.config_dir).absolute()}"
        search.prepend(provider="command-line", path=path, anchor=SearchPathQuery(provider="schema"))
    given = [word for word in words if word.lstrip("+").startswith("hydra.searchpath=")]
    loader = ConfigLoaderImpl(search)
    _, found = loader._parse_overrides_and_create_caching_repo(None, given)
    for source in found.get_sources():
        if source.provider.startswith("hydra.searchpath") and not source.available():
            told = "; a folder is written file:///my/conf." if "://" not in str(source.full_path()) else "."
            what = "is no folder" if Path(source.path).is_file() else "is not there"
            raise UserError(f"hydra.searchpath has {source.full_path()}, which {what}{told}")
    if name != "evaluate":
        return
    state = _state(found.get_sources(), conf)
    if state is None or state != _last.get("state"):
        _last.update(state=state, node=_offered(loader, found, conf))
    ConfigStore.instance().repo.setdefault("suite", {})["offered.yaml"] = _last["node"]


def _state(sources: Sequence[ConfigSource], conf: Path) -> object:
    """Names, times and sizes of what is read, or None where it is more than ``conf``: who knows what lies there."""
    if any(source.provider not in ("hydra", "main", "schema") for source in sources):
        return None
    told = ((path, path.stat()) for path in sorted(conf.rglob("*.yaml")))
    return [(path, stat.st_mtime_ns, stat.st_size) for path, stat in told]


def _offered(loader: ConfigLoaderImpl, found: CachingConfigRepository, conf: Path) -> _Kept:
    own = OmegaConf.load(conf / "suite" / "base.yaml")
    defaults: list[object] = ["_self_"]
    content = OmegaConf.create()
    for group, place in GROUPS.items():
        taken = set(OmegaConf.select(own, place.partition(".")[0]) or ()) | _NEVER.get(group, set())
        for each in found.get_group_options(group, ObjectType.CONFIG):
            if each in taken:
                continue
            alone = _composed(loader, found, group, each)
            if alone is None:
                defaults.append({f"/{group}@{place.format(each)}": each})
            OmegaConf.update(content, place.format(each), alone or {})  # an empty one keeps the order
    node = OmegaConf.create({"defaults": defaults, **content})
    return _Kept(name="offered.yaml", node=node, group="suite", package=None, provider=None)


def _composed(loader: ConfigLoaderImpl, found: CachingConfigRepository, group: str, name: str) -> Any:
    """A choice with what its own defaults bring, or None where one of them belongs elsewhere in the configuration."""
    choice = found.load_config(f"{group}/{name}")
    if choice and not choice.defaults_list and not choice.header.get("package"):
        return choice.config
    words = OverridesParser.create().parse_overrides([f"+{group}@{_HERE}={name}"])
    try:
        listed = create_defaults_list(found, None, words, prepend_hydra=False, skip_missing=False)
        alone = loader._compose_config_from_defaults_list(listed.defaults, found)
    except HydraException:  # it refers to the rest of the configuration, or is wrong, which Hydra then says
        return None
    return alone[_HERE] if set(alone) == {_HERE} else None


def narrow(suite: DictConfig, method: str) -> None:
    """Let the tables of a suite that names its methods be of ``method=<choice>`` alone, beside the faces as they are.

    What sweeps a dial is left out where the method has none, what has no policies where it is a generator, which needs
    one, and a table where nothing is left.

    >>> grid = [{"methods": ["real"]}, {"methods": ["fiva", "blur"], "policies": ["itm"]}, {"methods": ["solid"]}]
    >>> suite = OmegaConf.create({"method": {}, "methods": {}, "tables": {"table1": {"grid": grid}}})
    >>> narrow(suite, "folder")
    >>> [block.methods for block in suite.tables.table1.grid]
    [['real'], ['folder'], ['folder']]
    >>> suite = OmegaConf.create({"method": {"policies": True}, "methods": {}, "tables": {"table1": {"grid": grid}}})
    >>> narrow(suite, "facedancer")
    >>> [block.methods for block in suite.tables.table1.grid]
    [['real'], ['facedancer']]
    """
    with open_dict(suite):
        suite.methods[method] = "${method}"
        has_dial, redraws = _has(suite, method, "dial"), _has(suite, method, "policies")
        for name, table in suite.tables.items():
            if table is None:
                continue
            blocks = [dict(block) for block in table.grid if block.get("dial") is not True or has_dial]
            for block in blocks:
                kept = [each for each in block["methods"] if each == "real"]
                fits = bool(block.get("policies")) or not redraws
                block["methods"] = kept + [method] * (fits and any(each != "real" for each in block["methods"]))
            blocks = [block for block in blocks if block["methods"]]
            if all(block["methods"] == ["real"] for block in blocks):
                suite.tables[name] = None
            else:
                table.grid = blocks


def _has(suite: DictConfig, method: str, key: str) -> bool:
    return OmegaConf.select(suite, f"methods.{method}.{key}") not in (None, False)
