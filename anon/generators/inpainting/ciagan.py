"""CIAGAN (Maximov, Elezi & Leal-Taixé, CVPR 2020): landmarks and an identity code to a face.

An encoder-decoder without skips that sees drawn landmarks and the picture around the face, and a one-hot code of a
training person in the middle, whose features it draws. The siamese identity network, trained beside it, says how.

    input     landmark image (3) and the picture without the face (3)
    down      residual blocks to 4 x 4, instance norm          code -> fully connected layers -> 4 x 4
    join      both -> 3x3 -> residual blocks                   up: residual blocks, instance norm, 3x3 to colours

Landmarks are drawn of the five points that alignment knows, where the paper has 68: jaw and temples as a mean face has
them around these points, a nose ridge, a mouth. Eyes and brows are not drawn, as in the paper, so gaze is lost. The
hole is the area within jaw and temples; the forehead stays. Of the paper's sizes at 64 px the widths are a quarter.

    python train.py experiment=ciagan
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from anon.attributes.contract import Estimator
from anon.errors import UserError
from anon.faces.regions import TIGHT, face_lines, inside_face
from anon.generators.blocks import halvings
from anon.generators.inpainting.blocks import SLOPE, composite
from anon.generators.inpainting.contract import FivePoints, Inpainter, Seen
from anon.generators.instance_norm import InstanceNorm

BOTTOM = 4  # pixels a side where the code joins
RED = (1.0, -1.0, -1.0)  # of landmarks, on white


def conv(cin: int, cout: int, kernel: int = 3) -> nn.Module:
    """Convolution with mirrored borders and spectral norm (Miyato et al., ICLR 2018)."""
    made = nn.Conv2d(cin, cout, kernel, padding=kernel // 2, padding_mode="reflect" if kernel > 1 else "zeros")
    return spectral_norm(made)


class Down(nn.Module):
    """(B, cin, H, W) -> (B, cout, H/2, W/2): ReLU, 3x3, ReLU, 3x3, pooling, beside 1x1 and pooling."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.skip = conv(cin, cout), conv(cout, cout), conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(F.relu(x))))
        return F.avg_pool2d(y, 2) + self.skip(F.avg_pool2d(x, 2))


