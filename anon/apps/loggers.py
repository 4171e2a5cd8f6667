"""Where figures go: CSV always, Weights & Biases offline unless the user is logged in, TensorBoard where asked."""

from __future__ import annotations

import csv
import hashlib
import io
import netrc
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import wandb
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from anon.apps.launch.ranks import rank
from anon.errors import UserError
from anon.evaluation.results import markdown_table, write
from anon.installed import is_module

_LONGEST = 64  # characters of a name or an id
_DATED = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_.")  # names that anon.apps.run_folders.folder makes, each once
REPORT = ("report.html", "results.json", "table.md", "table.csv", "tables.tex")
Columns = tuple[list[str], list[list[object]]]  # names, rows


class _Writer(ExperimentWriter):
    """Lightning's writer, but a kill at any moment leaves the whole old file or the whole new one (or half a last row).

    Lightning's deletes the file that it finds, and writes it anew in place when a figure comes that it has no column
    for.
    """

    def keep(self, step: int) -> None:
        """Go on from the rows of the steps before ``step``."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        names, rows = _read(path)
        rows = [row for row in rows if (row.get("step") or "").isdigit() and int(row["step"]) < step]
        if rows:
            self.metrics_keys = [name for name in names if any(row[name] != "" for row in rows)]
            _write(path, self.metrics_keys, rows)
        else:
            path.unlink()

    def _check_log_dir_exists(self) -> None:
        """What is in the run folder stays."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        _write(path, fieldnames, _read(path)[1])


class _Once:
    """Takes what is logged twice in a row, with the same step, once; see :mod:`anon.training.callbacks.steps`."""

    _told = ""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        told = repr((step, sorted(metrics.items())))
        if told != self._told:
            self._told = told
            super().log_metrics(metrics, step)  # type: ignore[misc]


class _Csv(_Once, CSVLogger):
    """Lightning's, by its own name."""


class _Wandb(_Once, WandbLogger):
    """Lightning's, by its own name."""


class _TensorBoard(_Once, TensorBoardLogger):
    """Lightning's, by its own name."""

    def resume(self, step: int | None) -> None:
        """Before anything is written: what a run that resumes at ``step`` had written from there on is dropped."""
        self._kwargs["purge_step"] = step


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    whole = path.read_bytes().rpartition(b"\n")[0]  # a killed process may have left half a last row
    table = csv.DictReader(io.StringIO(whole.decode(), newline=""))
    return list(table.fieldnames or ()), list(table)


def _write(path: Path, names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, extrasaction="ignore")
    table.writeheader()
    table.writerows(rows)
    write(path, text.getvalue())


def csv_logger(save_dir: str, resumed_at: int | None = None) -> CSVLogger:
    """``metrics.csv`` in the run folder; a resumed run keeps the rows from before the step it resumes at."""
    logger = _Csv(save_dir, name="", version="", flush_logs_every_n_steps=20)
    if rank() == 0:
        logger._experiment = writer = _Writer(logger.log_dir)
        writer.keep(resumed_at or 0)
    return logger


def tensorboard_logger(save_dir: str) -> TensorBoardLogger:
    """TensorBoard's events in ``tensorboard/`` of the run folder; a resumed run drops those from its first step on.

    Raises:
        UserError: the package is not installed.
    """
    if not is_module("tensorboard"):
        raise UserError("logger=tensorboard needs the package tensorboard: pip install 'anon-faces[tensorboard]'.")
    return _TensorBoard(save_dir, name="", version="tensorboard", default_hp_metric=False)


