"""Training Made Simple: which triples it shows, and that a source's colour is learned, and taken away by the degree."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from anon.generators.made_simple.network import MadeSimple
from anon.training.made_simple import MadeSimpleTraining


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def training(**options: float) -> MadeSimpleTraining:
    torch.manual_seed(0)
    made = MadeSimpleTraining(MadeSimple((32, 32)), 60, **{"lr": 1e-2, **options})
    made.log = lambda *_, **__: None
    made.trainer = SimpleNamespace(global_step=0, global_rank=0, world_size=1)
    return made


def coloured(colours: torch.Tensor) -> torch.Tensor:
    return colours.view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def triple(colours: torch.Tensor, scene: torch.Tensor) -> dict[str, torch.Tensor]:
    """The source has the truth's colour, the driving picture another."""
    return {"image": coloured(colours), "source": coloured(colours), "driving": coloured(scene)}


def test_shares_of_triples() -> None:
    """Truth is +1, source .5 and driving -1 on the left, 0 on the right."""
    left = torch.zeros(4000, 3, 1, 2)
    left[..., 0] = 1.0
    batch = {"image": left, "source": 0.5 * left, "driving": -left}
    truth, source, driving, known = training(null_share=0.2, own_share=0.1, flip_share=0.25).told(batch, rng())
    own = driving.sum((1, 2, 3)) > 0
    mirrored = truth[:, 0, 0, 1] == 1
    assert abs(float((known == 0).float().mean()) - 0.2) < 0.02
    assert abs(float(own.float().mean()) - 0.1) < 0.02 and bool((known[own] == 1).all())
    assert abs(float(mirrored.float().mean()) - 0.25) < 0.02
    assert torch.equal(source, 0.5 * truth) and torch.equal(driving.abs(), truth)  # all three are mirrored together


def test_a_sources_colour_is_learned_and_the_degree_takes_it_away() -> None:
    made = training(null_share=0.2, own_share=0.0)
    optimizer = made.configure_optimizers()["optimizer"]
    for step in range(60):
        made.trainer.global_step = step
        colours, scene = torch.rand(2, 16, generator=rng(step)) * 1.2 - 0.6
        loss = made.training_step(triple(colours, scene), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network, scene = made.network.eval(), coloured(torch.zeros(2))
    noise = torch.randn(1, 3, 8, 8, generator=rng(1)).expand(2, -1, -1, -1)

    def apart(degree: float) -> float:
        found = network.draw(scene, coloured(torch.tensor([0.5, -0.5])), noise, degree, 1.0, 5).mean((1, 2, 3))
        return float(found[0] - found[1])

    assert apart(0.0) > 0.4  # of 1
    assert apart(0.0) > apart(0.5) > 0.1 and abs(apart(1.0)) < 1e-5 and apart(1.5) < -0.1


def test_a_steps_draws_are_of_the_step_alone_and_validation_tells_what_a_source_says() -> None:
    made, told, losses = training(), {}, {}
    batch = triple(torch.linspace(-0.5, 0.5, 8), torch.zeros(8))
    for parameter in made.network.parameters():  # what begins at 0 lets nothing of the source through
        torch.nn.init.normal_(parameter, std=0.1, generator=rng())
    for step in (3, 5, 3):
        made.trainer.global_step = step
        losses.setdefault(step, []).append(float(made.training_step(batch, 0).detach()))
    assert losses[3][0] == losses[3][1] != losses[5][0]
    made.log = lambda name, value, **_: told.__setitem__(name, float(value.detach()))
    made.validation_step(batch, 0)
    made.on_validation_epoch_end()
    assert set(told) == {f"val/{name}_{level}" for name in ("loss", "loss_nobody") for level in (0.4, 0.7, 0.95)}
    assert told["val/loss_0.4"] != told["val/loss_nobody_0.4"]


@pytest.mark.parametrize(("late", "share"), [(1.0, 0.25), (2.0, 0.5)])
def test_how_many_times_are_near_to_pure_noise(late: float, share: float) -> None:
    """t > .75 where (1 - u)^late < .25: a quarter of even u, or half; one u of each part of [0, 1], so exactly."""
    made, seen = training(late=late), []

    def loss(truth, source, driving, known, t, noise):
        seen.append(t)
        return made.network.token.weight.sum() + t

    made.network.loss = loss
    made.training_step(triple(torch.zeros(40), torch.zeros(40)), 0)
    (t,) = seen
    assert float((t > 0.75).float().mean()) == pytest.approx(share) and 0 <= float(t.min()) <= float(t.max()) <= 1
    assert not torch.equal(t, t.sort().values)  # which triples are always the first is no matter of time
