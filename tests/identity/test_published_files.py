"""Files of arcface_torch, in every published wrapping, and files that only look like them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from anon.errors import UserError
from anon.identity.networks.iresnet import iresnet18, iresnet34, iresnet50, iresnet100
from anon.weights.files import load_into

BUILDS = [iresnet18, iresnet34, iresnet50, iresnet100]


def _half(state: dict) -> dict:
    return {key: value.half() if value.is_floating_point() else value for key, value in state.items()}


@pytest.fixture(scope="module")
def r18() -> nn.Module:
    torch.manual_seed(0)
    return iresnet18()


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_every_depth_loads_in_half_precision(tmp_path, build: Callable[[], nn.Module]):
    """backbone.pth of the fp16 runs; the values are named by their place, as random ones would take long."""
    target = build()
    state = {
        key: torch.full(value.shape, 1 + number % 7, dtype=torch.float16)
        for number, (key, value) in enumerate(target.state_dict().items())
    }
    torch.save(state, tmp_path / "backbone.pth")
    load_into(target, tmp_path / "backbone.pth")
    for number, value in enumerate(target.state_dict().values()):
        assert value.dtype in (torch.float32, torch.int64) and bool((value == 1 + number % 7).all())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {
            "epoch": 20,
            "state_dict_backbone": state,
            "state_dict_softmax_fc": {"weight": torch.ones(4, 512)},
        },
        lambda state: {key: value for key, value in state.items() if "num_batches" not in key},
        _half,
    ],
    ids=["plain", "distributed", "checkpoint_gpu", "before_0.4.1", "half"],
)
def test_published_wrappings(tmp_path, r18, wrap):
    torch.save(wrap(r18.state_dict()), tmp_path / "model.pt")
    target = iresnet18()
    load_into(target, tmp_path / "model.pt")
    for value, wanted in zip(target.state_dict().values(), r18.state_dict().values(), strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-3, rtol=1e-3)


def _refusal(target: nn.Module, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_into(target, path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_wrong_depth_names_the_difference(tmp_path, r18):
    torch.save(_half(r18.state_dict()), tmp_path / "backbone.pth")
    with torch.device("meta"):
        deeper = iresnet34()
    text = _refusal(deeper, tmp_path / "backbone.pth")
    assert "does not fit IResNet" in text and "missing (layer1.2.bn1.weight" in text


def test_a_classifier_of_imagenet_is_not_taken_for_one(tmp_path):
    import torchvision

    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "backbone.pth")
    with torch.device("meta"):
        target = iresnet18()
    assert "does not fit IResNet" in _refusal(target, tmp_path / "backbone.pth")


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_truncated_downloads(tmp_path, r18, share):
    file = tmp_path / "backbone.pth"
    torch.save(_half(r18.state_dict()), file)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    assert "truncated" in _refusal(r18, file) or "damaged" in _refusal(r18, file)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickled_network_is_never_run(tmp_path, r18, save):
    """Whole modules and planted code: both would import and call what the file names."""
    file = tmp_path / "model.pt"
    for content in (nn.Linear(2, 2), {"state_dict": {"a": torch.ones(1)}, "hook": _Payload(tmp_path / "owned")}):
        save(content, file)
        assert "never run" in _refusal(r18, file)
    assert not (tmp_path / "owned").exists()
