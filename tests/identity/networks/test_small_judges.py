"""The networks of the judges that ship beside CompactNet: their forms, and the bias for which each was chosen."""

from __future__ import annotations

import torch

from anon.identity.networks.patches import PatchNet
from anon.identity.networks.plain import PlainNet


def test_plain_does_not_know_where_a_feature_lies():
    """A pattern that moves by the whole stride, away from the borders, gives the same embedding."""
    torch.manual_seed(0)
    net = PlainNet().eval()
    images = torch.zeros(2, 3, 160, 160)
    patch = torch.randn(3, 16, 16)
    images[0, :, 64:80, 64:80], images[1, :, 80:96, 64:80] = patch, patch
    with torch.no_grad():
        first, second, empty = net(torch.cat([images, torch.zeros(1, 3, 160, 160)]))
    assert first.shape == (192,)
    assert float((first - second).norm()) < 1e-3 * float((first - empty).norm())


def test_patches_know_where_and_look_everywhere():
    """Every output feature depends on every corner of the picture, and on which corner it is."""
    torch.manual_seed(0)
    net = PatchNet().eval()
    torch.nn.init.normal_(net.place, std=0.5)
    images = torch.randn(1, 3, 64, 64, requires_grad=True)
    net(images).square().sum().backward()
    corners = [images.grad[..., top : top + 8, left : left + 8].abs().sum() for top in (0, 56) for left in (0, 56)]
    assert min(map(float, corners)) > 0
    still = torch.zeros(1, 3, 64, 64)
    still[..., :8, :8] = 1.0
    assert not torch.allclose(net(still), net(still.flip(-1)), atol=1e-4)


def test_what_ships_is_small():
    """Half-precision files of at most 4 MB each."""
    for net in (PlainNet(), PatchNet()):
        assert 2 * sum(value.numel() for value in net.state_dict().values()) < 4e6
        assert net.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, net.dim)
