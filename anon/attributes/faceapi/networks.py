"""The two small networks of face-api.js (github.com/justadudewhohacks/face-api.js, MIT) in torch.

Separable convolutions throughout; TensorFlow's "same" padding, which at stride 2 on even sides pads right and below
only. Parameters bear the names of the published manifests, so that these load without a table of names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEAN = (122.782, 117.001, 104.298)  # red, green, blue
SIZE = 112


def _same(images: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's "same" padding."""
    pads: list[int] = []
    for side in (images.shape[-1], images.shape[-2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(images, pads, value=value)


class Convolution(nn.Module):
    """k x k convolution with TensorFlow's padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.filters = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        return F.conv2d(_same(maps, self.filters.shape[-1], self.stride), self.filters, self.bias, self.stride)


class Separable(nn.Module):
    """3 x 3 depthwise, then 1 x 1 convolution and bias."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise_filter = nn.Parameter(torch.zeros(inputs, 1, 3, 3))
        self.pointwise_filter = nn.Parameter(torch.zeros(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        maps = F.conv2d(_same(maps, 3, self.stride), self.depthwise_filter, stride=self.stride, groups=maps.shape[1])
        return F.conv2d(maps, self.pointwise_filter, self.bias)


class Dense(nn.Module):
    """A linear layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features, self.weights, self.bias)


class DenseBlock(nn.Module):
    """Four convolutions at half the size; each sees the sum of all before it."""

    def __init__(self, inputs: int, outputs: int, first: bool = False) -> None:
        super().__init__()
        self.conv0 = Convolution(inputs, outputs, stride=2) if first else Separable(inputs, outputs, 2)
        self.conv1, self.conv2, self.conv3 = (Separable(outputs, outputs) for _ in range(3))

    def forward(self, maps: Tensor) -> Tensor:
        total = self.conv0(maps).relu()
        total = total + self.conv1(total)
        total = total + self.conv2(total.relu())
        return (total + self.conv3(total.relu())).relu()


class FaceFeatures(nn.Module):
    """(B, 3, 112, 112) in [-1, 1] -> (B, outputs): ``face_landmark_68_model`` (136), ``face_expression_model`` (7)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.dense0 = DenseBlock(3, 32, first=True)
        self.dense1, self.dense2, self.dense3 = DenseBlock(32, 64), DenseBlock(64, 128), DenseBlock(128, 256)
        self.fc = Dense(256, outputs)

    def forward(self, images: Tensor) -> Tensor:
        maps = _centred(images) / 255
        for block in (self.dense0, self.dense1, self.dense2, self.dense3):
            maps = block(maps)  # (B, C, 56), 28, 14, 7
        return self.fc(maps.mean((2, 3)))


class Reduction(nn.Module):
    """Xception's block that halves the size."""

    def __init__(self, inputs: int, outputs: int, activate: bool = True) -> None:
        super().__init__()
        self.separable_conv0, self.separable_conv1 = Separable(inputs, outputs), Separable(outputs, outputs)
        self.expansion_conv = Convolution(inputs, outputs, kernel=1, stride=2)
        self.activate = activate

    def forward(self, maps: Tensor) -> Tensor:
        out = self.separable_conv0(maps.relu() if self.activate else maps)
        out = self.separable_conv1(out.relu())
        return F.max_pool2d(_same(out, 3, 2, float("-inf")), 3, 2) + self.expansion_conv(maps)


class Middle(nn.Module):
    """Xception's block that keeps the size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for number in range(3):
            self.add_module(f"separable_conv{number}", Separable(channels, channels))

    def forward(self, maps: Tensor) -> Tensor:
        out = maps
        for conv in self.children():
            out = conv(out.relu())
        return out + maps


class TinyXception(nn.Module):
    """``age_gender_model``: (B, 3, 112, 112) in [-1, 1] -> age (B,) and logits of male, female (B, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.entry_flow = nn.ModuleDict(
            {
                "conv_in": Convolution(3, 32, stride=2),
                "reduction_block_0": Reduction(32, 64, activate=False),
                "reduction_block_1": Reduction(64, 128),
            }
        )
        self.middle_flow = nn.ModuleDict({f"main_block_{number}": Middle(128) for number in range(2)})
        self.exit_flow = nn.ModuleDict({"reduction_block": Reduction(128, 256), "separable_conv": Separable(256, 512)})
        self.fc = nn.ModuleDict({"age": Dense(512, 1), "gender": Dense(512, 2)})

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.entry_flow["conv_in"](_centred(images) / 256).relu()
        for block in (
            self.entry_flow["reduction_block_0"],
            self.entry_flow["reduction_block_1"],
            *self.middle_flow.values(),
            *self.exit_flow.values(),
        ):
            maps = block(maps)
        features = maps.relu().mean((2, 3))
        return self.fc["age"](features).flatten(), self.fc["gender"](features)


def _centred(images: Tensor) -> Tensor:
    """[-1, 1] to 0..255 less the mean colour."""
    return images * 127.5 + 127.5 - images.new_tensor(MEAN).view(3, 1, 1)
