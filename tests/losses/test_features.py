"""Losses on maps and on same pairs, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anon.errors import UserError
from anon.losses.adversarial import Hinge, HingeCritic
from anon.losses.features import AttributeLoss, FeatureMatching, RecognizerPerceptual, VGGPerceptual
from anon.losses.pixel import SamePixelL1, SamePixelL2


def _map(value: float, faces: int = 2) -> torch.Tensor:
    return torch.full((faces, 1, 2, 2), value)


def test_only_same_pairs_count() -> None:
    changed = torch.stack([torch.full((3, 2, 2), value) for value in (1.0, 5.0, -3.0)])
    target = torch.zeros(3, 3, 2, 2)
    same = torch.tensor([True, False, True])
    assert SamePixelL1()(changed, target, same).item() == 2.0  # (1 + 3) / 2
    assert SamePixelL2()(changed, target, same).item() == 2.5  # (1 + 9) / 2 / 2
    changed.requires_grad_()
    nothing = SamePixelL1()(changed, target, torch.zeros(3, dtype=torch.bool))
    nothing.backward()
    assert nothing.item() == 0.0 and float(changed.grad.abs().sum()) == 0.0


def test_recognizer_maps_of_same_pairs() -> None:
    target, changed = [_map(0.0), _map(0.0)], [_map(2.0), _map(4.0)]
    assert RecognizerPerceptual()(target, changed, torch.tensor([True, False])).item() == 3.0


def test_weak_feature_matching_takes_the_deepest_maps() -> None:
    target, changed = [_map(0.0)] * 3, [_map(100.0), _map(1.0), _map(2.0)]
    assert FeatureMatching(2)(target, changed).item() == 1.5
    with pytest.raises(UserError, match="one map or more"):
        FeatureMatching(0)


def test_attribute_loss_is_half_the_sum_of_mean_squares() -> None:
    assert AttributeLoss()([_map(0.0), _map(1.0)], [_map(1.0), _map(4.0)]).item() == pytest.approx(0.5 * (1 + 9))


def test_hinge_of_both_sides() -> None:
    critic = HingeCritic()
    assert critic(torch.tensor([[2.0, 0.0]]), torch.tensor([[-3.0, 0.5]])).item() == 1.25  # 0.5 + 0.75
    assert Hinge()(torch.tensor([[1.0, 3.0]]), torch.tensor([[-2.0, 0.0]])).item() == -0.5


@pytest.fixture
def vgg(tmp_path: Path) -> Path:
    """A file with VGG-16's names and shapes."""
    torch.manual_seed(0)
    state, at, channels = {}, 0, 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width:
            state[f"features.{at}.weight"] = torch.randn(width, channels, 3, 3) * (2 / 9 / channels) ** 0.5
            state[f"features.{at}.bias"] = torch.zeros(width)
            at, channels = at + 2, width
        else:
            at += 1
    state["classifier.6.bias"] = torch.zeros(1000)
    torch.save(state, tmp_path / "vgg16.pth")
    return tmp_path / "vgg16.pth"


def test_vgg_equals_torchvision_on_same_pairs(vgg: Path) -> None:
    from torchvision.models import vgg16

    reference = vgg16(weights=None).features.eval()
    state = torch.load(vgg, weights_only=True)
    reference.load_state_dict({name[9:]: value for name, value in state.items() if name.startswith("features.")})
    changed, target = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x, y = (((image[1:] + 1) / 2 - mean) / std for image in (changed, target))
    expected = 0.0
    with torch.no_grad():
        for layer in reference:
            x, y = layer(x), layer(y)
            if isinstance(layer, torch.nn.MaxPool2d):
                expected += (x - y).abs().mean().item()
    loss = VGGPerceptual(str(vgg))
    assert loss(changed, target, torch.tensor([1])).item() == pytest.approx(expected, rel=1e-4)
    assert loss(changed, target, torch.tensor([], dtype=torch.long)).item() == 0.0


def test_vgg_refuses_another_network(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not a state dict of VGG-16"):
        VGGPerceptual(str(tmp_path / "other.pth"))
