"""The published steps are ours: equal losses, equal gradients; and a difference would be told."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from anon.generators.discriminator import Discriminator
from anon.generators.facedancer import FaceDancer
from benchmarks import train_step
from benchmarks.published import PUBLISHED, as_published
from benchmarks.ways import FASTER, LITERAL, Runner, Setting, Watch, Way
from tests.training import small

SMALL = {
    "facedancer": ["generator.base=8", "generator.mapping=16", "discriminator.base=4"],
    "fiva": ["generator.widths=[8,16]", "discriminator.base=4"],
    "reconstruction": ["generator.widths=[8,16]", "discriminator.base=4"],
    "simswap": ["generator.base=8", "generator.blocks=1", "discriminator.base=4"],
}


def setting(experiment: str) -> Setting:
    return Setting(experiment, ["data.size=32", *SMALL[experiment]])


def gradients(module: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


@pytest.mark.parametrize(
    "experiment", [name if name == "fiva" else pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED]
)
def test_losses_of_several_steps(experiment: str) -> None:
    assert max(train_step.check_losses(setting(experiment)).values()) <= 1e-5


@pytest.mark.parametrize("experiment", PUBLISHED)
def test_gradients_of_a_step(experiment: str, tmp_path: Path) -> None:
    """In one layout, on the same blocks: R1's gradient jumps where rounding crosses a leaky ReLU's kink."""
    ours = setting(experiment).module("model.channels_last=false")
    theirs = PUBLISHED[experiment](setting(experiment).module(), forms=False)
    batch = setting(experiment).batches(4, 1)[0]
    theirs.step(batch, 0)
    ours._optimize = dict  # type: ignore[method-assign, assignment]
    loader = torch.utils.data.DataLoader([batch], batch_size=None)  # type: ignore[arg-type]
    small.trainer(tmp_path, 1, max_steps=-1, max_epochs=1).fit(ours, loader)
    for name in ("generator", "discriminator"):
        found, wanted = gradients(getattr(ours, name)), gradients(getattr(theirs, name))
        assert wanted.abs().max() > 0
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_another_loss_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_step, "SAME", Way("other", overrides=("objective.r1_gamma=5",)))
    apart = train_step.check_losses(setting("fiva"))
    (said,) = train_step.unequal("fiva", apart)
    assert "losses of 'other'" in said
    assert train_step.unequal("fiva", {"a": 1e-6, "b": float("nan")})[0].startswith("fiva: losses of 'b' are nan off")


def test_published_blocks_are_other_operations_with_the_same_result() -> None:
    torch.manual_seed(0)
    networks = Discriminator(32, base=4), FaceDancer(32, base=4, z_dim=6, mapping=8)
    images, z = torch.rand(2, 3, 32, 32), torch.rand(2, 6)
    before = networks[0](images), networks[1](images, z).image
    for network in networks:
        as_published(network)
    after = networks[0](images), networks[1](images, z).image
    for ours, theirs in zip(before, after, strict=True):
        assert not torch.equal(ours, theirs)
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_report_of_an_experiment() -> None:
    """Ratios are of the published step of the same window; ours needs fewer operations, lazily fewer still."""
    found = train_step.measure(
        setting("reconstruction"), setting("reconstruction").batches(2), 2, [LITERAL, FASTER, train_step.BEST], 1, 8
    )
    assert found[0].ratios == [1.0]
    assert found[1].ratios == [found[1].rates[0] / found[0].rates[0]]
    assert found[0].operations > found[1].operations > found[2].operations > 0
    lines = train_step.table(found, {"fp32": 1e12, "bf16": 1e12}, {"bf16": 2e12})
    assert [line.split("|")[1].strip() for line in lines[2:]] == [LITERAL.name, FASTER.name, train_step.BEST.name]


def test_the_furthest_loss() -> None:
    """3 and 3.3 are .1 apart, relatively; .5 and .75 are .25; R1's one jump of 9 is no difference, a 0 is no loss."""
    wanted = [{"a": 3.0, "b": 0.5, "r1": 1.0}, {"a": 3.0, "b": 0.0, "r1": 1.0}, {"a": 3.0, "b": 0.5, "r1": 1.0}]
    found = [{"a": 3.3, "b": 0.5, "r1": 1.0}, {"a": 3.0, "b": 0.5, "r1": 10.0}, {"a": 3.0, "b": 0.75, "r1": 1.0}]
    assert train_step.furthest(found, wanted) == pytest.approx(0.25)
    assert train_step.furthest(found[:2], wanted[:2]) == pytest.approx(4.5)


def test_windows_continue_one_training() -> None:
    """The second window of a way starts from the weights that the first one left."""
    chosen, batches = setting("reconstruction"), setting("reconstruction").batches(2, 1)
    for way in (LITERAL, FASTER):
        runner = Runner(way, chosen, "model.lr=1e-2")
        first, second = (runner.run(batches, 4, 0, 1)[1] for _ in range(2))
        assert second[0]["pixel"] < first[0]["pixel"]


def test_the_clock_starts_once_in_a_run_of_several_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches an epoch: eight steps after a warm-up pass the first batch of an epoch twice more."""
    looked: list[int] = []
    monkeypatch.setattr(Watch, "_look", lambda self: looked.append(self.done))
    runner = Runner(FASTER, Setting("fiva", ["data.size=16", *SMALL["fiva"]]))
    _, losses = runner.run(small.data(8, count=24), 8, warm=1, log_every=1)
    assert len(losses) == 9 and looked == [0, 1]


def test_steps_are_whole_periods_of_r1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["train_step.py", "--steps", "12"])
    with pytest.raises(SystemExit):
        train_step.arguments()
    assert "multiple of 8" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["train_step.py", "--quick", "data.workers=2"])
    args = train_step.arguments()
    assert isinstance(args, argparse.Namespace) and args.overrides == ["data.workers=2"] and args.batch == [8]
