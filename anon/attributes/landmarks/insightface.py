"""insightface's dense landmarks from its model packs: ``1k3d68.onnx`` (68 points in space) and ``2d106det.onnx``.

Both see a face's box one and a half times enlarged at 192 x 192, RGB, and answer in units of half the side around its
centre. Non-commercial weights, of the packs buffalo_l and antelopev2.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from anon.attributes.framing import cropped
from anon.attributes.onnx_file import OnnxNetwork
from anon.attributes.rotations import euler
from anon.errors import UserError
from anon.faces.alignment import invert, transform
from anon.weights.files import read

SIZE, SIDE = 192, 165.0  # 1.5 times the longer side of the box
_ORIGIN = "it is in insightface's model packs buffalo_l and antelopev2"


class Landmarks106(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``landmarks`` (B, 106, 2), insightface's own order."""

    name = "insightface_106"
    reads: tuple[str, ...] = ("landmarks",)

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.network = OnnxNetwork(weights, "2d106det", _ORIGIN, SIZE, (106 * 2,))
        self.plain = not _normalizes(self.network.file)

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, matrix = cropped(images, points, SIZE, SIDE)
        found = self.network(_scaled(crops, self.plain))[0].view(-1, 106, 2)
        return {"landmarks": transform(invert(matrix), (found + 1) * (SIZE / 2))}


class Landmarks68In3d(nn.Module):
    """An :class:`anon.attributes.contract.Estimator` of ``landmarks`` (B, 68, 2), iBUG's order, and ``pose``.

    Args:
        weights: ``1k3d68.onnx``; of its 1,103 points in space the last 68 count.
        shape: a weight file with one tensor ``shape`` (68, 3), a frontal head in our axes (x right, y up, z out of the
            image), for the pose by :func:`fit_rotation`; insightface's own is a pickle, which is never read. None: no
            pose.
    """

    name = "insightface_3d68"

    def __init__(self, weights: str | Path | None = None, shape: str | Path | None = None) -> None:
        super().__init__()
        self.network = OnnxNetwork(weights, "1k3d68", _ORIGIN, SIZE, (1103 * 3,))
        self.plain = not _normalizes(self.network.file)
        self.shape = None if shape is None else read(shape).get("shape")
        if shape is not None and (self.shape is None or self.shape.shape != (68, 3)):
            raise UserError(f"'{shape}' holds no tensor 'shape' of 68 points in space.")
        self.reads: tuple[str, ...] = ("landmarks",) if shape is None else ("landmarks", "pose")

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, matrix = cropped(images, points, SIZE, SIDE)
        found = self.network(_scaled(crops, self.plain))[0].view(-1, 1103, 3)[:, -68:]
        result = {"landmarks": transform(invert(matrix), (found[..., :2] + 1) * (SIZE / 2))}
        if self.shape is not None:
            seen = result["landmarks"] * found.new_tensor([1.0, -1.0])  # y up
            result["pose"] = euler(fit_rotation(self.shape.to(found), seen))
        return result


def fit_rotation(shape: Tensor, seen: Tensor) -> Tensor:
    """Rotations (B, 3, 3) that show a shape (N, 3) as the picture's points (B, N, 2), in weak perspective.

    The least-squares linear map of the shape onto the picture, its two rows made orthonormal (the nearest such rows);
    the third is their cross product. Both in our axes: x right, y up.
    """
    model = shape - shape.mean(0)
    picture = seen - seen.mean(1, keepdim=True)
    linear = (torch.linalg.pinv(model) @ picture).mT  # (B, 2, 3)
    u, _, v = torch.linalg.svd(linear, full_matrices=False)
    rows = u @ v
    return torch.cat((rows, torch.linalg.cross(rows[:, 0], rows[:, 1]).unsqueeze(1)), 1)


def _scaled(crops: Tensor, plain: bool) -> Tensor:
    """insightface's rule: a graph that normalizes takes 0..255, any other (x - 127.5) / 128."""
    return crops * (127.5 / 128) if plain else crops * 127.5 + 127.5


def _normalizes(file: Path) -> bool:
    """Whether the graph begins with its own subtraction and product (its first eight nodes, as insightface looks)."""
    names = [node.name for node in onnx.load(str(file), load_external_data=False).graph.node[:8]]
    found = [any(name.startswith(start) for name in names) for start in ("Sub", "_minus", "Mul", "_mul", "bn_data")]
    return ((found[0] or found[1]) and (found[2] or found[3])) or found[4]
