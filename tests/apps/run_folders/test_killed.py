"""SIGKILL at random moments and the same command again: weights, optimizers and figures are the unbroken run's."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from anon.apps.config import composed
from anon.apps.run_folders.folder import LAST
from tests.conftest import ROOT

STEPS = 45
#: experiment=fiva as it is, on few small faces and with narrow networks.
WORDS = (
    "experiment=fiva",
    "data.size=32",
    "data.identities={train: 12, background: 4, attacker: 4, evaluation: 4}",
    "data.clips.evaluation=0",
    "data.images=3",
    "data.batch_size=4",
    "generator.widths=[8,16,24]",
    "discriminator.base=4",
    "model.cooldown=10",
    "model.warmup=5",
    f"steps={STEPS}",
    "checkpoint_every=2",
    "trainer.limit_val_batches=1",
    "trainer.accelerator=cpu",
    "callbacks.grids.every=20",
    "logger=csv",
    "ckpt_path=auto",
)


def start(folder: Path, cache: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "train.py", *WORDS, f"paths.runs={folder}", f"paths.cache={cache}", *words]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def begun(process: subprocess.Popen[str], until: str = "folder ") -> str:
    """What the run says up to a word; its first line comes once everything is imported."""
    assert process.stdout is not None
    told = ""
    while until not in told and "continues in" not in told and "finished already" not in told:
        line = process.stdout.readline()
        assert line, process.communicate()[1][-2000:]
        told += line
    return told


def ended(process: subprocess.Popen[str]) -> Path:
    """The run's last.ckpt."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-2000:]
    lines = [line for line in out.splitlines() if line.startswith(("checkpoint ", "finished already: "))]
    return Path(lines[-1].split(" ")[-1])


def content(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def same(one: object, other: object, where: str = "") -> int:
    """How many tensors two checkpoints share, all of them bitwise equal."""
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor) and torch.equal(one, other), where
        return 1
    if isinstance(one, dict):
        assert isinstance(other, dict) and one.keys() == other.keys(), where
        return sum(same(one[key], other[key], f"{where}.{key}") for key in one)
    if isinstance(one, list | tuple):
        assert isinstance(other, list | tuple) and len(one) == len(other), where
        return sum(same(first, second, f"{where}[]") for first, second in zip(one, other, strict=True))
    assert one == other, where
    return 0


def figures(checkpoint: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without what a clock says."""
    with (checkpoint.parent.parent / "metrics.csv").open(newline="") as file:
        return [{key: row[key] for key in row if key != "train/images_per_s"} for row in csv.DictReader(file)]


def same_training(one: Path, other: Path) -> None:
    first, second = content(one), content(other)
    assert figures(one) == figures(other) and len(figures(one)) > 10
    for part, fewest in (("state_dict", 60), ("optimizer_states", 60), ("lr_schedulers", 0)):
        assert same(first[part], second[part], part) >= fewest
    names = first["state_dict"]
    assert {name.split(".")[0] for name in names} >= {"generator", "ema", "discriminator"}
    for checkpoint in (first, second):
        assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == STEPS


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, float]:
    """Checkpoint of a run that nobody killed, the cache of its faces, and seconds from its first line to its end."""
    folder = tmp_path_factory.mktemp("unbroken")
    instantiate(composed("train", [*WORDS, f"paths.cache={folder / 'cache'}"]).data).prepare_data()  # renders the faces
    process = start(folder / "whole", folder / "cache")
    begun(process)
    began = time.monotonic()
    return ended(process), folder / "cache", time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 20])
def test_killed_and_started_again(tmp_path: Path, unbroken: tuple[Path, Path, float], kills: int) -> None:
    """A run that gets through between two kills is compared, and another one begun."""
    whole, cache, length = unbroken
    chance = random.Random(kills)
    runs, left = 0, kills
    while left:
        folder = tmp_path / f"runs{runs}"
        process = start(folder, cache)
        begun(process)
        time.sleep(chance.uniform(0.1, 0.8) * length)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            left -= 1
        else:
            same_training(ended(process), whole)
            runs += 1
    final = ended(start(folder, cache))
    same_training(final, whole)
    assert final.name == LAST.name


@pytest.mark.slow
def test_a_signal_to_all_processes_of_a_run(tmp_path: Path, unbroken: tuple[Path, Path, float]) -> None:
    """SLURM signals the loader's workers too: they do not fall to the warning, and the batch at hand is saved."""
    whole, cache, _ = unbroken
    process = start(tmp_path / "runs", cache, "data.workers=1", "checkpoint_every=1000", "trainer.val_check_interval=2")
    begun(process, until="step 1/")
    os.killpg(process.pid, signal.SIGUSR1)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGUSR1, errors[-2000:]
    assert "SIGUSR1: saved" in out
    same_training(ended(start(tmp_path / "runs", cache, "data.workers=1")), whole)
