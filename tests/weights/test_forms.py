"""Weight files in the forms in which they are published: loaded, or one sentence that names the way out.

The kind: the reader knew float state dicts alone. A quantized one was called damaged code, a network beside its
training's head did not fit, whole numbers were taken for weights as they were, and a safetensors or ONNX file under
another name was to be fetched again. Each form has its test; none of these files runs anything.
"""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from anon.apps.checkpoints import read_checkpoint
from anon.errors import UserError
from anon.identity.networks.compact import CompactNet
from anon.weights.files import load_into, read


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def refusal(file: Path, target: nn.Module | None = None) -> str:
    with pytest.raises(UserError) as caught:
        load_into(net() if target is None else target, file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def quantized(weight: Tensor, channels: bool) -> Tensor:
    """To steps of 1/128 of the largest value, of each row or of all."""
    if channels:
        scales = weight.abs().amax(1).double() / 127
        return torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.long), 0, torch.qint8)
    return torch.quantize_per_tensor(weight, float(weight.abs().max()) / 127, 0, torch.qint8)


def packed(channels: bool = False) -> dict[str, Any]:
    """As ``torch.ao.quantization.quantize_dynamic(net, {nn.Linear}).state_dict()`` names them (PyTorch 1.3 to 2.13)."""
    state: dict[str, Any] = OrderedDict(net().state_dict())
    weight, bias = state.pop("3.weight"), state.pop("3.bias")
    return state | {
        "3.scale": torch.tensor(1.0),
        "3.zero_point": torch.tensor(0),
        "3._packed_params.dtype": torch.qint8,
        "3._packed_params._packed_params": (quantized(weight, channels), nn.Parameter(bias)),
    }


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_dynamically_quantized_state_dicts_become_floats(tmp_path: Path, channels: bool, legacy: bool) -> None:
    """By hand: each weight within half a step of what it was, everything else as it was."""
    torch.save({"model": packed(channels)}, tmp_path / "q.pt", _use_new_zipfile_serialization=not legacy)
    target = net(1)
    load_into(target, tmp_path / "q.pt")
    wanted = net().state_dict()
    for name, value in target.state_dict().items():
        step = float(wanted[name].abs().max()) / 127 if name == "3.weight" else 0.0
        assert float((value - wanted[name]).abs().max()) <= step / 2 + 1e-6, name
    assert not torch.equal(target[3].weight, wanted["3.weight"])


def test_what_pytorch_itself_quantizes(tmp_path: Path) -> None:
    ao = pytest.importorskip("torch.ao.quantization")
    made = ao.quantize_dynamic(net(), {nn.Linear}, dtype=torch.qint8)
    torch.save(made.state_dict(), tmp_path / "q.pt")
    target = net(1)
    load_into(target, tmp_path / "q.pt")
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(target.eval()(x), net().eval()(x), atol=0.02, rtol=0.02)
    half = ao.quantize_dynamic(net(), {nn.Linear}, dtype=torch.float16)
    torch.save(half.state_dict(), tmp_path / "half.pt")
    load_into(target, tmp_path / "half.pt")
    torch.testing.assert_close(target[3].weight, net()[3].weight, atol=1e-3, rtol=1e-3)


def test_plain_quantized_tensors_become_floats(tmp_path: Path) -> None:
    """As static quantization and older files have them: the weight itself, beside what quantizes its output."""
    state = dict(net().state_dict())
    state |= {
        "3.weight": quantized(state["3.weight"], True),
        "3.scale": torch.ones(()),
        "3.zero_point": torch.zeros(()),
    }
    torch.save(state, tmp_path / "q.pt")
    assert set(read(tmp_path / "q.pt")) == set(net().state_dict())
    load_into(net(1), tmp_path / "q.pt")


def test_quantized_tensors_that_share_their_bytes_do_not_grow(tmp_path: Path) -> None:
    """A thousand names for one tensor of 100,000 bytes would be 400 MB of floats."""
    one = quantized(torch.ones(1, 100_000), False)
    torch.save({f"{number}.weight": one.view(1, 100_000) for number in range(1000)}, tmp_path / "q.pt")
    assert (tmp_path / "q.pt").stat().st_size < 1_000_000
    assert "more than its" in refusal(tmp_path / "q.pt")


