"""Every mistake of the user's: exit code 2, one sentence, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.errors import InstantiationException

from anon.apps.launch.failures import explain, guarded
from anon.commands import STOPPED
from anon.errors import UserError
from tests.apps.conftest import Command, Ended, folder_of


def refused(ended: Ended, *words: str) -> None:
    assert ended.code == 2
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert ended.err.startswith("error: ")
    for word in words:
        assert word in ended.err


def test_unknown_experiment_lists_the_known(train: Command, tmp_path: Path) -> None:
    refused(train("experiment=nope"), "no experiment named 'nope'", "fiva", "recognizer", "attributes")
    assert not (tmp_path / "runs").exists()


def test_a_suite_is_not_trained(train: Command, tmp_path: Path) -> None:
    refused(train("suite=table3"), "train.py measures nothing", "python evaluate.py suite=<name>")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("nonsense=1", "nonsense"),
        ("trainer=nope", "no trainer named 'nope'"),
        ("seed", "seed"),
        ("steps=${nowhere}", "nowhere"),
        ("model=???", "model"),
    ],
)
def test_wrong_override(train: Command, tmp_path: Path, override: str, told: str) -> None:
    refused(train("experiment=tiny", override), told)
    assert not (tmp_path / "runs").exists()


def test_data_error_leaves_no_run_folder(train: Command, tmp_path: Path) -> None:
    refused(train("experiment=tiny", "+data.broken=true"), "/no/such/faces does not exist")
    assert not (tmp_path / "runs").exists()


def test_unwritable_run_folder(train: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused(train("experiment=tiny", f"paths.runs={tmp_path / 'file' / 'runs'}"), "cannot be written", "paths.runs")


def test_wrong_checkpoints(train: Command, tmp_path: Path) -> None:
    absent, rubbish, foreign = tmp_path / "absent.ckpt", tmp_path / "rubbish.ckpt", tmp_path / "foreign.ckpt"
    rubbish.write_bytes(b"not a checkpoint")
    torch.save({"weight": torch.zeros(2)}, foreign)
    refused(train("experiment=tiny", f"ckpt_path={absent}"), "there is no such file", str(absent))
    refused(train("experiment=tiny", f"ckpt_path={rubbish}"), "not a checkpoint", str(rubbish))
    refused(train("experiment=tiny", f"ckpt_path={foreign}"), "not a training checkpoint of this project")
    good = folder_of(train("experiment=tiny")) / "checkpoints" / "last.ckpt"
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(good.read_bytes()[:1000])
    refused(train("experiment=tiny", f"ckpt_path={cut}"), "not a checkpoint, or a broken one")
    assert len(list((tmp_path / "runs" / "train" / "tiny").iterdir())) == 1


def test_checkpoint_of_another_model(train: Command) -> None:
    good = folder_of(train("experiment=tiny")) / "checkpoints" / "last.ckpt"
    wider = ("+model.width=5", "+data.width=5")
    refused(train("experiment=tiny", *wider, f"ckpt_path={good}"), "another model", "first.weight")
    refused(train("experiment=tiny", *wider, "ckpt_path=last"), "another model", str(good))
    assert good.is_file()


def test_ctrl_c(train: Command) -> None:
    ended = train("experiment=tiny", "+model.stop_at=3")
    assert ended.code == STOPPED
    assert "Traceback" not in ended.err


def test_a_bug_keeps_its_traceback() -> None:
    def bug() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        guarded(bug)


def test_explain_finds_the_user_error_behind_hydra() -> None:
    wrapped = InstantiationException("Error in call to target 'anon.faces.folder.FolderFaces'")
    assert explain(wrapped) is None
    wrapped.__cause__ = UserError("the folder\n'x' is empty.")
    assert explain(wrapped) == "the folder 'x' is empty."


def test_a_group_of_the_other_script(train: Command, evaluate: Command, tmp_path: Path) -> None:
    """Hydra's "No match in the defaults list" said neither which script has the group nor that this one has not."""
    refused(evaluate("experiment=fiva", "trainer=ddp"), "evaluate.py trains nothing", "python train.py trainer=<name>")
    refused(train("experiment=fiva", "attributes=fsanet"), "python evaluate.py attributes=<name>")
    assert not (tmp_path / "runs").exists()
