"""TensorFlow.js manifests: values by hand, and every way in which a file may lie about itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anon.attributes.faceapi.networks import Convolution, Separable
from anon.attributes.faceapi.tfjs import load_into, read
from anon.errors import UserError


def manifest(folder: Path, content: bytes, weights: Any, paths: Any = ("shard1",)) -> Path:
    (folder / "shard1").write_bytes(content)
    file = folder / "manifest.json"
    file.write_text(json.dumps([{"paths": list(paths), "weights": weights}]))
    return file


def weight(**changes: Any) -> dict[str, Any]:
    return {"name": "fc/bias", "shape": [3], "dtype": "float32"} | changes


def test_quantized_and_plain_numbers(tmp_path: Path) -> None:
    quantized = weight(name="q", quantization={"dtype": "uint8", "scale": 0.5, "min": -1.0})
    content = bytes([0, 2, 255]) + np.float32([1.5, -2.0, 0.25]).tobytes()
    found = read(manifest(tmp_path, content, [quantized, weight()]), "origin")
    torch.testing.assert_close(found["q"], torch.tensor([-1.0, 0.0, 126.5]))
    torch.testing.assert_close(found["fc/bias"], torch.tensor([1.5, -2.0, 0.25]))


@pytest.mark.parametrize(
    "weights",
    [
        [weight(shape=[4])],
        [weight(shape=[-3])],
        [weight(shape=[2**23, 2**23, 2**23])],
        [weight(shape="3")],
        [weight(dtype="object")],
        [weight(quantization={"dtype": "uint8", "scale": "x", "min": 0})],
        [weight(quantization={"dtype": "uint8", "scale": 1e999, "min": 0})],
        [{"name": "a"}],
        7,
        [],
    ],
)
def test_lies_are_refused(tmp_path: Path, weights: Any) -> None:
    with pytest.raises(UserError):
        read(manifest(tmp_path, bytes(12), weights), "origin")


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    for name in ("../secret", "/etc/hostname", ".."):
        with pytest.raises(UserError, match="outside"):
            read(manifest(tmp_path, bytes(12), [weight()], [name]), "origin")
    with pytest.raises(UserError, match="beside it"):
        read(manifest(tmp_path, bytes(12), [weight()], ["shard2"]), "origin")
    with pytest.raises(UserError, match="No weights manifest"):
        read(tmp_path / "none.json", "origin")


def test_layouts_and_padding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    depth, point, bias = rng.normal(size=(3, 3, 2, 1)), rng.normal(size=(1, 1, 2, 4)), rng.normal(size=4)
    arrays = {"depthwise_filter": depth, "pointwise_filter": point, "bias": bias}
    content = b"".join(array.astype(np.float32).tobytes() for array in arrays.values())
    file = manifest(tmp_path, content, [weight(name=n, shape=list(a.shape)) for n, a in arrays.items()])
    layer = Separable(2, 4, stride=2)
    load_into(layer, file, "origin")
    image = rng.normal(size=(6, 6, 2))
    padded = np.zeros((7, 7, 2))
    padded[:6, :6] = image  # at stride 2 on an even side TensorFlow pads right and below
    window = padded[2:5, 4:7]  # output row 1, column 2
    expected = (window * depth[..., 0]).sum((0, 1)) @ point[0, 0] + bias
    found = layer(torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None])[0, :, 1, 2]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
    with pytest.raises(UserError, match="does not fit Convolution"):
        load_into(Convolution(2, 4), file, "origin")
    assert F.relu(found).shape == (4,)
