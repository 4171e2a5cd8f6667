"""Training a swap tool of two people: what moves, what is shown, and that resuming changes nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from anon.errors import UserError
from anon.faces.couple import TwoPeople
from anon.generators.subjects.contract import DONOR, ORIGINAL
from anon.generators.subjects.dfaker import DFaker
from anon.generators.subjects.faceswap_gan import Critics, FaceswapGAN
from anon.generators.subjects.saehd import SAEHDLiae
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import IResNet
from anon.losses.dssim import SubjectLoss
from anon.training.subject_adversarial import FaceswapGANTraining, MaskedLoss, differences, mixed_critic
from anon.training.subject_swap import SubjectGrids, SubjectTraining
from anon.training.warps import GridWarp, Views
from tests.training import small


class People:
    """Two people of 24 smooth pictures each, the first bright, the other dark."""

    synthetic = True

    def __init__(self, size: int) -> None:
        rng = torch.Generator().manual_seed(1)
        self.labels, self.names = torch.arange(48) // 24, ["one", "other"]
        coarse = torch.rand(48, 3, 4, 4, generator=rng) - self.labels.view(-1, 1, 1, 1)
        self.images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
        self.videos, self.frames = torch.full((48,), -1), torch.arange(48) % 24

    def __len__(self) -> int:
        return 48

    def __getitem__(self, index: int) -> dict[str, Any]:
        whose = {"identity": self.labels[index], "video": self.videos[index], "frame": self.frames[index]}
        return {"image": self.images[index], **whose}


def couple(size: int, batch: int = 6) -> TwoPeople:
    from anon.faces.datamodule import FaceData

    return TwoPeople(FaceData(lambda split: People(size), "two", size, True, batch), "one", "other")  # type: ignore[arg-type]


def module(kind: str = "dfaker", **options: Any) -> SubjectTraining:
    torch.manual_seed(0)
    shared = {"views": Views(GridWarp()), "optimizer": partial(torch.optim.Adam, lr=1e-3), "steps": 6, **options}
    if kind == "gan":
        encoder = Encoder(IResNet((1, 1), (8, 16), 16, 16, stem_stride=1), 16, name="small", layers=["layer1"])
        critic = partial(torch.optim.Adam, lr=1e-3)
        made = {"generator": FaceswapGAN(64, 2, 8), "loss": MaskedLoss(features=[0.1]), **shared}
        return FaceswapGANTraining(Critics(64, 2), encoder, critic, **made)
    tool = SAEHDLiae(32, 2, 2, 1, 8) if kind == "liae" else DFaker(32, 2, 8)
    return SubjectTraining(**{"generator": tool, "loss": SubjectLoss(1.0, 1.0, 1.0), **shared})


def fitted(made: SubjectTraining, folder: Path, steps: int, resumed: str | None = None) -> pl.Trainer:
    trainer = small.trainer(
        folder, steps, limit_val_batches=1, max_steps=steps * (2 if hasattr(made, "critics") else 1)
    )
    trainer.fit(made, datamodule=couple(made.generator.size), ckpt_path=resumed)
    return trainer


@pytest.mark.parametrize("kind", ["dfaker", "gan"])
def test_all_parts_learn(kind: str, tmp_path: Path) -> None:
    made, fresh = module(kind), module(kind)
    trainer = fitted(made, tmp_path, 6)
    still = [name for name, value in made.state_dict().items() if torch.equal(value, fresh.state_dict()[name])]
    assert not [name for name in still if not name.endswith("key.bias")]  # a softmax does not see it
    names = set(trainer.callback_metrics)
    terms = (
        ("pixel", "edges", "mask", "adversarial", "features", "critic") if kind == "gan" else ("dssim", "pixel", "mask")
    )
    assert {f"train/{who}_{term}" for who in ("donor", "original") for term in terms} <= names
    assert {"val/l1_donor", "val/l1_original"} <= names


@pytest.mark.parametrize("kind", ["dfaker", "gan"])
def test_resuming_changes_nothing(kind: str, tmp_path: Path) -> None:
    whole, first, second = module(kind), module(kind), module(kind)
    fitted(whole, tmp_path / "whole", 6)
    fitted(first, tmp_path / "parts", 3).save_checkpoint(tmp_path / "half.ckpt")
    fitted(second, tmp_path / "parts", 6, str(tmp_path / "half.ckpt"))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert not any(name.startswith("encoder.") for name in whole.state_dict())


def test_a_step_of_one_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Donor alone in the batches: the original's decoder stays as it was."""
    made, fresh = module(), module()
    kept = made.shown
    monkeypatch.setattr(made, "shown", lambda batch: [part for part in kept(batch) if part[0] == DONOR])
    fitted(made, tmp_path, 2)
    for name, value in made.generator.decoders[ORIGINAL].state_dict().items():
        assert torch.equal(value, fresh.generator.decoders[ORIGINAL].state_dict()[name])  # type: ignore[index]
    assert not torch.equal(made.generator.encoder.shrink.weight, fresh.generator.encoder.shrink.weight)  # type: ignore[union-attr]


