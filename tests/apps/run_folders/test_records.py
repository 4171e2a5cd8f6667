"""What a run leaves is what came of it: every figure once, nothing half-written, no promise that nobody looked at.

The kind: records were written beside the training and not with it. Reported: rows of metrics.csv that were lost or a
step late after a kill, a killed save's temporary file, "the last checkpoint is intact" of none, a rank that died, a
folder that came back. Other instances found: the validation of a checkpoint's step was left out after a kill, a signal
before the first save said that ``ckpt_path=last`` continues, a grid brought back a folder that was removed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anon.apps import checkpoints, loggers
from anon.apps.run_folders import folder as runs
from anon.errors import UserError
from anon.faces.transit import check_room
from tests.apps.conftest import HERE, Command, folder_of
from tests.apps.launch.test_exit_codes import refused
from tests.apps.launch.test_preempted import child_of
from tests.apps.test_guards import at_step
from tests.apps.tiny import Tiny
from tests.conftest import ROOT


def killed(run: Callable[[], object], owner: Any, name: str, call: int, before: bool = False) -> None:
    """Run in a process of its own that ends like by SIGKILL right after (or before) that call of a method."""
    child = os.fork()
    if child == 0:
        plain, calls = getattr(owner, name), [0]

        def counted(*args: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == call and before:
                os._exit(9)
            answer = plain(*args, **options)
            if calls[0] == call:
                os._exit(9)
            return answer

        setattr(owner, name, counted)
        try:
            run()
        finally:
            os._exit(1)  # it was not killed
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


SAVED = (checkpoints.CheckpointFiles, "save_checkpoint")


@pytest.mark.parametrize(
    ("options", "moments"),
    [
        # validations and saves together; 16 batches are an epoch, 20 the end
        (("trainer.limit_val_batches=1.0",), [(*SAVED, 1), (*SAVED, 4), (*SAVED, 5), (Tiny, "validation_step", 4)]),
        # saves between two validations
        (("trainer.limit_val_batches=1.0", "trainer.val_check_interval=3"), [(*SAVED, 1), (*SAVED, 3)]),
        # no validation: the last row of a checkpoint is logged after it, by Lightning
        ((), [(*SAVED, 4), (*SAVED, 5), (loggers._Writer, "save", 5)]),
    ],
)
def test_figures_of_a_killed_run(train: Command, tmp_path: Path, options: Any, moments: Any) -> None:
    words = ("experiment=tiny", "steps=20", "checkpoint_every=4", "trainer.log_every_n_steps=2", *options)
    whole = folder_of(train(*words, f"paths.runs={tmp_path / 'whole'}"))
    rows = (whole / "metrics.csv").read_text()
    assert len(rows.splitlines()) > 10
    for owner, name, call in moments:
        shelf = f"paths.runs={tmp_path / f'{name}{call}'}"
        killed(lambda shelf=shelf: train(*words, shelf), owner, name, call)
        folder = folder_of(train(*words, shelf, "ckpt_path=last"))
        assert (folder / "metrics.csv").read_text() == rows, (name, call)
        for key, tensor in torch.load(whole / runs.LAST, weights_only=True)["state_dict"].items():
            assert torch.equal(tensor, torch.load(folder / runs.LAST, weights_only=True)["state_dict"][key])


class Sparse(Tiny):
    """Logs every fourth batch, as the generators' trainings do: figures cost."""

    def log(self, *args: Any, **options: Any) -> None:
        if (self.trainer.fit_loop.total_batch_idx + 1) % 4 == 0:
            super().log(*args, **options)


def test_figures_of_an_earlier_batch_are_not_the_last_ones(train: Command, tmp_path: Path) -> None:
    """They stood once more in the row of the batch at which training stopped, but not where a run had gone on."""
    words = (
        "experiment=tiny",
        "model._target_=tests.apps.run_folders.test_records.Sparse",
        "trainer.log_every_n_steps=4",
    )
    whole = folder_of(train(*words, "steps=10", f"paths.runs={tmp_path / 'whole'}"))
    rows = (whole / "metrics.csv").read_text()
    assert [line.split(",")[-1] for line in rows.splitlines()] == ["step", "3", "7"]
    shelf = f"paths.runs={tmp_path / 'killed'}"
    killed(lambda: train(*words, "steps=10", shelf), *SAVED, 4)  # after the last figures
    assert (folder_of(train(*words, "steps=10", shelf, "ckpt_path=last")) / "metrics.csv").read_text() == rows


