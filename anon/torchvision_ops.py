"""Make a mismatched torchvision importable.

A CUDA build of torchvision beside a CPU build of torch cannot load its compiled operators, and then
``import torchvision`` raises "operator torchvision::nms does not exist"; so do pytorch-lightning, torchmetrics, timm
and lpips, which import it. Declaring the missing schemas first cures the import: models and transforms work,
``torchvision.ops.nms`` and ``torchvision.io`` do not.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import warnings
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # kept alive: the schemas live as long as it does


def declare_missing_operators() -> bool:
    """Declare torchvision's operators where its compiled library cannot be loaded.

    Returns:
        True when the schemas had to be declared (and a warning was given), False when nothing was to be done.
    """
    global _library
    if _library is not None:
        return True
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _loads(Path(spec.origin).parent):
        return False
    _library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _library.define(schema)
    warnings.warn(
        "torchvision's compiled operators do not fit this torch build, so torchvision.ops and torchvision.io are not "
        "available; anon does not use them. Install the torchvision that pairs with your torch to silence this.",
        RuntimeWarning,
        stacklevel=3,
    )
    return True


def _loads(package: Path) -> bool:
    """Whether torchvision's compiled library can be loaded beside this torch."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = package / f"_C{suffix}"
        if library.exists():
            try:
                torch.ops.load_library(str(library))
            except OSError:
                return False
            return True
    return False
