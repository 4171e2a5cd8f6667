"""Train any experiment: ``anon train experiment=fiva``, or ``python train.py experiment=fiva``.

usage: anon train experiment=<name> [<group>=<choice> ...] [<setting>=<value> ...]

  experiment=fiva                   a generator, an attack, a recognizer, an estimator: conf/experiment has them all
  data=folder data.root=<faces>     from photographs, a folder a person; the default is rendered faces
  encoder=mobilefacenet encoder.weights=<file>
                                    conditioned on a recognizer from a file
  steps=2400 seed=1 data.batch_size=32
                                    any setting; --cfg job prints them all
  ckpt_path=last                    continue the newest run of this experiment, in its folder, with its own settings
  ckpt_path=auto                    the same where an unfinished one has these settings, else a new run
  ckpt_path=<file or run folder>    a new run that begins with these weights
  model.start=shipped:fiva          the first weights of a generator, its optimizers new: at another size, on other data
  scale=paper trainer=gpu           the paper's sizes; what is still lacking is said first (docs/papers.md)
  debug=fast                        a handful of batches, to see whether it runs
  -m seed=0,1,2                     a multirun; +sweep=defenses, methods, fiva or optuna (docs/sweeps.md)

The run folder is runs/train/<experiment>/<date>_<time>_<id>. Ctrl-C or a signal saves first.
Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor

from anon.apps.checkpoints import (
    CheckpointFiles,
    check_fits,
    checkpoint_file,
    learned_before,
    learned_from,
    read_checkpoint,
)
from anon.apps.config import plain_yaml
from anon.apps.door.config import check_config, check_places
from anon.apps.door.threads import convolution, crowded
from anon.apps.launch.entry import run_app
from anon.apps.launch.failures import unwrapped
from anon.apps.launch.multirun import check_monitor, in_multirun, monitored
from anon.apps.launch.preemption import Preempted, Preemption, start_blocked
from anon.apps.launch.ranks import check_strategy, own_ranks, rank, requeued, started_by_srun
from anon.apps.loggers import built, finish, log_config
from anon.apps.run_folders.folder import LAST, run_folder
from anon.apps.run_folders.newest import name_newest
from anon.apps.run_folders.past import begun_by_this_job, last_run, same_run
from anon.apps.run_folders.resume import continued
from anon.apps.untrusted import trusting
from anon.apps.victims import AttackerData
from anon.commands import in_utf8
from anon.errors import UserError
from anon.faces.cache import caching
from anon.faces.datamodule import FaceData
from anon.faces.learned import Learned
from anon.faces.transit import MORE_ROOM
from anon.training.adversarial.sizes import check_size
from anon.training.callbacks.given import GivenSettings
from anon.training.callbacks.guards import DIVERGED
from anon.training.callbacks.steps import LastCheckpoint
from anon.training.target_oriented import TargetOriented

LATEST, AUTO = "last", "auto"  # values of ckpt_path that are no files
_CLOSED = re.compile(r"[Cc]onnection (?:closed|reset|was|aborted)|[Bb]roken pipe|gloo|NCCL|ncclRemoteError")
_SHARED = re.compile(r"Bus error|shared memory|/torch_\d+")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def main() -> None:
    """Entry point."""
    run_app(train, "train")


def train(config: DictConfig) -> float | list[float] | None:
    """One run, from a composed configuration to a trained checkpoint; prints the run folder last.

    Returns:
        What a sweeper is told: the figures that ``monitor`` names.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint, a full or read-only disk,
            and a training that diverged.
        Preempted: when a signal asked for the end, after saving.
    """
    if config.model is None or config.data is None:
        raise UserError("the configuration names no model or no data; give experiment=<name>.")
    check_config(config)
    check_monitor(config.monitor)
    with trusting(config.trust), Preemption() as preemption, caching(config.get("cache")):
        resumed, differs = _to_continue(config) if rank() == 0 else None, list[str]()
        if resumed is not None:
            config, differs = continued(config, resumed)
        check_places(config)
        check_strategy(config.trainer)
        with run_folder(config, at=resumed) as folder:
            if rank() != 0 and (config.ckpt_path in (LATEST, AUTO) or requeued()):  # rank 0 has found the run
                config, differs = continued(config, folder)
                config.run.dir = str(folder)
            _say(f"{'continues in' if resumed else 'run folder'} {folder}")
            for line in (*differs, *(f"not the paper's: {sentence}" for sentence in lacking(config))):
                _say(line)
            _tell_of_threads()
            try:
                with own_ranks(folder):
                    return _train(config, folder, preemption)
            except UserError as error:
                if config.monitor is None or next(folder.glob(DIVERGED), None) is None:
                    raise
                _say(f"this trial failed: {error}")  # the search goes on
                return None


def lacking(config: DictConfig) -> list[str]:
    """What this configuration lacks of its paper, in sentences.

    An entry of ``lacks`` holds ``when``, values by their dotted keys, and ``say``. It is said when the configuration
    has all of these values, so that it goes away as soon as the missing piece is given:
    ``python train.py experiment=facedancer scale=paper encoder.weights=<file>``.
    """
    return [
        str(entry["say"])
        for entry in config.get("lacks") or []
        if all(OmegaConf.select(config, str(key)) == value for key, value in entry["when"].items())
    ]


@unwrapped()
def _train(config: DictConfig, folder: Path, preemption: Preemption) -> float | list[float] | None:
    checkpoint = None if config.ckpt_path in (None, LATEST, AUTO) else checkpoint_file(config.ckpt_path)
    if (config.ckpt_path in (LATEST, AUTO) or requeued()) and (folder / LAST).is_file():
        checkpoint = folder / LAST
    begun = None if checkpoint is None else resumed_from(checkpoint)
    if begun is not None and config.steps is not None:
        if config.ckpt_path == AUTO and begun.batches >= config.steps:
            _say(f"finished already: {checkpoint}")
            return None
        if begun.batches > config.steps:
            raise UserError(
                f"steps={config.steps} is less than the {begun.batches} batches that {checkpoint} was trained for."
            )
    pl.seed_everything(config.seed, workers=True, verbose=False)
    if config.attack is not None:
        before = begun.config if begun is not None and checkpoint == folder / LAST else None
        for part in ("attack", "method"):
            name_newest(config, part, before)
    data = instantiate(config.data)
    if config.attack is not None:  # its pairs are made of that data
        data = instantiate(config.attack, data=data)
    if config.get("subjects") is not None:  # two people of it
        data = instantiate(config.subjects, data=data)
    module = instantiate(config.model)
    own: list[pl.Callback] = [preemption]
    if begun is not None:
        check_fits(module, begun.state, begun.file)
        config.run.resumed_at = begun.batches
        own = [*_changed(begun.config, config), preemption]
    learned = None
    if rank() == 0:  # before other ranks start: what is wrong with the data is told once
        if isinstance(module, TargetOriented):
            check_size(module, data.size)
        data.prepare_data()
        if isinstance(data, FaceData):
            if len(data.faces("train").names) < 2:
                raise UserError("a training needs two people or more in its split, and the data have one; add some.")
            known = learned_before(module) if begun is None else begun.learned
            learned = Learned.of(data.faces("train").names, data.synthetic, known)
        if isinstance(data, AttackerData):
            config.run.victim = data.record()
    begun = None  # the trainer reads it again
    preemption.path = folder / LAST
    try:
        trainer = _trainer(config, folder, own, learned)
        _fit(trainer, module, data, checkpoint, preemption)
    except (OSError, RuntimeError) as error:
        if preemption.caught and isinstance(error, RuntimeError):  # it has ended loader workers or ranks too
            preemption.leave(preemption.caught, "stopped in a batch that cannot be finished")
        explained = _explained(error, folder)
        if explained is None:
            raise
        raise explained from error
    _say(f"checkpoint {folder / LAST}")
    _say(f"run folder {folder}")
    if preemption.caught == signal.SIGINT and in_multirun():  # in the last batch: this run is whole, no other follows
        raise KeyboardInterrupt
    return monitored(trainer.callback_metrics, config.monitor)


def _to_continue(config: DictConfig) -> Path | None:
    """The run folder that this SLURM job, or ``ckpt_path``, speaks of, if any."""
    begun = begun_by_this_job(config)
    if begun is None and config.ckpt_path == LATEST:
        return last_run(config, own_data=True)
    return same_run(config) if begun is None and config.ckpt_path == AUTO else begun


def _changed(before: DictConfig, config: DictConfig) -> list[GivenSettings]:
    """What takes the settings of the optimizers from the configuration, where the checkpoint was made with others."""
    wholes = [cast(dict[str, Any], OmegaConf.to_container(each, resolve=True)) for each in (before, config)]
    past, now = ({part: whole.get(part) for part in ("model", "steps", "seed", "trainer")} for whole in wholes)
    return [] if past == now else [GivenSettings(seed=past["seed"] != now["seed"])]


class Resumed(NamedTuple):
    """What a training goes on from: a checkpoint's weights, its batches, whom it learned from, its configuration."""

    file: Path
    state: dict[str, Tensor]
    batches: int
    learned: Learned | None
    config: DictConfig


