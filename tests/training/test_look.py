"""experiment=look: it learns rendered people, its weights are what it can read, and patterns are laid over faces."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate

from anon.attributes.look import LookRegressor, explained
from anon.errors import UserError
from anon.faces.datamodule import FaceData, synthetic_data
from anon.faces.synthetic.look import LOOK
from anon.metrics.spectrum import change_share
from anon.training.callbacks.clock import TrainingClock
from anon.training.look import LookTraining, look_of_people, patterned
from tests.apps.test_configs import composed


def data(cache: Path) -> FaceData:
    counts = {"train": 24, "background": 12, "attacker": 2, "evaluation": 2}
    return synthetic_data(32, counts, 2, 0, 2, batch_size=16, cache=cache)


def fitted(cache: Path, epochs: int, **settings) -> tuple[LookTraining, FaceData, pl.Trainer]:
    torch.manual_seed(0)
    module, faces = LookTraining(LookRegressor(size=32, widths=(16, 32)), **settings), data(cache)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[TrainingClock()],
        use_distributed_sampler=False,
    )
    trainer.fit(module, faces)
    return module, faces, trainer


@pytest.mark.filterwarnings("ignore")
def test_what_it_is_taught_comes_back(tmp_path: Path) -> None:
    """Of its training people, without distortion: most of the skin colour within a few epochs."""
    module, faces, trainer = fitted(tmp_path, 25, strength=0.0, pattern=0.0)
    train = faces.faces("train")
    look = look_of_people(train)
    torch.testing.assert_close(module.regressor.mean, look.mean(0))
    images = torch.stack([train[row]["image"] for row in range(len(train))])
    module.eval()
    with torch.no_grad():
        read = explained(module.regressor.read(images), module.regressor.standardized(look)[train.labels])
    assert float(read[LOOK.index("skin")]) > 0.5
    background = faces.faces("background")
    images = torch.stack([background[row]["image"] for row in range(len(background))])
    truth = module.regressor.standardized(look_of_people(background))[background.labels]
    with torch.no_grad():
        expected = explained(module.regressor.read(images), truth).clamp(min=0)
    torch.testing.assert_close(module.regressor.readable, expected, rtol=1e-3, atol=1e-3)
    assert 0 < float(module.regressor.readable.max()) <= 1
    (clock,) = [each for each in trainer.callbacks if isinstance(each, TrainingClock)]  # type: ignore[attr-defined]
    assert clock.seconds > 0.1


def test_the_experiment_composes() -> None:
    module = instantiate(composed("train", "experiment=look").model)
    assert isinstance(module, LookTraining) and module.regressor.size == 32
    half = sum(2 * value.numel() for value in module.regressor.state_dict().values())
    assert half < 2_000_000  # bytes that ship


def test_photographs_are_refused() -> None:
    with pytest.raises(UserError, match="use data=synthetic"):
        look_of_people(object())  # type: ignore[arg-type]


def test_patterns_are_fine_and_of_the_step(tmp_path: Path) -> None:
    faces = torch.zeros(300, 3, 32, 32)
    over = [patterned(faces, torch.Generator().manual_seed(seed), 0.3) for seed in (1, 1, 2)]
    assert torch.equal(over[0], over[1]) and not torch.equal(over[0], over[2])
    left = over[0].flatten(1).abs().amax(1)
    assert float(left.max()) <= 0.3 and 0.2 < float((left == 0).float().mean()) < 0.45  # a third is left alone
    assert patterned(faces, torch.Generator(), 0.0) is faces
    shares = change_share(over[0], faces)
    known = shares[~shares.isnan()]  # half of them gratings, most of which are fine
    assert 0.2 < float((known > 0.8).float().mean()) < 0.9
