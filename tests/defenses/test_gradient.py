"""FGSM and PGD: signs known by hand, the ball, a batch as its images, and nobody's ``.grad`` touched."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from anon.defenses.contract import DefenseLike
from anon.defenses.gradient import FGSM, PGD, attack_losses
from anon.errors import UserError
from anon.identity.contract import Embedded


class Direction(nn.Module):
    """z is the direction of the image itself, after a matrix where there is one."""

    name, dim = "direction", 48

    def __init__(self, matrix: torch.Tensor | None = None) -> None:
        super().__init__()
        self.matrix = None if matrix is None else nn.Parameter(matrix)

    def forward(self, images, layers=()):
        flat = images.flatten(1)
        return Embedded(nn.functional.normalize(flat if self.matrix is None else flat @ self.matrix), ())


class Blind(nn.Module):
    """Every face is one person: eq. 6 is constant, and only eq. 5 is left."""

    name, dim = "blind", 2

    def forward(self, images, layers=()):
        return Embedded(torch.tensor([[1.0, 0.0]]).expand(len(images), 2).to(images), ())


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 3, seed: int = 0, side: int = 8) -> torch.Tensor:
    return (torch.rand(count, 3, side, side, generator=rng(seed)) * 1.6 - 0.8).double()


@pytest.fixture
def network():
    """A small smooth attack and an encoder, in double precision so that no sign hangs on rounding."""
    torch.manual_seed(0)
    attack = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())
    return attack.double(), Direction(torch.randn(3 * 8 * 8, 12, generator=rng(9)).double())


def loss_of(network, x, target):
    attack, encoder = network
    with torch.no_grad():
        restored = attack(x)
        return attack_losses(restored, target, encoder(restored).z, encoder(target).z)


def test_the_loss_is_equation_5_plus_equation_6_of_each_image():
    target, restored = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    restored[0], restored[1, 0] = 0.5, -0.3  # mean absolute differences 0.5 and 0.3 / 3
    z_target, z = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.8, 0.6]])  # cosines 0, 0.6
    torch.testing.assert_close(attack_losses(restored, target, z, z_target), torch.tensor([1.5, 0.5]))


def test_fgsm_on_a_linear_attack_takes_the_step_known_by_hand():
    """R(x) = a·x + b, b = 0.1: dL1/dx = a·sign(a·x + b - X_t)/n, so the step is ε·sign(a)·sign(R(x) - X_t)."""
    gain = torch.where(torch.arange(4) % 2 == 0, 0.5, -2.0)  # by column
    changed, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    target[:, :, :2] = 0.5  # R(x) = 0.1 is below the target in the upper rows, above it in the lower ones
    out = FGSM(lambda x: gain * x + 0.1, Blind(), 0.15)(changed, target=target)
    by_hand = torch.tensor([[-1.0, 1, -1, 1]] * 2 + [[1.0, -1, 1, -1]] * 2) * 0.15
    torch.testing.assert_close(out, by_hand.expand(1, 3, 4, 4), rtol=0, atol=0)


def test_fgsm_ascends_the_identity_loss():
    """R(x) = x; all but two numbers are 0: x = (0.3, 0.4), X_t = (0.2, 0).

    L1 has the slopes (1, 1)/48. cos = x₁/|x| has (x₂², -x₁·x₂)/|x|³ = (1.28, -0.96), so 1 - cos has (-1.28, 0.96) and
    turns the first sign.
    """
    changed, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    changed[0, 0, 0, :2] = torch.tensor([0.3, 0.4])
    target[0, 0, 0, 0] = 0.2
    out = FGSM(lambda x: x, Direction(), 0.1)(changed, target=target)
    torch.testing.assert_close(out[0, 0, 0, :2], torch.tensor([0.2, 0.5]))
    assert torch.equal(out[0, 1:], changed[0, 1:])  # both slopes are 0 there
    pixel_only = FGSM(lambda x: x, Blind(), 0.1)(changed, target=target)
    torch.testing.assert_close(pixel_only[0, 0, 0, :2], torch.tensor([0.4, 0.5]))


def test_the_result_is_clamped():
    changed, target = torch.full((1, 3, 4, 4), 0.95), torch.zeros(1, 3, 4, 4)
    assert torch.equal(FGSM(lambda x: x, Blind(), 0.15)(changed, target=target), torch.ones(1, 3, 4, 4))


def test_fgsm_is_the_formula_on_a_network(network):
    changed, target = images(), images(seed=1)
    x = changed.clone().requires_grad_()
    restored = network[0](x)
    # 1 - cos through norms written out, and the mean of the batch: the sign is the same
    z, z_target = network[1](restored).z, network[1](target).z
    loss = nn.functional.l1_loss(restored, target) + (1 - (z * z_target).sum(1) / z.norm(dim=1)).mean()
    loss.backward()
    wanted = (changed + 0.15 * x.grad.sign()).clamp(-1, 1)
    torch.testing.assert_close(FGSM(*network, 0.15)(changed, target=target), wanted)


def test_fgsm_raises_every_image_s_loss_and_pgd_raises_it_more(network):
    changed, target = images(), images(seed=1)
    before = loss_of(network, changed, target)
    fast = FGSM(*network, 0.15)(changed, target=target)
    slow = PGD(*network, 0.15, step=0.0375, steps=10)(changed, target=target)
    assert (loss_of(network, fast, target) > before).all()
    assert (loss_of(network, slow, target) >= loss_of(network, fast, target)).all()


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_stays_in_the_ball_and_in_the_range(network, random_start):
    changed = images().clamp(-0.7, 0.7) / 0.7  # many pixels at the border
    out = PGD(*network, 0.1, step=0.07, steps=5, random_start=random_start)(changed, target=images(seed=1), rng=rng())
    assert (out - changed).abs().max() == pytest.approx(0.1)
    assert out.abs().max() <= 1
    assert out.dtype == changed.dtype and not out.requires_grad


def test_pgd_walks_step_by_step():
    """R(x) = x from 0.02 above the target: up by steps of 0.04 until the ball's border at 0.1."""
    changed, target = torch.full((1, 3, 4, 4), 0.02), torch.zeros(1, 3, 4, 4)
    for steps, moved in ((1, 0.04), (2, 0.08), (3, 0.1), (4, 0.1)):
        out = PGD(lambda x: x, Blind(), 0.1, step=0.04, steps=steps)(changed, target=target)
        torch.testing.assert_close(out, changed + moved)


