"""FIVA's training: where gradients go, which sign it steers, what a checkpoint holds, that resuming changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.apps.checkpoints import CheckpointFiles
from anon.errors import UserError
from anon.losses.identity import CounterfactualCosine
from anon.losses.pixel import MaskL1, PixelL1
from anon.training.adversarial.steering import steering
from anon.training.augment import Distortion, View
from anon.training.objective import Objective, Term
from anon.training.target_oriented import TargetOriented
from tests.training import small


def trained(folder: Path, steps: int, **options: Any) -> TargetOriented:
    module = small.module(**options)
    small.trainer(folder, steps).fit(module, datamodule=small.data())
    return module


def gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def known(module: TargetOriented) -> dict[str, Any]:
    """A generator pass outside a trainer: no distortion, no view."""
    images = small.Pictures().images[:4]
    z, maps = module.encoder(images, module.encoder.layers)
    found = {"target": images, "distorted": images, "z_target": z, "z_condition": z, "maps_target": maps}
    module.draw(found)
    return found


def test_identity_loss_reaches_every_weight_of_the_generator_and_nothing_else() -> None:
    module = small.module()
    found = known(module)
    CounterfactualCosine()(found["z_target"], found["z_raw"], found["z_blended"]).backward()
    for name, parameter in module.generator.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert all(parameter.grad is None for parameter in module.encoder.parameters())


def test_one_encoder_pass_gives_what_separate_passes_give() -> None:
    module = small.module()
    found = known(module)
    for name in ("raw", "blended"):
        z, maps = module.encoder(found[name], module.encoder.layers)
        torch.testing.assert_close(found[f"z_{name}"], z)
        for together, alone in zip(found[f"maps_{name}"], maps, strict=True):
            torch.testing.assert_close(together, alone)


def test_generator_step_leaves_the_discriminator_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = small.module()
    seen = {}
    real = TargetOriented._discriminator_backward

    def spy(self: TargetOriented, found: dict[str, Any]) -> dict[str, Tensor]:
        seen["before"] = [parameter.grad for parameter in self.discriminator.parameters()]
        seen["generator"] = gradients(self.generator)
        losses = real(self, found)
        assert torch.equal(seen["generator"], gradients(self.generator))
        return losses

    monkeypatch.setattr(TargetOriented, "_discriminator_backward", spy)
    small.trainer(tmp_path, 1).fit(module, datamodule=small.data())
    assert seen["before"] == [None] * len(seen["before"])
    assert all(parameter.requires_grad for parameter in module.discriminator.parameters())


def test_only_condition_and_identity_use_the_undistorted_target(tmp_path: Path) -> None:
    module = small.module(distortion=Distortion(10.0, 0.08))
    found: dict[str, Any] = {}
    seen = []
    real = module.look

    def look(images: Tensor) -> dict[str, Any]:
        found.update(real(images))
        return found

    module.look = look  # type: ignore[method-assign]
    module.generator.register_forward_pre_hook(lambda _, args: seen.append(args))
    small.trainer(tmp_path, 1).fit(module, datamodule=small.data())
    assert not torch.allclose(found["target"], found["distorted"], atol=1e-2)
    torch.testing.assert_close(found["z_target"], module.encoder(found["target"]).z)
    maps = module.encoder(found["distorted"], module.encoder.layers).maps
    torch.testing.assert_close(found["maps_target"][0], maps[0])
    target, z = seen[0]
    assert target is found["distorted"]
    assert z is found["z_target"]


def test_steers_minus_one_is_the_right_sign(tmp_path: Path) -> None:
    """Trained on eq. 4 with its own z it flees z, and with another's z it flees that one and becomes its negative."""
    terms = {
        "identity": Term(CounterfactualCosine(), ["z_target", "z_raw", "z_blended"]),
        "pixel": Term(PixelL1(), ["raw", "distorted"], 2.0),
    }
    module = small.module(objective=Objective(terms), lr=5e-3, ema=0.9)
    small.trainer(tmp_path, 150, max_steps=150, log_every_n_steps=150).fit(module, datamodule=small.data(12, count=960))
    images = small.Pictures().images
    report = {name: float(value) for name, value in steering(module, module.encoder, images).items()}
    assert report["cos_own"] < report["cos_opposite"] - 0.3, report
    assert report["cos_own"] < -0.4, report
    z = module.encoder(images).z
    other = z.roll(12, 0)
    fled = module.encoder(module(images, other).blend(images)).z
    become = module.encoder(module(images, module.generator.steers * other).blend(images)).z
    assert module.generator.steers == -1
    assert (other * fled).sum(1).mean() < (other * z).sum(1).mean() - 0.1 < (other * become).sum(1).mean() - 0.3
    assert report["cos_swap"] == pytest.approx((other * become).sum(1).mean().item(), abs=1e-4)


