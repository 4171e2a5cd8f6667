"""Editors: the transfer unit by hand, what reaches the picture, and sizes that cannot be halved."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.generators.editing.contract import Editor
from anon.generators.editing.critic import AttributeCritic
from anon.generators.editing.stargan import StarGAN
from anon.generators.editing.stgan import STGAN, TransferUnit

NAMES = ["Bald", "Male", "Pale_Skin"]


def filled(unit: nn.Module, bias: float) -> None:
    for value in unit.parameters():
        nn.init.zeros_(value)
    unit.bias.data.fill_(bias)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(("gru", "passed"), [(False, 0.5), (True, 0.75 * 2 + 0.25 * 0.5)])
def test_a_transfer_unit_by_hand(gru: bool, passed: float) -> None:
    """s' = 2, r = 1/4 and z = 1/4 of biases alone: s_l = .5, and the candidate's tanh is .5 of a bias."""
    unit = TransferUnit(2, 1, gru)
    filled(unit.rise, 2.0)
    filled(unit.reset, -torch.tensor(3.0).log().item())
    filled(unit.update, -torch.tensor(3.0).log().item())
    filled(unit.candidate, torch.tensor(0.5).atanh().item())
    given, kept = unit(torch.ones(1, 1, 4, 4), torch.ones(1, 2, 2, 2))
    torch.testing.assert_close(given, torch.full((1, 1, 4, 4), 0.75 * 2 + 0.25 * 0.5))
    torch.testing.assert_close(kept, torch.full((1, 1, 4, 4), passed))


def test_the_gated_state_reaches_the_candidate() -> None:
    """The candidate sees r s' and not s': with the weight 1 there and r = 1/4 it is tanh(s' / 4)."""
    unit = TransferUnit(1, 1)
    filled(unit.rise, 2.0)
    filled(unit.reset, -torch.tensor(3.0).log().item())
    filled(unit.update, 50.0)  # all of what is given is the candidate
    filled(unit.candidate, 0.0)
    unit.candidate.weight.data[0, 1, 1, 1] = 1.0
    given, _ = unit(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(given, torch.full((1, 1, 2, 2), torch.tensor(0.5).tanh().item()))


@pytest.mark.parametrize("editor", [STGAN(NAMES, 16, 4, 3, 2), STGAN(NAMES, 16, 4, 3, 1), StarGAN(NAMES, 16, 4, 1)])
def test_pictures_of_the_same_form_that_follow_what_is_wanted(editor: Editor) -> None:
    editor.eval()
    images, own = torch.rand(2, 3, 16, 16) * 2 - 1, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    with torch.no_grad():
        same, other = editor(images, own, own), editor(images, own, 1 - own)
    assert same.shape == images.shape and float(same.abs().max()) <= 1
    assert float((same - other).abs().max()) > 1e-4


def test_stgan_is_told_the_difference_alone_and_stargan_what_is_wanted() -> None:
    images, own = torch.rand(1, 3, 16, 16), torch.tensor([[1.0, 0.0, 1.0]])
    more, less = torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    stgan, stargan = STGAN(NAMES, 16, 4, 3, 2).eval(), StarGAN(NAMES, 16, 4, 1).eval()
    with torch.no_grad():
        torch.testing.assert_close(stgan(images, own, own), stgan(images, more, more))
        torch.testing.assert_close(stargan(images, own, less), stargan(images, more, less))
        assert not torch.allclose(stargan(images, own, own), stargan(images, more, more), atol=1e-5)
    assert stgan.condition(own, more).tolist() == [[0.0, 1.0, -1.0]]


def test_published_sizes() -> None:
    """STGAN at 128: five convolutions to 4 x 4 and 1024 channels, four units; of StarGAN the 8.4 M of its code."""
    stgan = STGAN(NAMES, 128, 64, 5, 4)
    assert [layer[0].out_channels for layer in stgan.down] == [64, 128, 256, 512, 1024]
    assert [unit.rise.out_channels for unit in stgan.units] == [512, 256, 128, 64]
    stargan = StarGAN(["Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"], 128, 64, 6)
    assert sum(value.numel() for value in stargan.parameters()) == 8_430_528


def test_the_critic_has_two_heads() -> None:
    for critic in (AttributeCritic(NAMES, 16, 8, 2, 16), AttributeCritic(NAMES, 16, 8, 2, None)):
        images = torch.rand(4, 3, 16, 16)
        real, logits = critic.judge(images)
        assert real.shape == (4,) and logits.shape == (4, 3)
        torch.testing.assert_close(critic(images), real)
    assert not any(isinstance(part, nn.InstanceNorm2d) for part in critic.modules())  # StarGAN's has no norm


def test_sizes_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(UserError, match="a multiple of 16, not 40"):
        STGAN(NAMES, 40)
    with pytest.raises(UserError, match="no more units than skips"):
        STGAN(NAMES, 64, layers=4, units=4)
    with pytest.raises(UserError, match="no multiple of 4"):
        StarGAN(NAMES, 30)
    with pytest.raises(UserError, match="no multiple of 16"):
        AttributeCritic(NAMES, 40)
