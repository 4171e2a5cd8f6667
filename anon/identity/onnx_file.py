"""Recognition networks as ONNX files, which may be anything: read and checked before anything runs.

    model = read("w600k_r50.onnx")      # insightface's packs, their MobileFaceNets, exports of anyone's PyTorch model
    embed = Runtime(model)              # onnxruntime

A file passes when it has one float32 image input (N, 3, S, S), its weights inside or in one folder with it, and gives
one vector for a face. What a network is asked for elsewhere (its mean and deviation, its batch) is read off the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto

from anon.errors import UserError
from anon.weights import onnx as onnx_files
from anon.weights.onnx import OnnxFile

MAX_SIDE = 512
ORIGIN = "take one of insightface's model packs (w600k_r50.onnx of buffalo_l, glintr100.onnx of antelopev2) or your own"


class Recognizer(NamedTuple):
    """A checked file.

    Attributes:
        path, model, sha256: see :class:`anon.weights.onnx.OnnxFile`.
        input, output: names of the image input and of the embedding.
        size: side of the input in pixels.
        batch: the batch that the graph is fixed to, or None.
        mean, std: of one channel in [0, 1], as insightface reads them off the graph: a graph that starts with its own
            subtraction and product takes 0 to 255, every other takes -1 to 1.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    input: str
    output: str
    size: int
    batch: int | None
    mean: float
    std: float


def read(path: str | Path | None, origin: str = ORIGIN, size: int | None = None) -> Recognizer:
    """Read and check, see :mod:`anon.weights.onnx`.

    Args:
        path: the file.
        origin: where users get it, one clause, for errors.
        size: side of the input in pixels, for graphs that leave it free (112 by default); checked for the others.

    Raises:
        UserError: what :func:`anon.weights.onnx.read` refuses, or not a recognizer.
    """
    return _describe(onnx_files.read(path, "An ONNX recognizer", origin), size)


class Runtime:
    """A file in onnxruntime, on the CPU with as many threads as torch has. Calls give raw embeddings.

    Attributes:
        batch: images per run: what the graph is fixed to, else 64; 1 where a graph says that it takes any batch and
            does not, as exports whose batch was only renamed.
        dim: size of the embedding.

    Raises:
        UserError: onnxruntime cannot build the graph, or it is no recognizer.
    """

    def __init__(self, recognizer: Recognizer, origin: str = ORIGIN) -> None:
        self.recognizer = recognizer
        self._session = onnx_files.session(OnnxFile(*recognizer[:3]), origin)
        self.batch = recognizer.batch or 64
        size = recognizer.size
        self.dim = self(np.zeros((1, 3, size, size), np.float32)).shape[1]
        if recognizer.batch is None:
            try:
                self(np.zeros((2, 3, size, size), np.float32))
            except UserError:
                self.batch = 1

    def __call__(self, blob: np.ndarray) -> np.ndarray:
        """Normalized images (B, 3, S, S) -> (B, D) float32.

        Raises:
            UserError: not one finite vector of 64 to 4096 numbers for each image.
        """
        blob = np.asarray(blob, np.float32)
        try:
            runs = onnx_files.passes(self._session, blob, self.batch, fill=self.recognizer.batch is not None)
            return np.concatenate([self._raw(outputs[0], count) for outputs, count in runs])
        except onnx_files.RUNTIME_ERRORS as error:
            file, side = self.recognizer.path, blob.shape[2]
            raise UserError(
                f"'{file}' is not a face recognition model: it fails on images of {side} pixels."
            ) from error

    def _raw(self, found: np.ndarray, count: int) -> np.ndarray:
        """The embeddings (count, D) of a run, which may have been filled up."""
        return embeddings(found, self.recognizer.batch or count, self.recognizer.path)[:count]


def embeddings(found: np.ndarray, run: int, file: Path) -> np.ndarray:
    """What a network gave for ``run`` images, as (run, D) float32.

    Raises:
        UserError: not one finite vector of 64 to 4096 numbers for each image.
    """
    one_each = found.dtype.kind == "f" and found.ndim >= 2 and len(found) == run
    raw = found.reshape(run, -1) if one_each else found
    # Landmark nets give 136, 212 or 3309 numbers, pose nets 3.
    if not one_each or not 64 <= raw.shape[1] <= 4096 or raw.shape[1] % 32:
        raise UserError(
            f"'{file}' is not a face recognition model: {run} images give an output of shape {found.shape}; an "
            "embedding has 64 to 4096 numbers, a multiple of 32."
        )
    if not np.isfinite(raw).all():
        raise UserError(f"'{file}' gives embeddings with NaN or infinite numbers.")
    return raw.astype(np.float32)


def _describe(found: OnnxFile, size: int | None) -> Recognizer:
    """Input, output and preprocessing of the graph."""
    file, graph = found.path, found.model.graph
    if len(graph.input) != 1 or not graph.output:
        raise UserError(f"'{file}' is not a face recognition model: it has {len(graph.input)} inputs, not one image.")
    kind = graph.input[0].type.tensor_type
    sides = [side.dim_value if side.HasField("dim_value") else 0 for side in kind.shape.dim]  # 0: free
    if kind.elem_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        half = TensorProto.DataType.Name(kind.elem_type).lower()
        raise UserError(
            f"The input of '{file}' is no float32 batch (N, 3, S, S) but {half};"
            " convert it again with keep_io_types=True (onnxconverter_common.float16), or take the float32 file."
        )
    if kind.elem_type != TensorProto.FLOAT or len(sides) != 4 or sides[1] not in (0, 3):
        raise UserError(f"'{file}' is not a face recognition model: its input is no float32 batch (N, 3, S, S).")
    height, width = (side or size or 112 for side in sides[2:])
    if height != width or not 32 <= height <= MAX_SIDE or sides[0] < 0 or sides[0] > 256:
        raise UserError(f"'{file}' is not a face recognition model: its input is {sides}, not (N, 3, S, S).")
    if size not in (None, height):
        raise UserError(f"size={size}, but '{file}' takes images of {height} pixels.")
    # insightface's rule: a graph that begins with a subtraction and a product normalizes the raw bytes itself.
    mean, std = (0.0, 1 / 255) if {"Sub", "Mul"} <= {node.op_type for node in graph.node[:8]} else (0.5, 0.5)
    batch = sides[0] or None
    return Recognizer(*found, graph.input[0].name, graph.output[0].name, height, batch, mean, std)