def test_checkpoint_is_plain_and_has_no_encoder(tmp_path: Path) -> None:
    module = small.module()
    trainer = small.trainer(tmp_path, 2, plugins=[CheckpointFiles("model: small\n")])
    trainer.fit(module, datamodule=small.data())
    trainer.save_checkpoint(tmp_path / "last.ckpt", weights_only=False)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    parts = {name.partition(".")[0] for name in content["state_dict"]}
    assert parts == {"generator", "discriminator", "ema"}
    assert content["config"] == "model: small\n"
    assert len(content["optimizer_states"]) == len(content["lr_schedulers"]) == 2
    fresh = small.module()
    nn.init.zeros_(fresh.averaged.head.weight)  # type: ignore[union-attr, arg-type]
    fresh.load_state_dict(content["state_dict"])
    assert torch.equal(fresh.averaged.head.weight, module.averaged.head.weight)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("options", [{}, {"view": View(), "clip": 1.0, "accumulate": 2, "warmup": 3, "decay_every": 2}])
def test_resumed_training_is_the_unbroken_one_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    unbroken = small.module(**options)
    first = small.trainer(tmp_path, 6)
    first.fit(unbroken, datamodule=small.data())
    first.save_checkpoint(tmp_path / "six.ckpt", weights_only=False)

    half = small.trainer(tmp_path, 6, limit_train_batches=None)
    half.callbacks.append(_Stop(3))  # type: ignore[attr-defined]
    half.fit(small.module(**options), datamodule=small.data())
    half.save_checkpoint(tmp_path / "three.ckpt", weights_only=False)
    resumed = small.trainer(tmp_path, 6)
    resumed.fit(small.module(**options), datamodule=small.data(), ckpt_path=tmp_path / "three.ckpt", weights_only=True)
    resumed.save_checkpoint(tmp_path / "again.ckpt", weights_only=False)

    wanted, found = (torch.load(tmp_path / name, weights_only=True) for name in ("six.ckpt", "again.ckpt"))
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        _same(wanted[key], found[key])
    before = torch.load(tmp_path / "three.ckpt", weights_only=True)["state_dict"]
    assert not torch.equal(before["generator.head.weight"], wanted["state_dict"]["generator.head.weight"])


def test_a_training_begins_with_the_average_of_another_and_resumes_without_its_file(tmp_path: Path) -> None:
    file = tmp_path / "first.ckpt"
    first, trainer = small.module(), small.trainer(tmp_path, 2)
    trainer.fit(first, datamodule=small.data())
    assert not torch.equal(first.generator.head.weight, first.averaged.head.weight)  # type: ignore[arg-type, union-attr]
    trainer.save_checkpoint(file, weights_only=False)

    second = small.module(start=str(file), lr=1e-12)
    two = small.trainer(tmp_path, 1)
    two.fit(second, datamodule=small.data())
    for network in (second.generator, second.averaged):
        torch.testing.assert_close(network.head.weight, first.averaged.head.weight)  # type: ignore[union-attr]
    two.save_checkpoint(tmp_path / "second.ckpt", weights_only=False)

    file.unlink()
    small.trainer(tmp_path, 2).fit(
        small.module(start=str(file)),
        datamodule=small.data(),
        ckpt_path=tmp_path / "second.ckpt",
        weights_only=True,
    )
    with pytest.raises(UserError, match="No weight file at"):
        small.trainer(tmp_path, 1).fit(small.module(start=str(file)), datamodule=small.data())


def test_accumulated_batches_are_one_large_one(tmp_path: Path) -> None:
    """Two batches of 4 with accumulate=2 step like one of 8; the losses are means over faces."""
    options: dict[str, Any] = {"distortion": Distortion(0, 0), "objective": Objective(small.terms(), r1_every=1)}
    images = small.Pictures().images[:8]
    one = small.module(**options)
    small.trainer(tmp_path, 1).fit(one, small.loader(images))
    two = small.module(accumulate=2, **options)
    halves = torch.utils.data.DataLoader([{"image": image} for image in images], batch_size=4)  # type: ignore[arg-type]
    small.trainer(tmp_path, 1).fit(two, halves)
    assert two.step == 1
    wrong, count = 0, 0
    for network in ("generator", "discriminator"):
        for ours, theirs in zip(getattr(one, network).parameters(), getattr(two, network).parameters(), strict=True):
            # Adam's first step is lr·sign(g): where a gradient is rounding noise, it may go either way.
            wrong += int((ours - theirs).abs().gt(1e-4).sum())
            count += ours.numel()
    assert wrong < 0.01 * count


