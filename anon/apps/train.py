"""Train any experiment: ``python train.py experiment=fiva``, or ``python -m anon.apps.train experiment=fiva``.

Compose the configuration, make the run folder, build data and model, fit. ``ckpt_path=last`` continues the newest run
of the same experiment, scale and data, in its folder; ``ckpt_path=auto`` does so where there is one to continue, and
ends at once where that one is finished; ``ckpt_path=<file>`` starts a new folder from that checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from anon.apps.checkpoints import CheckpointFiles, check_fits, read_checkpoint
from anon.apps.config import plain_yaml, run_app
from anon.apps.loggers import built, finish, log_config
from anon.apps.runs import LAST, last_run, matching_runs, rank, run_folder
from anon.errors import UserError

LATEST, AUTO = "last", "auto"  # values of ckpt_path that are no files


def main() -> None:
    """Entry point."""
    run_app(train, "train")


def train(config: DictConfig) -> None:
    """One run, from a composed configuration to a trained checkpoint; prints the run folder last.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint.
    """
    if config.model is None or config.data is None:
        raise UserError("the configuration names no model or no data; give experiment=<name>.")
    resumed = _to_continue(config) if rank() == 0 else None
    with run_folder(config, at=resumed) as folder:
        _say(f"{'continues in' if resumed else 'run folder'} {folder}")
        checkpoint = None if config.ckpt_path is None else Path(config.ckpt_path)
        if config.ckpt_path in (LATEST, AUTO):
            checkpoint = folder / LAST if (folder / LAST).is_file() else None
        if config.ckpt_path == AUTO and checkpoint is not None and _finished(checkpoint, config.steps):
            _say(f"finished already: {checkpoint}")
            return
        pl.seed_everything(config.seed, workers=True, verbose=False)
        data = instantiate(config.data)
        if config.attack is not None:  # its pairs are made of that data
            data = instantiate(config.attack, data=data)
        module = instantiate(config.model)
        if checkpoint is not None:
            config.run.resumed_at = _check_resumable(module, checkpoint)
        if rank() == 0:  # before other ranks start: what is wrong with the data is told once
            data.prepare_data()
        trainer = _trainer(config, folder)
        _fit(trainer, module, data, checkpoint)
        _say(f"checkpoint {folder / LAST}")
        _say(f"run folder {folder}")


def _to_continue(config: DictConfig) -> Path | None:
    """The run folder that ``ckpt_path`` speaks of, if it speaks of one."""
    if config.ckpt_path == LATEST:
        return last_run(config)
    if config.ckpt_path == AUTO:
        return next((folder for folder in matching_runs(config) if (folder / LAST).is_file()), None)
    return None


def _finished(checkpoint: Path, steps: int | None) -> bool:
    return steps is not None and _batches(read_checkpoint(checkpoint)[0]) >= steps


def _check_resumable(module: pl.LightningModule, checkpoint: Path) -> int:
    """Refuse a checkpoint that does not fit; returns the number of batches it was trained for."""
    content, _ = read_checkpoint(checkpoint)
    check_fits(module, content["state_dict"], checkpoint)
    return _batches(content)


def _batches(content: dict[str, Any]) -> int:
    return int(content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"])


def _trainer(config: DictConfig, folder: Path) -> pl.Trainer:
    loggers = built(config.logger)
    log_config(loggers, config)
    return instantiate(
        config.trainer,
        callbacks=built(config.callbacks),
        logger=loggers,
        plugins=[CheckpointFiles(plain_yaml(config))],
        default_root_dir=str(folder),
    )


def _fit(trainer: pl.Trainer, module: pl.LightningModule, data: Any, checkpoint: Path | None) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        if trainer.interrupted:  # Lightning turns Ctrl-C into exit code 1
            raise KeyboardInterrupt from None
        raise
    finally:
        finish(trainer.loggers)


def _say(text: str) -> None:
    if rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
