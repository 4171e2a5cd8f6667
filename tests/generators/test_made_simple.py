"""Made Simple's networks: reference attention against the long form, the degree and the two samplers by hand."""

from __future__ import annotations

import math

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from anon.apps.config import config_dir
from anon.errors import UserError
from anon.generators.diffusion import ddim, ddpm, kept
from anon.generators.made_simple.blocks import AttentiveUNet, ReferenceAttention, attended, places
from anon.generators.made_simple.network import Identity, MadeSimple

WIDTHS = (8, 16)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=rng(seed)) * 1.6 - 0.8


def awake(module: nn.Module) -> nn.Module:
    """With weights that say something: what begins at 0 does not."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.15, generator=rng(7))
    return module.eval()


def test_other_tokens_as_keys_and_values_are_attention_over_all_tokens() -> None:
    """The paper's form: one self-attention over the tokens of three networks, of which the first are kept."""
    block = awake(ReferenceAttention(16)).double()
    x, source, driving = (torch.randn(2, 16, 4, 6, generator=rng(seed)).double() for seed in range(3))
    with torch.no_grad():
        found, state = block(x, [source, driving])
        where = places(16, 4, 6).double()
        every = [block.norm(x), source, driving]
        tokens = torch.cat([each.flatten(2) for each in every], 2).transpose(1, 2)  # (B, 3N, C)
        placed = torch.cat([(each + where).flatten(2) for each in every], 2).transpose(1, 2)

        def linear(layer: nn.Conv2d, values: torch.Tensor) -> torch.Tensor:
            return values @ layer.weight[:, :, 0, 0].T + layer.bias

        q, k, v = linear(block.queries, placed), linear(block.keys, placed), linear(block.values, tokens)
        heads = []
        for part in (slice(0, 8), slice(8, 16)):
            share = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(8)).softmax(-1)  # (B, 3N, 3N)
            heads.append(share @ v[..., part])
        long = linear(block.out, torch.cat(heads, -1))[:, :24].transpose(1, 2).reshape(2, 16, 4, 6)
    torch.testing.assert_close(found, x + long, atol=1e-5, rtol=0)
    assert torch.equal(state, block.norm(x))


def test_attention_in_bfloat16_is_attention() -> None:
    q, k, v = (torch.randn(1, 2, count, 8, generator=rng(count)) for count in (3, 5, 5))
    wanted = (q @ k.transpose(-1, -2) / math.sqrt(8)).softmax(-1) @ v
    found = attended(*(each.bfloat16() for each in (q, k, v)))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted, atol=0.03, rtol=0)


def test_places_by_hand() -> None:
    """Four channels: sine and cosine of the row, then of the column, a quarter turn from side to side."""
    found = places(4, 3, 2)
    torch.testing.assert_close(found[0, :, 0], torch.tensor([0.0, math.sqrt(0.5), 1.0]))
    torch.testing.assert_close(found[3, 0], torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)


def test_the_degree_by_hand() -> None:
    own = Identity([torch.full((2, 1, 1, 1), 2.0)], torch.full((2, 1), 4.0))
    nobody = Identity([torch.full((1, 1, 1, 1), 1.0)], torch.zeros(1, 1))
    for degree, state, token in ((0.0, 2.0, 4.0), (0.5, 1.5, 2.0), (1.0, 1.0, 0.0), (1.25, 0.75, -1.0)):
        found = own.toward(nobody, degree)
        assert found.states[0].flatten().tolist() == [state] * 2 and found.token.flatten().tolist() == [token] * 2


@pytest.mark.parametrize("guidance", [0.0, 1.0, 4.0])
def test_at_degree_one_everybody_is_nobody_whatever_the_guidance(guidance: float) -> None:
    network = awake(MadeSimple(WIDTHS))
    driving, noise = pictures(), torch.randn(2, 3, 16, 16, generator=rng(3))
    found = network.draw(driving, pictures(seed=1), noise, 1.0, guidance, 3)
    nobody, scene = network.nobody(driving).repeated(2), network.scene(driving)
    wanted = ddim(lambda x, t: network.v(x, t, nobody, driving, scene), noise, 1.0, 3)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    other = network.draw(driving, pictures(seed=1), noise, 0.5, 4.0, 3)
    assert float((other - wanted).abs().max()) > 1e-2


@pytest.mark.parametrize(("degree", "wanted"), [(0.0, -0.4), (0.5, -0.2), (1.25, 0.1)])
def test_guidance_by_hand(degree: float, wanted: float) -> None:
    """A network whose v is the token, .1: one step from t = 1 reads -v, and v = g (1 - d) .1."""
    network = MadeSimple(WIDTHS)
    network.identity = lambda source, known=None: Identity(
        [torch.zeros(len(source), 1, 1, 1)], torch.full((len(source), 1), 0.1 if known is None else 0.0)
    )
    network.v = lambda noisy, t, who, driving, scene: who.token.view(-1, 1, 1, 1).expand_as(noisy)
    found = network.draw(pictures(), pictures(), torch.randn(2, 3, 16, 16, generator=rng()), degree, 4.0, 1)
    torch.testing.assert_close(found, torch.full_like(found, wanted), atol=1e-6, rtol=0)


