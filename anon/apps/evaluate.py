"""Evaluate what was trained, or what any tool made: ``anon evaluate experiment=fiva``, or ``python evaluate.py ...``.

usage: anon evaluate experiment=<name> | method=<choice> | suite=<name> [<setting>=<value> ...]

  experiment=fiva                   Table 1 and the robustness of its newest run; suite=swap has its swaps
  checkpoint=<file or run folder>   of another run; checkpoint=shipped:fiva of the one that comes along
  method=blur                       Table 1 of one method
  suite=all                         every table of every method that ships; conf/suite has them all
  attack=reconstruction             who is found again after an attack: RA
  suite=table1 originals=<faces> method=folder method.root=<changed>
                                    what any other tool made of a folder
  suite=video input=<clip or folder>
                                    clips, by what anon anonymize works by
  data=folder data.root=<faces>     on photographs; the default is rendered faces
  judge=[edgeface,onnx]             a panel of recognizers, whose worst case the figures are
  output=<folder>                   for the results; a new run folder otherwise

The last line is the path of results.json; report.html, Markdown, LaTeX, CSV and grids of faces lie beside it.
Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped. docs/evaluation.md explains suites and figures.
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

from anon.apps.checkpoints import checkpoint_file, restore_generator
from anon.apps.clips import check_words, evaluate_clips, measures_clips
from anon.apps.config import CONFIG, judges_of
from anon.apps.door.config import check_config, check_places
from anon.apps.launch.entry import run_app
from anon.apps.launch.failures import unwrapped
from anon.apps.loggers import built, finish, log_config, log_results
from anon.apps.offered import narrow
from anon.apps.run_folders.folder import LAST, commit, run_folder, whole_path
from anon.apps.run_folders.newest import name_newest
from anon.apps.run_folders.past import data_key, last_run
from anon.apps.run_folders.started import choices, overrides, run_config, start_record
from anon.apps.untrusted import trusting
from anon.apps.victims import recorded_victim
from anon.commands import in_utf8
from anon.errors import UserError
from anon.evaluation.document import read
from anon.evaluation.harness import run as harness
from anon.evaluation.harness.suite import Suite
from anon.evaluation.report import headlines, wandb_tables
from anon.faces.cache import caching
from anon.printable import flat
from anon.weights.files import SHIPPED, fingerprint

# What an evaluation is configured by; the rest of an experiment is in the checkpoint.
SECTIONS = ["task", "experiment", "scale", "seed", "checkpoint", "checkpoints", "trust", "cache", "output", "run"]
SECTIONS += ["paths", "data", "judge", "panel", "method", "attack", "suite", "attributes", "lpips", "detectors"]
SECTIONS += ["logger"]
SECTIONS += ["domain", "margin", "size", "batch", "gate", "detector", "fallback", "policy"]  # of suite=video


def main() -> None:
    """Entry point."""
    run_app(evaluate, "evaluate")


def evaluate(config: DictConfig) -> None:
    """One evaluation, from a composed configuration.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint.
    """
    config = OmegaConf.masked_copy(config, SECTIONS)
    _narrow(config)
    with caching(OmegaConf.select(config, "cache")):
        check_config(config)
        with trusting(config.trust):
            _evaluate(config)


def _evaluate(config: DictConfig) -> None:
    clips = _check_suite(config)
    _name(config)
    if not clips and (OmegaConf.select(config, "judge") is None or OmegaConf.select(config, "data") is None):
        raise UserError("an evaluation needs data=<choice> and judge=<choice>, such as judge=synthetic_b.")
    restores = OmegaConf.select(config, "suite.methods.checkpoint.anonymizer.checkpoint") == config.checkpoint
    if restores and config.checkpoint == "last":
        config.checkpoint = str(last_run(config) / LAST)
    elif restores and not config.checkpoint.startswith(SHIPPED):
        config.checkpoint = str(checkpoint_file(config.checkpoint))
    place = whole_path(config.output) if config.output else None
    name_newest(config, "suite", needed=False)
    name_newest(config, "method")
    shipped = f"{SHIPPED}reconstruction_{choices().get('method')}"
    name_newest(config, "attack", fits=_attack_on(config.checkpoint) if restores else lambda attack: attack == shipped)
    check_places(config)
    if clips:
        check_words(config)
    if place is not None:
        _check_same(config, place)
    with run_folder(config, at=place) as folder, unwrapped(), _no_exit():
        pl.seed_everything(config.seed, workers=True, verbose=False)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if restores:
            print(f"checkpoint {config.checkpoint}", flush=True)
        if clips:
            evaluate_clips(config, folder, commit())
        else:
            data, judges = instantiate(config.data), judges_of(config)
            harness.run(judges, data, config, folder, device=device, commit=commit())
        _log(config, folder)
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
        UserError: the folder's configuration has another task, experiment, suite, data or checkpoint.
    """
    if not (place / CONFIG).is_file():
        return
    past, recorded = run_config(place), start_record(place).get("choices") or {}
    keys = ("task", "experiment", "suite._target_", "suite.input", "checkpoint")
    pairs = [(key, OmegaConf.select(past, key), OmegaConf.select(config, key)) for key in keys]
    pairs += [("data", data_key(past), data_key(config))]
    groups = [group for group in ("suite", "data") if group in recorded and group in choices()]
    pairs += [(group, recorded[group], choices()[group]) for group in groups]
    for key, before, now in pairs:
        if before != now:
            raise UserError(
                f"output={place} holds another {'evaluation' if past.get('task') == 'evaluate' else 'run'} ({key} is "
                f"{_shown(before)} there, not {_shown(now)}); choose another folder, or remove that one."
            )


