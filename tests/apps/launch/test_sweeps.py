"""The multiruns of attackers: a run folder for every rung, and the same command goes on where it was stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from anon.apps.config import choices, config_dir
from anon.apps.run_folders import folder as runs
from tests.apps.conftest import HERE, Command
from tests.conftest import ROOT

SMALL = [
    "experiment=reconstruction",
    "method=pixelate",
    "data.identities.attacker=4",
    "data.identities.background=2",
    "data.images=2",
    "data.batch_size=2",
    "generator.widths=[8,16]",
    "model.start=null",
    "discriminator.base=4",
    "steps=2",
    "model.cooldown=1",
    "logger=csv",
]


@pytest.mark.parametrize(
    ("sweep", "group", "key"),
    [
        ("defenses", "defense", "+defense@attack.defense"),
        ("methods", "method", "method"),
    ],
)
def test_a_sweep_names_choices_that_exist(sweep: str, group: str, key: str) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", ["experiment=reconstruction", f"+sweep={sweep}"], return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    assert set(config.hydra.sweeper.params[key].split(",")) <= set(choices(group))
    assert config.ckpt_path == "auto"
    if sweep == "defenses":  # the same as table 3 asks for
        assert set(config.hydra.sweeper.params[key].split(",")) == set(choices(group))


@pytest.mark.slow
def test_the_ladder_goes_on_where_it_was_stopped(train: Command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ANON_CACHE", str(tmp_path / "cache"))
    words = [
        *SMALL,
        "+sweep=defenses",
        f"paths.attackers={tmp_path / 'ladder'}",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]
    assert train(*words, "+defense@attack.defense=none").code == 0
    whole = train(*words, "+defense@attack.defense=none,jpeg")
    assert whole.code == 0, whole.err
    assert whole.out.count("finished already") == 1
    shelf = tmp_path / "ladder"
    files = {name: (shelf / name / "train" / "reconstruction").glob(f"*/{runs.LAST}") for name in ("none", "jpeg")}
    configs = {}
    for name, found in files.items():
        (file,) = found
        configs[name] = OmegaConf.create(torch.load(file, weights_only=True)["config"])
    assert configs["none"].attack.defense._target_.endswith("NoDefense")
    assert configs["jpeg"].attack.defense._target_.endswith("Jpeg")
    assert train(*words, "+defense@attack.defense=none,jpeg").out.count("finished already") == 2


def jobs_of(tmp_path: Path) -> set[int]:
    """Steps of the jobs that left a checkpoint."""
    files = (tmp_path / "runs").rglob("last.ckpt")
    return {OmegaConf.create(torch.load(file, weights_only=True)["config"]).steps for file in files}


def test_one_failing_job_of_six(train: Command, tmp_path: Path) -> None:
    """Kind: one job ended all. Other instances: a bug of one, a value that is no number, a search's every trial."""
    sweep = ("-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", "experiment=tiny")
    mistake = train(*sweep, "steps=1,2,abc,4,5,6")
    assert mistake.code == 2 and jobs_of(tmp_path) == {1, 2, 4, 5, 6}
    sentence = "job 2 (experiment=tiny steps=abc paths.runs={}) failed: steps=abc must be a whole number or null"
    sentence = sentence.format(tmp_path / "runs")
    assert mistake.err.splitlines() == [
        f"error: {sentence}; the multirun goes on.",
        "1 job of this multirun failed:",
        f"  {sentence}",
    ]
    bug = train(*sweep, "+model.width=3,7", "steps=8,9")  # rows of width 3 do not fit 7
    assert bug.code == 1 and jobs_of(tmp_path) == {1, 2, 4, 5, 6, 8, 9}
    assert bug.err.count("Traceback") == 2 and "2 jobs of this multirun failed:" in bug.err
    assert len(list((tmp_path / "runs" / "train" / "tiny").iterdir())) == 7  # those that failed left no folder


def test_a_choice_that_is_added_is_no_setting(train: Command, tmp_path: Path) -> None:
    """``+sweep=optuna`` was "nothing reads sweep" in its jobs, which only those with the extra installed met."""
    group = tmp_path / "conf" / "sweep"
    group.mkdir(parents=True)
    (group / "two.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      steps: 1,2\n"
    )
    words = (f"hydra.searchpath=[{tmp_path / 'conf'}]", "experiment=tiny", "+sweep=two")
    assert train(*words, f"hydra.sweep.dir={tmp_path / 'sweep'}").code == 0
    assert jobs_of(tmp_path) == {1, 2}


def test_ctrl_c_ends_a_multirun(train: Command, tmp_path: Path) -> None:
    ended = train("-m", f"hydra.sweep.dir={tmp_path / 'sweep'}", "experiment=tiny", "steps=1,2", "+model.stop_at=0")
    told = (
        "stopped after 0 batches; the one at hand was not finished, so nothing is saved now; nothing was saved before."
    )
    assert ended.code == 130 and ended.err.splitlines() == [told]
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "plugin"), [("parallel", "hydra_joblib_launcher"), ("submitit_local", "hydra_submitit_launcher")]
)
def test_two_jobs_at_a_time(tmp_path: Path, launcher: str, plugin: str) -> None:
    """Each waits for another in its first step; which one fails is told at the end, though another process ran it."""
    pytest.importorskip(f"hydra_plugins.{plugin}", reason="needs the extra 'parallel' or 'slurm'")
    words = ["-m", f"hydra/launcher={launcher}", "experiment=tiny", "steps=4,5,abc", f"+model.meet={tmp_path / 'meet'}"]
    ended = multirun(tmp_path, *words)
    assert ended.returncode == 2 and jobs_of(tmp_path) == {4, 5}
    assert "1 job of this multirun failed:\n  job 2 (" in ended.stderr


@pytest.mark.slow
def test_a_search_runs_two_trials_at_a_time(tmp_path: Path) -> None:
    for plugin in ("hydra_optuna_sweeper", "hydra_joblib_launcher"):
        pytest.importorskip(f"hydra_plugins.{plugin}", reason="needs the extras 'sweep' and 'parallel'")
    words = ["+sweep=optuna", "hydra/launcher=parallel", "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4"]
    words += ["experiment=tiny", "monitor=loss", "steps=range(5,60)", f"+model.meet={tmp_path / 'meet'}"]
    ended = multirun(tmp_path, *words)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert len(jobs_of(tmp_path)) == 4 or len(list((tmp_path / "runs").rglob("last.ckpt"))) == 4
    assert (tmp_path / "sweep" / "optimization_results.yaml").is_file()


def multirun(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    shelf = [f"paths.runs={tmp_path / 'runs'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    command = [sys.executable, "train.py", "--config-dir", str(HERE / "conf"), *words, *shelf]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
