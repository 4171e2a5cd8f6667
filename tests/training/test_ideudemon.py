"""Training IDeudemon: the reader from what is known, the restorer from triplets that are drawn once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from anon.attributes.look import LookRegressor
from anon.attributes.regressor import AttributeRegressor
from anon.errors import UserError
from anon.faces.synthetic.dataset import SyntheticFaces
from anon.generators.ideudemon import Hybrid, IDeudemon
from anon.generators.patchgan import MultiScale
from anon.training.ideudemon import IDeudemonTraining
from tests.evaluation.tiny_world import encoder


@pytest.fixture(scope="module")
def faces() -> SyntheticFaces:
    return SyntheticFaces("train", 32, identities=4, images=2)


def training(faces, **options) -> IDeudemonTraining:
    torch.manual_seed(0)
    network = IDeudemon(LookRegressor(widths=(8, 8, 8)), AttributeRegressor(32, (8, 8, 8)), (8, 16), (8, 16))
    given = {"steps": 40, "ahead": 20, "lr": 5e-3, **options}
    made = IDeudemonTraining(network, MultiScale(1, 8, 2), encoder(0), **given)
    optimizers = made.configure_optimizers()
    made.optimizers, made.manual_backward = lambda: optimizers, lambda loss: loss.backward()
    made.log, made.told = lambda name, value, **_: made.told.setdefault(name, []).append(float(value)), {}
    loop = SimpleNamespace(total_batch_idx=0)
    data = SimpleNamespace(faces=lambda split: faces)
    made.trainer = SimpleNamespace(fit_loop=loop, global_rank=0, world_size=1, datamodule=data, strategy=None)
    return made


def batch(faces) -> dict[str, torch.Tensor]:
    return faces.__getitems__(list(range(len(faces))))


def test_the_reader_learns_first_and_the_restorer_after_it(faces) -> None:
    made, given = training(faces), batch(faces)
    start = [parameter.clone() for parameter in made.network.restorer.parameters()]
    for step in range(20):
        made.trainer.fit_loop.total_batch_idx = step
        made.training_step(given, step)
    face, scene = made.told["train/face"], made.told["train/scene"]
    assert face[-1] < 0.8 * face[0] and scene[-1] < scene[0]
    assert all(map(torch.equal, start, made.network.restorer.parameters()))
    reader = [parameter.clone() for parameter in made.network.reader.parameters()]
    for step in range(20, 40):
        made.trainer.fit_loop.total_batch_idx = step
        made.training_step(given, step)
    assert all(map(torch.equal, reader, made.network.reader.parameters()))
    assert made.told["train/l1"][-1] < made.told["train/l1"][0]
    assert {"train/identity", "train/perceptual", "train/adversarial", "train/critic"} <= set(made.told)


def test_triplets_are_drawn_once_and_mirrored_as_one(faces) -> None:
    """X_I is X where the reader sees no face, mirrored with it; the noise is of the picture and not of the step."""
    made, given = training(faces, flip_share=1.0), batch(faces)
    target, hybrid = made.triplets(given)
    assert torch.equal(target, given["image"].flip(-1))
    made.trainer.fit_loop.total_batch_idx = 7
    assert all(map(torch.equal, made.triplets(given)[1], hybrid))
    again = training(faces, flip_share=0.0).triplets(given)[1]  # as a resumed run has it
    assert torch.equal(again.image.flip(-1), hybrid.image) and torch.equal(again.valid.flip(-1), hybrid.valid)
    other = training(faces, flip_share=0.0, seed=1).triplets(given)[1]
    assert not torch.equal(other.protected, again.protected)


def test_the_identity_that_is_wanted_is_the_hybrids(faces) -> None:
    """0 of the hybrid itself, however far X is; a weight of 0 is not computed; φ is 0 of equal pictures."""
    made = training(faces, adversarial=0.0)
    x, other = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    hybrid = Hybrid(other, other, torch.ones(2, 1, 32, 32))
    terms = made.terms(x, hybrid, other.clone())
    assert set(terms) == {"l1", "perceptual", "identity"}
    assert float(terms["identity"]) < 1e-5 and float(terms["l1"]) == pytest.approx(float((x - other).abs().mean()))
    back = made.terms(x, hybrid, x)
    assert float(back["identity"]) > 0.1 and float(back["l1"]) == float(back["perceptual"]) == 0.0


def test_what_it_cannot_learn_from(faces) -> None:
    with pytest.raises(UserError, match="ahead=40 leaves none of steps=40"):
        training(faces, ahead=40)
    made = training(object())
    with pytest.raises(UserError, match="what rendered faces were rendered from"):
        made.training_step(batch(faces), 0)
