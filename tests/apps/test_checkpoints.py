"""Checkpoint files: atomic, plain, and choosy about what they may build."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from anon.apps.checkpoints import CheckpointFiles, check_fits, read_checkpoint, restore_module
from anon.errors import UserError
from tests.apps.tiny import Tiny


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
