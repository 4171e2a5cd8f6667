"""The scripts of slurm/ on a real SLURM: arrays, signals, requeueing, several ranks, Hydra's launcher."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from anon.apps.run_folders.folder import JOBS, LAST
from tests.apps.run_folders.test_killed import WORDS, content, same
from tests.conftest import ROOT
from tests.slurm.cluster import Cluster, cluster, missing

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

#: No GPU, and two cores for all; scripts ask for more.
SMALL = ("--gres=none", "--cpus-per-task=1", "--mem=1500M", "--time=00:20:00")
#: A training that takes a while after its first step.
TRAINING = tuple(word for word in WORDS if not word.startswith(("ckpt_path", "logger")))
LONG = (
    *TRAINING,
    "steps=150",
    "model.cooldown=0",
    "checkpoint_every=1000",
    "trainer.val_check_interval=20",
    "logger=csv",
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm") / "cluster") as running:
        yield running


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the faces rendered."""
    folder = tmp_path_factory.mktemp("faces")
    plain(folder, folder / "runs", "steps=1", "model.cooldown=0")
    return folder


def plain(cache: Path, runs: Path, *words: str) -> Path:
    """The checkpoint of a training without SLURM."""
    command = [
        sys.executable,
        "train.py",
        *TRAINING,
        "logger=csv",
        f"paths.cache={cache}",
        f"paths.runs={runs}",
        *words,
    ]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return Path(done.stdout.splitlines()[-1].removeprefix("run folder ")) / LAST