def test_a_signal_at_a_validation(train: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch that is stopped after is one with a validation: its figures are the unbroken run's, too."""
    words = ("experiment=tiny", "steps=20", "checkpoint_every=4", "trainer.limit_val_batches=1.0")
    whole = folder_of(train(*words, f"paths.runs={tmp_path / 'whole'}"))
    with monkeypatch.context() as patch:
        at_step(patch, 7, lambda module: os.kill(os.getpid(), signal.SIGUSR1))
        assert train(*words).code == 138
    folder = folder_of(train(*words, "ckpt_path=last"))
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_what_a_killed_save_leaves_is_cleared(train: Command) -> None:
    folder = folder_of(train("experiment=tiny"))
    for left in ("checkpoints/.last.ckpt.4711", ".config.yaml.4711", ".probe_4711"):
        (folder / left).write_text("half")
    (folder / ".mine").write_text("stays")
    folder_of(train("experiment=tiny", "ckpt_path=last", "steps=9"))
    assert [path.name for path in folder.rglob(".*")] == [".mine"]


def test_no_checkpoint_is_promised_where_there_is_none(train: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(step: int) -> str:
        with monkeypatch.context() as patch:
            at_step(patch, step, lambda module: module.first.weight.data.fill_(float("nan")))
            ended = train("experiment=tiny", "checkpoint_every=3")
        assert ended.code == 2
        return ended.err

    assert "No checkpoint was saved before." in diverge(1) and "intact" not in diverge(1)
    assert "The last checkpoint is intact." in diverge(4)
    monkeypatch.setattr("tests.apps.tiny.TinyData.prepare_data", lambda self: os.kill(os.getpid(), signal.SIGTERM))
    assert "there is no checkpoint yet to continue from" in train("experiment=tiny").out


def test_a_folder_that_was_removed_does_not_come_back(train: Command, tmp_path: Path, monkeypatch: Any) -> None:
    at_step(monkeypatch, 3, lambda module: shutil.rmtree(module.trainer.default_root_dir))
    ended = train("experiment=tiny", "steps=20")
    refused(ended, "was removed while it was in use")
    assert not list((tmp_path / "runs").rglob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rank_that_was_killed(tmp_path: Path, number: signal.Signals) -> None:
    """The other one says so in a sentence."""
    words = ["experiment=tiny", "trainer=ddp", "trainer.limit_val_batches=0", f"paths.runs={tmp_path / 'runs'}"]
    process = subprocess.Popen(
        [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *words, "steps=1000000", "+model.nap=0.01"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "step 1/" not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.5)
    if number == signal.SIGKILL:
        os.kill(child_of(process.pid), number)
    else:
        os.kill(process.pid, signal.SIGKILL)  # rank 1 remains, which shares these pipes
    _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    wanted = "rank 1, by signal 9" if number == signal.SIGKILL else "rank 0"
    assert re.search(f"error: another process of this training has ended .*{wanted}.*ckpt_path=last continues", errors)
    assert process.returncode == (2 if number == signal.SIGKILL else -9)


@pytest.mark.parametrize("words", [("steps=abc",), ("checkpoint_every=0",), ("model._target_=tests.apps.tiny.Tinny",)])
def test_a_slip_leaves_no_folder(train: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    refused(train("experiment=tiny", *words), words[0])
    assert not (tmp_path / "runs").exists()
    refused(train("experiment=tiny", "+model.wdith=4"), "no setting 'wdith'; did you mean 'width'?")
    assert not (tmp_path / "runs").exists()


SBATCH = {"PROCID": "0", "LOCALID": "0", "NODEID": "0"}  # what its script has beyond what salloc gives a shell


@pytest.mark.slow
@pytest.mark.parametrize("extra", [{}, SBATCH])
def test_an_allocation_without_srun(tmp_path: Path, extra: dict[str, str]) -> None:
    """Two tasks are allocated and this is a plain process: it starts its own rank, and waits for nobody."""
    slurm = {"JOB_ID": "47", "NTASKS": "2", "NTASKS_PER_NODE": "2", "NNODES": "1", "JOB_NAME": "train"}
    facts = {f"SLURM_{name}": value for name, value in {**slurm, **extra}.items()}
    words = ["experiment=tiny", "trainer=ddp", "trainer.limit_val_batches=0", f"paths.runs={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *words],
        cwd=ROOT,
        env={**os.environ, **facts, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "this allocation has 2 tasks, but no srun started them" in done.stdout
    assert len(list(tmp_path.rglob("last.ckpt"))) == 1


def test_shared_memory_of_a_container(tmp_path: Path) -> None:
    """A tmpfs of 64 MB, as Docker gives; what the loader's workers need is known before they start."""
    folder = tmp_path / "shm"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        check_room(20, 3 * 256 * 256 * 10, str(folder))
        with pytest.raises(UserError, match=r"need 126 MB of shared memory, .* has 67 MB free; give data.workers=0"):
            check_room(20, 3 * 256 * 256 * 32, str(folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    check_room(10**9, 10**9, str(tmp_path / "none"))


def test_names_that_wandb_takes() -> None:
    names = ["2026-11-28_20-14-07_41", "a b", "a c", "Größe", "x" * 140, "x" * 139 + "y"]
    ids = [loggers.wandb_id(name) for name in names]
    assert ids[0] == names[0] and len(set(ids)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in ids)
    assert len(loggers.wandb_logger(f"runs/{'x' * 140}", "anon").name or "") <= 64


def test_a_folder_with_an_umlaut_needs_no_quotes(train: Command, tmp_path: Path) -> None:
    assert train("experiment=tiny", f"paths.runs={tmp_path / 'Größe'}").code == 0
    assert (tmp_path / "Größe" / "train" / "tiny").is_dir()
