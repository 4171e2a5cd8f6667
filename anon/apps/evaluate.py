"""Evaluate what was trained: ``python evaluate.py experiment=fiva``, or ``python -m anon.apps.evaluate ...``.

``checkpoint=last`` takes the newest run of the same experiment, scale and data; ``checkpoint=<file>`` any other. Prints
the table and writes it as JSON, Markdown and CSV with a grid of faces; the path of ``results.json`` is the last line.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from anon.apps.checkpoints import restore_module
from anon.apps.config import run_app
from anon.apps.loggers import built, finish, log_config
from anon.apps.runs import LAST, commit, last_run, run_folder
from anon.errors import UserError
from anon.evaluation import table1

# What an evaluation is configured by; the rest of an experiment is in the checkpoint.
_SECTIONS = ("task", "experiment", "scale", "seed", "checkpoint", "output", "run", "paths")
_SECTIONS += ("data", "judge", "policy", "protocol", "metrics", "logger")


def main() -> None:
    """Entry point."""
    run_app(evaluate, "evaluate")


def evaluate(config: DictConfig) -> None:
    """One table, from a composed configuration.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint.
    """
    config = OmegaConf.masked_copy(config, _SECTIONS)
    checkpoint = last_run(config) / LAST if config.checkpoint == "last" else Path(config.checkpoint)
    with run_folder(config, at=Path(config.output).absolute() if config.output else None) as folder:
        print(f"checkpoint {checkpoint}", flush=True)
        pl.seed_everything(config.seed, workers=True, verbose=False)
        module, trained = restore_module(checkpoint)
        if not hasattr(module, "generator"):
            raise UserError(f"{checkpoint} is of experiment={trained.experiment}, which trains no generator.")
        module.to("cuda" if torch.cuda.is_available() else "cpu")
        data, judge = instantiate(config.data), instantiate(config.judge)
        name = str(OmegaConf.select(trained, "experiment")).upper()
        table1.run(module.generator, module.encoder, judge, data, config, folder, trained, name=name, commit=commit())
        _log(config, folder)


def _log(config: DictConfig, folder: Path) -> None:
    """The table, and the grid where it was written, to W&B; the folder holds them anyway."""
    with (folder / "table.csv").open(newline="") as file:
        columns, *rows = csv.reader(file)
    loggers = built(config.logger)
    log_config(loggers, config)
    for logger in loggers:
        if isinstance(logger, pl.loggers.WandbLogger):
            logger.log_table("table1", columns=columns, data=rows)
            if (folder / "grid.png").is_file():
                logger.log_image("grid", [str(folder / "grid.png")])
    finish(loggers)


if __name__ == "__main__":
    main()
