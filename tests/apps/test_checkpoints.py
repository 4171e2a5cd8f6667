"""Checkpoint files: atomic, plain, and choosy about what they may build."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps.checkpoints import CheckpointFiles, check_fits, read_checkpoint, restore_module
from anon.apps.config import choices
from anon.apps.untrusted import trusting
from anon.apps.untrusted.parts import parts
from anon.errors import UserError
from tests.apps.conftest import Command
from tests.apps.test_configs import TRAINED, composed
from tests.apps.tiny import Tiny


def targets(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(targets, node))
    if isinstance(node, dict):
        own = {node["_target_"]} if "_target_" in node else set()
        return own.union(*map(targets, node.values()))
    return set()


def written(path: Path, model: dict[str, object]) -> Path:
    content = {"state_dict": Tiny().state_dict(), "global_step": 3}
    CheckpointFiles(OmegaConf.to_yaml({"model": model})).save_checkpoint(content, path)
    return path


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "last.ckpt", {"_target_": "anon.x"})
    before = path.read_bytes()

    def fails(content: object, file: object) -> None:
        file.write(b"half a check")  # type: ignore[attr-defined]
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(OSError, match="disk full"):
        written(path, {"_target_": "anon.x"})
    assert path.read_bytes() == before


def test_the_configuration_comes_back(tmp_path: Path) -> None:
    content, config = read_checkpoint(written(tmp_path / "a.ckpt", {"_target_": "anon.x", "width": 3}))
    assert content["global_step"] == 3
    assert config.model.width == 3


def test_a_run_folder_is_as_good_as_its_last_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    written(tmp_path / "run/checkpoints/last.ckpt", {"_target_": "anon.x", "width": 3})
    assert read_checkpoint(tmp_path / "run")[1].model.width == 3
    with pytest.raises(UserError, match=r"holds no checkpoints/last\.ckpt"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "model", [{"_target_": "os.system", "command": "true"}, {"a": [{"_target_": "builtins.exec"}]}]
)
def test_a_checkpoint_cannot_run_foreign_code(tmp_path: Path, model: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"asks to run (os\.system|builtins\.exec)"):
        restore_module(written(tmp_path / "a.ckpt", model))


def test_another_models_weights_are_named() -> None:
    state = Tiny().state_dict()
    check_fits(Tiny(), state, Path("x"))
    with pytest.raises(UserError, match=r"1 tensors differ, first 'second\.bias'"):
        check_fits(Tiny(), {name: value for name, value in state.items() if name != "second.bias"}, Path("x"))
    with pytest.raises(UserError, match=r"2 tensors differ, first 'first\.weight'"):
        check_fits(Tiny(width=4), state, Path("x"))


@pytest.mark.slow
def test_a_checkpoint_may_build_what_conf_builds_and_nothing_else() -> None:
    """By composing: what the models and data of all experiments name is on the list, and is defined where it says.

    Commands, loggers, callbacks and whatever reads a checkpoint in turn are on none.
    """
    named: dict[str, set[str]] = {"model": set(), "data": set()}
    for experiment, scale in itertools.product(TRAINED, choices("scale")):
        config = composed("train", f"experiment={experiment}", f"scale={scale}")
        for kind, names in named.items():
            names |= targets(OmegaConf.to_container(config[kind], resolve=True))
    for data in choices("data"):
        named["data"] |= targets(OmegaConf.to_container(composed("train", f"data={data}").data, resolve=True))
    for encoder in choices("encoder"):
        named["model"] |= targets(OmegaConf.to_container(composed("train", f"encoder={encoder}").encoder, resolve=True))
    assert named["data"] == set(parts("data"))
    assert named["model"] <= set(parts("model"))
    for name, part in {**parts("model"), **parts("data")}.items():
        own = f"{part.__module__}.{part.__qualname__}"
        assert own == name or name.startswith(("torch.nn.", "torch.optim."))
        rooms = ("apps", "evaluation", "weights", "anonymizers", "defenses", "metrics")
        assert not name.startswith(tuple(f"anon.{room}." for room in rooms))


@pytest.mark.parametrize(
    "experiment", [name if name == "ciagan" else pytest.param(name, marks=pytest.mark.slow) for name in TRAINED]
)
def test_what_an_experiment_trains_is_built_again(experiment: str, tmp_path: Path) -> None:
    """CIAGAN's spectral norms begin with more operations than hostile configurations were allowed."""
    config = composed("train", f"experiment={experiment}")
    content = {"state_dict": instantiate(config.model).state_dict(), "global_step": 0}
    CheckpointFiles(OmegaConf.to_yaml(config, resolve=True)).save_checkpoint(content, tmp_path / "last.ckpt")
    module, _ = restore_module(tmp_path / "last.ckpt")
    assert module.state_dict().keys() == content["state_dict"].keys()


def test_a_package_is_built_from_where_the_command_line_trusts_it(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ckpt", {"_target_": "tests.apps.tiny.Tiny", "width": 3})
    with pytest.raises(UserError, match=r"tests\.apps\.tiny\.Tiny.*say trust=tests"):
        restore_module(path)
    for packages in ("tests", ["other", "tests.apps"]):
        with trusting(packages):
            assert type(restore_module(path)[0]).__name__ == "Tiny"
    with trusting("test"), pytest.raises(UserError, match="no part of this project"):  # by whole names
        restore_module(path)
    hop = written(tmp_path / "b.ckpt", {"_target_": "tests.apps.tiny.os.system", "command": "true"})
    with trusting("tests"), pytest.raises(UserError, match=r"asks to run tests\.apps\.tiny\.os\.system"):
        restore_module(hop)
    for name in ("anon", "anon.apps", "my package", "a..b", "os", "subprocess", "torch", "torch.hub", "hydra"):
        with pytest.raises(UserError, match="no name of a package of your own"), trusting(name):
            pass


def test_trust_is_told_on_the_command_line(evaluate: Command, tmp_path: Path) -> None:
    """The checkpoint is built, and then is no generator."""
    path = written(tmp_path / "a.ckpt", {"_target_": "tests.apps.tiny.Tiny", "width": 3})
    assert "say trust=tests" in evaluate("experiment=fiva", f"checkpoint={path}", "logger=csv").err
    ended = evaluate("experiment=fiva", f"checkpoint={path}", "logger=csv", "trust=tests")
    assert ended.code == 2 and "trains no generator" in ended.err, ended.err
