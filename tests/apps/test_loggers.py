"""W&B is offline unless the user is logged in; metrics.csv survives a resume."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pytest
from PIL import Image
from pytorch_lightning.loggers import Logger

from anon.apps import loggers
from anon.apps.config import composed
from anon.apps.loggers import Columns, built, csv_logger, finish, log_results, logged_in, wandb_logger
from anon.errors import UserError


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No key in the environment, an empty netrc file."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "netrc"
    path.write_text("")
    monkeypatch.setenv("NETRC", str(path))
    return path


def test_offline_by_default(nobody: Path, tmp_path: Path) -> None:
    assert not logged_in()
    logger = wandb_logger(str(tmp_path), project="p")
    assert logger._offline is True


def test_a_key_means_online(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody.write_text("machine api.wandb.ai\n  login user\n  password 0123456789\n")
    assert logged_in()
    nobody.write_text("machine example.org\n  login user\n  password 0123456789\n")
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "0123456789")
    assert logged_in()
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert not logged_in()


def test_an_offline_run_writes_its_log(nobody: Path, tmp_path: Path) -> None:
    logger = wandb_logger(str(tmp_path), project="p")
    logger.log_hyperparams({"seed": 3})
    logger.log_metrics({"loss": 1.5}, step=1)
    logger.experiment.finish()
    assert list(tmp_path.glob(f"wandb/offline-run-*/run-{tmp_path.name}-*.wandb"))


def test_csv_keeps_the_rows_before_the_resumed_step(tmp_path: Path) -> None:
    first = csv_logger(str(tmp_path))
    for step in (10, 20, 30):
        first.log_metrics({"loss": float(step)}, step=step)
    first.save()
    second = csv_logger(str(tmp_path), resumed_at=25)
    second.log_metrics({"loss": 0.5}, step=30)
    second.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step", "10.0,10", "20.0,20", "0.5,30"]


@pytest.mark.parametrize("when", ["resumed", "a new figure"])
def test_csv_keeps_its_rows_whenever_it_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Killed while it writes the rows anew: to resume, or because a figure comes that has no column."""
    logger = csv_logger(str(tmp_path))
    for step in (10, 20, 30):
        logger.log_metrics({"loss": float(step)}, step=step)
    logger.save()
    before = (tmp_path / "metrics.csv").read_bytes()

    def killed(*rows: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(csv.DictWriter, "writerows", killed)
    with pytest.raises(KeyboardInterrupt):
        if when == "resumed":
            csv_logger(str(tmp_path), resumed_at=25)
        else:
            logger.log_metrics({"val/l1": 0.5}, step=40)
            logger.save()
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_csv_takes_new_figures_and_begins_anew(tmp_path: Path) -> None:
    first = csv_logger(str(tmp_path))
    first.log_metrics({"loss": 1.0}, step=0)
    first.save()
    first.log_metrics({"val/l1": 0.5}, step=1)
    first.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step,val/l1", "1.0,0,", ",1,0.5"]
    resumed = csv_logger(str(tmp_path), resumed_at=1)  # the column of a figure that has no row any more goes
    resumed.log_metrics({"loss": 0.25, "val/l1": 2.0}, step=1)
    resumed.save()
    assert (tmp_path / "metrics.csv").read_text().split() == ["loss,step,val/l1", "1.0,0,", "0.25,1,2.0"]
    csv_logger(str(tmp_path))  # of a run that begins at step 0
    assert not (tmp_path / "metrics.csv").exists()


def test_an_evaluation_offline(nobody: Path, tmp_path: Path) -> None:
    """Tables, pictures that are there and the report, which goes as an artifact, are in the offline run."""
    Image.new("RGB", (4, 4)).save(tmp_path / "grid_table1.png")
    (tmp_path / "report.html").write_text("<p>a report</p>")
    logger = wandb_logger(str(tmp_path), project="p")
    rows: list[list[object]] = [["FIVA", 0.5, None]]
    pictures = [tmp_path / "grid_table1.png", tmp_path / "grid_table2.png"]
    both = [csv_logger(str(tmp_path)), logger]
    tables: dict[str, Columns] = {"table1": (["method", "ID", "needs"], rows)}
    log_results(both, tables, pictures, tmp_path, {"table1/FIVA/ID": 0.5, "table1/FIVA/ID_low": 0.25})
    assert dict(logger.experiment.summary)["table1/FIVA/ID_low"] == 0.25
    logger.experiment.finish()
    (run,) = tmp_path.glob("wandb/offline-run-*")
    (table,) = run.glob("files/media/table/table1_*.table.json")
    assert json.loads(table.read_text()) == {"columns": ["method", "ID", "needs"], "data": rows}
    assert len(list(run.glob("files/media/images/grid_table1_*.png"))) == 1
    (log,) = run.glob("run-*.wandb")
    for _ in range(100):  # W&B's process may still write
        if b"table1/FIVA/ID" in log.read_bytes() and b"report.html" in log.read_bytes():
            break
        time.sleep(0.1)
    assert b"report.html" in log.read_bytes() and b"grid_table2" not in log.read_bytes()
    assert b"table1/FIVA/ID" in log.read_bytes()


def test_an_evaluations_run_is_grouped_and_tagged(nobody: Path, tmp_path: Path) -> None:
    """conf/logger/wandb.yaml, as ``evaluate.py`` composes it; and wandb takes it."""
    config = composed("evaluate", ["experiment=fiva", "logger=wandb", f"run.dir={tmp_path}"])
    (logger,) = built(config.logger, "logger", Logger)
    run = logger.experiment
    assert (run.group, run.job_type, run.tags) == ("fiva", "evaluate", ("fiva", "default", "synthetic", "seed 0"))
    finish([logger])


def test_a_folder_is_one_run_and_another_folder_another(nobody: Path, tmp_path: Path) -> None:
    """``output=a/results`` evaluated again goes on; ``output=b/results`` is another run of the same name."""
    first, again, other = (wandb_logger(str(tmp_path / name / "results"), project="p") for name in ("a", "a", "b"))
    assert first._id == again._id != other._id
    assert first._wandb_init["name"] == other._wandb_init["name"] == "results"
    assert first._wandb_init["resume"] == "allow"
    dated = "2026-11-28_20-14-07_41"
    assert wandb_logger(str(tmp_path / dated), project="p")._id == dated


def test_tensorboard_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "is_module", lambda name: False)
    with pytest.raises(UserError, match=r"needs the package tensorboard: pip install 'anon-faces\[tensorboard\]'"):
        loggers.tensorboard_logger(str(tmp_path))