def resumed_from(file: Path) -> Resumed:
    """Read a checkpoint to go on from.

    Raises:
        UserError: see :func:`anon.apps.checkpoints.read_checkpoint`; or it does not say how far it is.
    """
    content, config = read_checkpoint(file)
    try:
        batches = int(content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"])
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{file} does not say for how many batches it was trained; it is broken.") from error
    return Resumed(file, content["state_dict"], batches, learned_from(content, config, file), config)


class _Begun(pl.Callback):
    """Notes that a checkpoint has been restored: what fails before is the file's fault."""

    begun = False

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begun = True

    on_train_start = on_sanity_check_start


def _trainer(config: DictConfig, folder: Path, own: list[pl.Callback], learned: Learned | None) -> pl.Trainer:
    loggers = built(config.logger, "logger", Logger)
    log_config(loggers, config)
    plugins: list[Any] = [CheckpointFiles(plain_yaml(config), learned)]
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        if started_by_srun():
            plugins.append(SLURMEnvironment(auto_requeue=False))  # see anon.apps.launch.preemption
        else:  # Lightning would wait for the allocation's other tasks, which nobody starts
            plugins.append(LightningEnvironment())
            tasks = os.environ.get("SLURM_NTASKS", "1")
            if tasks != "1":
                _say(f"this allocation has {tasks} tasks, but no srun started them: this process trains alone.")
    callbacks = [*built(config.callbacks, "callbacks", pl.Callback), *own]
    try:
        trainer: pl.Trainer = instantiate(
            config.trainer, callbacks=callbacks, logger=loggers, plugins=plugins, default_root_dir=str(folder)
        )
    except InstantiationException as error:
        if isinstance(error.__cause__, MisconfigurationException | ImportError | ValueError | TypeError):
            told = _first(error.__cause__)
            raise UserError(f"no trainer of this configuration can be had here: {told}; see conf/trainer.") from error
        raise
    for name in ("limit_train_batches", "max_steps", "max_epochs"):
        if getattr(trainer, name) == 0:
            raise UserError(f"trainer.{name}=0 trains nothing.")
    return trainer


def _first(error: BaseException) -> str:
    """What Lightning says of a mistake, to the end of its first sentence."""
    return str(error).strip().splitlines()[0].partition(". ")[0].rstrip(".!")


def _fit(
    trainer: pl.Trainer, module: pl.LightningModule, data: Any, checkpoint: Path | None, preemption: Preemption
) -> None:
    ended, restored, launcher = True, _Begun(), _launcher(trainer)
    trainer.callbacks.append(restored)  # type: ignore[attr-defined]
    if launcher is not None:
        start_blocked(launcher)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        ended = False
    except MisconfigurationException as error:
        raise UserError(f"this training cannot be had with conf/trainer so: {_first(error)}.") from error
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        lost = _lost_rank(trainer, error)
        if lost is not None:
            raise lost from error
        if checkpoint is None or restored.begun or isinstance(error, UserError):
            raise
        told = (str(error).splitlines() or [""])[0]
        raise UserError(f"{checkpoint} cannot be continued from ({type(error).__name__}: {told}).") from error
    except Preempted:
        ended = not preemption.training  # in a training all ranks have agreed on it
        raise
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into exit code 1
            raise KeyboardInterrupt(_interrupted(trainer)) from None
        raise
    finally:
        finish(trainer.loggers)
        if launcher is not None:
            if ended:
                launcher.kill(signal.SIGKILL)  # the ranks that this process started wait for it
            for process in launcher.procs:  # the next job shall find their memory free
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60.0)
            if ended:
                launcher.procs.clear()  # Lightning kills this one as well when it sees one of them dead


