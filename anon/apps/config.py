"""Where the configuration lives, how it is composed and written, and what stands where in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import hydra.utils
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import anon
from anon.apps.door.words import of_clips, of_files, spelled_out, with_panel
from anon.apps.launch.composing import read_by_libyaml
from anon.apps.offered import offer
from anon.errors import UserError
from anon.identity.contract import JudgeLike

CONFIG = "config.yaml"  # in a run folder: the resolved configuration
GONE = object()  # what stands at a key where nothing does
Key = tuple[Any, ...]  # names from the root to a value


def config_dir() -> Path:
    """``anon/conf`` in an installed wheel, ``conf`` beside the package in a checkout."""
    package = Path(anon.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def choices(group: str) -> list[str]:
    """Names of the configurations in a group, sorted."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def composed(name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration ``name`` (train, evaluate or anonymize) of this project, as the scripts have it.

    Raises:
        HydraException: an override that fits nothing.
    """
    words = spelled_out(of_files(overrides) if name == "anonymize" else overrides)
    words = of_clips(words) if name == "evaluate" else words
    words = with_panel(words) if name != "train" else words
    with _beside_a_job(), read_by_libyaml():
        offer(words, config_dir(), name)
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra.compose(name, words)


@contextmanager
def _beside_a_job() -> Iterator[None]:
    """Hydra composes one configuration at a time; a part of a command may ask for another while the command runs."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = running


def judges_of(config: DictConfig) -> list[JudgeLike]:
    """The judges that are named, built: ``judge``, which gives what only one is asked for, and those of ``panel``."""
    first, further = OmegaConf.select(config, "judge"), OmegaConf.select(config, "panel") or {}
    return [hydra.utils.instantiate(given) for given in (first, *further.values()) if given is not None]


def plain_yaml(config: DictConfig) -> str:
    """The whole configuration with every interpolation resolved, as YAML text.

    Raises:
        UserError: for a value that is missing (``???``) or cannot be resolved.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"the configuration needs a value for: {', '.join(missing)}.")
        return OmegaConf.to_yaml(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be resolved: {str(error).splitlines()[0]}.") from error


def own_yaml(text: str) -> Any:
    """What a file of ``conf/``, or of a folder that the command line names, holds."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}


def leaves(node: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value of plain data that is no mapping, and every empty mapping; a list is one value."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, (*key, name))
    else:
        yield key, node


def at(node: Any, key: Sequence[Any]) -> Any:
    """What stands at a key of plain data; :data:`GONE` where nothing does."""
    for part in key:
        if not isinstance(node, dict) or part not in node:
            return GONE
        node = node[part]
    return node
