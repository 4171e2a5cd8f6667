"""Writes a file of the very format of ``dlib_face_recognition_resnet_model_v1.dat`` (King, 2017) from any weights.

The network is ``anet_type`` of dlib's ``tools/python/src/face_recognition.cpp``: 29 convolutions, 128 numbers out. The
format is that of ``dlib/serialize.h`` and ``dlib/dnn`` in early 2017, which later versions read. There is no index;
layers nest as their C++ types do:

    layer = version | layer below | record | set up?, gradient stale?, output disabled? | three emptied tensors

so that a file is the loss, the versions from the top layer down, the input layer, and the records from the bottom up.
With the published weights :func:`face_recognition_model` gives the published file byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

# (kind, shape) -> float32 of that shape; asked for in the order of the forward pass, which is the order of the file.
# Kinds: "filters" (out, in, height, width), "bias", "gamma", "beta" (channels,), "fc" (inputs, outputs).
Weights = Callable[[str, tuple[int, ...]], np.ndarray]

LAYER, FIRST, TAG, LOSS = 2, 3, 1, 1  # versions of add_layer, of the one on the input, of tags and skips, of the loss
LEVELS = ((32, 3, False), (64, 3, True), (128, 2, True), (256, 2, True), (256, 0, True))  # filters, ares, ares_down?
MEAN = (122.782, 117.001, 104.298)  # red, green, blue


def integer(value: int) -> bytes:
    """Control byte (count of what follows; high bit: negative), then the magnitude, little-endian, shortest."""
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def real(value: float, digits: int = 53) -> bytes:
    """Integers mantissa and exponent of mantissa * 2^exponent; ``digits`` of a C++ double."""
    fraction, power = math.frexp(value)
    mantissa, exponent = int(fraction * 2**digits), power - digits
    for _ in range(8):  # zero bytes move to the exponent, eight at most: 0.0 as a double is (0, 64 - 53)
        if mantissa & 0xFF == 0:
            mantissa, exponent = mantissa >> 8, exponent + 8
    return integer(mantissa) + integer(exponent)


def single(value: float) -> bytes:
    """A C++ float."""
    return real(float(np.float32(value)), 24)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(*dims: int, data: bytes = b"") -> bytes:
    """Version 2, four sizes, raw little-endian float32."""
    return integer(2) + b"".join(integer(n) for n in dims) + data


def alias(*dims: int) -> bytes:
    """A view into the parameters: version 1, four sizes."""
    return integer(1) + b"".join(integer(n) for n in dims)


def raw(*arrays: np.ndarray) -> bytes:
    return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)


MULTIPLIERS = real(1.0) * 3 + real(0.0)  # of learning rate and weight decay; of the bias's rate and its decay


def con(weights: Weights, out: int, inputs: int, size: int, stride: int) -> bytes:
    pad = 0 if stride != 1 else size // 2  # dlib's default
    filters, bias = weights("filters", (out, inputs, size, size)), weights("bias", (out,))
    params = tensor(filters.size + bias.size, 1, 1, 1, data=raw(filters, bias))
    numbers = b"".join(integer(n) for n in (out, size, size, stride, stride, pad, pad))
    return text("con_4") + params + numbers + alias(out, inputs, size, size) + alias(1, out, 1, 1) + MULTIPLIERS


def affine(weights: Weights, channels: int) -> bytes:
    """What training's batch norm is frozen to; mode 0 is per channel."""
    params = tensor(2 * channels, 1, 1, 1, data=raw(weights("gamma", (channels,)), weights("beta", (channels,))))
    return text("affine_") + params + alias(1, channels, 1, 1) * 2 + integer(0)


def pool(name: str, size: int, stride: int) -> bytes:
    """Size 0 is the whole plane; no padding."""
    return text(name) + b"".join(integer(n) for n in (size, size, stride, stride, 0, 0))


def fc(weights: Weights, inputs: int, outputs: int) -> bytes:
    """Without a bias: an empty view of it, and mode 1."""
    params = tensor(inputs, outputs, 1, 1, data=raw(weights("fc", (inputs, outputs))))
    head = text("fc_2") + integer(outputs) + integer(inputs)
    return head + params + alias(inputs, outputs, 1, 1) + alias(0, 0, 0, 0) + integer(1) + MULTIPLIERS


class Stack:
    """Layers from the bottom up."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.records: list[bytes] = []

    def tag(self) -> None:
        """A tag or a skip to a tag: a version and no record."""
        self.versions.append(TAG)

    def add(self, record: bytes, hidden: bool = False) -> None:
        """hidden: the layer above works in place, so this one's output is not to be had."""
        flags = b"11" + (b"1" if hidden else b"0")
        first = not self.versions
        self.versions.append(FIRST if first else LAYER)
        factor = integer(1) if first else b""  # samples out per sample in
        self.records.append(record + flags + tensor(0, 0, 0, 0) * 3 + factor)


def face_recognition_model(weights: Weights) -> bytes:
    """The file's bytes: 22,466,066 of them whatever the weights."""
    net, relu = Stack(), text("relu_")
    net.add(con(weights, 32, 3, 7, 2))
    net.add(affine(weights, 32), hidden=True)
    net.add(relu)
    net.add(pool("max_pool_2", 3, 2))
    channels = 32
    for filters, count, shrinks in LEVELS:
        for down in [True] * shrinks + [False] * count:
            net.tag()  # tag1, the block's input
            net.add(con(weights, filters, channels, 3, 2 if down else 1))
            net.add(affine(weights, filters), hidden=True)
            net.add(relu)
            net.add(con(weights, filters, filters, 3, 1))
            net.add(affine(weights, filters))
            if down:
                net.tag()  # tag2, the block's output
                net.tag()  # skip1, back to the input, which is pooled
                net.add(pool("avg_pool_2", 2, 2))
            net.add(text("add_prev_"), hidden=True)
            net.add(relu)
            channels = filters
    net.add(pool("avg_pool_2", 0, 1))
    net.add(fc(weights, 256, 128))
    loss = integer(LOSS) + text("loss_metric_2") + single(0.04) + single(0.6)
    image = text("input_rgb_image_sized") + b"".join(single(m) for m in MEAN) + integer(150) * 2
    return loss + b"".join(map(integer, reversed(net.versions))) + image + b"".join(net.records)


def random_weights(rng: np.random.Generator) -> Weights:
    """Draws that keep the activations finite through 29 convolutions."""

    def draw(kind: str, shape: tuple[int, ...]) -> np.ndarray:
        scale = {"filters": math.sqrt(2 / math.prod(shape[1:])), "fc": 1 / math.sqrt(shape[0])}.get(kind, 0.1)
        return (rng.standard_normal(shape) * scale + (0.5 if kind == "gamma" else 0.0)).astype(np.float32)

    return draw


def write_face_recognition_model(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(face_recognition_model(random_weights(rng)))
