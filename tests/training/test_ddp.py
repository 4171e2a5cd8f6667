"""Two gloo processes: other faces, equal weights, and those of one process with the doubled batch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from anon.losses.adversarial import discriminator_loss
from tests.training import small

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("strategy", ["ddp", "ddp_find_unused_parameters_true"])
def test_two_steps_in_two_processes(tmp_path: Path, strategy: str) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.two_processes", str(tmp_path), strategy],
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    start = small.module().state_dict()
    moved = 0
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
        moved += int(not torch.equal(value, start[name]))
    assert moved > 0.9 * len(start)
    assert first["seen"].shape == (2, 4, 3, small.SIZE, small.SIZE)
    assert not torch.allclose(first["seen"], second["seen"], atol=0.05)


@pytest.mark.parametrize("fails", [0, 1])
def test_a_rank_that_fails_ends_the_other(tmp_path: Path, fails: int) -> None:
    """Within seconds, though the other one waits for it in a collective; its sentence is told, and no process stays."""
    env = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    words = ["experiment=tiny", "trainer=ddp", "trainer.limit_val_batches=0", "steps=1000", "checkpoint_every=1000"]
    words += ["model._target_=tests.training.failing_rank.FailsOnOneRank", f"paths.runs={tmp_path / 'runs'}"]
    words += [f"+model.fails={fails}", f"+model.folder={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "train.py", "--config-dir", str(ROOT / "tests" / "apps" / "conf"), *words],
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "rank1").exists() and process.poll() is None:
        time.sleep(0.1)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert f"error: rank {fails} has a fault." in errors
    assert process.returncode == 2 if fails == 0 else process.returncode != 0
    while any(running((tmp_path / f"rank{rank}").read_text()) for rank in (0, 1)):
        assert time.monotonic() - began < 30
        time.sleep(0.1)
    assert len(list((tmp_path / "runs").rglob("config.yaml"))) <= 1


def running(pid: str) -> bool:
    """Whether a process is there and not a zombie that nobody has waited for."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_averaging_gives_the_gradient_of_the_doubled_batch(tmp_path: Path) -> None:
    """Two processes over a file store, in threads' stead: gradients of halves, averaged, are those of the whole."""
    torch.multiprocessing.spawn(_half, (str(tmp_path),), nprocs=2)
    discriminator, real, fake = _parts()
    discriminator_loss(discriminator(real), discriminator(fake)).backward()
    whole = [parameter.grad for parameter in discriminator.parameters()]
    for rank in (0, 1):
        for ours, wanted in zip(torch.load(tmp_path / f"{rank}.pt"), whole, strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-6)


def _parts() -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    images = small.Pictures().images
    return small.module().discriminator, images[:8], images[8:16]


def _half(rank: int, folder: str) -> None:
    from anon.training.gradients import average_gradients

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    discriminator, real, fake = _parts()
    mine = slice(4 * rank, 4 * rank + 4)
    discriminator_loss(discriminator(real[mine]), discriminator(fake[mine])).backward()
    average_gradients(discriminator)
    torch.save([parameter.grad for parameter in discriminator.parameters()], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
