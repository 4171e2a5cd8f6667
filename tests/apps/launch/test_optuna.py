"""Searches: what a training answers, and a study of Optuna that minimizes it; sweep files that name what exists."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from anon.apps.config import config_dir
from anon.apps.launch.multirun import check_monitor, monitored
from anon.errors import UserError
from anon.evaluation.compare import found
from tests.apps.conftest import Command
from tests.conftest import ROOT

SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", list(overrides))


def logged(experiment: str) -> set[str]:
    """The figures that an experiment's validation logs, from a model that draws nothing."""
    from anon.generators.contract import Redrawn
    from anon.training.adversarial.steering import steering
    from tests.evaluation.tiny_world import encoder

    class Same(torch.nn.Module):
        steers = -1

        def forward(self, target, z):
            return Redrawn(target, torch.ones_like(target[:, :1]))

    assert experiment == "fiva"
    return {f"val/{name}" for name in steering(Same(), encoder(0), torch.rand(4, 3, 16, 16) * 2 - 1)}


def test_what_a_training_answers() -> None:
    figures = {"val/l1": torch.tensor(0.25), "val/cos_own": torch.tensor(0.5), "bad": torch.tensor(math.nan)}
    assert monitored(figures, None) is None
    assert monitored(figures, "val/l1") == 0.25
    assert monitored(figures, OmegaConf.create(["val/cos_own", "val/l1"])) == [0.5, 0.25]
    assert monitored(figures, "bad") is None and monitored(figures, ["val/l1", "bad"]) is None
    with pytest.raises(UserError, match=r"monitor=val/ll was not logged; there are: bad, val/cos_own, val/l1\."):
        monitored(figures, "val/ll")


def test_nothing_is_asked_of_a_single_training() -> None:
    check_monitor(None)
    check_monitor("val/l1")


def best_of(folder: Path, name: str) -> list[tuple[float, dict[str, str]]]:
    """Last value and settings of every run, lowest first."""
    answers = []
    for run in found([folder]):
        rows = list(csv.DictReader((run.folder / "metrics.csv").open(newline="")))
        assert run.config is not None
        answers.append(([float(row[name]) for row in rows if row[name]][-1], dict(run.config)))
    return sorted(answers, key=lambda answer: answer[0])


def test_optuna_minimizes_what_is_monitored(train: Command, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra: pip install -e '.[sweep]'")
    sweep = tmp_path / "sweep"
    words = ["+sweep=optuna", "experiment=tiny", f"hydra.sweep.dir={sweep}", "hydra.sweeper.n_trials=5"]
    silent = train(*words, "steps=range(5,60)")
    assert silent.code == 2 and "a search needs monitor=" in silent.err
    wrong = train(*words, "monitor=val/l1", "steps=range(5,60)")
    assert wrong.code == 2 and "monitor=val/l1 was not logged; there are: loss." in wrong.err

    listed = tmp_path / "sweep" / "runs.txt"
    listed.unlink(missing_ok=True)
    done = train(*words, "monitor=loss", "steps=range(5,60)")
    assert done.code == 0, done.err
    answers = best_of(sweep, "loss")
    assert len(answers) == 5
    result = OmegaConf.load(sweep / "optimization_results.yaml")
    assert result.best_value == pytest.approx(answers[0][0], rel=1e-6)
    assert str(result.best_params.steps) == answers[0][1]["steps"]
    again = train(*words, "monitor=loss", "steps=range(5,60)", f"hydra.sweep.dir={tmp_path / 'again'}")
    assert again.code == 0
    assert OmegaConf.load(tmp_path / "again" / "optimization_results.yaml") == result  # seeded


def test_without_the_extra_a_sentence_says_so(train: Command) -> None:
    try:
        import hydra_plugins.hydra_optuna_sweeper  # type: ignore[import-not-found] # noqa: F401
    except ImportError:
        done = train("+sweep=optuna", "experiment=tiny", "monitor=loss")
        assert done.code == 2 and "pip install -e '.[sweep]'" in done.err
    else:
        pytest.skip("the extra is installed")


@pytest.mark.parametrize("name", ["fiva"])
def test_a_search_is_about_settings_that_exist(name: str) -> None:
    """Read as text, for its sweeper is an extra; every proposal is an override that composes."""
    search = OmegaConf.load(config_dir() / "sweep" / f"{name}.yaml")
    assert set(search.monitor) <= logged(name)
    assert len(search.hydra.sweeper.direction) == len(search.monitor)
    plain = composed(f"experiment={name}")
    for key, proposal in search.hydra.sweeper.params.items():
        low, high = (float(end) for end in proposal.rstrip(")").rpartition("(")[2].split(","))
        assert low < OmegaConf.select(plain, key, throw_on_missing=True) < high, key  # what we train with is inside
        assert OmegaConf.select(composed(f"experiment={name}", f"{key}={low}"), key) == low


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_wandb_sweep_gives_overrides_that_compose(path: Path) -> None:
    """By W&B's own code: what its agent puts in the place of ``${args_no_hyphens}``."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = OmegaConf.to_container(OmegaConf.create(path.read_text().replace("${", "$\\{")))
    assert isinstance(sweep, dict)
    assert (ROOT / sweep["program"]).is_file()
    fixed = [word for word in sweep["command"] if not word.startswith("$")]
    assert sweep["command"][-1].replace("\\", "") == "${args_no_hyphens}"
    (experiment,) = (word.removeprefix("experiment=") for word in fixed if word.startswith("experiment="))
    assert sweep["metric"]["name"] in logged(experiment)
    plain = composed(*fixed)
    for end in ("min", "max"):
        values = {}
        for key, space in sweep["parameters"].items():
            values[key] = space[end] if end in space else (min if end == "min" else max)(space["values"])
            own = OmegaConf.select(plain, key)
            assert own is not None, f"{key} is not in the configuration"
            assert values[key] <= own if end == "min" else values[key] >= own, key
        words = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
        config = composed(*fixed, *words["args_no_hyphens"])
        assert {key: OmegaConf.select(config, key) for key in values} == values
