"""Evaluate what was trained: ``python evaluate.py experiment=fiva``, or ``python -m anon.apps.evaluate ...``.

``protocol=lfw`` compares pairs of Labeled Faces in the Wild (:mod:`anon.evaluation.lfw`) instead of table 1.
``checkpoint=last`` takes the newest run of the same experiment, scale and data; ``checkpoint=<file>`` any other, and
``checkpoint=shipped:facedancer`` the one that comes with the package. Prints the table and writes it as JSON, Markdown
and CSV with a grid of faces; the path of ``results.json`` is the last line.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast

import pytorch_lightning as pl
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger, WandbLogger
from torch import nn

from anon.apps.checkpoints import restore_generator
from anon.apps.config import run_app
from anon.apps.loggers import built, finish, log_config
from anon.apps.runs import LAST, commit, last_run, run_folder
from anon.evaluation import lfw, swap, table1, table3

# What an evaluation is configured by; the rest of an experiment is in the checkpoint.
_SECTIONS = ["task", "experiment", "scale", "seed", "checkpoint", "output", "run", "paths"]
_SECTIONS += ["data", "judge", "policy", "attack", "protocol", "metrics", "logger"]

_TABLES = {lfw.LfwProtocol: lfw, swap.SwapProtocol: swap, table3.DefenseProtocol: table3}  # the others are table 1's


def main() -> None:
    """Entry point."""
    run_app(evaluate, "evaluate")


def evaluate(config: DictConfig) -> None:
    """One table, from a composed configuration.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint.
    """
    config = OmegaConf.masked_copy(config, _SECTIONS)
    checkpoint = last_run(config) / LAST if config.checkpoint == "last" else config.checkpoint
    with run_folder(config, at=Path(config.output).absolute() if config.output else None) as folder:
        print(f"checkpoint {checkpoint}", flush=True)
        pl.seed_everything(config.seed, workers=True, verbose=False)
        generator, encoder, name, trained = restore_generator(checkpoint)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        for module in (generator, encoder):
            cast(nn.Module, module).to(device)
        data, judge = instantiate(config.data), instantiate(config.judge)
        loggers = built(config.logger)
        log_config(loggers, config)
        try:
            kind = get_class(config.protocol._target_)
            table = next((table for protocol, table in _TABLES.items() if issubclass(kind, protocol)), table1)
            table.run(generator, encoder, judge, data, config, folder, trained, name=name, commit=commit())
            _log_table(loggers, folder)
        finally:
            finish(loggers)


def _log_table(loggers: list[Logger], folder: Path) -> None:
    """The table, and the grid where it was written, to W&B; the folder holds them anyway."""
    with (folder / "table.csv").open(newline="") as file:
        columns, *rows = csv.reader(file)
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table("table1", columns=columns, data=rows)
            if (folder / "grid.png").is_file():
                logger.log_image("grid", [str(folder / "grid.png")])


if __name__ == "__main__":
    main()
