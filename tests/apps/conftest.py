"""Runs the command lines in this process, on the tiny model and on the real configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from anon.apps import train as train_app

HERE = Path(__file__).parent


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``train("experiment=tiny", ...)``: the train command with its runs below ``tmp_path / "runs"``."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(HERE.parent.parent))

    def run(*words: str) -> Ended:
        shelf = [] if any(word.startswith("paths.runs=") for word in words) else [f"paths.runs={tmp_path / 'runs'}"]
        monkeypatch.setattr(sys, "argv", ["train.py", "--config-dir", str(HERE / "conf"), *words, *shelf])
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            train_app.main()
        shown = capsys.readouterr()
        return Ended(int(ended.value.code or 0), shown.out, shown.err)

    return run


def folder_of(ended: Ended) -> Path:
    """The run folder: the last line that a run prints."""
    assert ended.code == 0, ended.err
    return Path(ended.out.splitlines()[-1].removeprefix("run folder "))
