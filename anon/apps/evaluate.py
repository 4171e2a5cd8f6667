"""Evaluate what was trained: ``python evaluate.py experiment=fiva``, or ``python -m anon.apps.evaluate ...``.

Evaluations are suites of tables (:mod:`anon.evaluation.harness`): table 1 and the robustness of a checkpoint, its swaps
(``suite=swap``), who finds people again (``suite=attackers``), or every method at once (``suite=all``),
whose checkpoints the methods name; pairs of Labeled Faces in the Wild (``suite=lfw``). ``checkpoint=last`` takes
the newest run of the same experiment, scale and data; ``checkpoint=<file or run folder>`` any other, and
``checkpoint=shipped:facedancer`` the one that comes with the package. The path of ``results.json`` is the last line.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
import wandb
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from torch import nn

from anon.apps.checkpoints import checkpoint_file, read_checkpoint, restore_generator
from anon.apps.config import run_app
from anon.apps.door.config import check_config, check_places
from anon.apps.failures import unwrapped
from anon.apps.loggers import built, finish, log_config, log_results
from anon.apps.newest import name_newest
from anon.apps.past import data_key, last_run
from anon.apps.ranks import CONFIG
from anon.apps.runs import LAST, commit, run_folder, whole_path
from anon.apps.started import choices, start_record
from anon.apps.untrusted import read_config, trusting
from anon.apps.victims import record_of
from anon.commands import in_utf8
from anon.errors import UserError
from anon.evaluation.document import read
from anon.evaluation.harness import run as harness
from anon.evaluation.harness.suite import Suite
from anon.evaluation.report import headlines, wandb_tables
from anon.faces.cache import caching
from anon.plain import MAX_YAML, read_text
from anon.printable import flat
from anon.weights.files import SHIPPED, fingerprint

# What an evaluation is configured by; the rest of an experiment is in the checkpoint.
SECTIONS = [
    "task",
    "experiment",
    "scale",
    "seed",
    "checkpoint",
    "checkpoints",
    "trust",
    "cache",
    "output",
    "run",
    "paths",
]
SECTIONS += ["data", "judge", "method", "attack", "protocol", "metrics", "logger"]


def main() -> None:
    """Entry point."""
    run_app(evaluate, "evaluate")


def evaluate(config: DictConfig) -> None:
    """One evaluation, from a composed configuration.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint.
    """
    with caching(OmegaConf.select(config, "cache")):
        _evaluate(OmegaConf.masked_copy(config, SECTIONS))


def _evaluate(config: DictConfig) -> None:
    check_config(config)
    if OmegaConf.select(config, "judge") is None or OmegaConf.select(config, "data") is None:
        raise UserError("an evaluation needs data=<choice> and judge=<choice>, such as judge=synthetic_b.")
    _check_suite(config)
    restores = OmegaConf.select(config, "suite.methods.checkpoint.anonymizer.checkpoint") == config.checkpoint
    if restores and config.checkpoint == "last":
        config.checkpoint = str(last_run(config) / LAST)
    elif restores and not config.checkpoint.startswith(SHIPPED):
        config.checkpoint = str(checkpoint_file(config.checkpoint))
    place = whole_path(config.output) if config.output else None
    with trusting(config.trust):
        name_newest(config, "protocol", needed=False)
        name_newest(config, "method")
        name_newest(config, "attack", fits=_attack_on(config.checkpoint) if restores else lambda file: False)
    check_places(config)
    if place is not None:
        _check_same(config, place)
    with trusting(config.trust), run_folder(config, at=place) as folder, unwrapped(), _no_exit():
        pl.seed_everything(config.seed, workers=True, verbose=False)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if restores:
            print(f"checkpoint {config.checkpoint}", flush=True)
        data, judge = instantiate(config.data), instantiate(config.judge)
        harness.run(judge, data, config, folder, device=device, commit=commit())
        _log(config, folder)
    _check_measured(folder)


def _check_measured(folder: Path) -> None:
    """
    Raises:
        UserError: no line of any table could be measured.
    """
    reasons = [line.needs for line in read(folder).lines]
    if all(reasons):
        told = f"no line of any table could be measured ({flat(str(reasons[0]))})"
        raise UserError(f"{told}; the reason of each is in {folder / 'table.md'}.")


@contextmanager
def _no_exit() -> Iterator[None]:
    """Somebody's part that ends the program ends no evaluation well: there is no table.

    Raises:
        UserError: in the place of its SystemExit.
    """
    try:
        yield
    except SystemExit as error:
        told = f"a part of this evaluation ended the program (exit code {error.code}); there is no table."
        raise UserError(told) from error


def _check_same(config: DictConfig, place: Path) -> None:
    """Refuse to write over another evaluation, or a training; the same one goes on.

    Raises:
        UserError: the folder's configuration has another task, experiment, protocol, data or checkpoint.
    """
    file = place / CONFIG
    if not file.is_file():
        return
    past, recorded = read_config(read_text(file, MAX_YAML), file), start_record(place).get("choices") or {}
    keys = ("task", "experiment", "suite._target_", "checkpoint")
    pairs = [(key, OmegaConf.select(past, key), OmegaConf.select(config, key)) for key in keys]
    pairs += [("data", data_key(past), data_key(config))]
    groups = [group for group in ("protocol", "suite", "data") if group in recorded and group in choices()]
    pairs += [(group, recorded[group], choices()[group]) for group in groups]
    for key, before, now in pairs:
        if before != now:
            raise UserError(
                f"output={place} holds another {'evaluation' if past.get('task') == 'evaluate' else 'run'} ({key} is "
                f"{_shown(before)} there, not {_shown(now)}); choose another folder, or remove that one."
            )


def _shown(value: object) -> str:
    return " in ".join(filter(None, value)) if isinstance(value, tuple) else str(value)


def _attack_on(checkpoint: str) -> Callable[[Path], bool]:
    """Whether an attack's checkpoint says that it learned this generator, undefended."""

    @functools.cache
    def generator() -> str:
        return fingerprint(cast(nn.Module, restore_generator(checkpoint).generator))

    def fits(file: Path) -> bool:
        record = record_of(read_checkpoint(file)[1])
        return record is not None and record.get("defense") is None and record.get("weights") == generator()

    return fits


def _log(config: DictConfig, folder: Path) -> None:
    """What was written, to W&B; only now, so that a mistake leaves no run there. What W&B does not take is told."""
    try:
        _send(config, folder)
    except wandb.Error as error:
        print(f"the results are in {folder}, but W&B did not take them: {flat(str(error))}", flush=True)


def _send(config: DictConfig, folder: Path) -> None:
    loggers = built(config.logger, "logger", Logger)
    try:
        log_config(loggers, config)
        document = read(folder)
        pictures = [folder / name for name in document.pictures]
        log_results(loggers, wandb_tables(document), pictures, folder, headlines(document))
    finally:
        finish(loggers)


def _check_suite(config: DictConfig) -> None:
    """See that the protocol measures something.

    Raises:
        UserError: it is no protocol, or the rules alone.
    """
    target = OmegaConf.select(config, "suite._target_")
    kind = None if target is None else get_class(target)
    if kind is None or not issubclass(kind, Suite):
        raise UserError("this protocol measures nothing by itself; choose another suite=<name> of conf/suite.")


if __name__ == "__main__":
    in_utf8()
    main()
