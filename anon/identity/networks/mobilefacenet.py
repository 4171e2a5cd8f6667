"""MobileFaceNet (Chen et al., CCBR 2018) as in github.com/foamliu/MobileFaceNet (Apache-2.0): 1.0 M parameters, 128-d.

Input 112 x 112 RGB, scaled to [0, 1] and normalized with ImageNet's mean and deviation. The names equal those of the
repository's ``mobilefacenet.pt``, so that file loads without renaming. It departs from the paper in three places: ReLU6
for PReLU in the bottlenecks, a bias in the last linear convolution, and a stem with a full depthwise-separable block.
"""

from __future__ import annotations

from torch import Tensor, nn

#: Expansion, channels, blocks, stride of the first block: table 1 of the paper.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


class ConvBNReLU(nn.Sequential):
    def __init__(self, cin: int, cout: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(cout),
            nn.ReLU6(),
        )


class DepthwiseSeparable(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(cin, cin, 3, padding=1, groups=cin, bias=False)
        self.pointwise = nn.Conv2d(cin, cout, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(cin)
        self.bn2 = nn.BatchNorm2d(cout)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.pointwise(self.bn1(self.depthwise(x)).relu())).relu()


class Bottleneck(nn.Module):
    """Inverted residual of MobileNetV2."""

    def __init__(self, cin: int, cout: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = cin * expansion
        self.shortcut = stride == 1 and cin == cout
        self.conv = nn.Sequential(
            ConvBNReLU(cin, hidden, 1),
            ConvBNReLU(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, cout, 1, bias=False),
            nn.BatchNorm2d(cout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


class GlobalDepthwise(nn.Module):
    """One 7 x 7 filter per channel in place of global pooling: (B, C, 7, 7) -> (B, C, 1, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.depthwise(x))


class MobileFaceNet(nn.Module):
    """``(B, 3, 112, 112)`` -> raw embedding (B, 128)."""

    dim = 128

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(3, 64, stride=2)  # 56
        self.dw_conv = DepthwiseSeparable(64, 64)
        blocks, channels = [], 64
        for expansion, width, count, stride in BOTTLENECKS:  # 28 14 14 7 7
            for number in range(count):
                blocks.append(Bottleneck(channels, width, stride if number == 0 else 1, expansion))
                channels = width
        self.features = nn.Sequential(*blocks)
        self.conv2 = ConvBNReLU(channels, 512, 1)
        self.gdconv = GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, self.dim, 1)
        self.bn = nn.BatchNorm1d(self.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.features(self.dw_conv(self.conv1(x))))  # (B, 512, 7, 7)
        return self.bn(self.conv3(self.gdconv(x)).flatten(1))