def test_checkpoints_of_a_training_are_never_quantized(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": quantized(torch.ones(2, 2), False)}}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="quantized"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    state = {name: (value * 100).to(torch.int8) for name, value in net().state_dict().items()}
    torch.save(state, tmp_path / "q.pt")
    target = net(1)
    assert "holds torch.int8 for 0.weight" in refusal(tmp_path / "q.pt", target)
    assert torch.equal(target[0].weight, net(1)[0].weight)


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.model.", "student.encoder.net."])
def test_a_network_beside_its_training_s_head(tmp_path: Path, prefix: str) -> None:
    """Checkpoints of Lightning and of margin losses: one prefix has all the network's names, other modules are left."""
    state = {f"{prefix}{name}": value for name, value in net().state_dict().items()}
    torch.save({"state_dict": state | {"head.weight": torch.ones(9, 5), "loss.s": torch.ones(())}}, tmp_path / "a.ckpt")
    target = net(1)
    load_into(target, tmp_path / "a.ckpt")
    assert all(torch.equal(value, net().state_dict()[name]) for name, value in target.state_dict().items())
    torch.save({f"ema.{name}": value for name, value in net().state_dict().items()} | state, tmp_path / "two.pt")
    text = refusal(tmp_path / "two.pt")
    assert "2 times" in text and "ema." in text and prefix in text


def test_more_beneath_the_prefix_is_another_architecture(tmp_path: Path) -> None:
    state = {f"backbone.{name}": value for name, value in net().state_dict().items()}
    torch.save(state | {"backbone.4.weight": torch.ones(2), "head.weight": torch.ones(3)}, tmp_path / "a.pt")
    assert "1 unexpected (4.weight)" in refusal(tmp_path / "a.pt")


def test_a_file_is_what_its_bytes_are(tmp_path: Path) -> None:
    save_file(net().state_dict(), tmp_path / "pytorch_model.bin")
    torch.save(net().state_dict(), tmp_path / "model.safetensors")
    for file in tmp_path.iterdir():
        load_into(net(1), file)
    lying = struct.pack("<Q", 2**40) + b'{"a":' + json.dumps({"dtype": "F32"}).encode()
    (tmp_path / "lying.pt").write_bytes(lying)
    assert "safetensors" in refusal(tmp_path / "lying.pt")


def test_onnx_files_are_sent_to_their_own_door(tmp_path: Path) -> None:
    (tmp_path / "w600k_r50.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    text = refusal(tmp_path / "w600k_r50.onnx")
    assert "encoder=onnx" in text and "judge=onnx judge.path=" in text


def test_a_whole_module_names_what_it_would_make_and_how_to_save_it(tmp_path: Path) -> None:
    for legacy in (False, True):
        torch.save(CompactNet(), tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
        text = refusal(tmp_path / "net.pth")
        assert "anon.identity.networks.compact.CompactNet" in text and "never run" in text
        assert "torch.save(found.state_dict(), 'w.pt')" in text


@pytest.mark.filterwarnings("ignore")
def test_programs_name_how_to_save_their_weights(tmp_path: Path) -> None:
    """The command of the sentence, carried out by somebody who trusts the file, gives one that loads."""
    example = torch.zeros(1, 3, 4, 4)
    torch.jit.trace(net().eval(), example).save(str(tmp_path / "traced.pt"))
    assert "torch.jit.load(" in refusal(tmp_path / "traced.pt")
    torch.save(torch.jit.load(str(tmp_path / "traced.pt"), "cpu").state_dict(), tmp_path / "w.pt")
    load_into(net(1), tmp_path / "w.pt")
    torch.export.save(torch.export.export(net().eval(), (example,)), tmp_path / "exported.pt2")
    assert "torch.export.load(" in refusal(tmp_path / "exported.pt2")
    torch.save(dict(torch.export.load(tmp_path / "exported.pt2").state_dict), tmp_path / "w.pt")
    load_into(net(1), tmp_path / "w.pt")


def test_half_precision_of_both_kinds(tmp_path: Path) -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        state = {k: v.to(kind) if v.is_floating_point() else v for k, v in net().state_dict().items()}
        torch.save(state, tmp_path / "w.pt")
        target = net(1)
        load_into(target, tmp_path / "w.pt")
        torch.testing.assert_close(target[3].weight, net()[3].weight, atol=4e-3, rtol=1e-2)
        assert target[3].weight.dtype == torch.float32
