"""What accumulation, memory layout, compilation, averaging and precision may do to a swapper's losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from anon.training.target_oriented import TargetOriented
from tests.training import small

CONF = Path(__file__).parents[2] / "conf"
SMALL = {
    "facedancer": ["generator.base=8", "generator.mapping=16", "discriminator.base=4"],
    "simswap": ["generator.base=8", "generator.blocks=1", "discriminator.base=4"],
    "faceshifter": ["generator.width=0.02", "discriminator.base=4"],
}
STEPS = 4
#: Largest relative difference of a loss to the same step without the option, float32.
EXACT = 1e-5
#: The band of bf16: a loss may be off by a tenth of itself, or by .02 where it is smaller.
BF16 = {"rel": 0.1, "abs": 0.02}


class Losses(pl.Callback):
    """Every loss of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        metrics = trainer.callback_metrics
        self.steps.append({k: float(v) for k, v in metrics.items() if "grad" not in k and "per_s" not in k})


def swapper(experiment: str, **options: Any) -> TargetOriented:
    """A small one with the shipped encoder on pictures of 32 x 32; the same weights at every call.

    The rate is small, because Adam's first steps are lr·sign(gradient), whose sign may be rounding noise.
    """
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        overrides = [f"experiment={experiment}", "data.size=32", "model.warmup=0", "model.cooldown=0", "model.lr=1e-6"]
        overrides += [*SMALL[experiment], *(f"model.{name}={value}" for name, value in options.items())]
        torch.manual_seed(0)
        return instantiate(compose("train", overrides).model)


def pictures() -> torch.utils.data.DataLoader:
    """Four batches of four."""
    images = torch.nn.functional.interpolate(small.Pictures().images[:16], scale_factor=2, mode="bilinear")
    return torch.utils.data.DataLoader([{"image": image} for image in images], batch_size=4)  # type: ignore[arg-type]


def train(folder: Path, experiment: str, precision: str = "32-true", **options: Any) -> Losses:
    losses = Losses()
    updates = STEPS // int(options.get("accumulate", 1))
    trainer = small.trainer(folder, updates, precision=precision, callbacks=[losses])
    trainer.fit(swapper(experiment, **options), pictures())
    assert len(losses.steps) == STEPS
    return losses


@pytest.mark.parametrize("experiment", SMALL)
def test_layout_and_average_change_no_loss(experiment: str, tmp_path: Path) -> None:
    plain = train(tmp_path, experiment, channels_last="false", ema=0.9)
    for options in ({"channels_last": "true", "ema": 0.9}, {"channels_last": "false", "ema": 0.5}):
        for ours, theirs in zip(train(tmp_path, experiment, **options).steps, plain.steps, strict=True):
            assert ours == pytest.approx(theirs, rel=EXACT, abs=EXACT)


def test_the_average_changes_evaluation_alone(tmp_path: Path) -> None:
    """After four steps of the decay's warm start, a slow average is behind a fast one, and the generators are one."""
    slow, fast = (swapper("faceshifter", ema=decay, lr=1e-3) for decay in (0.9, 0.1))
    for module in (slow, fast):
        small.trainer(tmp_path, STEPS).fit(module, pictures())
    same = [torch.equal(*pair) for pair in zip(slow.generator.parameters(), fast.generator.parameters(), strict=True)]
    apart = [torch.equal(*pair) for pair in zip(slow.averaged.parameters(), fast.averaged.parameters(), strict=True)]
    assert all(same) and not any(apart)


@pytest.mark.parametrize("experiment", SMALL)
def test_accumulation_changes_no_loss_before_the_weights_move(experiment: str, tmp_path: Path) -> None:
    """R1 apart, whose period counts optimizer steps."""
    plain, collected = (train(tmp_path, experiment, lr=0, d_lr=0, accumulate=count).steps for count in (1, STEPS))
    for ours, theirs in zip(collected, plain, strict=True):
        ours, theirs = ({k: v for k, v in step.items() if k != "train/r1"} for step in (ours, theirs))
        assert ours == pytest.approx(theirs, rel=EXACT, abs=EXACT)


@pytest.mark.parametrize("experiment", SMALL)
def test_bf16_stays_in_its_band(experiment: str, tmp_path: Path) -> None:
    plain, half = (train(tmp_path, experiment, precision).steps for precision in ("32-true", "bf16-mixed"))
    for ours, theirs in zip(half, plain, strict=True):
        assert ours == pytest.approx(theirs, **BF16)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", SMALL)
def test_compilation_changes_no_loss(experiment: str, tmp_path: Path) -> None:
    """R1, which needs a second derivative, is in the first step of two of the three."""
    plain, compiled = (train(tmp_path, experiment, compile=value).steps for value in ("false", "true"))
    for ours, theirs in zip(compiled, plain, strict=True):
        assert ours == pytest.approx(theirs, rel=EXACT, abs=EXACT)


def test_loss_of_same_pairs_is_of_the_last_step_that_had_some(tmp_path: Path) -> None:
    """SimSwap's pairs are the same in steps 0 and 2, and differ in 1 and 3."""
    pixel = [step["train/pixel"] for step in train(tmp_path, "simswap").steps]
    assert pixel[0] > 0 and pixel[1] == pixel[0] != pixel[2] == pixel[3]
