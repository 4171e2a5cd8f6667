"""Training what inpaints: both networks move, the critic is told the context, and resuming changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import nn

from anon.apps import checkpoints
from anon.errors import UserError
from anon.generators.inpainting.ciagan import CIAGAN, CIAGANCritics
from anon.generators.inpainting.deepprivacy import DeepPrivacy, DeepPrivacyCritic
from anon.generators.inpainting.deepprivacy2 import DeepPrivacy2, DeepPrivacy2Critic
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import IResNet
from anon.losses.adversarial import (
    DriftingCritic,
    GradientPenalty,
    Hinge,
    LeastSquares,
    LeastSquaresCritic,
    NonSaturating,
    WassersteinCritic,
)
from anon.losses.siamese import Siamese
from anon.training.adversarial.sizes import check_size
from anon.training.grids import InpaintingGrids
from anon.training.inpainting import CIAGANTraining, InpaintingTraining
from anon.training.objective import Objective, Term
from tests.generators.test_inpainting import Points
from tests.training import small


def module(kind: str = "deepprivacy", **options: object) -> InpaintingTraining:
    """The same weights at every call."""
    torch.manual_seed(0)
    frozen = Encoder(IResNet((1, 1), (8, 16), 16, 16, stem_stride=1), 16, name="small")
    if kind == "deepprivacy":
        networks = DeepPrivacy(16, Points(), 8, 16), DeepPrivacyCritic(16, 8)  # type: ignore[arg-type]
        penalty = GradientPenalty(10.0, one_sided=True)
        losses = {"r1_gamma": 0.0, "critic": WassersteinCritic(), "penalty": penalty}
        term = Term(Hinge(), ["logits_raw"])
    else:
        networks = DeepPrivacy2(32, 8, 2, 16), DeepPrivacy2Critic(32, 8, 2)
        losses, term = {"r1_gamma": 0.1, "critic": DriftingCritic()}, Term(NonSaturating(), ["logits_raw"])
    objective = Objective({"adversarial": term}, r1_every=2, **losses)  # type: ignore[arg-type]
    return InpaintingTraining(*networks, frozen, objective, **{"lr": 1e-3, "betas": (0.0, 0.99), **options})


def fitted(made: InpaintingTraining, folder: Path, steps: int, resumed: str | None = None) -> pl.Trainer:
    trainer = small.trainer(folder, steps, limit_val_batches=1)
    trainer.fit(made, datamodule=small.data(), ckpt_path=resumed)
    return trainer


@pytest.mark.parametrize(("kind", "side"), [("deepprivacy", 16), ("deepprivacy2", 32)])
def test_two_steps_move_both_networks(kind: str, side: int, tmp_path: Path) -> None:
    made = module(kind)
    check_size(made, side)
    before = {name: value.clone() for name, value in made.state_dict().items() if not name.startswith("ema")}
    images = torch.rand(4, 3, side, side) * 2 - 1
    trainer = small.trainer(tmp_path, 2)
    trainer.fit(made, small.loader(images))
    after = made.state_dict()
    still = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert not {name for name in still if not name.endswith("kernel")}, still  # of a filter
    penalty = "train/penalty" if kind == "deepprivacy" else "train/r1"
    for name in ("train/adversarial", "train/discriminator", "train/d_real"):
        assert trainer.callback_metrics[name].isfinite()
    assert penalty in trainer.callback_metrics


def test_ciagan_learns_who_people_are_and_refuses_more_than_it_has_codes_for(tmp_path: Path) -> None:
    """Three networks move in a step; the identity network learns from reals alone, and the code is the partner's."""
    torch.manual_seed(0)
    frozen = Encoder(IResNet((1, 1), (8, 16), 16, 16, stem_stride=1), 16, name="small")
    terms = {
        "adversarial": Term(LeastSquares(), ["logits_raw"]),
        "identity": Term(Siamese(), ["z_raw", "z_wanted"]),
    }
    objective = Objective(terms, r1_gamma=0.0, critic=LeastSquaresCritic())
    networks = CIAGAN(16, Points(), 12, 4, 16, 1), CIAGANCritics(16, 4, 8)  # type: ignore[arg-type]
    made = CIAGANTraining(*networks, frozen, objective, lr=1e-2)
    before = {name: value.clone() for name, value in made.named_parameters() if value.requires_grad}
    trainer = small.trainer(tmp_path, 2)
    trainer.fit(made, datamodule=small.data())  # 12 people
    still = {name for name, value in made.named_parameters() if name in before and torch.equal(value, before[name])}
    assert not {name for name in still if not name.startswith("ema") and ".skip.parametrizations" not in name}
    assert trainer.callback_metrics["train/siamese"] > 0 and trainer.callback_metrics["train/identity"] > 0
    known = made.look({"image": torch.rand(4, 3, 16, 16), "identity": torch.tensor([3, 3, 5, 11])})
    assert networks[0].person(known["z_condition"]).tolist() == torch.tensor([3, 3, 5, 11])[known["partner"]].tolist()
    assert torch.equal(known["z_wanted"], known["z_target"][known["partner"]])
    made.generator.identities = 11
    with pytest.raises(UserError, match=r"has 12 people and generator\.identities=11"):
        small.trainer(tmp_path, 1).fit(made, datamodule=small.data())


