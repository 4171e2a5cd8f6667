"""Runs the command lines in this process, on the tiny model and on the real configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps import evaluate as evaluate_app
from anon.apps import train as train_app
from anon.apps.checkpoints import CheckpointFiles

HERE = Path(__file__).parent


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def train(command: Callable[[Callable[[], None]], Command]) -> Command:
    """``train("experiment=tiny", ...)``: the train command with its runs below ``tmp_path / "runs"``."""
    return command(train_app.main)


@pytest.fixture
def evaluate(command: Callable[[Callable[[], None]], Command]) -> Command:
    """``evaluate("experiment=tiny", ...)``, with the same runs."""
    return command(evaluate_app.main)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[[], None]], Command]:
    """Makes a command of an entry point: words of the command line -> exit code and what was printed."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)

    def made(entry: Callable[[], None]) -> Command:
        def run(*words: str) -> Ended:
            named = any(word.startswith(("paths.runs=", "paths.attackers=")) for word in words)
            shelf = [] if named else [f"paths.runs={tmp_path / 'runs'}"]
            monkeypatch.setattr(sys, "argv", ["script.py", "--config-dir", str(HERE / "conf"), *words, *shelf])
            monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                entry()
            shown = capsys.readouterr()
            return Ended(int(ended.value.code or 0), shown.out, shown.err)

        return run

    return made


def checkpoint_of(experiment: str, model: Any, file: Path, module: Any = None) -> Path:
    """A checkpoint of an experiment's ``model``, at its random start or as ``module`` is."""
    plain = OmegaConf.to_container(model, resolve=True) if OmegaConf.is_config(model) else model
    torch.manual_seed(0)
    built = instantiate(plain) if module is None else module
    text = OmegaConf.to_yaml({"experiment": experiment, "model": plain})
    CheckpointFiles(text).save_checkpoint({"state_dict": built.state_dict(), "global_step": 3}, file)
    return file


@pytest.fixture
def of_another_experiment(tmp_path: Path) -> Path:
    """A checkpoint of a small experiment=diffusion."""
    denoiser = {"_target_": "anon.generators.diffusion.Denoiser", "widths": [8, 8]}
    diffusion = {"_target_": "anon.generators.diffusion.Diffusion", "denoiser": denoiser}
    model = {"_target_": "anon.training.diffusion.DiffusionTraining", "steps": 1, "diffusion": diffusion}
    return checkpoint_of("diffusion", model, tmp_path / "other.ckpt")


def folder_of(ended: Ended) -> Path:
    """The run folder: the last line that a run prints."""
    assert ended.code == 0, ended.err
    return Path(ended.out.splitlines()[-1].removeprefix("run folder "))