def _shown(value: object) -> str:
    return " in ".join(filter(None, value)) if isinstance(value, tuple) else str(value)


def _attack_on(checkpoint: str) -> Callable[[str], bool]:
    """Whether an attack's checkpoint says that it learned this generator, undefended."""

    @functools.cache
    def generator() -> str:
        return fingerprint(cast(nn.Module, restore_generator(checkpoint).generator))

    def fits(attack: str) -> bool:
        record = recorded_victim(attack)
        return record is not None and record.get("defense") is None and record.get("weights") == generator()

    return fits


def _log(config: DictConfig, folder: Path) -> None:
    """What was written, to W&B; only now, so that a mistake leaves no run there. What W&B does not take is told."""
    loggers: list[Logger] = []
    try:
        loggers += built(config.logger, "logger", Logger)
        log_config(loggers, config)
        document = read(folder)
        pictures = [folder / name for name in document.pictures]
        log_results(loggers, wandb_tables(document), pictures, folder, headlines(document))
    except wandb.Error as error:
        print(f"the results are in {folder}, but W&B did not take them: {flat(str(error))}", flush=True)
    finally:
        finish(loggers)


def _narrow(config: DictConfig) -> None:
    """A method that the command line chooses is the one of a suite that would name others."""
    given = any(word.partition("=")[0] == "method" for word in overrides())
    suite = OmegaConf.select(config, "suite")
    if (
        given
        and not measures_clips(config)
        and OmegaConf.select(config, "suite.tables")
        and "${method" not in OmegaConf.to_yaml(suite, resolve=False)
    ):
        narrow(suite, str(choices()["method"]))


def _name(config: DictConfig) -> None:
    """Name the evaluation after what it evaluates, where neither an experiment nor a suite has a name of its own.

    Raises:
        UserError: nothing is named.
    """
    if config.experiment is not None:
        return
    method = choices().get("method") or "checkpoint"
    if method == "checkpoint" and config.checkpoint == "last":
        raise UserError(
            "nothing is named to evaluate; give experiment=<name> (the newest run of that training), suite=<name> "
            "(such as suite=table1 or suite=all), method=<choice> or checkpoint=<file>."
        )
    config.experiment = method


def _check_suite(config: DictConfig) -> bool:
    """See that the suite measures something; whether that is clips.

    Raises:
        UserError: it is no suite, or has no table, as what all of them share.
    """
    target = OmegaConf.select(config, "suite._target_")
    clips = measures_clips(config)
    kind = None if target is None else get_class(target)
    if kind is None or not (clips or issubclass(kind, Suite)) or not OmegaConf.select(config, "suite.tables"):
        raise UserError("this suite measures nothing by itself; choose another suite=<name> of conf/suite.")
    return clips


if __name__ == "__main__":
    in_utf8()
    main()