class Up(nn.Module):
    """(B, cin, H, W) -> (B, cout, 2H, 2W): norm, ReLU, doubling, 3x3, norm, ReLU, 3x3, beside doubling and 1x1."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = InstanceNorm(cin, 1e-5), InstanceNorm(cout, 1e-5)
        self.conv1, self.conv2, self.skip = conv(cin, cout), conv(cout, cout), conv(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2, mode="nearest"))
        return self.conv2(F.relu(self.norm2(y))) + F.interpolate(self.skip(x), scale_factor=2, mode="nearest")


class Residual(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x)))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(channels, channels), conv(channels, channels)
        self.norm1, self.norm2 = InstanceNorm(channels, 1e-5), InstanceNorm(channels, 1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))


def _normed(blocks: Sequence[nn.Module], widths: Sequence[int]) -> nn.Sequential:
    """Each block with an instance norm behind it."""
    return nn.Sequential(
        *(nn.Sequential(block, InstanceNorm(w, 1e-5)) for block, w in zip(blocks, widths, strict=True))
    )


class CIAGAN(Inpainter):
    """See the module and :class:`anon.generators.inpainting.contract.Inpainter`; its hole is each face's own.

    A latent z (B, z_dim) means the person whose direction is nearest, one of ``codes`` (identities, z_dim): a random
    one means anybody. The network is told a one-hot code, so nobody is mixed, and there is no truncation.

    Args:
        size: side of the pictures: 4 times a power of two, 16 at least.
        landmarks: estimator of the five points.
        identities: people with a code: those who are learned from.
        base: width of the first block; the next are 2, 4, 8 and 8 times as wide.
        z_dim: size of the latent.
        residuals: blocks at 4 x 4.

    Raises:
        UserError: another size, or a single person.
    """

    codes: Tensor

    def __init__(
        self,
        size: int,
        landmarks: Estimator,
        identities: int,
        base: int = 16,
        z_dim: int = 256,
        residuals: int = 4,
    ) -> None:
        super().__init__(z_dim, TIGHT, None)
        if identities < 2:
            raise UserError(f"CIAGAN needs codes for two people or more, not for {identities}.")
        steps, side = halvings(size, BOTTOM, 2, 8, "CIAGAN draws")
        if side != BOTTOM:
            raise UserError(f"CIAGAN draws images of 4 pixels times a power of two, such as 64 and 128, not {size}.")
        widths = [base * min(2**step, 8) for step in range(steps)]
        deep = widths[-1]
        self.identities, self.points = identities, FivePoints(landmarks)
        drawn = torch.randn(identities, z_dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("codes", F.normalize(drawn), persistent=False)
        self.down = _normed([Down(cin, cout) for cin, cout in pairwise([6, *widths])], widths)
        hidden = 8 * base
        self.code = nn.Sequential(
            nn.Linear(identities, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, deep // 4 * BOTTOM**2),
            nn.LeakyReLU(SLOPE),
            nn.Unflatten(1, (deep // 4, BOTTOM, BOTTOM)),
            conv(deep // 4, deep),
            nn.LeakyReLU(SLOPE),
            InstanceNorm(deep, 1e-5),
        )
        self.join = nn.Sequential(conv(2 * deep, deep), InstanceNorm(deep, 1e-5))
        self.middle = nn.Sequential(*(Residual(deep) for _ in range(residuals)))
        rising = [*widths[::-1], base]
        self.up = _normed([Up(cin, cout) for cin, cout in pairwise(rising)], rising[1:])
        self.to_rgb = conv(base, 3)

    def locate(self, target: Tensor) -> Tensor:
        return self.points(target)

    def see(self, target: Tensor) -> Seen:
        points = self.locate(target)
        hole = inside_face(points, *target.shape[-2:])
        return Seen(target.masked_fill(hole, 0.0), hole, points)

    def person(self, z: Tensor) -> Tensor:
        """Who is meant by z (B, z_dim): (B,) int64."""
        return (z.float() @ self.codes.T).argmax(1)

    def fill(self, seen: Seen, z: Tensor) -> Tensor:
        x = self.down(torch.cat((landmark_image(seen), seen.context), 1))  # (B, deep, 4, 4)
        code = self.code(F.one_hot(self.person(z), self.identities).to(x))
        x = self.middle(self.join(torch.cat((x, code.to(x)), 1)))
        return composite(self.to_rgb(self.up(x)).float(), seen.context, seen.hole)


def landmark_image(seen: Seen) -> Tensor:
    """Red lines on white, (B, 3, H, W) in [-1, 1]: jaw, nose ridge and mouth."""
    assert seen.points is not None
    lines = face_lines(seen.points, *seen.context.shape[-2:])  # (B, 1, H, W)
    return torch.where(lines, seen.context.new_tensor(RED).view(1, 3, 1, 1), 1.0)


class CIAGANCritics(nn.Module):
    """The critic [picture, landmarks] (B, 6, H, W) -> (B,), and the identity network, (B, 3, H, W) -> (B, dim).

    The identity network is a residual network with batch norm, trained from scratch on pairs of real pictures.

    Args:
        size: as the generator's.
        base: width of both; 64 is published.
        dim: of the identity's embedding, which is not normalized; 1024 before 1200 people is published.
    """

    def __init__(self, size: int, base: int = 16, dim: int = 128) -> None:
        super().__init__()
        steps, side = halvings(size, BOTTOM, 2, 8, "CIAGAN's critic judges")
        widths = [base * min(2**step, 8) for step in range(steps)]
        self.down = nn.Sequential(*(Down(cin, cout) for cin, cout in pairwise([6, *widths])))
        self.score = nn.Sequential(
            nn.Linear(widths[-1] * side**2, 8 * base), nn.LeakyReLU(SLOPE), nn.Linear(8 * base, 1)
        )
        stages: list[nn.Module] = [nn.Conv2d(3, base, 3, 2, 1, bias=False), nn.BatchNorm2d(base), nn.ReLU()]
        for cin, cout in pairwise([base, *widths]):
            stages += [nn.Conv2d(cin, cout, 3, 2 if cout != cin else 1, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU()]
        self.identity = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], dim))

    def embed(self, images: Tensor) -> Tensor:
        """Whose faces they are, (B, dim), not normalized."""
        return self.identity(images).float()

    def forward(self, images: Tensor, seen: Seen) -> Tensor:
        """Images (N·B, 3, H, W), N of each of the pictures that ``seen`` is of, in its order."""
        lines = landmark_image(seen).repeat(len(images) // len(seen.context), 1, 1, 1)
        return self.score(F.relu(self.down(torch.cat((images, lines), 1))).flatten(1)).float().flatten()
