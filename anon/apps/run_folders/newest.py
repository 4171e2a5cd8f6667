"""``checkpoint: last:<experiment>`` in a configuration: the newest own run of it, else what ships by that name.

Attacks on other methods than FIVA ship as ``reconstruction_<method>``; the one that learned what is evaluated is taken.

python train.py experiment=reconstruction                    # attacks one's own newest FIVA, if there is one
python evaluate.py experiment=fiva attack=reconstruction     # with one's own newest attack on that FIVA
python evaluate.py suite=table1 checkpoints=last             # of one's own newest generators

A method of ``conf/method`` says ``${checkpoints}:<experiment>``, where ``checkpoints`` is ``last`` or ``shipped``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from anon import weights
from anon.apps.config import leaves
from anon.apps.launch.ranks import rank
from anon.apps.run_folders.folder import LAST
from anon.apps.run_folders.past import data_key, matching_runs
from anon.errors import UserError
from anon.weights.files import SHIPPED

NEWEST, _CHOSEN = "last:", "${checkpoints}:"
WHOSE = ("last", "shipped")  # values of checkpoints
_NAME = re.compile(r"[\w-][\w.-]{0,99}(/[\w-][\w.-]{0,99}){0,3}")


def name_newest(
    config: DictConfig,
    part: str,
    continued: DictConfig | None = None,
    fits: Callable[[str], bool] | None = None,
    needed: bool = True,
) -> None:
    """Put a checkpoint in the place of every ``last:<experiment>`` below ``config[part]``, and print which.

    Args:
        config: with ``scale``, ``data`` and ``paths.runs``, which the run must have in common.
        continued: configuration of the run that goes on: it keeps what it began with, whatever was trained since.
        fits: of a checkpoint, a file or ``shipped:<name>``; others are passed over. None: all fit.
        needed: False: a method that nobody has trained gets None, which tables print as what it needs.

    Raises:
        UserError: there is no such run and nothing ships by that name, or no experiment can have it.
    """
    chooses = OmegaConf.select(config, "checkpoints", default=WHOSE[0])
    if chooses not in WHOSE:
        raise UserError(f"checkpoints={chooses} is none of {', '.join(WHOSE)}.")
    for names, asked in leaves(OmegaConf.to_container(OmegaConf.masked_copy(config, part), resolve=False)):
        if not isinstance(asked, str) or not asked.startswith((NEWEST, _CHOSEN)):
            continue
        key, experiment = ".".join(map(str, names)), asked.partition(":")[2]
        known = None if continued is None else OmegaConf.select(continued, key)
        if isinstance(known, str) and not known.startswith((NEWEST, _CHOSEN)):
            chosen: str | None = known
        elif asked.startswith(_CHOSEN) and chooses == WHOSE[1]:
            chosen = _shipped(experiment)
        else:
            chosen = _newest(config, experiment, fits) or _shipped(experiment, fits)
        if chosen is None and needed:
            raise UserError(
                f"there is no run of experiment={experiment} with a checkpoint, scale={config.scale} and data="
                f"{data_key(config)[0]} in {Path(config.paths.runs).expanduser().absolute()}, and none ships; train "
                f"one (python train.py experiment={experiment}) or name a checkpoint."
            )
        OmegaConf.update(config, key, chosen)
        if rank() == 0 and (needed or not str(chosen or SHIPPED).startswith(SHIPPED)):
            print(f"{key} {chosen}", flush=True)


def _shipped(experiment: str, fits: Callable[[str], bool] | None = None) -> str | None:
    """Of what ships as ``<experiment>_<more>`` the first that fits; else what ships by the experiment's own name."""
    own = f"{SHIPPED}{experiment}" if experiment in weights.index() else None
    others = (f"{SHIPPED}{name}" for name in weights.index() if name.startswith(f"{experiment}_"))
    return own if fits is None else next(filter(fits, others), own)


def _newest(config: DictConfig, experiment: str, fits: Callable[[str], bool] | None) -> str | None:
    if not _NAME.fullmatch(experiment):
        raise UserError(f"'{NEWEST}{experiment[:60]}' names no experiment, such as {NEWEST}fiva.")
    here = config.copy()
    here.experiment = experiment
    for folder in matching_runs(here):
        if (folder / LAST).is_file() and (fits is None or fits(str(folder / LAST))):
            return str(folder / LAST)
    return None
