"""Judges: recognizers that only measure, and that no generator was trained with.

An encoder wraps into one; a face model of insightface (ONNX) is one, by the path of its file and never by download.
Both give unit embeddings to be compared by cosine distance, of the flip-sum by default (the raw embedding of the image
plus that of its mirror image, as insightface verifies).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.encoder import Encoder


class Judge(nn.Module):
    """An encoder as a judge: no gradient, float32 unit embeddings."""

    metric = "cosine"

    def __init__(self, encoder: Encoder, flip: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.flip = flip

    @property
    def name(self) -> str:
        return self.encoder.name

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights; equal to the training encoder's if it is the same network."""
        return self.encoder.fingerprint

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, D) unit norm."""
        if not self.flip:
            return self.encoder(images).z
        x = self.encoder.prepare(images)
        return F.normalize(self.encoder.backbone(x).float() + self.encoder.backbone(x.flip(-1)).float())


class InsightFaceJudge:
    """A recognition model of insightface (``w600k_r50.onnx``, ``glintr100.onnx``, ...) from a local ONNX file.

    Args:
        path: the file; users get it from insightface's model packs (non-commercial) themselves.
        flip: add the raw embedding of the mirror image.
        name: how tables call it; the file's name by default.
        mean, std: per channel for images in [0, 1]; by default those that insightface reads from the file, which are
            one number for all channels. Models trained with ImageNet's normalization need them here.

    Raises:
        UserError: missing file, not ONNX, or not a recognition model.
    """

    metric = "cosine"

    def __init__(
        self,
        path: str | Path,
        flip: bool = True,
        name: str | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise UserError(
                f"No ONNX file at '{file}'; insightface's model packs have one, they are never downloaded here."
            )
        self.model = _open(file)
        self.flip = flip
        self.name = name or file.stem
        self.fingerprint = hashlib.sha256(file.read_bytes()).hexdigest()
        self.size = (int(self.model.input_size[1]), int(self.model.input_size[0]))  # insightface: width, height
        self.mean = _channels([self.model.input_mean / 255.0] * 3 if mean is None else mean)
        self.std = _channels([self.model.input_std / 255.0] * 3 if std is None else std)
        self.dim = int(self._run(np.zeros((1, 3, *self.size), np.float32)).shape[1])

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [-1, 1] -> (B, D) unit norm, on the device of the images."""
        if images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode="bilinear", align_corners=False, antialias=True)
        blob = (
            images.float().cpu().numpy() * 0.5 + 0.5 - self.mean
        ) / self.std  # RGB, as insightface's swapRB makes it
        raw = self._run(blob)
        if self.flip:
            raw = raw + self._run(np.ascontiguousarray(blob[..., ::-1]))
        return F.normalize(torch.from_numpy(raw)).to(images.device)

    def _run(self, blob: np.ndarray) -> np.ndarray:
        """The session of insightface's model on a ready batch; files exported with a fixed batch run image by image."""
        fixed = self.model.session.get_inputs()[0].shape[0]
        parts = np.split(blob, len(blob)) if isinstance(fixed, int) and fixed == 1 else [blob]
        outputs = [
            self.model.session.run(self.model.output_names, {self.model.input_name: part.astype(np.float32)})[0]
            for part in parts
        ]
        return np.concatenate(outputs)


def _channels(values: Sequence[float]) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(1, 3, 1, 1)


def _open(file: Path):
    """insightface's own reader on a local file."""
    from insightface.model_zoo import get_model  # slow to import, and only this class needs it
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf, NoSuchFile

    try:
        model = get_model(str(file.resolve()), download=False, providers=["CPUExecutionProvider"])
    except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile, AssertionError) as error:
        raise UserError(f"'{file}' is not an ONNX model that insightface can open.") from error
    if model is None or getattr(model, "taskname", None) != "recognition":
        raise UserError(f"'{file}' is not a face recognition model: insightface takes it for something else.")
    return model
