"""A signal ends a run after the batch at hand, saved; under SLURM the job is requeued and finds its own folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from anon.apps.run_folders import folder as runs
from tests.apps.conftest import HERE, Command, folder_of
from tests.apps.tiny import Tiny, TinyData
from tests.conftest import ROOT

AT = 7  # index of the batch in which the signal comes


@pytest.fixture(autouse=True)
def attended() -> Iterator[None]:
    """Ctrl-C reaches this process as it reaches a terminal's; tests that a script runs with ``&`` would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


Signalled = Callable[[signal.Signals | None], None]


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Signalled:
    """``signalled(SIGUSR1)``: from now on that signal comes in batch ``AT``; ``signalled(None)``: no more."""
    step, chosen = Tiny.training_step, [None]

    def training_step(self: Tiny, batch: torch.Tensor, batch_idx: int) -> None:
        if chosen[0] is not None and self.trainer.fit_loop.total_batch_idx == AT:
            os.kill(os.getpid(), chosen[0])
        step(self, batch, batch_idx)

    monkeypatch.setattr(Tiny, "training_step", training_step)
    return lambda number: chosen.__setitem__(0, number)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """``slurm(state)``: this process is task 7 of array job 40; its scontrol says that state and notes its calls."""

    def made(state: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program, calls = folder / "scontrol", folder / "calls"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = show ] && echo "JobId=47 JobState={state}"\nexit 0\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        facts = {
            "JOB_ID": 47,
            "ARRAY_JOB_ID": 40,
            "ARRAY_TASK_ID": 7,
            "NTASKS": 1,
            "PROCID": 0,
            "LOCALID": 0,
            "NODEID": 0,
        }
        for name, value in {**facts, "JOB_NAME": "anon-train"}.items():
            monkeypatch.setenv(f"SLURM_{name}", str(value))
        return calls

    return made


def content(folder: Path) -> dict:
    return torch.load(folder / runs.LAST, weights_only=True)


def same_weights(one: Path, other: Path) -> None:
    first, second = content(one), content(other)
    for name, tensor in first["state_dict"].items():
        assert torch.equal(tensor, second["state_dict"][name]), name
    assert str(first["optimizer_states"]) == str(second["optimizer_states"])


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_saved_at_the_batch_boundary_and_continued(
    train: Command, tmp_path: Path, signalled: Signalled, number: signal.Signals
) -> None:
    words = ["experiment=tiny", "steps=20", "checkpoint_every=50"]
    whole = folder_of(train(*words, f"paths.runs={tmp_path / 'whole'}"))
    handler = signal.getsignal(number)
    signalled(number)
    ended = train(*words)
    assert ended.code == 128 + number
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    sentence = f"{number.name}: saved {folder / runs.LAST} after {AT + 1} batches; ckpt_path=last continues."
    assert ended.out.splitlines()[-1] == sentence
    assert ended.err == ""
    assert signal.getsignal(number) is handler
    signalled(None)
    assert folder_of(train(*words, "ckpt_path=last")) == folder
    same_weights(folder, whole)


def test_ctrl_c_saves_and_a_second_ends_at_once(
    train: Command, tmp_path: Path, signalled: Signalled, slurm: Callable[[str], Path]
) -> None:
    """It threw the training away and said "stopped."."""
    words = ["experiment=tiny", "steps=20", "checkpoint_every=50"]
    whole = folder_of(train(*words, f"paths.runs={tmp_path / 'whole'}"))
    handler, calls = signal.getsignal(signal.SIGINT), slurm("RUNNING")
    signalled(signal.SIGINT)
    ended = train(*words)
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    saved = f"stopped after {AT + 1} batches; saved {folder / runs.LAST}; ckpt_path=last continues."
    assert (ended.code, ended.err.splitlines()[-1]) == (130, saved)
    assert not calls.exists()  # no job is asked for again
    assert signal.getsignal(signal.SIGINT) is handler
    signalled(None)
    assert folder_of(train(*words, "ckpt_path=last")) == folder
    same_weights(folder, whole)