def test_nobody_knows_no_source_and_somebody_does() -> None:
    network = awake(MadeSimple(WIDTHS))
    truth, noise, t = pictures(), torch.randn(2, 3, 16, 16, generator=rng(4)), torch.tensor([0.3, 0.8])

    def loss(source: torch.Tensor, known: float) -> torch.Tensor:
        with torch.no_grad():
            return network.loss(truth, source, truth.roll(1, 0), torch.full((2,), known), t, noise)

    assert torch.equal(loss(pictures(seed=1), 0.0), loss(pictures(seed=2), 0.0))
    assert float((loss(pictures(seed=1), 1.0) - loss(pictures(seed=2), 1.0)).abs().min()) > 1e-4


@pytest.mark.parametrize("t", [0.05, 0.5, 0.97])
def test_it_begins_at_the_best_guess_of_who_knows_the_driving_picture_alone(t: float) -> None:
    """Bayes: the truth is Gaussian around y with spread s, and x_t is seen with noise of 1 - a around sqrt(a) X."""
    network = MadeSimple(WIDTHS, spread=0.5)
    driving, noisy = pictures(), torch.randn(2, 3, 16, 16, generator=rng(4))
    times = torch.full((2,), t)
    a = float(kept(times)[0])
    with torch.no_grad():
        found = network.v(noisy, times, network.identity(driving), driving, network.scene(driving))
    truth = (driving / 0.25 + math.sqrt(a) * noisy / (1 - a)) / (1 / 0.25 + a / (1 - a))
    torch.testing.assert_close(found, (math.sqrt(a) * noisy - truth) / math.sqrt(1 - a), atol=1e-5, rtol=1e-4)


def test_what_the_network_says_moves_v_by_the_spread_that_is_left() -> None:
    """At t = 1 nothing but the driving picture is known, and a truth one spread above it is v one spread below."""
    network = MadeSimple(WIDTHS, spread=0.5)
    torch.nn.init.constant_(network.denoiser.head[-1].bias, 1.0)
    driving = pictures()
    with torch.no_grad():
        who, scene = network.identity(driving), network.scene(driving)
        found = network.v(torch.randn(2, 3, 16, 16, generator=rng()), torch.ones(2), who, driving, scene)
    torch.testing.assert_close(found, 0.5 - driving, atol=1e-5, rtol=0)


def test_steps_of_ddpm_have_the_spread_of_their_time() -> None:
    """Who knows the picture: x_t is sqrt(a_t) c + sqrt(1 - a_t) n at every t, and c at the end."""
    colour, met = 0.25, []

    def v_of(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        left = kept(t).view(-1, 1, 1, 1)
        met.append((float(left[0]), float(x.mean()), float(x.std())))
        return (left.sqrt() * x - colour) / (1 - left).sqrt()  # of which the picture is c

    found = ddpm(v_of, torch.randn(4, 3, 64, 64, generator=rng()), 8, rng(1))
    assert len(met) == 8
    for left, mean, std in met:
        assert mean == pytest.approx(math.sqrt(left) * colour, abs=0.02)
        assert std == pytest.approx(math.sqrt(1 - left), rel=0.03)
    torch.testing.assert_close(found, torch.full_like(found, colour), atol=1e-4, rtol=0)


def test_ddpm_draws_from_the_generator_that_it_is_given() -> None:
    network = awake(MadeSimple(WIDTHS))
    noise = torch.randn(2, 3, 16, 16, generator=rng(3))
    first, again, other = (
        network.draw(pictures(), pictures(), noise, 0.5, 4.0, 4, ancestral=rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and float((first - other).abs().max()) > 1e-3


def test_the_experiment_has_less_than_two_million_parameters_and_every_block_a_partner() -> None:
    widths = OmegaConf.load(config_dir() / "experiment" / "made_simple.yaml").model.network.widths
    network = MadeSimple(widths)
    assert sum(each.numel() for each in network.parameters()) <= 2_000_000
    images = torch.zeros(1, 3, 16, 16)
    kept_by = [each(images)[1] for each in (network.source, network.driving)]
    _, own = network.denoiser(torch.cat([images, images], 1), kept_by, torch.zeros(1), torch.zeros(1, 2 * widths[-1]))
    assert [state.shape for state in own] == [state.shape for state in kept_by[0]]
    assert len(own) == 2 * (len(widths) - 1) + 1  # down, middle, up


def test_every_parameter_learns() -> None:
    network = awake(MadeSimple(WIDTHS)).train()
    images = pictures()
    noise = torch.randn(2, 3, 16, 16, generator=rng())
    network.loss(
        images, images.flip(-1), images.roll(1, 0), torch.ones(2), torch.tensor([0.2, 0.9]), noise
    ).sum().backward()
    assert not [name for name, each in network.named_parameters() if each.grad is None]


def test_what_it_cannot_take() -> None:
    odd = torch.zeros(1, 3, 18, 18)
    with pytest.raises(UserError, match="multiples of 4 pixels, not 18 x 18"):
        MadeSimple(WIDTHS).draw(odd, odd, odd)
    with pytest.raises(UserError, match="multiples of 8, not"):
        AttentiveUNet((12, 16))
