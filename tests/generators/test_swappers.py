"""FaceDancer, SimSwap and FaceShifter: published sizes, what their parts compute, and that z reaches the picture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.generators.facedancer import AFFA, SKIPS, DecoderBlock, FaceDancer
from anon.generators.faceshifter import AAD, FaceShifter
from anon.generators.patchgan import MultiScale
from anon.generators.simswap import SimSwap, Style, ToPicture


def _millions(network: nn.Module) -> float:
    return sum(value.numel() for value in network.parameters()) / 1e6


@pytest.mark.parametrize(("config", "published"), [("C", 24.51), ("D", 27.00)])
def test_facedancer_has_the_published_size(config: str, published: float) -> None:
    with torch.device("meta"):
        assert _millions(FaceDancer(256, config)) == pytest.approx(published, abs=0.005)


def test_facedancer_e_is_d_without_the_mapping_network() -> None:
    with torch.device("meta"):
        mapping = 4 * (512 * 512 + 512) / 1e6
        assert _millions(FaceDancer(256, "D")) - _millions(FaceDancer(256, "E")) == pytest.approx(mapping)


@pytest.mark.parametrize(("downs", "published"), [(3, 55.05), (4, 59.77)])
def test_simswap_has_the_published_size(downs: int, published: float) -> None:
    with torch.device("meta"):
        assert _millions(SimSwap(downs=downs)) == pytest.approx(published, abs=0.005)


def test_faceshifter_has_the_published_attribute_maps() -> None:
    with torch.device("meta"):
        network = FaceShifter(256)
        maps = network.attributes(torch.empty(1, 3, 256, 256))
    assert [part.shape[1] for part in maps] == [1024, 2048, 1024, 512, 256, 128, 64, 64]
    assert [part.shape[2] for part in maps] == [part.shape[3] for part in maps] == [2, 4, 8, 16, 32, 64, 128, 256]
    assert _millions(network.attributes) == pytest.approx(67, abs=0.5)


NETWORKS = [
    *(pytest.param(lambda config=config: FaceDancer(32, config, 8, 16, 24, 2), id=config) for config in SKIPS),
    pytest.param(lambda: SimSwap(8, 2, 2, 16), id="simswap"),
    pytest.param(lambda: FaceShifter(32, 1 / 32, 16), id="faceshifter"),
]


@pytest.mark.parametrize("build", NETWORKS)
def test_every_weight_is_used_and_z_changes_the_picture(build) -> None:
    torch.manual_seed(0)
    network = build()
    target, z = torch.rand(2, 3, 32, 32) * 2 - 1, nn.functional.normalize(torch.randn(2, 16))
    drawn = network(target, z)
    assert drawn.mask is None and drawn.image.shape == target.shape and network.steers == 1
    drawn.image.square().mean().backward()
    idle = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    # A bias before an instance or batch norm changes nothing; that is the published architecture.
    assert not [name for name in idle if not name.endswith("bias")]
    network.eval()
    with torch.no_grad():
        first, second = network(target, z).image, network(target, z.flip(0)).image
    assert float(first.abs().max()) <= 1.0
    assert float((first - second).abs().mean()) > 1e-3


def test_affa_gate_chooses_between_encoder_and_decoder() -> None:
    gate = AFFA(8)
    x_t, x_s = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    nn.init.zeros_(gate.gate.weight)
    for bias, expected in ((-50.0, x_t), (50.0, x_s), (0.0, (x_t + x_s) / 2)):
        nn.init.constant_(gate.gate.bias, bias)
        torch.testing.assert_close(gate(x_t, x_s), expected)


def test_adain_is_published_scale_without_plus_one() -> None:
    block = DecoderBlock(2, 2, 1, up=False)
    with torch.no_grad():
        for layer, value in ((block.scale, 0.0), (block.shift, 3.0)):
            layer.weight.zero_()
            layer.bias.fill_(value)
        block.conv.weight.zero_()
        block.conv.weight[:, :, 1, 1] = torch.eye(2)
        block.conv.bias.zero_()
        block.shortcut.weight.zero_()
        block.shortcut.bias.zero_()
    out = block(torch.randn(1, 2, 4, 4), torch.zeros(1, 1))
    torch.testing.assert_close(out, torch.full((1, 2, 4, 4), 3.0))  # 0·x + 3, not (0 + 1)·x + 3


def test_simswap_style_is_one_plus_scale() -> None:
    style = Style(2, 1)
    with torch.no_grad():
        style.linear.weight.zero_()
        style.linear.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.5]))
    x = torch.randn(1, 2, 8, 8)
    normal = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True, unbiased=False)
    expected = normal * torch.tensor([1.0, 2.0]).view(1, 2, 1, 1) + torch.tensor([0.0, 0.5]).view(1, 2, 1, 1)
    torch.testing.assert_close(style(x, torch.zeros(1, 1)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_simswap_last_convolution_is_one(layout: torch.memory_format) -> None:
    last = ToPicture(4, 7).double()
    x = torch.randn(2, 4, 9, 8, dtype=torch.double).contiguous(memory_format=layout).requires_grad_()
    weights = torch.randn(2, 3, 9, 8, dtype=torch.double)
    found = []
    for out in (last(x), nn.Conv2d.forward(last, x)):
        found.append([out, *torch.autograd.grad((out * weights).sum(), (x, last.weight, last.bias))])
    torch.testing.assert_close(*found)


def test_aad_mask_chooses_between_attributes_and_identity() -> None:
    layer = AAD(2, 3, 1)
    with torch.no_grad():
        for part in (layer.attributes, layer.identity, layer.mask):
            part.weight.zero_()
        layer.attributes.bias.copy_(torch.tensor([0.0, 0.0, 5.0, 5.0]))
        layer.identity.bias.copy_(torch.tensor([0.0, 0.0, -1.0, -1.0]))
    h, maps, z = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 4, 4), torch.randn(1, 1)
    for bias, expected in ((-50.0, 5.0), (50.0, -1.0), (0.0, 2.0)):
        nn.init.constant_(layer.mask.bias, bias)
        torch.testing.assert_close(layer(h, maps, z), torch.full((1, 2, 4, 4), expected))


def test_fuse_draws_from_given_maps() -> None:
    torch.manual_seed(0)
    network = FaceShifter(32, 1 / 32, 16).eval()
    target, z = torch.rand(1, 3, 32, 32), torch.randn(1, 16)
    torch.testing.assert_close(network.fuse(network.attributes(target), z).image, network(target, z).image)


def test_unfit_sizes_are_refused() -> None:
    with pytest.raises(UserError, match=r"FaceDancer draws .* is 8 to 15 pixels, not 100; take 96 or 104\.$"):
        FaceDancer(100)
    with pytest.raises(UserError, match=r"FaceShifter draws .* is 2 to 15 pixels, not 100; take 96 or 112\.$"):
        FaceShifter(100)
    with pytest.raises(UserError, match="no config 'F'"):
        FaceDancer(64, "F")


def test_scales_of_the_patch_discriminator_count_the_same() -> None:
    torch.manual_seed(0)
    network = MultiScale(2, 4, 2)
    images = torch.rand(3, 3, 32, 32)
    logits, maps = network.features(images)
    fine, coarse = (
        network.scales[0](images)[0],
        network.scales[1](nn.functional.avg_pool2d(images, 3, 2, 1, count_include_pad=False))[0],
    )
    assert logits.shape == (3, 2 * fine[0].numel())
    halves = logits.chunk(2, 1)
    torch.testing.assert_close(halves[0], fine.flatten(1))
    assert set(halves[1].unique().tolist()) == set(coarse.unique().tolist())
    assert len(maps) == 4 and maps[-1].shape[1] == maps[-2].shape[1] == 8
    torch.testing.assert_close(network(images), logits)