def test_the_random_start_comes_from_the_generator(network):
    defense = PGD(*network, 0.1, step=0.01, steps=1, random_start=True)
    changed, target = images(), images(seed=1)
    out = defense(changed, target=target, rng=rng(3))
    assert torch.equal(defense(changed, target=target, rng=rng(3)), out)
    assert not torch.equal(defense(changed, target=target, rng=rng(4)), out)
    with pytest.raises(UserError, match="rng"):
        defense(changed, target=target)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_batch_gives_each_image_what_it_gets_alone(network, steps):
    defense = PGD(*network, 0.1, step=0.05, steps=steps)
    changed, target = images(5), images(5, seed=1)
    alone = [defense(changed[i : i + 1], target=target[i : i + 1]) for i in range(5)]
    torch.testing.assert_close(defense(changed, target=target), torch.cat(alone), rtol=0, atol=1e-12)


def test_no_grad_field_is_touched(network):
    attack, encoder = network
    parameters = [*attack.parameters(), *encoder.parameters()]
    parameters[0].grad = torch.full_like(parameters[0], 7.0)
    changed, target = images().requires_grad_(), images(seed=1)
    kept = changed.detach().clone()
    out = FGSM(attack, encoder, 0.15)(changed, target=target)
    assert (parameters[0].grad == 7).all()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in parameters[1:])
    assert changed.grad is None and changed.requires_grad and torch.equal(changed, kept) and not out.requires_grad
    assert list(FGSM(attack, encoder, 0.15).parameters()) == []  # the attack stays the caller's


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(network, mode):
    changed, target = images(), images(seed=1)
    wanted = FGSM(*network, 0.15)(changed, target=target)
    with mode():
        inside = FGSM(*network, 0.15)(changed.clone(), target=target.clone())
        assert not torch.is_grad_enabled()
    assert torch.equal(inside, wanted)


def test_the_contract_is_met(network):
    assert isinstance(FGSM(*network, 0.15), DefenseLike)


def test_what_cannot_be_defended_is_said(network):
    changed = images()
    with pytest.raises(UserError, match="target"):
        FGSM(*network, 0.15)(changed)
    with pytest.raises(UserError, match="target"):
        FGSM(*network, 0.15)(changed, target=changed[:1])
    with pytest.raises(UserError, match="gradient"):
        FGSM(lambda x: network[0](x.detach()), network[1], 0.15)(changed, target=changed)
    with pytest.raises(UserError, match="gradient"):
        FGSM(torch.no_grad()(network[0]), network[1], 0.15)(changed, target=changed)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"epsilon": -1}, "epsilon"), ({"step": math.nan}, "step"), ({"steps": 0}, "steps"), ({"steps": 1.5}, "steps")],
)
def test_bad_arguments_are_named(network, wrong, name):
    with pytest.raises(UserError, match=f"PGD needs .*{name}"):
        PGD(*network, **{"epsilon": 0.1, "step": 0.01, "steps": 2, **wrong})
