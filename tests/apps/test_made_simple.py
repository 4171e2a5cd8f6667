"""Made Simple from its command lines: trained, found again by the table of its degree, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from anon.apps.checkpoints import restore_made_simple
from anon.apps.config import composed
from anon.errors import UserError
from anon.evaluation.document import read
from anon.training.made_simple import MadeSimpleTraining
from tests.apps.conftest import Command, checkpoint_of, folder_of
from tests.apps.test_evaluate import SMALL
from tests.apps.test_tables import RULES

TINY = ("data.identities=4", "data.images=2", "data.group=2", "data.size=32", "data.batch_size=4")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of the experiment's model with few channels, at its random start."""
    model = composed("train", ["experiment=made_simple", "model.network.widths=[8,16]"]).model
    torch.manual_seed(0)
    module = MadeSimpleTraining(instantiate(OmegaConf.to_container(model.network, resolve=True)), steps=1)
    return checkpoint_of("made_simple", model, tmp_path / "checkpoints" / "last.ckpt", module)


def test_a_checkpoint_comes_back_with_its_dial(checkpoint: Path) -> None:
    made = restore_made_simple(checkpoint, degree=0.3, guidance=2, steps=3, sampler="ddpm")
    assert (made.degree, made.guidance, made.steps, made.sampler) == (0.3, 2.0, 3, "ddpm")
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert torch.equal(made.network.token.weight, kept["network.token.weight"])
    assert not any(each.requires_grad for each in made.parameters())


def test_another_experiments_checkpoint_is_none(of_another_experiment: Path) -> None:
    with pytest.raises(UserError, match="is of experiment=diffusion, not of made_simple"):
        restore_made_simple(of_another_experiment)


def test_data_without_triples_are_refused_before_a_step(train: Command) -> None:
    ended = train("experiment=made_simple", "data=synthetic", "data.identities=4", "data.images=2", "data.clips=0",
                  "data.size=32", "logger=csv", "steps=1")  # fmt: skip
    assert ended.code == 2
    assert "data=synthetic_crossed renders them" in ended.err


@pytest.mark.slow
def test_its_table(train: Command, evaluate: Command) -> None:
    """A step of training, and two degrees of what came of it, by checkpoints=last."""
    own = ("model.network.widths=[8,16]", "steps=1", "logger=csv")
    folder_of(train("experiment=made_simple", *TINY, *own))
    values = "[0,1.5]"
    few = ("suite.attacked_probes=1", "suite.grid_faces=0", "checkpoints=last")
    few += (f"suite.measures.monotone.degrees={values}", f"suite.tables.made_simple_degree.grid.1.dial.values={values}")
    few += ("suite.methods.made_simple.anonymizer.steps=2",)
    ended = evaluate("suite=made_simple_degree", *few, *SMALL, *RULES)
    assert ended.code == 0, ended.err
    lines = [line for line in read(Path(ended.out.splitlines()[-1])).lines if line.method != "Real"]
    assert [line.dial for line in lines] == [0.0, 1.5]
    assert lines[1].metrics["distance_spearman"].n == 6 and "distance_spearman" not in lines[0].metrics