def test_r1_every_eighth_step_counts_eight_times(tmp_path: Path) -> None:
    """On its step the lazy penalty's gradient is the period times that of the plain one."""
    found = {}
    for every in (1, 8):
        module = small.module(objective=Objective(small.terms(), r1_gamma=1e4, r1_every=every))
        module._optimize = dict  # type: ignore[method-assign, assignment]
        small.trainer(tmp_path, 1, max_steps=-1, max_epochs=1, limit_train_batches=1).fit(
            module, datamodule=small.data()
        )
        found[every] = gradients(module.discriminator)
    torch.testing.assert_close(found[8] / 8, found[1], rtol=0.02, atol=0.02 * found[1].abs().max().item())


def test_learning_rate() -> None:
    module = small.module(warmup=10, decay=0.5, decay_every=100, cooldown=50, steps=400)
    expected = {0: 0.1, 9: 1.0, 99: 1.0, 100: 0.5, 200: 0.25, 350: 0.125, 375: 0.0625, 400: 0.0}
    assert {step: module.rate(step) for step in expected} == pytest.approx(expected)
    smooth = small.module(decay=0.5, decay_every=100, staircase=False)
    assert [smooth.rate(step) for step in (0, 50, 100, 150)] == pytest.approx([1, 0.5**0.5, 0.5, 0.5**1.5])
    with pytest.raises(UserError, match="steps"):
        small.module(cooldown=10)


def test_float16_is_refused(tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, 1)
    trainer.strategy.precision_plugin.precision = "16-mixed"  # type: ignore[assignment]
    with pytest.raises(UserError, match="bf16-mixed"):
        trainer.fit(small.module(), datamodule=small.data())


def test_bf16_stays_near_float32(tmp_path: Path) -> None:
    figures = {}
    for precision in ("32-true", "bf16-mixed"):
        trainer = small.trainer(tmp_path, 2, precision=precision)
        trainer.fit(small.module(), datamodule=small.data())
        figures[precision] = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name in ("identity", "ifsr", "pixel", "mask", "adversarial", "discriminator"):
        key = f"train/{name}"
        assert figures["bf16-mixed"][key] == pytest.approx(figures["32-true"][key], rel=0.05, abs=0.02)


def test_validation_reports_both_signs(tmp_path: Path) -> None:
    trainer = small.trainer(tmp_path, 2, limit_val_batches=1, max_steps=-1, max_epochs=1, limit_train_batches=2)
    module = small.module()
    trainer.fit(module, datamodule=small.data())
    images = small.Pictures("background").images[:4]
    z = module.encoder(images).z
    redrawn = module.averaged(images, -z)
    cos = F.cosine_similarity(z, module.encoder(redrawn.mask * redrawn.image + (1 - redrawn.mask) * images).z).mean()
    assert trainer.callback_metrics["val/cos_opposite"].item() == pytest.approx(cos.item(), abs=1e-5)
    assert {"val/cos_own", "val/cos_raw", "val/l1", "val/mask_area"} <= trainer.callback_metrics.keys()


def test_only_what_is_asked_for_is_computed(tmp_path: Path) -> None:
    calls = []
    module = small.module(objective=Objective({"mask": Term(MaskL1(), ["mask"])}))
    module.discriminator.register_forward_hook(lambda *_: calls.append("discriminator"))
    module.encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    small.trainer(tmp_path, 1).fit(module, datamodule=small.data())
    assert set(calls) == {"encoder"}  # the condition


class _Stop(small.pl.Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.should_stop = trainer.fit_loop.total_batch_idx + 1 >= self.steps


def _same(wanted: Any, found: Any) -> None:
    if isinstance(wanted, Tensor):
        assert torch.equal(wanted, found)
    elif isinstance(wanted, dict):
        assert wanted.keys() == found.keys()
        for key in wanted:
            _same(wanted[key], found[key])
    elif isinstance(wanted, list | tuple):
        for one, other in zip(wanted, found, strict=True):
            _same(one, other)
    else:
        assert wanted == found


@pytest.mark.parametrize("name", ["same", "same_index", "z_source"])
def test_terms_of_pairs_need_pairs(name: str) -> None:
    with pytest.raises(UserError, match=f"with {name} needs model.pairing"):
        small.module(Objective({"pixel": Term(lambda *things: things[0].mean(), ["raw", "target", name])}))
