"""The ways in: what a user does with a file that somebody sent, as a command line and as a call in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import OmegaConf

from anon.apps import ifsr, parrots, ship, victims
from anon.apps.checkpoints import CONFIG_KEY, check_fits, restore_generator
from anon.apps.run_folders import folder as runs
from anon.apps.run_folders import past
from anon.apps.train import resumed_from
from anon.evaluation.document import read
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import iresnet_small
from anon.identity.onnx import OnnxJudge
from anon.weights import files
from tests.apps.tiny import Tiny
from tests.conftest import ROOT

FACES = ("data.identities={train: 12, background: 12, attacker: 4, evaluation: 6}", "data.images=6", "data.size=32")
SMALL = (*FACES, "logger=csv", "suite.resamples=20")


class Door(NamedTuple):
    """``words(file)``: the command line; ``call(file)``: what that calls, without the rest of an evaluation."""

    words: Callable[[Path], list[str]]
    call: Callable[[Path], object]


def _evaluate(*words: str) -> list[str]:
    return [sys.executable, "evaluate.py", *words, *SMALL]


def _past(folder: Path) -> object:
    config = {"experiment": "fiva", "scale": "default", "paths": {"runs": str(folder)}, "data": {"name": "synthetic"}}
    return past.last_run(OmegaConf.create(config))


def _resume(file: Path) -> None:
    check_fits(Tiny(), resumed_from(file).state, file)


DOORS = {
    "checkpoint": Door(lambda file: _evaluate(f"checkpoint={file}"), restore_generator),
    "attack": Door(
        lambda file: _evaluate("checkpoint=shipped:fiva", "attack=reconstruction", f"attack.checkpoint={file}"),
        lambda file: victims.trained_attack(str(file)),
    ),
    "victim": Door(
        lambda file: [
            *(sys.executable, "train.py", "experiment=reconstruction", "method=fiva"),
            *(f"method.anonymizer.checkpoint={file}", "steps=1", *FACES, "logger=csv"),
        ],
        restore_generator,
    ),
    "recognizer": Door(
        lambda file: _evaluate(
            "suite=attackers",
            f"suite.attacks.parrot_tuned.attack.recognizer.checkpoint={file}",
        ),
        lambda file: parrots.tuned_recognizer(str(file)),
    ),
    "ifsr": Door(
        lambda file: [sys.executable, "-m", "anon.apps.ifsr", str(file), "--pairs", "8"],
        lambda file: ifsr.main(file, "background", 8, None, file.parent),
    ),
    "ship": Door(
        lambda file: [sys.executable, "-m", "anon.apps.ship", str(_run(file)), "hostile"],
        lambda file: ship.ship(_run(file), "hostile"),
    ),
    "run": Door(
        lambda folder: _evaluate("checkpoint=last", f"paths.runs={folder}"),
        _past,
    ),
    "resume": Door(
        lambda file: [
            *(sys.executable, "train.py", "--config-dir", str(ROOT / "tests/apps/conf"), "experiment=tiny"),
            *(f"ckpt_path={file}", f"paths.runs={file.parent / 'runs'}"),
        ],
        _resume,
    ),
    "onnx": Door(
        lambda file: _evaluate("checkpoint=shipped:fiva", "judge=onnx", f"judge.path={file}"),
        OnnxJudge,
    ),
    "encoder": Door(
        lambda file: [
            *(sys.executable, "train.py", "experiment=fiva", f"encoder.weights={file}", "steps=1", *FACES),
            *("logger=csv", f"paths.runs={file.parent / 'runs'}"),
        ],
        lambda file: Encoder(iresnet_small(), 64, weights=str(file)),
    ),
    "report": Door(
        lambda file: [sys.executable, "-m", "anon.evaluation.report", str(file)],
        read,
    ),
    "weights": Door(
        lambda file: _evaluate("checkpoint=shipped:fiva", f"judge.encoder.weights={file}"),
        files.read,
    ),
}


def _run(file: Path) -> Path:
    """The run folder of a checkpoint."""
    folder = file.parent / "run"
    last = folder / runs.LAST
    last.parent.mkdir(parents=True, exist_ok=True)
    (folder / "versions.json").write_text('{"torch": "2.13.0", "commit": "1"}')
    (folder / "command.txt").write_text("2026-01-01 12:00:00 python train.py experiment=fiva\n")
    if not last.exists():
        os.link(file, last)
    return folder


def write_checkpoint(folder: Path, config: Any, state: Any = None, **further: Any) -> Path:
    """A checkpoint with a configuration (text, or what is written as YAML) and weights."""
    text = OmegaConf.to_yaml(OmegaConf.create(config)) if isinstance(config, dict) else config
    state = {"first.weight": torch.zeros(1)} if state is None else state
    torch.save({"state_dict": state, "global_step": 3, CONFIG_KEY: text, **further}, folder / "sent.ckpt")
    return folder / "sent.ckpt"
