"""IResNet against facts of arcface_torch that were written down by hand, not taken from this code."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.identity.networks.compact import CompactNet
from anon.identity.networks.iresnet import iresnet18, iresnet34, iresnet50, iresnet100, iresnet_small

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


@pytest.mark.parametrize(
    ("build", "millions"), [(iresnet18, 24.03), (iresnet34, 34.14), (iresnet50, 43.59), (iresnet100, 65.16)]
)
def test_parameter_counts_are_the_published_ones(build, millions):
    with torch.device("meta"):
        assert _millions(build()) == pytest.approx(millions, abs=0.01)


def test_r50_has_the_475_keys_of_arcface_torch():
    keys = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    keys |= {f"{norm}.{part}" for norm in ("bn1", "bn2", "features") for part in NORM}
    for stage, depth in {1: 3, 2: 4, 3: 14, 4: 3}.items():
        for block in range(depth):
            stem = f"layer{stage}.{block}"
            keys |= {f"{stem}.{norm}.{part}" for norm in ("bn1", "bn2", "bn3") for part in NORM}
            keys |= {f"{stem}.conv1.weight", f"{stem}.conv2.weight", f"{stem}.prelu.weight"}
        keys |= {f"layer{stage}.0.downsample.0.weight"} | {f"layer{stage}.0.downsample.1.{part}" for part in NORM}
    with torch.device("meta"):
        state = iresnet50().state_dict()
    assert len(keys) == 475
    assert set(state) == keys
    assert state["fc.weight"].shape == (512, 25088)
    assert state["conv1.weight"].shape == (64, 3, 3, 3)
    assert state["layer3.0.conv1.weight"].shape == (256, 128, 3, 3)
    assert state["layer3.0.conv2.weight"].shape == (256, 256, 3, 3)
    assert state["layer3.0.downsample.0.weight"].shape == (256, 128, 1, 1)
    assert state["layer4.2.prelu.weight"].shape == (512,)


def test_a_block_is_preactivated_strided_in_its_second_convolution_and_unrectified():
    block = iresnet_small().get_submodule("layer2.0").eval()
    x = torch.randn(2, 32, 16, 16)
    y = block.conv1(nn.functional.batch_norm(x, torch.zeros(32), torch.ones(32), eps=1e-5))
    y = torch.where(y / (1 + 1e-5) ** 0.5 > 0, y, 0.25 * y) / (1 + 1e-5) ** 0.5  # fresh batch norm, fresh PReLU
    y = nn.functional.conv2d(y, block.conv2.weight, stride=2, padding=1) / (1 + 1e-5) ** 0.5
    y = y + nn.functional.conv2d(x, block.downsample[0].weight, stride=2) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(block(x), y, rtol=1e-4, atol=1e-4)
    assert bool((block(x) < 0).any())


def test_the_last_batch_norm_has_no_learned_scale():
    net = iresnet_small()
    assert not net.features.weight.requires_grad
    assert torch.equal(net.features.weight, torch.ones(256))


@pytest.mark.parametrize(("build", "dim"), [(iresnet_small, 256), (CompactNet, 192)])
def test_the_small_ones_fit_in_four_megabytes_of_half_precision(build, dim):
    net = build().eval()
    assert sum(value.numel() * 2 for value in net.state_dict().values()) < 4 * 1024**2
    assert net(torch.zeros(2, 3, 64, 64)).shape == (2, dim)


def test_blocks_and_widths_must_agree():
    from anon.identity.networks.iresnet import IResNet

    with pytest.raises(ValueError, match="one length"):
        IResNet((1, 2), (8, 16, 32))