def test_a_second_ctrl_c(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Tiny.training_step

    def training_step(self: Tiny, batch: torch.Tensor, batch_idx: int) -> None:
        if self.trainer.fit_loop.total_batch_idx == AT:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        step(self, batch, batch_idx)

    monkeypatch.setattr(Tiny, "training_step", training_step)
    told = f"stopped after {AT} batches; the one at hand was not finished, so nothing is saved now; "
    ended = train("experiment=tiny", "steps=20", "checkpoint_every=50")
    assert (ended.code, ended.err.splitlines()[-1]) == (130, f"{told}nothing was saved before.")
    assert not (tmp_path / "runs").exists()
    ended = train("experiment=tiny", "steps=20", "checkpoint_every=5")
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    assert ended.err.splitlines()[-1] == f"{told}ckpt_path=last continues from {folder / runs.LAST}."


def test_ctrl_c_before_training_and_in_the_background(
    train: Command, tmp_path: Path, signalled: Signalled, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled(signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's & leaves it
    try:
        assert train("experiment=tiny", "steps=20").code == 0
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.setattr(TinyData, "prepare_data", lambda self: os.kill(os.getpid(), signal.SIGINT))
    ended = train("experiment=tiny")
    assert (ended.code, ended.err) == (130, "stopped.\n")


def test_ctrl_c_in_the_last_batch_of_a_job(train: Command, tmp_path: Path, signalled: Signalled) -> None:
    """That run is whole, and no other job begins."""
    signalled(signal.SIGINT)
    ended = train("-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", "experiment=tiny", f"steps={AT + 1}", "seed=0,1")
    assert ended.code == 130
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    assert content(folder)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == AT + 1


def test_a_signal_before_the_first_batch(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TinyData, "prepare_data", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    ended = train("experiment=tiny")
    assert ended.code == 143
    assert "SIGTERM: stopped before the first batch" in ended.out
    assert not list((tmp_path / "runs").rglob("*.ckpt"))


def test_the_last_batch_ends_the_run_as_ever(train: Command, signalled: Signalled) -> None:
    signalled(signal.SIGUSR1)
    assert folder_of(train("experiment=tiny", f"steps={AT + 1}"))


def test_a_requeued_job_continues_its_own_run(
    train: Command,
    tmp_path: Path,
    signalled: Signalled,
    slurm: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among others of the same configuration, a newer one among them, and whatever ckpt_path says."""
    words = ["experiment=tiny", "steps=20"]
    whole = folder_of(train(*words, f"paths.runs={tmp_path / 'whole'}"))
    calls = slurm("RUNNING")
    signalled(signal.SIGUSR1)
    ended = train(*words)
    assert ended.code == 138
    assert ended.out.splitlines()[-1].endswith("SLURM job 40_7 is requeued and continues.")
    assert calls.read_text().splitlines() == ["show job -o 40_7", "requeue 40_7"]
    (own,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    assert own.name.endswith("_40-7")
    assert not list(own.glob("hpc_ckpt*"))  # Lightning's requeueing is off
    signalled(None)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "8")
    other = folder_of(train(*words))
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    second = folder_of(train(*words, "seed=1"))  # another run of the same job
    assert len({own, other, second}) == 3
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = train(*words)
    assert folder_of(again) == own
    assert again.out.startswith(f"continues in {own}")
    same_weights(own, whole)


@pytest.mark.parametrize("state", ["CANCELLED", "COMPLETING", "PREEMPTED"])
def test_only_a_running_job_is_requeued(
    train: Command, signalled: Signalled, slurm: Callable[[str], Path], state: str
) -> None:
    calls = slurm(state)
    signalled(signal.SIGTERM)
    ended = train("experiment=tiny", "steps=20")
    assert ended.code == 143
    assert "SLURM job 40_7 is left to SLURM" in ended.out
    assert "requeue" not in calls.read_text()


def test_a_folder_is_trained_in_once(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(train("experiment=tiny"))
    hold = runs._hold
    monkeypatch.setattr(runs, "_hold", lambda folder: hold(folder, seconds=0.5))
    held = hold(folder)
    ended = train("experiment=tiny", "steps=9", "ckpt_path=last")
    os.close(held)
    assert ended.code == 2
    assert ended.err == f"error: another process works in {folder}; wait until it ends, or begin a new run.\n"
    assert folder_of(train("experiment=tiny", "steps=9", "ckpt_path=last")) == folder


def test_runs_of_one_job_in_one_second(train: Command, slurm: Callable[[str], Path]) -> None:
    slurm("RUNNING")
    assert folder_of(train("experiment=tiny")) != folder_of(train("experiment=tiny"))


def test_the_rank_of_what_lightning_starts_in_a_slurm_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert runs.rank() == 3
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv(runs.HANDED_DOWN, "runs/x")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert runs.rank() == 1


@pytest.mark.slow
@pytest.mark.parametrize("receiver", [0, 1])
def test_two_ranks_agree(tmp_path: Path, receiver: int) -> None:
    """The signal reaches one rank; both stop after the same batch, and rank 0 has the exit code."""
    process = on_two_ranks(tmp_path, *ENDLESS)
    training(process)
    os.kill(process.pid if receiver == 0 else child_of(process.pid), signal.SIGUSR1)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 138, errors
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    assert f"SIGUSR1: saved {folder / runs.LAST} after" in rest
    assert batches(folder) % 10 == 0  # where ranks agree


@pytest.mark.slow
@pytest.mark.parametrize("receiver", [os.kill, os.killpg])
def test_ctrl_c_on_two_ranks(tmp_path: Path, receiver: Callable[[int, int], None]) -> None:
    """To rank 0 alone, or to both, as a terminal sends it: saved once, told once."""
    process = on_two_ranks(tmp_path, *ENDLESS)
    training(process)
    child = child_of(process.pid)
    receiver(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    (folder,) = (tmp_path / "runs" / "train" / "tiny").iterdir()
    told = [line for line in errors.splitlines() if line.startswith("stop") or "Traceback" in line]
    saved = f"stopped after {batches(folder)} batches; saved {folder / runs.LAST}; ckpt_path=last continues."
    assert told == ["stopping within 10 batches; a second Ctrl-C ends at once and saves nothing.", saved]
    assert process.returncode == 130 and not Path(f"/proc/{child}").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGUSR1, 138)])
def test_a_signal_to_all_while_a_rank_begins(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """It killed the rank in an import, with a traceback, and with it Lightning killed rank 0: exit code -9."""
    process = on_two_ranks(tmp_path, *ENDLESS)
    child = child_of(process.pid)
    time.sleep(0.2)
    os.killpg(process.pid, number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in errors, errors
    assert len([line for line in (out + errors).splitlines() if "stopped" in line]) == 1
    assert not Path(f"/proc/{child}").exists()
    assert not list((tmp_path / "runs").rglob("*.ckpt"))


ENDLESS = ("steps=1000000", "checkpoint_every=1000000")


def on_two_ranks(place: Path, *words: str) -> subprocess.Popen[str]:
    """A training with trainer=ddp, the leader of a process group of its own."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    }
    words = ("experiment=tiny", "trainer=ddp", "trainer.limit_val_batches=0", f"paths.runs={place / 'runs'}", *words)
    return subprocess.Popen(
        [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *words],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def training(process: subprocess.Popen[str]) -> None:
    """Returns once the first step is told."""
    assert process.stdout is not None
    told = ""
    while "step 1/" not in told:
        line = process.stdout.readline()
        assert line, process.communicate()[1][-2000:]
        told += line


def batches(folder: Path) -> int:
    return content(folder)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"]


def child_of(parent: int) -> int:
    """The rank that another process has started, once it is there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for found in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if "train.py" in command_of(found):
                return int(found)
        time.sleep(0.1)
    raise AssertionError("no child")


def command_of(process: str) -> str:
    """Nothing for one that has ended since it was listed, as the short-lived children of an import do."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
