"""A recognizer of OpenVINO's intermediate representation as a judge: cosine distance of the flip-sum, on the CPU.

    python evaluate.py experiment=fiva judge=openvino judge.path=<file.xml>

The settings are those of the Open Model Zoo's recognizers (raw bytes, blue first). A converted file of insightface's
wants ``bgr=false``, ``mean`` and ``std`` of .5. Needs the extra ``gaze``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from anon.errors import UserError
from anon.identity.contract import check_judge
from anon.identity.encoder import prepare
from anon.identity.onnx_file import MAX_SIDE, embeddings
from anon.weights.archives import DAMAGED
from anon.weights.openvino import compiled, damaged, only_output, read

MAX_BYTES = 2**30
BATCH = 64
ORIGIN = "take a recognizer of OpenVINO's Open Model Zoo, or convert an ONNX file with openvino.convert_model"


class OpenVinoJudge:
    """The judge.

    Args:
        path: the .xml; the .bin lies beside it. Users get it themselves.
        flip: add the raw embedding of the mirror image.
        name: how tables call it; the file's name by default.
        mean, std: per channel for images in [0, 1]; raw bytes by default.
        bgr: the network wants blue first.
        threshold: calibrated cosine distance below which two faces are one person, if known.

    Raises:
        UserError: no openvino, no such file, a damaged one, or no recognizer: one batch (N, 3, S, S), one vector each.
    """

    metric = "cosine"
    _handles = ("_model", "_run")  # of the file, which the fingerprint tells

    def __init__(
        self,
        path: str | Path | None,
        flip: bool = True,
        name: str | None = None,
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        std: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255),
        bgr: bool = True,
        threshold: float | None = None,
    ) -> None:
        found = read(path, "The judge 'openvino'", ORIGIN, MAX_BYTES)
        self.path, self.fingerprint, self._model = found.path, found.sha256, found.model
        self.size = self._side()
        try:
            self._model.reshape([-1, 3, self.size, self.size])  # files of the Open Model Zoo are of one image
        except DAMAGED as error:
            raise damaged(found.path, ORIGIN) from error
        self._run = compiled(found)
        self.flip, self.bgr, self.threshold = flip, bgr, threshold
        self.name = name or found.path.stem
        self.mean, self.std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
        self.batch = 1
        self.dim = self._raw(torch.zeros(1, 3, self.size, self.size)).shape[1]
        self.batch = self._at_once()
        check_judge(self)

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [-1, 1] -> (B, D) unit norm, on the device of the images."""
        x = prepare(images.float().cpu(), self.size, 2 * self.mean - 1, 2 * self.std, self.bgr)
        raw = self._raw(x)
        if self.flip:
            raw = raw + self._raw(x.flip(-1))
        return F.normalize(torch.from_numpy(raw)).to(images.device)

    def constants(self) -> Iterator[Tensor]:
        """The floating-point weights of the graph."""
        for part in self._model.get_ops():
            if part.get_type_name() == "Constant" and np.issubdtype(part.data.dtype, np.floating):
                yield torch.from_numpy(np.array(part.data, np.float32))

    def _side(self) -> int:
        shapes = [list(port.get_partial_shape()) for port in self._model.inputs]
        sides = [[each.get_length() if each.is_static else 0 for each in shape] for shape in shapes]
        if len(sides) != 1 or len(self._model.outputs) != 1 or len(sides[0]) != 4 or sides[0][1] != 3:
            raise self._none(f"its inputs are {sides}, not one batch (N, 3, S, S)")
        height, width = sides[0][2:]
        if height != width or not 32 <= height <= MAX_SIDE:
            raise self._none(f"its input is {sides[0]}, not (N, 3, S, S)")
        return height

    def _at_once(self) -> int:
        """Images of a run: 1 of a graph whose inner sizes are those of one image, though its input takes any batch."""
        two = torch.zeros(2, 3, self.size, self.size)
        try:
            found = only_output(self._run, two.numpy())
        except DAMAGED:
            return 1
        return BATCH if len(found) == 2 and found.size == 2 * self.dim else 1

    def _raw(self, x: Tensor) -> np.ndarray:
        """Normalized images (B, 3, S, S) -> (B, D) float32."""
        try:
            parts = [(only_output(self._run, part.numpy()), len(part)) for part in x.split(self.batch)]
        except DAMAGED as error:
            raise self._none(f"it fails on images of {self.size} pixels") from error
        return np.concatenate([embeddings(found, count, self.path) for found, count in parts])

    def _none(self, why: str) -> UserError:
        return UserError(f"'{self.path}' is not a face recognition model: {why}.")