def test_the_critic_is_told_what_the_generator_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same context for reals and fakes; a critic of pictures alone would learn who may stand there."""
    made, told = module(), []

    class Ear(nn.Module):
        def forward(self, images: torch.Tensor, seen: object) -> torch.Tensor:
            told.append((len(images), seen))
            return images.flatten(1).sum(1)

    made.discriminator = Ear()
    known: dict = {"distorted": torch.rand(4, 3, 16, 16) * 2 - 1}
    known |= {"z_condition": made.latents(4, torch.Generator().manual_seed(0))}
    made.draw(known)
    made.critic(known)(torch.cat((known["distorted"], known["raw"])))
    assert [count for count, _ in told] == [4, 8]
    for _, seen in told:
        assert torch.equal(seen.context, made.generator.see(known["distorted"]).context)


def test_broken_in_two_it_trains_to_the_same_weights(tmp_path: Path) -> None:
    whole, first, second = module(), module(), module()
    fitted(whole, tmp_path, 4)
    fitted(first, tmp_path, 2).save_checkpoint(tmp_path / "half.ckpt")
    assert not [name for name in torch.load(tmp_path / "half.ckpt")["state_dict"] if "estimator" in name]
    fitted(second, tmp_path, 4, str(tmp_path / "half.ckpt"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_what_it_does_not_take() -> None:
    objective = Objective(small.terms(), r1_gamma=0.1)
    with pytest.raises(UserError, match=r"has no .*use objective=deepprivacy"):
        InpaintingTraining(*[nn.Identity()] * 2, small.encoder(), objective)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="R1 or another penalty, not both"):
        Objective(small.terms(), r1_gamma=1.0, penalty=GradientPenalty())


def test_a_grid_shows_what_is_seen_and_three_people(tmp_path: Path) -> None:
    made, faces = module(), small.Pictures().images[:3]
    columns = InpaintingGrids(str(tmp_path)).columns(made, faces)
    assert [tuple(column.shape) for column in columns] == [(3, 3, 16, 16)] * 5
    assert torch.equal(columns[0], faces) and torch.equal(columns[1], made.averaged.see(faces).context)
    assert not torch.allclose(columns[2], columns[3]) and not torch.allclose(columns[3], columns[4])


def test_latents_of_a_checkpoint_can_be_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``method.anonymizer.truncation``; at 0 every latent draws one face."""
    made, faces = module(), small.Pictures().images[:2]
    monkeypatch.setattr(checkpoints, "restore_module", lambda path: (made.eval(), OmegaConf.create()))
    z = made.latents(2, torch.Generator().manual_seed(0))
    for truncation, alike in ((None, False), (0.0, True)):
        trained = checkpoints.restore_inpainter(tmp_path, truncation)
        assert trained.name == "DeepPrivacy"
        one, other = (trained.generator(faces, part).image for part in (z, z.flip(0)))
        assert torch.equal(one, other) is alike
