"""What an evaluation may name: every choice of the groups, one's own among them, without a list to extend by hand.

``hydra.searchpath=[file:///my/conf]`` or ``--config-dir`` adds ``my/conf/method/mine.yaml``, and tables that say
``methods: [generators]`` have it. Before Hydra composes, :func:`offer` lists the groups as Hydra finds them and stores
a configuration ``suite/offered`` that takes every choice; ``conf/suite/base.yaml`` includes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from omegaconf import OmegaConf

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
_NEVER = {"method": {"checkpoint", "onnx", "torchscript"}, "attack": {"none"}, "defense": {"none"}}


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
    for group, place in GROUPS.items():
        names = found.get_group_options(group, ObjectType.CONFIG)
        taken = set(OmegaConf.select(own, place.partition(".")[0]) or ())
        defaults += [
            {f"/{group}@{place.format(name)}": name} for name in names if name not in taken | _NEVER.get(group, set())
        ]
    ConfigStore.instance().store(name="offered", group="suite", node={"defaults": [*defaults, "_self_"]})
