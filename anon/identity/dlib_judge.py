"""dlib's face recognition network as a judge: 128-d raw vectors, Euclidean distance, one person below 0.6.

Needs the extra ``dlib`` and the file ``dlib_face_recognition_resnet_model_v1.dat`` (King, 2017; 99.38 % on LFW by its
author's procedure). Its network wants RGB chips of 150 x 150 and normalizes them itself; it was trained on faces that
dlib's own landmarks align with a margin of a quarter, so on faces aligned otherwise its threshold needs a calibration.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.contract import check_judge

SIZE = 150
MAX_BYTES = 2**28  # the published file has 22 MB
ORIGIN = "take dlib_face_recognition_resnet_model_v1.dat of github.com/davisking/dlib-models (CC0)"


class DlibJudge:
    """Args:
        path: the file.
        flip: mean of the vectors of the image and of its mirror image, which keeps the scale of the distances.
        name: how tables call it.
        threshold: Euclidean distance below which two faces are one person; 0.6 is dlib's own.

    Raises:
        UserError: dlib is not installed, no such file, or dlib cannot read it.
    """

    metric = "euclidean"
    dim = 128

    def __init__(self, path: str | Path | None, flip: bool = False, name: str = "dlib", threshold: float = 0.6) -> None:
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
        try:
            self.model = dlib.face_recognition_model_v1(str(file))
        except (RuntimeError, MemoryError) as error:
            raise UserError(f"'{file}' is not dlib's face recognition model, or is truncated; {ORIGIN}.") from error
        self.flip, self.name, self.threshold = flip, name, threshold
        self.fingerprint = hashlib.sha256(file.read_bytes()).hexdigest()
        check_judge(self)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [-1, 1] -> (B, 128) raw, on the device of the images."""
        if images.shape[-2:] != (SIZE, SIZE):
            images = F.interpolate(images, (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True)
        chips = images.float().mul(127.5).add(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        z = self._describe(chips)
        if self.flip:
            z = (z + self._describe(chips[:, :, ::-1])) / 2
        return z.to(images.device)

    def _describe(self, chips: np.ndarray) -> Tensor:
        """uint8 (B, 150, 150, 3) -> (B, 128)."""
        if not len(chips):
            return torch.zeros(0, self.dim)
        found = self.model.compute_face_descriptor([np.ascontiguousarray(chip) for chip in chips])
        return torch.from_numpy(np.asarray([np.asarray(vector) for vector in found], np.float32))
