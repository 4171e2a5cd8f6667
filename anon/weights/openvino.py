"""Networks as OpenVINO's intermediate representation (an .xml with its .bin beside it), checked before they run.

Both files are read once; what was hashed is what runs. Needs the extra ``gaze``.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from anon.errors import UserError
from anon.plain import read_bytes
from anon.weights.archives import DAMAGED

if TYPE_CHECKING:
    import openvino

_FLOW = ("If", "Loop", "TensorIterator")


class OpenVinoFile(NamedTuple):
    """A checked pair of files.

    Attributes:
        path: the .xml.
        model: OpenVINO's own, whose inputs may be given other shapes before :func:`compiled`.
        sha256: of both files.
        origin: where users get it, one clause, for errors.
    """

    path: Path
    model: openvino.Model
    sha256: str
    origin: str


def read(path: str | Path | None, who: str, origin: str, most: int) -> OpenVinoFile:
    """Read and check.

    Args:
        path: the .xml; the .bin lies beside it.
        who: what needs it, as a sentence begins.
        origin: where users get it, one clause.
        most: bytes of each of both files.

    Raises:
        UserError: no openvino, no file, a larger one, no model, or one with control flow.
    """
    if path is None:
        raise UserError(f"{who} needs a file: {origin}.")
    file = Path(path).expanduser()
    for part in (file, file.with_suffix(".bin")):
        if file.suffix != ".xml" or not part.is_file():
            raise UserError(f"No OpenVINO model at '{part}' (an .xml with its .bin beside it); {origin}.")
    try:
        import openvino
    except ImportError as error:
        raise UserError(f"{who} runs in OpenVINO; install it with pip install 'anon-faces[gaze]'.") from error
    graph, weights = (read_bytes(part, most) for part in (file, file.with_suffix(".bin")))
    digest = hashlib.sha256(hashlib.sha256(graph).digest() + hashlib.sha256(weights).digest()).hexdigest()
    try:
        model = openvino.Core().read_model(graph, weights)
        flow = any(part.get_type_name() in _FLOW for part in model.get_ops())
    except DAMAGED as error:
        raise damaged(file, origin) from error
    if flow:
        raise UserError(f"'{file}' holds control flow (If, Loop), which this network does not need; {origin}.")
    return OpenVinoFile(file, model, digest, origin)


def compiled(found: OpenVinoFile) -> openvino.CompiledModel:
    """The model on the CPU, in single precision, with as many threads as torch has.

    Raises:
        UserError: OpenVINO cannot build it.
    """
    import openvino

    # OpenVINO computes in bfloat16 where the processor can, so that figures would go by the machine.
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    try:
        return openvino.Core().compile_model(found.model, "CPU", settings)
    except DAMAGED as error:
        raise damaged(found.path, found.origin) from error


def only_output(run: openvino.CompiledModel, feed: Any) -> np.ndarray:
    """A copy of the one output of a run."""
    return np.array(next(iter(run(feed).values())))


def damaged(file: Path, origin: str) -> UserError:
    """What a file is told that OpenVINO refuses."""
    return UserError(f"'{file}' is not a model that OpenVINO can run, or is damaged; {origin}.")