def wandb_logger(
    save_dir: str, project: str, offline: bool | None = None, tags: Sequence[str | None] = (), **rest: Any
) -> WandbLogger:
    """Lightning's W&B logger; the run has the name of its folder, and what goes on in that folder is the same run.

    A folder with a name that somebody chose, which another may have elsewhere, is told by its whole path.

    ``offline=None``: offline unless the user is logged in, which is found out without asking the network. An offline
    run is sent later with ``wandb sync <run folder>/wandb/offline-run-*``.
    """
    if offline is None:
        offline = not logged_in()
    whole = Path(save_dir).absolute()
    name = whole.name
    logger = _Wandb(
        save_dir=save_dir,
        project=project,
        name=name[:_LONGEST],
        id=wandb_id(name) if _DATED.match(name) else f"{wandb_id(name)[: _LONGEST - 9]}-{_short(str(whole))}",
        offline=offline,
        resume="allow",
        settings={"silent": offline},  # it would print to sign up, after the run's last line
        tags=list(dict.fromkeys(str(tag)[:_LONGEST] for tag in tags if tag)),  # data on disk have no name yet
        **rest,
    )
    if rest.get("anonymous") is None:  # Lightning passes it on all the same, and W&B warns of it in every run
        logger._wandb_init.pop("anonymous", None)
    return logger


def wandb_id(name: str) -> str:
    """A folder's name as an id that W&B takes: short, of plain letters, and another one for every name.

    >>> wandb_id("2026-11-28_20-14-07_41"), wandb_id("Sören 1")
    ('2026-11-28_20-14-07_41', 'S-ren-1-6da9be60')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if plain == name and len(name) <= _LONGEST:
        return name
    return f"{plain[:40]}-{_short(name)}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def built(section: DictConfig, name: str, kind: type) -> list[Any]:
    """Every part of a section that has a ``_target_``, built in order.

    Args:
        name: of the section, for the sentence.

    Raises:
        UserError: one is no such part.
    """
    found: list[Any] = []
    for key, part in section.items():
        if isinstance(part, DictConfig) and "_target_" in part:
            made = instantiate(part)
            if not isinstance(made, kind):
                raise UserError(f"{name}.{key!s} is no {kind.__name__}: its _target_ makes a {type(made).__name__}.")
            found.append(made)
    return found


def log_config(loggers: list[Logger], config: DictConfig) -> None:
    """The resolved configuration, to those that keep it elsewhere than in the run folder."""
    for logger in loggers:
        if isinstance(logger, _TensorBoard):
            logger.resume(OmegaConf.select(config, "run.resumed_at"))
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text("config", f"```yaml\n{OmegaConf.to_yaml(config, resolve=True)}```")
        elif not isinstance(logger, CSVLogger):
            logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


def log_results(
    loggers: list[Logger],
    tables: Mapping[str, Columns],
    pictures: Sequence[Path],
    report: Path,
    scalars: Mapping[str, float],
) -> None:
    """An evaluation's tables by name, pictures, report and figures, to W&B and TensorBoard; the folder has them, too.

    Args:
        scalars: which compare runs (:func:`anon.evaluation.report.headlines`), by the same names everywhere.
        pictures: PNG files; those that are not there are passed over.
        report: the folder of :data:`REPORT`, which become an artifact of the W&B run with the pictures.
    """
    shown = [picture for picture in pictures if picture.is_file()]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(scalars))
            for name, (columns, rows) in tables.items():
                logger.log_table(name, columns=columns, data=rows)
            for picture in shown:
                logger.log_image(picture.stem, [str(picture)])
            artifact = wandb.Artifact(f"report-{logger.experiment.id}", type="report")
            for file in [*(report / name for name in REPORT), *shown]:
                if file.is_file():
                    artifact.add_file(str(file))
            logger.experiment.log_artifact(artifact)
        elif isinstance(logger, TensorBoardLogger):
            for name, (columns, rows) in tables.items():
                cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
                logger.experiment.add_text(name, "\n".join(markdown_table(columns, cells)))
            for picture in shown:
                logger.experiment.add_image(picture.stem, np.asarray(Image.open(picture)), dataformats="HWC")
            for name, value in scalars.items():
                logger.experiment.add_scalar(name, value, 0)


def finish(loggers: list[Logger]) -> None:
    """End the W&B run, so that the next run of this process gets its own, and write what TensorBoard holds back."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.finalize("success")
    if wandb.run is not None and any(isinstance(logger, WandbLogger) for logger in loggers):
        wandb.finish()


def logged_in() -> bool:
    """Whether W&B would find an API key: in ``WANDB_API_KEY``, or in the netrc file where ``wandb login`` puts it."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return netrc.netrc(str(path)).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
