"""What an evaluation may name: every choice of the groups, one's own among them, without a list to extend by hand.

``hydra.searchpath=[file:///my/conf]`` or ``--config-dir`` adds ``my/conf/method/mine.yaml``, and tables that say
``methods: [generators]`` have it. Before Hydra composes, :func:`offer` lists the groups as Hydra finds them and stores
a configuration ``suite/offered`` that holds every choice; ``conf/suite/base.yaml`` includes it. A plain choice stands
there with its content, one that is made of others as a default: each default is a merge of the whole for Hydra.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
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


def offer(words: Sequence[str], conf: Path) -> None:
    """Store ``suite/offered`` for the command line ``words`` and the project's own configurations in ``conf``.

    What ``suite/base.yaml`` defines itself is not taken from a group.

    Raises:
        UserError: ``hydra.searchpath`` names a place that is not there.
    """
    options = get_args_parser().parse_known_args(list(words))[0]
    search = create_config_search_path(f"file://{conf}")
    if options.config_dir is not None:
        path = f"file://{Path(options.config_dir).absolute()}"
        search.prepend(provider="command-line", path=path, anchor=SearchPathQuery(provider="schema"))
    given = [word for word in words if word.lstrip("+").startswith("hydra.searchpath=")]
    _, found = ConfigLoaderImpl(search)._parse_overrides_and_create_caching_repo(None, given)
    for source in found.get_sources():
        if source.provider.startswith("hydra.searchpath") and not source.available():
            told = "; a folder is written file:///my/conf." if "://" not in str(source.full_path()) else "."
            raise UserError(f"hydra.searchpath has {source.full_path()}, which is not there{told}")
    own = OmegaConf.load(conf / "suite" / "base.yaml")
    defaults: list[object] = []
    content = OmegaConf.create()
    for group, place in GROUPS.items():
        names = found.get_group_options(group, ObjectType.CONFIG)
        taken = set(OmegaConf.select(own, place.partition(".")[0]) or ())
        for name in names:
            if name in taken | _NEVER.get(group, set()):
                continue
            choice = found.load_config(f"{group}/{name}")
            plain = choice if choice and not choice.defaults_list and not choice.header.get("package") else None
            here: Any = plain.config if plain else {}  # an empty one keeps the order
            OmegaConf.update(content, place.format(name), here)
            if plain is None:
                defaults.append({f"/{group}@{place.format(name)}": name})
    ConfigStore.instance().store(name="offered", group="suite", node={"defaults": ["_self_", *defaults], **content})


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
