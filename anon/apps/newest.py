"""``checkpoint: last:<experiment>`` in a configuration: the newest own run of it, else what ships by that name.

python train.py experiment=reconstruction                    # attacks one's own newest FIVA, if there is one
python evaluate.py experiment=fiva attack=reconstruction     # with one's own newest attack on that FIVA
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from anon import weights
from anon.apps.past import data_key, matching_runs
from anon.apps.runs import LAST, rank
from anon.errors import UserError
from anon.weights.files import SHIPPED

NEWEST = "last:"
_NAME = re.compile(r"[\w-][\w.-]{0,99}(/[\w-][\w.-]{0,99}){0,3}")


def name_newest(
    config: DictConfig, part: str, continued: DictConfig | None = None, fits: Callable[[Path], bool] | None = None
) -> None:
    """Put a checkpoint in the place of every ``last:<experiment>`` below ``config[part]``, and print which.

    Args:
        config: with ``scale``, ``data`` and ``paths.runs``, which the run must have in common.
        continued: configuration of the run that goes on: it keeps what it began with, whatever was trained since.
        fits: of a checkpoint; others are passed over. None: all fit.

    Raises:
        UserError: there is no such run and nothing ships by that name, or no experiment can have it.
    """
    for key, experiment in _asked(OmegaConf.to_container(config, resolve=False), part):
        known = None if continued is None else OmegaConf.select(continued, key)
        chosen = known if isinstance(known, str) and not known.startswith(NEWEST) else _newest(config, experiment, fits)
        OmegaConf.update(config, key, chosen)
        if rank() == 0:
            print(f"{key} {chosen}", flush=True)


def _asked(content: Any, part: str) -> Iterator[tuple[str, str]]:
    """Where ``last:<experiment>`` stands, and the experiment."""
    found = content.get(part) if isinstance(content, dict) else None
    for name, value in (found or {}).items() if isinstance(found, dict) else ():
        if isinstance(value, str) and value.startswith(NEWEST):
            yield f"{part}.{name}", value.removeprefix(NEWEST)
        else:
            yield from ((f"{part}.{key}", experiment) for key, experiment in _asked(found, str(name)))


def _newest(config: DictConfig, experiment: str, fits: Callable[[Path], bool] | None) -> str:
    if not _NAME.fullmatch(experiment):
        raise UserError(f"'{NEWEST}{experiment[:60]}' names no experiment, such as {NEWEST}fiva.")
    here = config.copy()
    here.experiment = experiment
    for folder in matching_runs(here):
        if (folder / LAST).is_file() and (fits is None or fits(folder / LAST)):
            return str(folder / LAST)
    if experiment in weights.index():
        return f"{SHIPPED}{experiment}"
    raise UserError(
        f"there is no run of experiment={experiment} with a checkpoint, scale={config.scale} and data="
        f"{data_key(config)[0]} in {Path(config.paths.runs).expanduser().absolute()}, and none ships; train one "
        f"(python train.py experiment={experiment}) or name a checkpoint."
    )
