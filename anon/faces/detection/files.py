"""The files of detection networks, which may be anything: read and checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from anon.errors import UserError
from anon.weights import onnx
from anon.weights.files import load_into


def load(net: nn.Module, path: str | Path | None, name: str, origin: str, device: str) -> nn.Module:
    """Fill a torch network from its published weight file; frozen, in eval mode, on ``device``.

    Raises:
        UserError: no file, damaged, holding code, or of another network.
    """
    if path is None:
        raise UserError(f"The detector {name} needs a weight file: {origin}.")
    try:
        load_into(net, path)
    except UserError as error:
        raise UserError(f"{str(error).rstrip('.')}; {origin}.") from error
    return net.eval().requires_grad_(False).to(device)


class Network:
    """A checked file in onnxruntime, on the CPU, with as many threads as torch has.

    Args:
        free: takes images of any size, as a network of convolutions does, whatever sides its file states.

    Attributes:
        file: where it came from.
        fingerprint: SHA-256 of its bytes.
        inputs: shape of the image input; a free side is None.
        ranks: dimensions of every output.

    Raises:
        UserError: see :func:`anon.weights.onnx.read`; or it does not take one float image batch (B, 3, H, W).
    """

    _handles = ("_session",)  # of the file, which the fingerprint tells

    def __init__(self, path: str | Path | None, name: str, origin: str, free: bool = False) -> None:
        checked = onnx.read(path, f"The detector {name}", origin)
        for value in (*checked.model.graph.input, *checked.model.graph.output) if free else ():
            for place in (0, 2, 3) if len(value.type.tensor_type.shape.dim) == 4 else ():
                value.type.tensor_type.shape.dim[place].dim_param = f"{value.name}:{place}"
        self.file, self.fingerprint, self._origin = checked.path, checked.sha256, origin
        self._session = onnx.session(checked, origin)
        self.inputs = onnx.image_input(self._session)
        if not self.inputs or not all(1 <= (side or 1) <= 4096 for side in self.inputs):
            raise UserError(f"'{self.file}' is not a face detector: it does not take images (B, 3, H, W); {origin}.")
        self.ranks = [len(output.shape) for output in self._session.get_outputs()]

    @property
    def canvas(self) -> tuple[int, int] | None:
        """(Height, width) if both are fixed."""
        height, width = self.inputs[2:]
        return None if height is None or width is None else (height, width)

    def run(self, blob: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All outputs for normalized images ``(B, 3, H, W)``.

        Raises:
            UserError: the network fails on images of its own size.
        """
        try:
            ((outputs, _),) = onnx.passes(self._session, blob, None)
        except onnx.RUNTIME_ERRORS as error:
            raise UserError(f"'{self.file}' fails on images {blob.shape}; {self._origin}.") from error
        return [output.astype(np.float32, copy=False) for output in outputs]

    def refuse(self, what: str) -> UserError:
        """The error for a file that is ONNX, but not this detector."""
        return UserError(f"'{self.file}' is not such a detector: {what}; {self._origin}.")
