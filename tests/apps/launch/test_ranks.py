"""trainer=ddp from the command line: each job of a multirun has its own ranks; strategies that shard are refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from anon.apps.launch.failures import explain
from anon.apps.launch.ranks import own_ranks
from anon.apps.run_folders import folder as runs
from tests.apps.conftest import HERE, Command
from tests.apps.launch import test_preempted as preempted
from tests.apps.run_folders import test_killed as killed
from tests.apps.tiny import Tiny
from tests.conftest import ROOT

UNSET = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "MASTER_ADDR", "NODE_RANK")


class Tells(Tiny):
    """Each rank leaves in ``folder`` which process it is and what it was handed."""

    def __init__(self, folder: str, steps: int) -> None:
        super().__init__(steps=steps)
        self.folder = Path(folder)

    def on_train_start(self) -> None:
        told = {"process": os.getpid(), "handed": os.environ[runs.HANDED_DOWN], "words": sys.argv[1:]}
        told |= {"world": self.trainer.world_size, "port": os.environ["MASTER_PORT"]}
        (self.folder / f"rank{self.global_rank}.json").write_text(json.dumps(told))


@pytest.mark.slow
def test_each_job_of_a_multirun_has_two_ranks_of_its_own(tmp_path: Path) -> None:
    words = ["-m", "experiment=tiny", "steps=1,2", "trainer=ddp", "model._target_=tests.apps.launch.test_ranks.Tells"]
    words += ["+model.folder=${run.dir}", f"paths.runs={tmp_path / 'runs'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    done = subprocess.run(
        [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *words],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    folders = sorted((tmp_path / "runs" / "train" / "tiny").iterdir())
    assert (tmp_path / "sweep" / runs.MULTIRUN).read_text().splitlines() == [str(folder) for folder in folders]
    told = []
    for steps, folder in zip((1, 2), folders, strict=True):
        assert OmegaConf.load(folder / runs.CONFIG).steps == steps
        progress = torch.load(folder / runs.LAST, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        assert progress["total"]["ready"] == steps
        told.append([json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)])
        assert [rank["handed"] for rank in told[-1]] == [str(folder)] * 2
        assert [rank["world"] for rank in told[-1]] == [2, 2]
        assert told[-1][0]["port"] == told[-1][1]["port"]
        assert "-m" not in told[-1][1]["words"]  # rank 1 trains this job and not the whole sweep
    assert told[0][0]["process"] == told[1][0]["process"]
    assert told[0][1]["process"] != told[1][1]["process"]


def test_nothing_of_a_launch_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "somewhere")
    threads, argv = torch.get_num_threads(), sys.argv
    with pytest.raises(ZeroDivisionError), own_ranks(tmp_path):
        os.environ.update(LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="here")
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
        torch.set_num_threads(threads + 1)
        raise ZeroDivisionError
    assert not torch.distributed.is_initialized()
    assert [os.environ.get(name) for name in ("LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")] == [None, None, "somewhere"]
    assert torch.get_num_threads() == threads and sys.argv is argv


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trainer=ddp", "trainer.strategy=fsdp"], "trainer.strategy=fsdp is not served"),
        (["+trainer.strategy=deepspeed_stage_2"], "trainer.strategy=deepspeed_stage_2 is not served"),
        (["+trainer.strategy._target_=pytorch_lightning.strategies.FSDPStrategy"], "FSDPStrategy is not served"),
        (["trainer=ddp", "trainer.strategy=nope"], "invalid strategy name: `strategy='nope'`"),
        (["trainer.devices=0"], "no trainer of this configuration"),
    ],
)
def test_a_trainer_that_cannot_be_had(train: Command, tmp_path: Path, words: list[str], told: str) -> None:
    ended = train("experiment=tiny", *words)
    assert ended.code == 2 and told in ended.err
    assert ended.err.startswith("error: ") and len(ended.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        ("hydra/launcher/submitit_slurm", "its launchers are an extra: pip install -e '.[slurm]'."),
        ("hydra/sweeper/optuna", "the searches are an extra: pip install -e '.[sweep]'."),
        ("hydra/launcher/nope", "conf/hydra/launcher has: basic, slurm."),
    ],
)
def test_a_plugin_that_is_missing(missing: str, told: str) -> None:
    sentence = explain(MissingConfigException("not there", missing, ["basic", "slurm"]))
    assert sentence is not None and sentence.endswith(told)


@pytest.mark.slow
def test_a_rank_ends_with_a_rank_0_that_is_killed(tmp_path: Path) -> None:
    """Killed before they have met: the other one waited half an hour for a rank 0 that was gone."""
    process = preempted.on_two_ranks(tmp_path, *preempted.ENDLESS)
    child = preempted.child_of(process.pid)
    process.kill()
    deadline = time.monotonic() + 60
    while lives(child) and time.monotonic() < deadline:
        time.sleep(0.5)
    outlived = lives(child)
    if outlived:
        os.kill(child, signal.SIGKILL)
    process.communicate()
    assert not outlived


def lives(process: int) -> bool:
    """Whether it runs; what nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_two_ranks_ended_and_started_again(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """experiment=fiva with trainer=ddp, killed or stopped in mid-training: the weights of the unbroken run."""
    cache, words = tmp_path / "cache", ("trainer=ddp", "trainer.accelerator=cpu")
    whole = killed.start(tmp_path / "whole", cache, *words)
    killed.begun(whole)
    killed.begun(whole, until="step 1/")
    began = time.monotonic()
    unbroken = killed.ended(whole)
    length, kills = time.monotonic() - began, 0
    for attempt in range(5):
        process = killed.start(tmp_path / f"runs{attempt}", cache, *words)
        killed.begun(process, until="step 1/")
        time.sleep(0.5 * length)
        kills += process.poll() is None
        if process.poll() is None:
            os.killpg(process.pid, number)
        process.communicate()
        assert process.returncode in (code, 0)
        killed.same_training(killed.ended(killed.start(tmp_path / f"runs{attempt}", cache, *words)), unbroken)
        if kills:
            break
    assert kills
