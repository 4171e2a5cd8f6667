"""One run, one folder: records, ranks, `last`, and going on where a killed run stopped."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from anon.apps.run_folders import folder as runs
from anon.apps.run_folders import past
from anon.errors import UserError
from tests.apps.conftest import HERE, Command, folder_of
from tests.apps.tiny import Tiny
from tests.conftest import ROOT

SHAPE = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_[0-9a-z]+"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / runs.LAST, weights_only=True)["state_dict"]


def test_a_run_leaves_its_records(train: Command, tmp_path: Path) -> None:
    folder = folder_of(train("experiment=tiny", "steps=25"))
    assert folder.parent == tmp_path / "runs" / "train" / "tiny"
    assert re.fullmatch(SHAPE, folder.name)
    config = OmegaConf.load(folder / "config.yaml")
    assert config.steps == 25
    assert config.run.dir == str(folder)
    assert "${" not in (folder / "config.yaml").read_text()
    told = json.loads((folder / "versions.json").read_text())
    assert told["torch"] == torch.__version__
    assert "commit" in told
    assert "experiment=tiny" in (folder / "command.txt").read_text()
    header, *rows = (folder / "metrics.csv").read_text().splitlines()
    assert "loss" in header.split(",")
    assert [row.rsplit(",", 1)[-1] for row in rows] == ["9", "19", "24"]  # every ten steps, and the last
    assert not [path for path in folder.rglob(".*")]


def test_checkpoint_is_tensors_and_yaml_text(train: Command) -> None:
    folder = folder_of(train("experiment=tiny"))
    content = torch.load(folder / runs.LAST, weights_only=True)
    assert OmegaConf.create(content["config"]).model._target_ == "tests.apps.tiny.Tiny"


@pytest.mark.parametrize("how", ["interrupt", pytest.param("kill", marks=pytest.mark.slow)])
def test_a_stopped_run_continues_to_the_same_weights(train: Command, tmp_path: Path, how: str) -> None:
    """Stopped in the second epoch (16 batches each), two batches after the last checkpoint."""
    whole = weights(folder_of(train("experiment=tiny", "steps=27", f"paths.runs={tmp_path / 'whole'}")))
    stop = ["experiment=tiny", "steps=27", "+model.stop_at=23", f"+model.by={how}", f"paths.runs={tmp_path / 'runs'}"]
    if how == "interrupt":
        assert train(*stop).code == 130
    else:
        words = [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *stop]
        assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == -9
    (broken,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    resumed = folder_of(train("experiment=tiny", "ckpt_path=last", "+model.stop_at=null"))
    assert resumed == broken
    for name, tensor in weights(resumed).items():
        assert torch.equal(tensor, whole[name]), name
    steps = [line.rsplit(",", 1)[-1] for line in (resumed / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == ["9", "19", "26"]
    assert len((resumed / "command.txt").read_text().splitlines()) == 2


def test_resuming_a_finished_run_does_nothing(train: Command) -> None:
    folder = folder_of(train("experiment=tiny"))
    before = weights(folder)
    assert folder_of(train("experiment=tiny", "ckpt_path=last")) == folder
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(folder).items())


def test_nothing_of_lightnings_that_is_on_purpose(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few batches an epoch, frozen networks, no workers: two of the warnings reached every small training."""
    made = Tiny.__init__

    @functools.wraps(made)
    def with_frozen(self: Tiny, **settings: object) -> None:
        made(self, **settings)  # type: ignore[arg-type]
        self.frozen = torch.nn.Linear(1, 1).eval()

    monkeypatch.setattr(Tiny, "__init__", with_frozen)
    with warnings.catch_warnings(record=True) as told:
        warnings.resetwarnings()
        folder_of(train("experiment=tiny", "+data.batch_size=32", "steps=3"))
        folder_of(train("experiment=tiny", "ckpt_path=last", "steps=5"))
    assert [str(one.message) for one in told if issubclass(one.category, UserWarning)] == []


