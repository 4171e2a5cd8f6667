"""Estimators of face-api.js's networks (github.com/justadudewhohacks/face-api.js, MIT), from its TensorFlow.js weights.

Each takes the path of a ``..._model-weights_manifest.json``; the shards lie beside it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from anon.attributes.faceapi.networks import SIZE, FaceFeatures, TinyXception
from anon.attributes.faceapi.tfjs import load_into
from anon.attributes.framing import cropped
from anon.faces.alignment import invert, transform

_ORIGIN = "take it and its shards from the folder weights of github.com/justadudewhohacks/face-api.js"
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")


class FaceApiLandmarks(nn.Module):
    """``landmarks`` (B, 68, 2), the order of iBUG 300-W: jaw 0-16, brows, nose, eyes 36-47, mouth 48-67."""

    name = "faceapi_landmarks"
    reads: tuple[str, ...] = ("landmarks",)
    side = 80.0

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.network = FaceFeatures(136)
        load_into(self.network, weights, _ORIGIN)

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, matrix = cropped(images, points, SIZE, self.side)
        found = self.network(crops).view(-1, 68, 2) * SIZE  # trained on x / width, so 112 x is a pixel
        return {"landmarks": transform(invert(matrix), found)}


class FaceApiExpression(nn.Module):
    """``expression`` (B, 7): probabilities of :data:`EXPRESSIONS`."""

    name = "faceapi_expression"
    reads: tuple[str, ...] = ("expression",)
    side = 110.0

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.network = FaceFeatures(len(EXPRESSIONS))
        load_into(self.network, weights, _ORIGIN)

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, _ = cropped(images, points, SIZE, self.side)
        return {"expression": self.network(crops).softmax(-1)}


class FaceApiAgeGender(nn.Module):
    """``age`` (B,) in years and ``gender`` (B,), the probability of the authors' label "female"."""

    name = "faceapi_age_gender"
    reads: tuple[str, ...] = ("age", "gender")
    side = 110.0

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        self.network = TinyXception()
        load_into(self.network, weights, _ORIGIN)

    @torch.no_grad()
    def forward(self, images: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        crops, _ = cropped(images, points, SIZE, self.side)
        age, logits = self.network(crops)
        return {"age": age, "gender": logits.softmax(-1)[:, 1]}
