"""Attribute anonymizers from their command lines: trained, restored with a classifier, and found by a table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps.checkpoints import CheckpointFiles, restore_module
from anon.apps.config import composed
from anon.apps.editors import restore_classifier, restore_editor
from anon.errors import UserError
from anon.evaluation.document import read
from anon.training.attribute_classifier import AttributeClassifierTraining
from anon.training.editing import EditingTraining
from tests.apps.conftest import Command, folder_of
from tests.apps.test_evaluate import SMALL
from tests.apps.test_tables import RULES

NAMES = ["Bald", "Eyeglasses", "Male", "Mustache", "No_Beard"]
FEW = [f"generator.attributes={NAMES}", "data.size=32", "generator.base=4", "generator.layers=2", "generator.units=1"]
FEW += ["discriminator.base=4", "discriminator.layers=2", "discriminator.hidden=8", "model.reader=null"]
READS = [f"model.classifier.attributes={NAMES}", "model.classifier.size=32", "+model.classifier.widths=[8,8]"]
OF_STGAN = ("generator.layers", "generator.units", "discriminator.layers")
TURNED = "callbacks.grids.turned=[Bald,Male]"


def saved(experiment: str, words: list[str], place: Path) -> Path:
    """A checkpoint of an experiment's model at its random start."""
    model = composed("train", [f"experiment={experiment}", *words]).model
    plain = OmegaConf.to_container(model, resolve=True)
    torch.manual_seed(0)
    content = {"state_dict": instantiate(plain).state_dict(), "global_step": 1}
    text = OmegaConf.to_yaml({"experiment": experiment, "model": plain})
    CheckpointFiles(text).save_checkpoint(content, place)
    return place


def test_an_editor_and_a_classifier_come_back(tmp_path: Path) -> None:
    editor = restore_editor(saved("stgan", FEW, tmp_path / "editor.ckpt"))
    kept = torch.load(tmp_path / "editor.ckpt", weights_only=True)["state_dict"]
    assert editor.attributes == tuple(NAMES) and not editor.training
    assert torch.equal(editor.to_rgb.bias, kept["ema.model.to_rgb.bias"])  # type: ignore[union-attr]
    classifier = restore_classifier(saved("attribute_classifier", READS, tmp_path / "reader.ckpt"), NAMES)
    assert classifier.attributes == editor.attributes
    module, _ = restore_module(tmp_path / "reader.ckpt")
    assert isinstance(module, AttributeClassifierTraining)


def test_another_experiments_checkpoint_is_none(tmp_path: Path) -> None:
    reader = saved("attribute_classifier", READS, tmp_path / "reader.ckpt")
    with pytest.raises(UserError, match="experiment=attribute_classifier, which trains no attribute editor"):
        restore_editor(reader)
    with pytest.raises(UserError, match="is of experiment=stgan, not of attribute_classifier"):
        restore_classifier(saved("stgan", FEW, tmp_path / "editor.ckpt"), NAMES)
    with pytest.raises(UserError, match="no editor ships"):
        restore_editor("shipped:stgan")


@pytest.mark.parametrize("experiment", ["stgan", "stargan"])
def test_experiments_compose(experiment: str) -> None:
    words = [word for word in FEW if experiment == "stgan" or word.split("=")[0] not in OF_STGAN]
    words += ["discriminator.layers=3"] * (experiment == "stargan")
    module = instantiate(composed("train", [f"experiment={experiment}", *words]).model)
    assert isinstance(module, EditingTraining) and module.cycle == (experiment == "stargan")


def test_what_nobody_trained_is_said(evaluate: Command) -> None:
    """Tables print what a method needs; of the method alone it is an error with the way out."""
    ended = evaluate("suite=table1", "method=dp_k_anonymity", *SMALL, *RULES)
    assert "experiment=stgan" in ended.out + ended.err


@pytest.mark.slow
def test_their_table(train: Command, evaluate: Command) -> None:
    """Two steps of an editor and of a classifier of five attributes, and a table of both methods."""
    tiny = ("data.identities=12", "data.images=4", "data.clips=0", "data.batch_size=4", "steps=2", "logger=csv")
    folder_of(train("experiment=stgan", *FEW, *tiny, TURNED))
    reads = [*READS, "trainer.max_epochs=1"]
    reader = folder_of(train("experiment=attribute_classifier", *reads, *tiny, "data.size=32"))
    given = f"classifier={reader / 'checkpoints' / 'last.ckpt'}"
    both = [f"suite.methods.{name}.anonymizer.{given}" for name in ("dp_k_anonymity", "anonymous_net")]
    both += ["suite.methods.dp_k_anonymity.anonymizer.groups=[[Mustache,No_Beard]]"]
    both += ["suite.methods.dp_k_anonymity.anonymizer.gamma=1"]
    both += ["suite.methods.dp_k_anonymity.anonymizer.k=4", "suite.methods.anonymous_net.anonymizer.k=3"]
    both += ["suite.methods.anonymous_net.anonymizer.identifying=[Bald,Eyeglasses]"]
    both += ["suite.methods.anonymous_net.anonymizer.sensitive=[Male]", "suite.methods.anonymous_net.anonymizer.l=1"]
    both += ["suite.methods.anonymous_net.anonymizer.checkpoint=${checkpoints}:stgan"]
    both += ["suite.methods.anonymous_net.anonymizer.cloak.people=2"]
    few = ("suite.attacked_probes=1", "suite.grid_faces=2", "checkpoints=last")
    ended = evaluate("suite=attribute_editing", *both, *few, *SMALL, *RULES)
    assert ended.code == 0, ended.err
    document = read(Path(ended.out.splitlines()[-1]))
    assert [line.dial for line in document.lines if line.method == "dp k-anonymity"] == [0.0, 0.25, 1.0]
    assert all(not line.needs for line in document.lines)
    assert any("reference people" in note for note in document.notes)
