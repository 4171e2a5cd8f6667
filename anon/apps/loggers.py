"""Where figures go: CSV always, Weights & Biases offline unless the user is logged in."""

from __future__ import annotations

import csv
import netrc
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only


def csv_logger(save_dir: str, every: int = 20, resumed_at: int | None = None) -> CSVLogger:
    """``metrics.csv`` in the run folder; a resumed run keeps the rows from before the step it resumes at."""
    logger = CSVLogger(save_dir, name="", version="", flush_logs_every_n_steps=every)
    if resumed_at is not None:
        _keep_rows(logger, Path(save_dir) / "metrics.csv", resumed_at)
    return logger


@rank_zero_only
def _keep_rows(logger: CSVLogger, path: Path, step: int) -> None:
    if not path.is_file():
        return
    with path.open(newline="") as file:
        rows: list[dict[str, Any]] = [row for row in csv.DictReader(file) if int(row["step"]) < step]
    writer = logger.experiment  # removes the old file
    writer.metrics.extend({name: value for name, value in row.items() if value != ""} for row in rows)
    writer.save()


def wandb_logger(save_dir: str, project: str, name: str, offline: bool | None = None, **rest: Any) -> WandbLogger:
    """Lightning's W&B logger. ``offline=None``: offline unless the user is logged in. No network is asked.

    An offline run is sent later with ``wandb sync <run folder>/wandb/offline-run-*``.
    """
    if offline is None:
        offline = not logged_in()
    return WandbLogger(save_dir=save_dir, project=project, name=name, id=name, offline=offline, resume="allow", **rest)


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
