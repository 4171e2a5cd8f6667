"""FATM from its command lines: its checkpoint behind a policy, its row of a table, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from anon.anonymizers.composed import Anonymizer
from anon.apps.checkpoints import restore_fatm
from anon.apps.config import composed
from anon.errors import UserError
from anon.evaluation.document import read
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.generators.subjects.fatm import FATM
from anon.identity.encoder import Encoder
from anon.identity.latent import RandomIdentity
from anon.identity.tracking import IdentityTracker
from tests.apps.conftest import Command, checkpoint_of, folder_of
from tests.apps.test_evaluate import SMALL
from tests.apps.test_tables import RULES

FEW = ("generator.channels=2", "generator.decoder_channels=1", "generator.latent=8")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Of the experiment's model with few channels, at its random start."""
    model = composed("train", ["experiment=fatm", *FEW]).model
    return checkpoint_of("fatm", model, tmp_path / "checkpoints" / "last.ckpt")


@pytest.fixture
def encoder() -> Encoder:
    return instantiate(composed("evaluate", ["suite=table1", "method=fatm"]).suite.methods.fatm.anonymizer.encoder)


def test_a_checkpoint_comes_back(checkpoint: Path, encoder: Encoder) -> None:
    made = restore_fatm(checkpoint, encoder)
    assert made.name == "FATM" and made.encoder.name == "synthetic_robust"
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert isinstance(made.generator, FATM) and made.generator.donors == 4
    assert torch.equal(made.generator.encoder[1].shrink.weight, kept["generator.encoder.1.shrink.weight"])
    assert not any(".estimator." in name for name in kept)
    assert not any(each.requires_grad for each in made.generator.parameters())


def test_a_person_keeps_one_donor_and_what_is_around_the_mask(
    checkpoint: Path, encoder: Encoder, tmp_path: Path
) -> None:
    """Four pictures of each of three people through the tracker, picture by picture."""
    made = restore_fatm(checkpoint, encoder)
    faces = SyntheticFaces("background", size=64, identities=3, images=4, clips=0, cache=tmp_path)
    pictures = torch.stack([faces[index]["image"] for index in range(12)])
    asked: list[int] = []
    tool = made.generator
    assert isinstance(tool, FATM)
    tool.register_forward_pre_hook(lambda module, given: asked.extend(tool.donor(given[1]).tolist()))
    threshold = 0.9  # of these encoder's distances, wide enough for one person's pictures
    anonymizer = Anonymizer(encoder, IdentityTracker(RandomIdentity(), threshold), tool).eval()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        changed = torch.cat([anonymizer(pictures[[index]], rng=rng) for index in range(4)])
        again = torch.cat([anonymizer(pictures[[index]], rng=rng) for index in range(4)])
    assert asked[:4] == asked[4:] == [asked[0]] * 4 and torch.equal(changed, again)
    outside = tool.hull(pictures[:4]).expand_as(changed) == 0
    assert torch.equal(changed[outside], pictures[:4][outside]) and not torch.equal(changed, pictures[:4])


def test_another_experiment_s_checkpoint_is_none(of_another_experiment: Path, encoder: Encoder) -> None:
    with pytest.raises(UserError, match="is of experiment=diffusion, not of fatm"):
        restore_fatm(of_another_experiment, encoder)


def test_donors_and_their_number_are_said_twice(train: Command, tmp_path: Path) -> None:
    small = ("data.identities=4", "data.images=20", "data.size=32", "logger=csv", "steps=1")
    ended = train("experiment=fatm", *small, "generator.donors=3", f"paths.cache={tmp_path / 'cache'}")
    assert ended.code == 2
    assert "the generator has 3 donors and subjects.donors 4 names" in ended.err


@pytest.mark.slow
def test_its_row(train: Command, evaluate: Command) -> None:
    """Two steps of training, and table 1 of what came of it: a donor for each face, and for each person."""
    tiny = ("data.identities=4", "data.images=20", "data.size=32", "data.batch_size=8", "steps=2", "logger=csv")
    folder_of(train("experiment=fatm", *FEW, *tiny))
    ended = evaluate("suite=table1", "method=fatm", "checkpoints=last", *SMALL, *RULES)
    assert ended.code == 0, ended.err
    lines = [line for line in read(Path(ended.out.splitlines()[-1])).lines if line.method == "FATM"]
    assert {line.policy for line in lines if line.metrics} == {"plain", "itm"}
