"""Distillation: the loss by hand, what the student may be, that it learns its teacher, and that an encoder reads it."""

from __future__ import annotations

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.encoder import Encoder
from anon.identity.networks.iresnet import IResNet
from anon.training.distillation import CopyOf, DistillationTraining
from anon.training.robustness import Losses, WorstPicture
from tests.training.small import settle
from tests.training.test_recognizer import Blobs, Data

SIDE, DIM = 16, 16


class Colours(nn.Module):
    """Images -> their mean colours (B, 3), times a matrix."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.dim = len(weight)
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) @ self.weight.T


def _flat(*colours: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, 4, 4).clone()


def _network() -> IResNet:
    return IResNet((1, 1), (8, 16), DIM, SIDE)


def _teacher() -> Encoder:
    torch.manual_seed(1)
    backbone = _network()
    settle(backbone, Blobs(40, 2).images)
    return Encoder(backbone, SIDE, name="teacher")


def _trainer(epochs: int) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", num_sanity_val_steps=0,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:You are trying to")
def test_the_loss_by_hand() -> None:
    """The teacher names the colour, the student is tilted; the student alone sees the changed pictures."""
    teacher = Encoder(Colours([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 4, name="teacher")
    asked: list[Tensor] = []

    def darker(losses: Losses, images: Tensor, rng: torch.Generator) -> Tensor:
        asked.append(losses(images).detach())
        return images - torch.tensor([0.0, 0.4, 0.0])[:, None, None]

    student = Colours([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    module = DistillationTraining(teacher, student, darker, strength=0.0)
    loss = module.training_step({"image": _flat((0.3, 0.4, 0.9), (0.0, 0.8, 0.0))}, 0)
    # Clean: teacher (.6, .8) and (0, 1); student (.3, .8) and (0, 1). Changed: student (.3, 0) and (0, 1).
    assert asked[0].tolist() == pytest.approx([1 - (0.6 * 0.3 + 0.8 * 0.8) / 0.73**0.5, 0.0], abs=1e-6)
    assert loss.item() == pytest.approx(((1 - 0.6) + 0.0) / 2, abs=1e-6)
    loss.backward()
    assert student.weight.grad is not None and teacher.backbone.weight.grad is None


@pytest.mark.filterwarnings("ignore:You are trying to")
def test_the_ball_lies_around_the_coloured_picture_and_the_teacher_sees_the_plain_one() -> None:
    teacher = Encoder(Colours([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 4, name="teacher")

    def swapped(images: Tensor, rng: torch.Generator) -> Tensor:
        return images[:, [1, 0, 2]]

    student = Colours([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    module = DistillationTraining(teacher, student, strength=0.0, colours=swapped)  # type: ignore[arg-type]
    loss = module.training_step({"image": _flat((0.3, 0.4, 0.9))}, 0)
    assert loss.item() == pytest.approx(1 - 2 * 0.6 * 0.8, abs=1e-6)  # (.6, .8) and (.8, .6)


def test_the_worst_picture_of_a_linear_loss_is_on_the_ball_along_its_slope() -> None:
    slope = torch.tensor([3.0, 0.0, -4.0])[:, None, None].expand(3, 2, 2)  # of norm 10
    found = WorstPicture(radius=0.5, steps=6, step=0.75)(
        lambda x: (x * slope).flatten(1).sum(1), torch.zeros(1, 3, 2, 2), torch.Generator().manual_seed(0)
    )
    assert float(found.norm()) == pytest.approx(0.5, abs=1e-5)
    # At right angles to the slope, 1 and 0 radii become .8 and .6 with the first step, then .51 and .86, ...
    assert float((found * slope).sum() / 10) > 0.49
    flat = WorstPicture(radius=0.1, steps=3, step=1.0, norm="linf")(
        lambda x: (x * slope).flatten(1).sum(1), torch.zeros(1, 3, 2, 2), torch.Generator().manual_seed(0)
    )
    assert flat[0, 0].tolist() == [[pytest.approx(0.1)] * 2] * 2 and float(flat[0, 2].max()) == pytest.approx(-0.1)


def test_the_search_moves_no_statistics_and_stays_in_the_ball() -> None:
    module = DistillationTraining(_teacher(), _network(), WorstPicture(1.5, 2))
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    images, wanted = Blobs(4, 3).images, F.normalize(torch.randn(32, DIM))
    rng = torch.Generator().manual_seed(0)
    found = module.train()._perturbed(lambda x: 1 - (module(x) * wanted).sum(1), images.clamp(-1, 1), rng)
    after = module.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and module.backbone.training
    assert not found.requires_grad and float(found.abs().max()) <= 1
    away = (found - images.clamp(-1, 1)).flatten(1).norm(dim=1)
    assert float(away.min()) > 0.1 and float(away.max()) <= 1.5 + 1e-4


@pytest.mark.filterwarnings("ignore")
def test_a_student_learns_its_teacher_and_an_encoder_reads_its_checkpoint(tmp_path) -> None:
    torch.manual_seed(0)
    module, trainer = DistillationTraining(_teacher(), _network(), WorstPicture(0.5, 1), lr=1e-2), _trainer(8)
    trainer.fit(module, Data(40))
    figures = trainer.callback_metrics
    assert float(figures["val/loss"]) < 0.4  # of ten people never seen; strangers are 1 away
    assert float(figures["val/eer"]) < 0.25
    state = module.state_dict()
    assert state and all(name.startswith("backbone.") for name in state)  # nothing of the teacher

    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    student = Encoder(_network(), SIDE, name="student", weights=str(tmp_path / "last.ckpt"))
    images = Blobs(10, 1).images[:4].clamp(-1, 1)
    torch.testing.assert_close(student(images).z, module.eval()(images))


@pytest.mark.filterwarnings("ignore")
def test_worst_pictures_make_it_robust() -> None:
    """The same training with and without them, and the same attack on both with ten steps."""
    teacher, kept = _teacher(), {}
    images = Blobs(20, 1).images.clamp(-1, 1)
    wanted = teacher(images).z
    for name, adversarial in (("plain", None), ("robust", WorstPicture(2.0, 2))):
        torch.manual_seed(0)
        module, trainer = DistillationTraining(teacher, _network(), adversarial, lr=1e-2), _trainer(8)
        trainer.fit(module, Data(40))
        module.eval()
        attacked = WorstPicture(2.0, 10, 0.25)(
            lambda x, module=module: 1 - (module(x) * wanted).sum(1), images, torch.Generator().manual_seed(1)
        )
        kept[name] = float((module(attacked) * wanted).sum(1).mean())
    assert kept["robust"] > kept["plain"] + 0.1


def test_a_copy_begins_as_its_teacher_and_is_read_by_the_teachers_choice(tmp_path) -> None:
    torch.manual_seed(2)
    backbone = _network()
    settle(backbone, Blobs(40, 2).images)
    given: dict[str, Any] = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2), "bgr": True}
    teacher = Encoder(backbone, SIDE, name="teacher", **given)
    module = DistillationTraining(teacher).eval()
    images = torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1  # reframed to 16
    torch.testing.assert_close(module(images), teacher(images).z)
    assert all(value.requires_grad for value in module.backbone.parameters())
    assert not any(value.requires_grad for value in teacher.parameters())

    with torch.no_grad():
        module.backbone.network.conv1.weight.mul_(torch.rand(8, 1, 1, 1))
    torch.save({"state_dict": module.state_dict()}, tmp_path / "last.ckpt")
    student = Encoder(_network(), SIDE, name="teacher", weights=str(tmp_path / "last.ckpt"), **given)
    torch.testing.assert_close(student(images).z, module(images))


def test_unfit_students_are_refused() -> None:
    with pytest.raises(UserError, match=r"'teacher', 16; give model\.backbone\.dim=16\.$"):
        DistillationTraining(_teacher(), Colours([[1.0, 0.0, 0.0]]))
    teacher = _teacher()
    teacher.backbone.fingerprint = "of a file"
    with pytest.raises(UserError, match="copy of 'teacher', which is an ONNX file"):
        CopyOf(teacher)
