"""dlib's face recognition network as a judge: 128-d raw vectors, Euclidean distance, one person below 0.6.

Needs the extra ``dlib`` and the file ``dlib_face_recognition_resnet_model_v1.dat`` (King, 2017; 99.38 % on LFW by its
author's procedure). Its network wants RGB chips of 150 x 150 and normalizes them itself; it was trained on faces that
dlib's own landmarks align with a margin of a quarter. That frame is lower and a little tighter than ArcFace's, and
without it the threshold means nothing: on photographs 72 % of the impostors fell below 0.6. So crops are framed anew.

dlib's own reader crashes on a file that lies about its sizes, so only the published bytes are given to it by default.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.faces.alignment import Framing
from anon.identity.contract import check_judge
from anon.plain import read_bytes
from anon.weights.archives import DAMAGED

SIZE = 150
#: dlib's chip in pixels of the 112 x 112 ArcFace crop: left, top, side; fitted to the mean eye centres of both frames.
FRAME = (6.29, 19.99, 100.59)
PUBLISHED = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
MAX_BYTES = 2**28  # the published file has 22 MB
ORIGIN = "take dlib_face_recognition_resnet_model_v1.dat of github.com/davisking/dlib-models (CC0)"


class DlibJudge:
    """Args:
        path: the file.
        flip: mean of the vectors of the image and of its mirror image, which keeps the scale of the distances.
        name: how tables call it.
        threshold: Euclidean distance below which two faces are one person; 0.6 is dlib's own.
        sha256: of the file, the published one's by default; None lets dlib read any file, which you then trust.
        chips: images come in dlib's own frame, not as crops of :func:`anon.faces.alignment.template`.

    Raises:
        UserError: dlib is not installed, no such file, another than ``sha256``, or dlib cannot read it.
    """

    metric = "euclidean"
    dim = 128
    _handles = ("model",)  # of the file, which the fingerprint tells

    def __init__(
        self,
        path: str | Path | None,
        flip: bool = False,
        name: str = "dlib",
        threshold: float = 0.6,
        sha256: str | None = PUBLISHED,
        chips: bool = False,
    ) -> None:
        try:
            import dlib
        except ImportError as error:
            raise UserError(
                "The judge 'dlib' needs the package dlib: pip install 'anon-faces[dlib]' (it compiles for minutes)."
            ) from error
        if path is None:
            raise UserError(f"The judge '{name}' needs its file (judge.path=<file>): {ORIGIN}.")
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(f"No dlib model at '{file}'; {ORIGIN}.")
        if not 0 < file.stat().st_size <= MAX_BYTES:
            raise UserError(f"The dlib model '{file}' has {file.stat().st_size} bytes; expected 1 to {MAX_BYTES}.")
        self.fingerprint = hashlib.sha256(read_bytes(file, MAX_BYTES)).hexdigest()
        if sha256 is not None and self.fingerprint != sha256:
            raise UserError(
                f"'{file}' is not the published dlib model (SHA-256 differs); {ORIGIN}, or say judge.sha256=null if "
                "you trust this file."
            )
        self.flip, self.name, self.threshold, self.chips = flip, name, threshold, chips
        try:
            self.model = dlib.face_recognition_model_v1(str(file))
            self._describe(np.zeros((1, SIZE, SIZE, 3), np.uint8))  # sizes inside that do not fit show only here
        except DAMAGED as error:
            raise UserError(f"'{file}' is not dlib's face recognition model, or is truncated; {ORIGIN}.") from error
        check_judge(self)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [-1, 1] -> (B, 128) raw, on the device of the images."""
        if not len(images):
            return images.new_zeros(0, self.dim)
        if not self.chips:
            images = framed(images)
        elif images.shape[-2:] != (SIZE, SIZE):
            images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        chips = images.float().mul(127.5).add(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        z = self._describe(chips)
        if self.flip:
            z = (z + self._describe(chips[:, :, ::-1])) / 2
        return z.to(images.device)

    def _describe(self, chips: np.ndarray) -> Tensor:
        """uint8 (B, 150, 150, 3) -> (B, 128)."""
        found = self.model.compute_face_descriptor([np.ascontiguousarray(chip) for chip in chips])
        return torch.from_numpy(np.asarray([np.asarray(vector) for vector in found], np.float32))


def framed(images: Tensor) -> Tensor:
    """Aligned crops (B, 3, S, S) -> dlib's frame of the same faces (B, 3, 150, 150); the lowest rows are repeated.

    Which part of a crop that is depends on its size, see :class:`anon.faces.alignment.Framing`.
    """
    size = images.shape[-1]
    left, top, side = Framing.of(size).place(*FRAME)
    scale = side / size
    # Of pixel centres, in the [-1, 1] of the crop's outer edges.
    x, y = (2 * (edge + side / 2) / size - 1 for edge in (left, top))
    theta = images.new_tensor([[scale, 0.0, x], [0.0, scale, y]]).expand(len(images), 2, 3)
    if scale * size > 2 * SIZE:  # a large crop is averaged first, so that nothing aliases
        images = F.interpolate(images, (2 * SIZE, 2 * SIZE), mode="bilinear", align_corners=False, antialias=True)
    grid = F.affine_grid(theta, [len(images), 3, SIZE, SIZE], align_corners=False)
    return F.grid_sample(images.float(), grid.float(), padding_mode="border", align_corners=False)