def test_auto_begins_continues_and_ends(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command begins a run, continues it after a kill, and leaves it alone once it is finished."""
    words = ["experiment=tiny", "steps=27", "ckpt_path=auto"]
    step = Tiny.training_step
    with monkeypatch.context() as broken:
        broken.setattr(Tiny, "training_step", lambda self, *rest: setattr(self, "stop_at", 23) or step(self, *rest))
        assert train(*words).code == 130
    (broken,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    assert folder_of(train(*words)) == broken
    before = (broken / runs.LAST).stat().st_mtime_ns
    assert "finished already" in train(*words).out and (broken / runs.LAST).stat().st_mtime_ns == before
    (broken / runs.LAST).unlink()
    assert folder_of(train(*words)) != broken  # nothing there to continue


def test_last_is_the_newest_of_the_same_experiment_scale_and_data(tmp_path: Path) -> None:
    def made(name: str, scale: str, data: str, checkpoint: bool = True) -> Path:
        folder = tmp_path / "train" / "x" / name
        (folder / "checkpoints").mkdir(parents=True)
        OmegaConf.save({"scale": scale, "data": {"name": data}}, folder / "config.yaml")
        if checkpoint:
            (folder / runs.LAST).touch()
        return folder

    def wanted(scale: str, data: str, experiment: str = "x") -> Path:
        paths = {"runs": str(tmp_path)}
        return past.last_run(
            OmegaConf.create({"experiment": experiment, "scale": scale, "data": {"name": data}, "paths": paths})
        )

    made("2026-01-01_00-00-00_a", "default", "synthetic")
    newer = made("2026-01-02_00-00-00_b", "default", "synthetic")
    folder = made("2026-01-03_00-00-00_c", "default", "folder")
    broken = made("2026-01-04_00-00-00_d", "paper", "synthetic", checkpoint=False)
    assert wanted("default", "synthetic") == newer
    assert wanted("default", "folder") == folder
    with pytest.raises(UserError, match=f"{broken}, holds no checkpoint"):
        wanted("paper", "synthetic")
    with pytest.raises(UserError, match=f"no run of experiment=y .* in {tmp_path}/train"):
        wanted("default", "synthetic", experiment="y")


def test_folders_on_disk_are_told_apart_by_their_root(tmp_path: Path) -> None:
    def key(root: str) -> tuple[str, str]:
        return past.data_key(OmegaConf.create({"data": {"name": "folder", "root": root}}))

    assert key(str(tmp_path / "a" / ".." / "b")) == key(str(tmp_path / "b"))
    assert key(str(tmp_path / "a")) != key(str(tmp_path / "b"))
    now = {"_target_": "anon.faces.datamodule.folder_data", "name": None, "root": str(tmp_path / "b")}
    assert past.data_key(OmegaConf.create({"data": now})) == key(str(tmp_path / "b"))  # whose name was its kind's


def test_slurm_gives_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "41")
    assert runs.new_name().endswith("_41")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    assert runs.new_name().endswith("_40-7")


def _launch(words: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR", "NODE_RANK"):
        environment.pop(name, None)
    options = ["--config-dir", str(HERE / "conf"), "experiment=tiny", f"paths.runs={tmp_path / 'runs'}"]
    options += ["trainer=ddp", "trainer.limit_val_batches=0"]
    done = subprocess.run([*words, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    assert (folder / runs.LAST).is_file()
    assert done.stdout.count(f"run folder {folder}\n") == 2  # first and last line, rank 0 only


@pytest.mark.slow
def test_two_processes_of_lightnings_launcher_share_one_folder(tmp_path: Path) -> None:
    _launch([sys.executable, "train.py"], tmp_path)


@pytest.mark.slow
def test_two_processes_of_torchrun_share_one_folder(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29591", "train.py"]
    _launch(torchrun, tmp_path)
