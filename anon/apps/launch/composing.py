"""The configuration of a command, composed once, and of files that are read by libyaml.

Hydra 1.3 composes everything twice: to read ``hydra.mode`` of it, and to run; and OmegaConf reads YAML in Python. With
this project's many files a composition takes about a second, which every command and every refusal would wait for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from hydra._internal import hydra as app
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, _utils
from omegaconf.errors import OmegaConfBaseException

_SINGLE = "hydra.mode=RUN"  # what Hydra adds to the words where nothing says several


class ComposedOnce(ConfigLoaderImpl):
    """Hydra's loader, whose first configuration, which the mode is read of, is the one that runs.

    Several jobs, and whatever cannot be composed as one, go Hydra's own way.
    """

    _kept: tuple[str | None, list[str], DictConfig] | None = None

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **kwargs: Any
    ) -> DictConfig:
        asks_for_the_mode = run_mode == RunMode.MULTIRUN and kwargs.get("validate_sweep_overrides") is False
        if asks_for_the_mode and not _sweeps(overrides):
            try:
                config = super().load_configuration(config_name, overrides, RunMode.RUN)
            except (HydraException, OmegaConfBaseException):  # it is raised again when the job shall begin
                return super().load_configuration(config_name, overrides, run_mode, *args, **kwargs)
            self._kept = (config_name, list(overrides), config)
            return config
        kept, self._kept = self._kept, None
        if kept is not None and run_mode == RunMode.RUN and kept[0] == config_name:
            _, words, config = kept
            if overrides == [*words, _SINGLE]:
                config.hydra.mode = RunMode.RUN
                config.hydra.overrides.hydra.append(_SINGLE)
            if overrides in (words, [*words, _SINGLE]):
                return config
        return super().load_configuration(config_name, overrides, run_mode, *args, **kwargs)


def _sweeps(words: list[str]) -> bool:
    """Whether a word holds several values; of words that cannot be read Hydra has its own to say."""
    try:
        return any(each.is_sweep_override() for each in OverridesParser.create().parse_overrides(words))
    except HydraException:
        return True


@contextmanager
def composed_once() -> Iterator[None]:
    """Within it ``hydra.main`` composes by :class:`ComposedOnce`."""
    theirs = app.ConfigLoaderImpl
    app.ConfigLoaderImpl = ComposedOnce  # type: ignore[misc]
    try:
        yield
    finally:
        app.ConfigLoaderImpl = theirs  # type: ignore[misc]


@contextmanager
def read_by_libyaml() -> Iterator[None]:
    """Within it OmegaConf, and so Hydra, parses by libyaml where PyYAML has it: to the same values, much quicker."""
    theirs = _utils.get_yaml_loader
    if yaml.__with_libyaml__:
        _utils.get_yaml_loader = functools.partial(_parsed_by_libyaml, theirs)
    try:
        yield
    finally:
        _utils.get_yaml_loader = theirs


@functools.cache
def _parsed_by_libyaml(theirs: Callable[[], type[yaml.SafeLoader]]) -> type[yaml.SafeLoader]:
    """OmegaConf's loader, with its numbers and its refusal of double keys, on libyaml's parser in place of Python's."""
    return type("Loader", (yaml.CSafeLoader, theirs()), {})
