"""Weight files and checkpoints with flipped bits and missing ends: they load, or they are one sentence.

The kind: readers listed the exceptions that they had seen. Of 16,028 damaged files 549 ended in others (BadZipFile,
struct.error, UnicodeDecodeError, NotImplementedError, OverflowError). Each format here has its reader's door.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from anon import plain
from anon.apps.checkpoints import CheckpointFiles, read_checkpoint
from anon.apps.untrusted import read_config
from anon.attributes.faceapi import tfjs
from anon.errors import UserError
from anon.weights import files
from anon.weights import onnx as onnx_files


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4))


def checkpoint(folder: Path) -> Path:
    text = "experiment: fiva\nmodel:\n  _target_: anon.generators.fiva.FIVA\n  widths: [1, 2]\n  rate: 1.0e-05\n"
    content = {"state_dict": network().state_dict(), "global_step": 3, "loops": {"a": [1, 2.5, None, (1, 2), True]}}
    CheckpointFiles(text).save_checkpoint(content, folder / "a.ckpt")
    return folder / "a.ckpt"


def zipped(folder: Path) -> Path:
    torch.save(network().state_dict(), folder / "a.pt")
    return folder / "a.pt"


def legacy(folder: Path) -> Path:
    torch.save(network().state_dict(), folder / "a.pth", _use_new_zipfile_serialization=False)
    return folder / "a.pth"


def safe(folder: Path) -> Path:
    save_file(network().state_dict(), folder / "a.safetensors")
    return folder / "a.safetensors"


def graph(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    kept = [
        numpy_helper.from_array(rng.normal(size=(4, 3, 3, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array([1, -1]), "sizes"),
    ]
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("Reshape", ["y", "sizes"], ["z"])]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 144]),
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], kept),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )
    onnx.save(made, folder / "a.onnx")
    return folder / "a.onnx"


def manifest(folder: Path) -> Path:
    (folder / "shard").write_bytes(np.arange(24, dtype=np.uint8).tobytes())
    weights = [
        {
            "name": "a/b",
            "shape": [2, 4],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1},
        },
        {"name": "c", "shape": [4], "dtype": "float32"},
    ]
    (folder / "a.json").write_text(json.dumps([{"paths": ["shard"], "weights": weights}]))
    return folder / "a.json"


def configuration(folder: Path) -> Path:
    (folder / "config.yaml").write_text(
        "experiment: fiva\nsize: 64\nlist: [1, 2.5, null, 'x']\nmodel:\n  a: {b: 1e-4}\n"
    )
    return folder / "config.yaml"


READERS: dict[Callable[[Path], Path], Callable[[Path], object]] = {
    checkpoint: read_checkpoint,
    zipped: files.read,
    legacy: files.read,
    safe: files.read,
    graph: lambda file: onnx_files.session(onnx_files.read(file, "A test", "make another"), "make another"),
    manifest: lambda file: tfjs.read(file, "take another"),
    configuration: lambda file: read_config(plain.read_text(file, plain.MAX_YAML), file),
}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One of: a few flipped bits, the end missing, a part overwritten by zeros or noise, a part twice."""
    changed = bytearray(content)
    kind, start = rng.integers(5), int(rng.integers(len(content)))
    part = slice(start, start + int(rng.integers(1, 64)))
    if kind == 0:
        for place in rng.integers(len(content), size=int(rng.integers(1, 5))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del changed[start:]
    elif kind == 2:
        changed[part] = bytes(len(changed[part]))
    elif kind == 3:
        changed[part] = rng.bytes(len(changed[part]))
    else:
        changed[part] = changed[part] * 2
    return bytes(changed)


def read_damaged(make: Callable[[Path], Path], folder: Path, seeds: range) -> int:
    """How many of the damaged files were refused."""
    file, refused = make(folder), 0
    READERS[make](file)  # whole, it loads
    whole = file.read_bytes()
    for seed in seeds:
        file.write_bytes(damaged(whole, np.random.default_rng(seed)))
        try:
            READERS[make](file)
        except UserError as error:
            refused += 1
            assert str(error).strip() and len(str(error)) < 2000, seed
    return refused


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__)
def test_a_damaged_file_is_one_sentence(make: Callable[[Path], Path], tmp_path: Path) -> None:
    count = 12 if make is graph else 60
    assert read_damaged(make, tmp_path, range(count)) > count / 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", READERS, ids=lambda make: make.__name__)
def test_thousands_of_damaged_files(make: Callable[[Path], Path], tmp_path: Path) -> None:
    count = 300 if make is graph else 3000
    assert read_damaged(make, tmp_path, range(1000, 1000 + count)) > count / 10
