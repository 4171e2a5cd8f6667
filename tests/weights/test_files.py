"""Weight files that are what they should be, and files that are not."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from anon import weights as shipped
from anon.apps.checkpoints import check_fits
from anon.errors import UserError
from anon.weights import files as weights


def _net(width: int = 3) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


def _equal(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


class Payload:
    """What a hostile pickle holds: loading it would write a file."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {f"module.model.{key}": value for key, value in state.items()},
        lambda state: {"params_ema": state},
        lambda state: {"g_ema": {"state_dict": state}, "g_optim": {"state": {}}, "model": {"name": "r50"}},
        lambda state: {"state_dict": state, "current_model_state": {key: 2 * state[key] for key in state}},
        lambda state: {key: value for key, value in state.items() if "num_batches" not in key},
    ],
)
def test_common_wrappings_are_taken_off(tmp_path, wrap):
    source, target = _net(), nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save(wrap(source.state_dict()), tmp_path / "w.pt")
    weights.load_into(target, tmp_path / "w.pt")
    assert _equal(source, target)


@pytest.mark.parametrize(
    ("name", "average"),
    [
        ("state_dict", "state_dict_ema"),  # timm
        ("model", "model_ema"),
        ("model", "ema"),
        ("params", "params_ema"),  # BasicSR
        ("g", "g_ema"),  # StyleGAN2
    ],
)
def test_an_average_beside_the_weights_is_not_guessed(tmp_path, name, average):
    """The weights were taken in silence, whichever of the two was published."""
    weight, mean = _net(), _net(3)
    mean[0].weight.data.mul_(2)
    file = tmp_path / "w.pt"
    torch.save({name: weight.state_dict(), average: {f"module.{k}": v for k, v in mean.state_dict().items()}}, file)
    with pytest.raises(UserError, match=rf"holds weights 2 times \(\['{name}'\], \['{average}'\]\)") as caught:
        weights.load_into(_net(), file)
    way = str(caught.value).partition("such as: ")[2].removesuffix(".")
    assert way.endswith(f"['{average}'], 'chosen.pt')")
    exec(way.replace("'w.pt'", repr(str(file))).replace("'chosen.pt'", repr(str(tmp_path / "chosen.pt"))))
    target = _net(3)
    weights.load_into(target, tmp_path / "chosen.pt")
    assert _equal(target, mean)


def test_safetensors_and_half_precision(tmp_path):
    source, target = _net(), nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    half = {key: value.half() if value.is_floating_point() else value for key, value in source.state_dict().items()}
    save_file(half, tmp_path / "w.safetensors")
    weights.load_into(target, tmp_path / "w.safetensors")
    assert target[0].weight.dtype == torch.float32
    torch.testing.assert_close(target[0].weight, source[0].weight, atol=1e-3, rtol=1e-3)


def test_missing_and_empty(tmp_path):
    with pytest.raises(UserError, match="No weight file at"):
        weights.read(tmp_path / "none.pt")
    (tmp_path / "empty.pt").touch()
    with pytest.raises(UserError, match="has 0 bytes"):
        weights.read(tmp_path / "empty.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.97])
def test_truncated(tmp_path, name, share):
    file = tmp_path / name
    state = nn.Linear(64, 64).state_dict()
    save_file(state, file) if name.endswith("safetensors") else torch.save(state, file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(UserError):
        weights.read(file)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_not_a_weight_file(tmp_path, name):
    for content in (b"<html>404 not found</html>" * 20, bytes(range(256)) * 8, b"\x80\x02."):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError):
            weights.read(tmp_path / name)


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path, form):
    target = tmp_path / "owned"
    content = {"weight": torch.ones(1), "payload": Payload(str(target))}
    file = tmp_path / "w.pt"
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file)
    with pytest.raises(UserError, match="never run"):
        weights.read(file)
    assert not target.exists()


def test_torchscript_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("net/constants.pkl", b"x")
        archive.writestr("net/code/__torch__.py", b"x")
    with pytest.raises(UserError, match="TorchScript"):
        weights.read(tmp_path / "w.pt")


