"""A network of somebody else's as an anonymizer: a TorchScript archive, pictures in, pictures out.

python evaluate.py method=torchscript method.anonymizer.file=<file.pt> [data=folder data.root=<folder>]
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from anon.anonymizers.files import FileAnonymizer
from anon.weights import torchscript

_ORIGIN = "name the file with method.anonymizer.file=<file.pt>"


class TorchScriptAnonymizer(FileAnonymizer):
    """A scripted or traced network of one image and one result, where the faces are.

    Args:
        file: of ``torch.jit.save``; its ``forward`` makes (B, 3, S, S) of the same.
        low, high, bgr: see :class:`FileAnonymizer`.
        size: side S in pixels that it wants; None: the faces' own.

    Raises:
        UserError: see :func:`anon.weights.torchscript.load`; or an empty range.
    """

    _handles = ("_network",)  # of the file, which the hash tells

    def __init__(
        self, file: str | Path | None, low: float = -1.0, high: float = 1.0, bgr: bool = False, size: int | None = None
    ) -> None:
        super().__init__(low, high, bgr)
        self.path, self._network, self.sha256 = torchscript.load(file, "method=torchscript", _ORIGIN, size)
        self.size = size

    @torch.no_grad()
    def draw(self, given: Tensor) -> Tensor:
        """See :meth:`FileAnonymizer.draw`."""
        try:
            found = self._network.to(given.device)(given)
        except RuntimeError as error:
            raise self.failed(given.shape[-1]) from error
        if not isinstance(found, Tensor) or found.ndim != 4 or found.shape[:2] != given.shape[:2]:
            raise self.no_pictures(tuple(getattr(found, "shape", ())))
        return found
