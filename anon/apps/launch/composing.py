"""The configuration of a command, composed once, and of files that are read by libyaml.

Hydra 1.3 composes everything twice: to read ``hydra.mode`` of it, and to run; and OmegaConf reads YAML in Python. With
this project's many files a composition takes about a second, which every command and every refusal would wait for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import yaml
from hydra._internal import hydra as app
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, _utils
from omegaconf.errors import OmegaConfBaseException

_DIFFER = ("\t", "!", "\ufeff")  # tabs, tags and byte order marks, which libyaml takes otherwise
_OMEGACONFS = _utils.get_yaml_loader
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

    def _load_configuration_impl(self, *args: Any, **kwargs: Any) -> DictConfig:
        with read_by_libyaml():  # and what the job reads is not: it may be a stranger's
            return super()._load_configuration_impl(*args, **kwargs)


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
    """Within it OmegaConf, and so Hydra, parses by libyaml where PyYAML has it: to the same values, much quicker.

    For configurations of one's own alone: libyaml ends the process where a hostile file is nested deeply enough.
    """
    before = _utils.get_yaml_loader
    if yaml.__with_libyaml__:
        _utils.get_yaml_loader = lambda: _Parser
    try:
        yield
    finally:
        _utils.get_yaml_loader = before


class _Parser:
    """What ``yaml.load`` asks of a loader: libyaml's answer, or OmegaConf's where the two differ or libyaml has none.

    Args:
        stream: text, or a file.
    """

    def __init__(self, stream: Any) -> None:
        self.name = getattr(stream, "name", None)
        self.text = stream if isinstance(stream, str) else stream.read()

    def get_single_data(self) -> Any:
        if not any(sign in self.text for sign in _DIFFER):
            with suppress(yaml.YAMLError):
                return _quick()(self.text).get_single_data()
        loader = _OMEGACONFS()(self.text)
        loader.name = self.name or loader.name  # errors tell it
        return loader.get_single_data()

    def dispose(self) -> None: ...


@functools.cache
def _quick() -> type[yaml.SafeLoader]:
    """OmegaConf's loader, with its numbers and its refusal of double keys, on libyaml's parser in place of Python's."""
    return type("Loader", (yaml.CSafeLoader, _OMEGACONFS()), {})
