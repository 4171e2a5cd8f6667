"""experiment=parrot: starts from shipped weights, resumes from a checkpoint alone, and its result is an adversary's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from anon.anonymizers.filters import Pixelate
from anon.apps import parrots
from anon.apps.checkpoints import CheckpointFiles
from anon.apps.config import plain_yaml
from anon.apps.parrots import tuned_recognizer
from anon.attacks.parrot import Parrot
from anon.errors import UserError
from anon.evaluation.trained import adversary
from anon.identity.judge import Judge
from tests.apps.test_configs import composed
from tests.training.test_recognizer import Data, _module, _trainer


def shipped() -> Judge:
    return instantiate(composed("evaluate", "judge=synthetic_b").judge)


@pytest.mark.filterwarnings("ignore")
def test_training_starts_from_the_weights_that_it_is_given(tmp_path: Path) -> None:
    learned = _module()
    torch.save({key: value + 0.5 for key, value in learned.backbone.state_dict().items()}, tmp_path / "start.pt")
    module = _module(start=str(tmp_path / "start.pt"), lr=0.0, weight_decay=0.0)
    before = [parameter.clone() for parameter in module.backbone.parameters()]
    _trainer(1).fit(module, Data())
    for old, new in zip(before, module.backbone.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.5)
    with pytest.raises(UserError, match="No weight file"):
        _trainer(1).fit(_module(start=str(tmp_path / "none.pt")), Data())


def test_the_experiment_starts_from_the_judge() -> None:
    config = composed("train", "experiment=parrot")
    module = instantiate(config.model)
    assert config.attack.method.title == "FIVA" and config.attack.policy._target_.endswith("IdentityTracker")

    class Data:
        def faces(self, split: str):
            return type("Faces", (), {"names": ["one", "two"]})

    module._trainer = type("Trainer", (), {"datamodule": Data(), "ckpt_path": None})()
    module.setup("fit")
    module.on_fit_start()
    judge = shipped()
    for mine, its in zip(module.backbone.parameters(), judge.encoder.backbone.parameters(), strict=True):
        assert torch.equal(mine, its)


@pytest.mark.filterwarnings("ignore")
def test_what_was_trained_is_the_adversarys_recognizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint of the experiment, its learning left out: the judge's network again, which no table may refuse."""
    config = composed("train", "experiment=parrot", "logger=csv", "method=blur")
    module = instantiate(config.model, start=None)
    module.backbone.load_state_dict(shipped().encoder.backbone.state_dict())
    module.head = module.make_head(module.backbone.dim, 3)
    config.run.dir = str(tmp_path)
    file = tmp_path / "last.ckpt"
    CheckpointFiles(plain_yaml(config)).save_checkpoint({"state_dict": module.state_dict(), "global_step": 1}, file)
    judge = shipped()
    given = composed("evaluate", "attack=parrot_tuned", f"attack.recognizer.checkpoint={file}").attack
    attack = adversary(given, judge, "cpu")(anonymizer=Pixelate(4))  # type: ignore[operator]
    assert isinstance(attack, Parrot)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(attack.judge(judge).embed(images), judge.embed(images))
    assert attack.judge(judge).fingerprint == judge.fingerprint and attack.judge(judge).name == "parrot"
    given = composed("evaluate", "attack=tuned", f"attack.recognizer.checkpoint={file}").attack
    alone = adversary(given, judge, "cpu")
    torch.testing.assert_close(alone.judge(judge).embed(images), judge.embed(images))
    assert alone.gallery(images) is images
    monkeypatch.setattr(parrots, "restore_module", lambda path: (torch.nn.Identity(), config))
    with pytest.raises(UserError, match="trains no recognizer"):
        tuned_recognizer("some.ckpt")