def submit(slurm: Cluster, script: str, log: Path, *words: str, options: tuple[str, ...] = ()) -> str:
    settings = {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    command = ["sbatch", "--parsable", *SMALL, *options, f"--output={log}", f"slurm/{script}", *words]
    return slurm.call(*command, cwd=ROOT, **settings).strip()


def wait_for(log: Path, text: str, count: int = 1, seconds: float = 180.0) -> str:
    """Wait until a job has said something so often; returns all that it said."""
    deadline = time.monotonic() + seconds
    while True:
        told = log.read_text() if log.is_file() else ""
        if told.count(text) >= count:
            return told
        assert time.monotonic() < deadline, f"{log} does not say {text!r} {count} times:\n{told[-3000:]}"
        time.sleep(0.2)


def test_an_array_of_four_one_of_them_requeued(slurm: Cluster, cache: Path, tmp_path: Path) -> None:
    sweep, runs = tmp_path / "sweep.txt", tmp_path / "runs"
    sweep.write_text("".join(f"seed={seed} data.seed=0\n" for seed in (0, 1, 1, 3)))  # two of them equal
    words = [*TRAINING, "steps=120", f"paths.runs={runs}", f"paths.cache={cache}"]
    array = submit(slurm, "sweep_array.sbatch", tmp_path / "%a.log", str(sweep), *words)
    wait_for(tmp_path / "2.log", "step 1/")
    slurm.call("scancel", "--signal=USR1", f"{array}_2")
    told = wait_for(tmp_path / "2.log", "SIGUSR1")
    assert f"SLURM job {array}_2 is requeued and continues." in told
    for task in range(1, 5):
        facts = slurm.wait(f"{array}_{task}", "COMPLETED")
        assert facts["Restarts"] == ("1" if task == 2 else "0")
    folders = {task: next((runs / "train" / "fiva").glob(f"*_{array}-{task}")) for task in range(1, 5)}
    assert len(list((runs / "train" / "fiva").iterdir())) == 4
    assert (folders[2] / JOBS).read_text() == f"{array}_2\n" * 2
    assert f"continues in {folders[2]}\n" in (tmp_path / "2.log").read_text()
    options = ("seed=1", "data.seed=0", "steps=120")
    finished(folders[2] / LAST, plain(cache, tmp_path / "plain", *options), 120)
    finished(folders[2] / LAST, folders[3] / LAST, 120)
    with pytest.raises(AssertionError):
        finished(folders[1] / LAST, folders[3] / LAST, 120)


def finished(one: Path, other: Path, steps: int) -> None:
    """Both trained so many batches, and to the same."""
    first, second = content(one), content(other)
    for checkpoint in (first, second):
        assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == steps
    assert same(first["state_dict"], second["state_dict"]) >= 60
    assert same(first["optimizer_states"], second["optimizer_states"]) >= 60


def test_cancelled_stays_cancelled_and_terminated_goes_on(slurm: Cluster, cache: Path, tmp_path: Path) -> None:
    job = submit(
        slurm, "train.sbatch", tmp_path / "log", *LONG, f"paths.runs={tmp_path / 'runs'}", f"paths.cache={cache}"
    )
    wait_for(tmp_path / "log", "step 1/")
    slurm.call("scancel", "--signal=TERM", job)
    told = wait_for(tmp_path / "log", "continues in")
    assert f"SIGTERM: saved {tmp_path / 'runs'}" in told and f"SLURM job {job} is requeued" in told
    wait_for(tmp_path / "log", "step ", count=2)
    slurm.call("scancel", job)
    assert slurm.wait(job, "CANCELLED")["Restarts"] == "1"
    told = wait_for(tmp_path / "log", f"SLURM job {job} is left to SLURM")
    assert len(list((tmp_path / "runs" / "train" / "fiva").iterdir())) == 1
    time.sleep(8)  # a requeued job would be pending again by now
    assert slurm.facts(job)["JobState"] == "CANCELLED"


def test_ranks_that_srun_starts(slurm: Cluster, cache: Path, tmp_path: Path) -> None:
    """Two tasks: one run folder, one checkpoint, requeued and continued together."""
    words = [f"paths.runs={tmp_path / 'runs'}", f"paths.cache={cache}", "trainer.accelerator=cpu", "data.seed=0"]
    options = ("--nodes=1", "--ntasks-per-node=2")
    job = submit(slurm, "train_multi_node.sbatch", tmp_path / "log", *LONG, *words, options=options)
    wait_for(tmp_path / "log", "step 1/")
    slurm.call("scancel", "--signal=USR1", job)
    assert f"SLURM job {job} is requeued" in wait_for(tmp_path / "log", "SIGUSR1")
    assert slurm.wait(job, "COMPLETED", seconds=400)["Restarts"] == "1"
    (folder,) = (tmp_path / "runs" / "train" / "fiva").iterdir()
    assert (tmp_path / "log").read_text().count(f"continues in {folder}\n") == 1
    progress = content(folder / LAST)["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert progress["total"]["ready"] == 150


def test_hydras_launcher(slurm: Cluster, cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launcher = ("gres=null", "cpus_per_task=1", "mem_gb=1", "timeout_min=20")
    words = [*LONG, "seed=0,1", "data.seed=0", f"paths.runs={tmp_path / 'runs'}", f"paths.cache={cache}"]
    words += ["hydra/launcher=slurm", *(f"hydra.launcher.{word}" for word in launcher)]
    command = [sys.executable, "train.py", "-m", *words, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    started = {**slurm.environment, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=started, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (logs := sorted(tmp_path.glob("sweep/.submitit/*_0/*_log.out"))):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-3000:]
            time.sleep(0.3)
        wait_for(logs[0], "step 1/")
        job = logs[0].parent.name  # <array job>_0
        slurm.call("scancel", "--signal=USR2", job)
        assert f"SLURM job {job} is requeued" in wait_for(logs[0], "SIGUSR2")
        _, errors = process.communicate(timeout=500)
    finally:
        process.kill()
    assert process.returncode == 0, errors[-3000:]
    folders = {each.name.rsplit("_", 1)[1]: each for each in (tmp_path / "runs" / "train" / "fiva").iterdir()}
    requeued = job.replace("_", "-")
    assert sorted(folders) == [requeued, f"{job[:-2]}-1"]  # which of the two began first is the cluster's to choose
    assert (folders[requeued] / JOBS).read_text().split() == [job] * 2
    assert len({(folder / LAST).read_bytes() for folder in folders.values()}) == 2
