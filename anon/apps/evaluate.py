"""Evaluate what was trained: ``python evaluate.py experiment=fiva``, or ``python -m anon.apps.evaluate ...``.

``protocol=<name>`` measures something else than table 1, such as pairs of Labeled Faces in the Wild (``lfw``) or how an
attack on one anonymizer works on others (``transfer``, whose anonymizers name their own checkpoints).
``checkpoint=last`` takes the newest run of the same experiment, scale and data; ``checkpoint=<file>`` any other, and
``checkpoint=shipped:facedancer`` the one that comes with the package. Prints the table and writes it as JSON, Markdown
and CSV with its pictures; the path of ``results.json`` is the last line.
"""

from __future__ import annotations

import csv
from pathlib import Path
from types import ModuleType
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
from anon.evaluation import ladder, lfw, noise_share, swap, table1, table3, transfer
from anon.evaluation.protocol import Protocol

# What an evaluation is configured by; the rest of an experiment is in the checkpoint.
_SECTIONS = ["task", "experiment", "scale", "seed", "checkpoint", "output", "run", "paths"]
_SECTIONS += ["data", "judge", "policy", "attack", "protocol", "metrics", "logger"]

_TABLES: dict[type, ModuleType] = {  # other protocols are table 1's
    ladder.LadderProtocol: ladder,
    lfw.LfwProtocol: lfw,
    noise_share.NoiseShareProtocol: noise_share,
    swap.SwapProtocol: swap,
    table3.DefenseProtocol: table3,
    transfer.TransferProtocol: transfer,
}
_PICTURES = ("grid", "histograms", "strip", "figure")  # those that a table may write beside itself


def main() -> None:
    """Entry point."""
    run_app(evaluate, "evaluate")


def evaluate(config: DictConfig) -> None:
    """One table, from a composed configuration.

    Raises:
        UserError: for every mistake in the configuration, the data folder or the checkpoint.
    """
    config = OmegaConf.masked_copy(config, _SECTIONS)
    kind = cast(type[Protocol], get_class(config.protocol._target_))
    table = next((table for protocol, table in _TABLES.items() if issubclass(kind, protocol)), table1)
    if kind.needs_generator:
        checkpoint = last_run(config) / LAST if config.checkpoint == "last" else config.checkpoint
    with run_folder(config, at=Path(config.output).absolute() if config.output else None) as folder:
        pl.seed_everything(config.seed, workers=True, verbose=False)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if kind.needs_generator:
            print(f"checkpoint {checkpoint}", flush=True)
            restored = restore_generator(checkpoint)
            for module in (restored.generator, restored.encoder):
                cast(nn.Module, module).to(device)
        data, judge = instantiate(config.data), instantiate(config.judge)
        loggers = built(config.logger)
        log_config(loggers, config)
        try:
            if kind.needs_generator:
                generator, encoder, name, trained = restored
                table.run(generator, encoder, judge, data, config, folder, trained, name=name, commit=commit())
            else:
                table.run(judge, data, config, folder, device=device, commit=commit())
            _log_table(loggers, folder, table.__name__.rpartition(".")[2])
        finally:
            finish(loggers)


def _log_table(loggers: list[Logger], folder: Path, name: str) -> None:
    """The table under its name, and the pictures that were written, to W&B; the folder holds them anyway."""
    with (folder / "table.csv").open(newline="") as file:
        columns, *rows = csv.reader(file)
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_table(name, columns=columns, data=rows)
            for picture in _PICTURES:
                if (folder / f"{picture}.png").is_file():
                    logger.log_image(picture, [str(folder / f"{picture}.png")])


if __name__ == "__main__":
    main()