def test_too_large_and_zip_bombs(tmp_path):
    torch.save(_net().state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match="expected 1 to 10"):
        weights.read(tmp_path / "w.pt", max_bytes=10)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\0" * 10**6)
    with pytest.raises(UserError, match="unpacks to more"):
        weights.read(tmp_path / "bomb.pt", max_bytes=10**5)


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {"epoch": 3}, {"state_dict": {"a": 1}}, {}])
def test_files_without_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="no state dict"):
        weights.read(tmp_path / "w.pt")


def test_another_architecture_names_the_first_differences(tmp_path):
    torch.save({**_net(4).state_dict(), "2.weight": torch.ones(1)}, tmp_path / "w.pt")
    target = _net()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(UserError) as caught:
        weights.load_into(target, tmp_path / "w.pt")
    text = str(caught.value)
    assert "does not fit Sequential" in text
    assert "1 unexpected (2.weight)" in text
    assert "0.weight is (4, 2), expected (3, 2)" in text
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


def test_nan_is_refused(tmp_path):
    state = _net().state_dict()
    state["0.bias"][1] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"NaN.*0\.bias"):
        weights.load_into(_net(), tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("dtype", "form"),
    [
        *((dtype, "safetensors") for dtype in (torch.float8_e4m3fn, torch.float8_e8m0fnu, torch.complex64, torch.bool)),
        *((dtype, "pt") for dtype in (torch.complex64, torch.bool)),  # others are no plain file of tensors
    ],
)
def test_types_that_lose_something_are_one_sentence(tmp_path, dtype, form):
    """The kind: any type that torch can copy was taken. float8 was a traceback, complex lost its imaginary part.

    Also: truth values, a fraction in the place of a counter, and the checkpoints of a training (check_fits).
    """
    state = _net().state_dict()
    state["0.bias"] = state["0.bias"].float().abs().to(dtype)
    file = tmp_path / f"w.{form}"
    save_file(state, file) if form == "safetensors" else torch.save(state, file)
    with pytest.raises(UserError, match=rf"{dtype}, first in 0\.bias"):
        weights.load_into(_net(), file)
    with pytest.raises(UserError, match=rf"{dtype}, first in 0\.bias"):
        check_fits(_net(), state, file)


def test_shipping_writes_half_precision_card_and_index(tmp_path):
    net = _net()
    file = shipped.ship(net.state_dict(), "tiny", "# tiny\n", tmp_path)
    state = load_file(file)
    assert state["0.weight"].dtype == torch.float16 and state["1.num_batches_tracked"].dtype == torch.int64
    assert (tmp_path / "tiny.md").read_text() == "# tiny\n"
    entry = json.loads((tmp_path / "index.json").read_text())["tiny"]
    assert entry["bytes"] == file.stat().st_size and len(entry["sha256"]) == 64
    assert shipped.path("tiny", tmp_path) == file
    shipped.ship(net.state_dict(), "other", "", tmp_path)
    assert set(shipped.index(tmp_path)) == {"tiny", "other"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index.json", "other.md", "other.safetensors", "tiny.md", "tiny.safetensors",
    ]  # fmt: skip


def test_shipped_files_are_checked(tmp_path):
    file = shipped.ship(_net().state_dict(), "tiny", "", tmp_path)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        shipped.path("tiny", tmp_path)
    file.unlink()
    with pytest.raises(UserError, match="missing"):
        shipped.path("tiny", tmp_path)
    with pytest.raises(UserError, match="No shipped weights named 'none'; there are: tiny"):
        shipped.path("none", tmp_path)


def test_what_does_not_fit_is_not_shipped(tmp_path):
    with pytest.raises(ValueError, match="half precision"):
        shipped.ship({"a": torch.tensor([1e6])}, "big", "", tmp_path)
    with pytest.raises(ValueError, match="at most"):
        shipped.ship({"a": torch.zeros(3 * 1024**2)}, "long", "", tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_shipped_file_is_whole_small_and_has_a_card():
    for name, entry in shipped.index().items():
        file = shipped.path(name)
        assert file.stat().st_size == entry["bytes"] <= 4 * 1024**2
        assert (file.parent / entry["card"]).read_text().startswith("# ")