def test_what_both_share_rests_while_nothing_is_warped(tmp_path: Path) -> None:
    made, fresh = module("liae", unwarped=1.0), module("liae")
    assert isinstance(made.generator, SAEHDLiae) and isinstance(fresh.generator, SAEHDLiae)
    fitted(made, tmp_path, 2)
    assert torch.equal(made.generator.inter_ab.shrink.weight, fresh.generator.inter_ab.shrink.weight)
    assert not torch.equal(made.generator.inter_b.shrink.weight, fresh.generator.inter_b.shrink.weight)


def test_both_people_are_learned(tmp_path: Path) -> None:
    """The bright one is drawn bright and the dark one dark, and a dark one in the other's place bright."""
    made = module(steps=40, loss=SubjectLoss(0.0, 10.0, 1.0), optimizer=partial(torch.optim.Adam, lr=5e-3))
    fitted(made, tmp_path, 40)
    pictures, face = People(32).images[-8:], slice(12, 22)  # of the original, which no training saw
    with torch.no_grad():
        own, swapped = made.generator.own(pictures, ORIGINAL).image, made(pictures).image
    assert float(own[..., face, face].mean()) < -0.2 and float(swapped[..., face, face].mean()) > 0.2


def test_a_grid_has_seven_columns(tmp_path: Path) -> None:
    made = module()
    faces = couple(32).faces("background")
    grid = SubjectGrids(str(tmp_path), faces=2)
    picked = grid.pick(faces)
    assert picked.shape == (2, 2, 3, 32, 32)
    assert torch.equal(picked[0, 0], faces[int((faces.labels == ORIGINAL).nonzero()[0])]["image"])
    columns = grid.columns(made, picked)
    assert len(columns) == 7 and all(column.shape == (2, 3, 32, 32) for column in columns)


def test_a_mixture_that_is_real_has_the_loss_of_reals() -> None:
    logits = torch.tensor([[[[0.5, 2.0]]], [[[1.0, 0.0]]]])
    assert mixed_critic(logits, torch.ones(2)).item() == pytest.approx((logits - 1).square().mean().item())
    assert mixed_critic(logits, torch.zeros(2)).item() == pytest.approx(logits.square().mean().item())


def test_masked_terms_by_hand() -> None:
    """1 where 0 is wanted, of 4 x 4 pixels, one of them an eye; differences of a column of ones beside zeros."""
    picture, target, areas = torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    areas[:, 1, 0, 0] = 1.0
    loss = MaskedLoss()
    assert float(loss(picture, picture[:, :1], target, areas)["pixel"]) == pytest.approx((15 + 31) / 16)
    picture[..., 0] = 0.0
    down, across = differences(picture)
    assert down.abs().sum() == 0 and across.abs().sum() == 3 * 4
    found = loss(picture, picture[:, :1], target, torch.zeros(1, 3, 4, 4))
    assert float(found["edges"]) == pytest.approx(0.1 * 4 / 12) and float(found["variation"]) == pytest.approx(
        0.1 * 4 / 12
    )
    mask = torch.full((2, 1, 4, 4), 0.3)
    assert float(loss.masked(mask, None)) == pytest.approx(0.01 * 0.3)
    assert float(loss.masked(mask, 0.5)) == pytest.approx(0.1 * 0.2) and float(loss.masked(mask, 0.2)) == 0.0


def test_the_mask_s_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module("gan", steps=100)
    assert isinstance(made, FaceswapGANTraining)
    found = []
    for step in (0, 29, 30, 40, 50, 99):
        monkeypatch.setattr(FaceswapGANTraining, "step", step)
        found.append(made.least)
    assert found == [None, None, 0.5, 0.2, 0.4, 0.4]


def test_other_data_are_refused(tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, 1)
    with pytest.raises(UserError, match="this training is of two people"):
        trainer.fit(SubjectTraining(**vars_of(DFaker(32, 2, 8))), datamodule=crowd())
    with pytest.raises(UserError, match=r"draws 32 pixels and data\.size=64"):
        trainer.fit(SubjectTraining(**vars_of(DFaker(32, 2, 8))), datamodule=couple(64))


def vars_of(tool: DFaker) -> dict[str, Any]:
    optimizer = partial(torch.optim.Adam, lr=1e-3)
    return {"generator": tool, "loss": SubjectLoss(), "views": Views(GridWarp()), "optimizer": optimizer, "steps": 1}


def crowd() -> Any:
    found = small.data()
    found.size = 32
    return found
