"""The judges of a configuration: ``judge``, and those of ``panel`` beside it."""

from __future__ import annotations

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from anon.identity.contract import JudgeLike


def judges_of(config: DictConfig) -> list[JudgeLike]:
    """All of them, the first of which gives what only one judge is asked for."""
    further = OmegaConf.select(config, "panel") or {}
    return [instantiate(given) for given in (config.judge, *further.values()) if given is not None]