def _launcher(trainer: pl.Trainer) -> _SubprocessScriptLauncher | None:
    """What starts ranks beside this process, if anything does."""
    launcher = trainer.strategy.launcher
    return launcher if isinstance(launcher, _SubprocessScriptLauncher) else None


def _interrupted(trainer: pl.Trainer) -> str:
    """What came of a training that ended in the middle of a batch."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    last = Path(trainer.default_root_dir) / LAST
    rest = f"ckpt_path=last continues from {last}" if last.is_file() else "nothing was saved before"
    return f"stopped after {batches} batches; the one at hand was not finished, so nothing is saved now; {rest}."


def _lost_rank(trainer: pl.Trainer, error: Exception) -> UserError | None:
    """What another process that ended comes to in this one; None for any other error, and for a bug of that process."""
    if trainer.world_size == 1 or not isinstance(error, RuntimeError) or not _CLOSED.search(str(error)):
        return None
    launcher, ended = _launcher(trainer), "one on another machine, or rank 0"
    for number, process in enumerate(launcher.procs if launcher is not None else (), 1):
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(2.0)
            if code == 1:  # it has shown its traceback
                return None
            ended = f"rank {number}, by signal {-code}" if code < 0 else f"rank {number}, with exit code {code}"
    saved = any(isinstance(each, LastCheckpoint) and each.path.is_file() for each in trainer.callbacks)  # type: ignore[attr-defined]
    rest = "the last checkpoint is intact, ckpt_path=last continues" if saved else "no checkpoint was saved before"
    return UserError(f"another process of this training has ended ({ended}); {rest}.")


def _explained(error: BaseException, folder: Path) -> UserError | None:
    """What a full or read-only disk or a removed folder comes to; None for any other, which may be the data's."""
    link: BaseException | None = error
    if not folder.is_dir():
        return UserError(f"the run folder {folder} was removed while it was in use; nothing more can be saved in it.")
    if isinstance(error, RuntimeError) and _SHARED.search(str(error)):
        return UserError(f"the loader's workers found no room in shared memory; {MORE_ROOM}.")
    while link is not None:  # torch.save wraps it
        if isinstance(link, OSError):
            where = Path(str(link.filename)) if link.filename else folder
            if link.errno in _NO_ROOM or (link.errno in (errno.EACCES, errno.EPERM) and where.is_relative_to(folder)):
                rest = "the last checkpoint is intact, ckpt_path=last continues" if (folder / LAST).exists() else ""
                return UserError(f"{where} cannot be written ({link.strerror}){rest and '; ' + rest}.")
        link = link.__cause__ or link.__context__
    return None


def _tell_of_threads() -> None:
    """One line on stderr where several threads hinder each other; a GPU's training hardly uses them."""
    if rank() == 0 and not torch.cuda.is_available():
        told = crowded(torch.get_num_threads(), convolution, f"train.py {shlex.join(sys.argv[1:])}")
        if told is not None:
            print(told, file=sys.stderr, flush=True)


def _say(text: str) -> None:
    if rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    in_utf8()
    main()
