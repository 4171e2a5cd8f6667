"""The encoder contract: one pass, own resizing and normalization, frozen, gradients to the image."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.identity.networks.iresnet import IResNet


class Means(nn.Module):
    """Embedding = the three channel means of its normalized input, so that every figure can be worked out by hand."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Identity()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.seen(x).mean((2, 3))


def _small() -> Encoder:
    torch.manual_seed(0)
    return Encoder(IResNet((1, 1), (4, 8), 6, 16), 16, layers=("layer1", "layer2"))


def test_normalizes_as_the_network_was_trained():
    # 0.2 in [-1, 1] is 0.6 in [0, 1]: (.6 - .5) / .1 = 1, (.6 - .4) / .1 = 2, (.6 - .5) / .05 = 2; norm 3.
    encoder = Encoder(Means(), 4, mean=(0.5, 0.4, 0.5), std=(0.1, 0.1, 0.05))
    z = encoder(torch.full((1, 3, 4, 4), 0.2)).z
    torch.testing.assert_close(z, torch.tensor([[1 / 3, 2 / 3, 2 / 3]]))


def test_the_default_normalization_leaves_the_contract_range():
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    assert torch.equal(Encoder(Means(), 4).prepare(images), images)


def test_resizes_only_when_the_size_differs():
    encoder = Encoder(Means(), 4)
    images = torch.rand(2, 3, 8, 12) * 2 - 1
    expected = F.interpolate(images, (4, 4), mode="bilinear", align_corners=False, antialias=True)
    torch.testing.assert_close(encoder.prepare(images), expected)


def test_one_pass_gives_embedding_and_maps_in_the_order_asked_for():
    encoder = Encoder(Means(), 4)
    encoder(torch.ones(1, 3, 4, 4), ("seen",))
    assert encoder.backbone.calls == 1
    small, images = _small(), torch.randn(2, 3, 16, 16).clamp(-1, 1)
    z, maps = small(images, ("layer2", "layer1"))
    assert [tuple(m.shape) for m in maps] == [(2, 8, 4, 4), (2, 4, 8, 8)]
    torch.testing.assert_close(z, small(images).z)
    net = small.backbone
    stem = net.prelu(net.bn1(net.conv1(images)))
    torch.testing.assert_close(maps[1], net.layer1(stem))
    assert not any(module._forward_hooks for module in net.modules())


def test_embeddings_are_unit_float32_even_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        z = _small()(torch.rand(3, 3, 16, 16)).z
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))


def test_frozen_in_evaluation_mode_yet_differentiable():
    encoder = nn.Sequential(_small()).train()[0]
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    images = torch.rand(2, 3, 20, 20, requires_grad=True)
    z, maps = encoder(images, ("layer1",))
    (z[:, 0].sum() + maps[0].sum()).backward()
    assert images.grad.abs().sum() > 0


def test_flip_sum():
    encoder, images = _small(), torch.rand(2, 3, 16, 16)
    by_hand = F.normalize(encoder.backbone(images) + encoder.backbone(images.flip(-1)))
    flipped = Encoder(encoder.backbone, 16, flip=True)
    torch.testing.assert_close(flipped(images).z, by_hand)
    torch.testing.assert_close(Judge(encoder).embed(images), by_hand)
    torch.testing.assert_close(Judge(encoder).embed(images), Judge(encoder).embed(images.flip(-1)))
    torch.testing.assert_close(Judge(encoder, flip=False).embed(images), encoder(images).z)
    assert not encoder.flip


def test_a_judge_gives_no_gradient():
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    assert not Judge(_small()).embed(images).requires_grad


def test_fingerprint_tells_networks_apart_whatever_their_names():
    one, same = _small(), _small()
    same.name = "another"
    assert one.fingerprint == same.fingerprint == Judge(same).fingerprint
    with torch.no_grad():
        same.backbone.fc.bias[0] += 1e-3
    assert one.fingerprint != same.fingerprint


def test_survives_copy_and_pickle():
    encoder, images = _small(), torch.rand(1, 3, 16, 16)
    for twin in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        torch.testing.assert_close(twin(images, ("layer1",)), encoder(images, ("layer1",)))


def test_unknown_layer_is_refused_by_name():
    with pytest.raises(UserError, match=r"no layer 'layer9'; it has: .*layer1"):
        Encoder(IResNet((1,), (4,), 6, 16), 16, layers=("layer9",))
    with pytest.raises(UserError, match="no layer 'fc2'"):
        _small()(torch.rand(1, 3, 16, 16), ("fc2",))


def test_weights_that_users_must_fetch_are_asked_for():
    with pytest.raises(UserError, match=r"'r18' needs a weight file .*: take it there"):
        Encoder(Means(), 4, name="r18", origin="take it there")
    Encoder(Means(), 4, name="r18", origin="take it there", weights="random")
