"""Training editors: the losses by hand, what is asked of whom, and that an attribute that is seen is learned."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from anon.attributes.classifier import AttributeClassifier
from anon.errors import UserError
from anon.faces.contract import Label
from anon.generators.editing.contract import Editor
from anon.generators.editing.critic import AttributeCritic
from anon.generators.editing.stargan import StarGAN
from anon.generators.editing.stgan import STGAN
from anon.losses.editing import EditingLoss
from anon.training.editing import EditingTraining

NAMES = ["Bright", "Other"]


class Shades:
    """Sixteen pictures: Bright ones are light, and Other says nothing that is seen."""

    def __init__(self) -> None:
        self.labels, self.videos, self.frames = torch.arange(16), torch.full((16,), -1), torch.zeros(16).long()
        self.bright, self.other = torch.arange(16) % 2, torch.arange(16) // 2 % 2

    def annotations(self) -> dict[str, Label]:
        return {"Bright": Label(self.bright, ("0", "1")), "Other": Label(self.other, ("0", "1"))}

    def batch(self, size: int = 16) -> dict[str, Tensor]:
        grain = 0.05 * torch.randn(16, 3, size, size, generator=torch.Generator().manual_seed(1))
        images = (0.5 * (2 * self.bright.float() - 1))[:, None, None, None] + grain
        return {"image": images.clamp(-1, 1), "identity": self.labels, "video": self.videos, "frame": self.frames}


def training(faces: Shades, editor: Editor | None = None, **options: object) -> EditingTraining:
    torch.manual_seed(0)
    editor = editor or STGAN(NAMES, 16, 8, 2, 1)
    given = {"loss": EditingLoss(reconstruction=10.0), "steps": 10_000, "critic_steps": 1, "ema": 0.5, **options}
    made = EditingTraining(editor, AttributeCritic(NAMES, 16, 8, 2, 16), **given)  # type: ignore[arg-type]
    made.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    loop = SimpleNamespace(total_batch_idx=0)
    data = SimpleNamespace(faces=lambda split: faces)
    strategy = SimpleNamespace(backward=lambda loss, *_, **__: loss.backward())
    made.trainer = SimpleNamespace(fit_loop=loop, datamodule=data, global_rank=0, strategy=strategy)  # type: ignore[assignment]
    optimizers = made.configure_optimizers()
    made.optimizers = lambda: optimizers  # type: ignore[method-assign, assignment]
    made.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign, assignment]
    return made


def test_the_generator_s_sum_by_hand() -> None:
    """1 · -(1 + 3) / 2 + 10 · log 2 + 100 · .25."""
    total, terms = EditingLoss()(
        torch.tensor([1.0, 3.0]),
        torch.zeros(2, 2),
        torch.tensor([[1.0, 0.0], [1.0, torch.nan]]),
        torch.full((2, 3, 4, 4), 0.25),
        torch.zeros(2, 3, 4, 4),
    )
    assert terms["adversarial"].item() == -2.0 and terms["reconstruction"].item() == 0.25
    assert total.item() == pytest.approx(-2.0 + 10 * 0.693147 + 25.0, abs=1e-4)


def test_what_is_wanted_is_what_others_of_the_batch_have() -> None:
    faces = Shades()
    made = training(faces)
    own = made.truth("train", faces.batch())
    assert own.tolist() == [[float(n % 2), float(n // 2 % 2)] for n in range(16)]
    wanted = made.wanted(own, torch.Generator().manual_seed(0))
    assert sorted(map(tuple, wanted.tolist())) == sorted(map(tuple, own.tolist())) and not torch.equal(wanted, own)


def test_a_visible_attribute_is_learned_and_nothing_else_moves_the_picture() -> None:
    """A dark picture asked to be bright becomes so, and one of which nothing is asked stays, within 40 steps."""
    faces = Shades()
    made = training(faces, lr=3e-3, d_lr=3e-3)
    batch = faces.batch()
    for step in range(40):
        made.trainer.fit_loop.total_batch_idx = step  # type: ignore[misc]
        made.training_step(batch, step)
    images, own = batch["image"], made.truth("train", batch)
    asked = own.clone()
    asked[:, 0] = 1 - asked[:, 0]
    editor = made.generator.eval()
    with torch.no_grad():
        turned, same = editor(images, own, asked).mean((1, 2, 3)), editor(images, own, own)
    assert float((same - images).abs().mean()) < 0.15
    dark = faces.bright == 0
    assert float(turned[dark].mean()) > float(turned[~dark].mean())  # each became the other


@pytest.mark.parametrize(("critic_steps", "moved"), [(1, True), (3, False)])
def test_the_editor_learns_in_every_nth_step(critic_steps: int, moved: bool) -> None:
    faces = Shades()
    made = training(faces, critic_steps=critic_steps)
    before = [value.clone() for value in made.generator.parameters()]
    critic = made.discriminator.trunk[0].weight.clone()  # type: ignore[operator, union-attr]
    made.training_step(faces.batch(), 0)
    assert any(not torch.equal(*pair) for pair in zip(before, made.generator.parameters(), strict=True)) is moved
    assert not torch.equal(critic, made.discriminator.trunk[0].weight)  # type: ignore[arg-type, union-attr]


def test_ahead_of_all_the_critic_reads_and_nothing_else() -> None:
    """The editor stays, and so does the head that says how real a face is."""
    faces = Shades()
    made = training(faces, ahead=2)
    before = [value.clone() for value in made.generator.parameters()]
    real, named = made.discriminator.real[1].weight.clone(), made.discriminator.named[1].weight.clone()  # type: ignore[index]
    made.training_step(faces.batch(), 0)
    assert all(torch.equal(*pair) for pair in zip(before, made.generator.parameters(), strict=True))
    assert torch.equal(real, made.discriminator.real[1].weight)  # type: ignore[index]
    assert not torch.equal(named, made.discriminator.named[1].weight)  # type: ignore[index]
    made.trainer.fit_loop.total_batch_idx = 2  # type: ignore[misc]
    made.training_step(faces.batch(), 2)
    assert any(not torch.equal(*pair) for pair in zip(before, made.generator.parameters(), strict=True))


def test_of_what_is_unknown_nothing_is_asked() -> None:
    """All faces of an unknown attribute: the critic's head of it and the condition's column take no gradient."""
    faces = Shades()
    faces.other = torch.full((16,), -1)
    made = training(faces)
    made.training_step(faces.batch(), 0)
    head = made.discriminator.named[3]  # type: ignore[index]
    rows = head.weight.grad.abs().sum(1)
    assert float(rows[0]) > 0 and float(rows[1]) == 0


def test_stargan_compares_there_and_back() -> None:
    faces = Shades()
    told: list[list[Tensor]] = []

    class Watched(StarGAN):
        def draw(self, target: Tensor, condition: Tensor) -> Tensor:
            told.append([target.detach(), condition])
            return super().draw(target, condition)

    made = training(faces, Watched(NAMES, 16, 4, 1), cycle=True)
    made._editor_step(*(faces.batch()["image"], *[made.truth("train", faces.batch())] * 3))
    (there, _), (back, condition) = told
    assert torch.equal(there, faces.batch()["image"]) and not torch.equal(back, there)
    assert torch.equal(condition, made.truth("train", faces.batch()))


def test_the_rate_falls_over_the_second_half() -> None:
    faces = Shades()
    made = training(faces, steps=100, lr=1e-3)
    rates = []
    for step in (0, 50, 75, 99):
        made.trainer.fit_loop.total_batch_idx = step  # type: ignore[misc]
        made.training_step(faces.batch(), step)
        rates.append(made.optimizers()[0].param_groups[0]["lr"])  # type: ignore[index, union-attr]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2e-5])


def test_a_reader_takes_no_part_and_reads_the_same_attributes() -> None:
    reader = AttributeClassifier(NAMES, 16, (8, 8), 8)
    made = training(Shades(), reader=reader)
    assert made.reader is reader and not any("reader" in name for name in made.state_dict())
    with pytest.raises(UserError, match=r"model\.reader reads Bald, Other"):
        training(Shades(), reader=AttributeClassifier(["Bald", "Other"], 16, (8, 8), 8))
