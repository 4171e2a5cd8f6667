"""anon: train face anonymizers, attack them, defend them, and judge all of it in one harness.

>>> import anon
>>> anon.anonymize  # doctest: +ELLIPSIS
<function anonymize at ...>
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from anon.torchvision_ops import declare_missing_operators

if TYPE_CHECKING:
    import os

__version__ = "0.1.0"
Frame = TypeVar("Frame")

declare_missing_operators()


def anonymize(frame: Frame, **settings: object) -> Frame:
    """A picture with every face in it changed; a mask over each by default.

    Args:
        frame: uint8 (H, W, 3) RGB, a numpy array or a torch tensor.
        settings: those of ``anon anonymize``, with ``__`` for a dot: ``method="blur"``, ``detector__weights="a.onnx"``.

    Returns:
        A copy of the same kind. Its faces are anonymized by what ``settings`` name, and nobody is told who they were;
        that a face was found at all is the detector's word.

    Raises:
        anon.errors.UserError: a setting that cannot be, no detector, or a picture of another form.
    """
    return _functions().anonymize(frame, settings)


def anonymize_video(path: str | os.PathLike[str], out: str | os.PathLike[str], **settings: object) -> dict[str, Any]:
    """``anon anonymize input=<path> output=<out>`` of a photograph or video; returns the report that lies beside it.

    Raises:
        anon.errors.UserError: see ``anon anonymize``; nothing is left at ``out`` that was not finished.
    """
    return _functions().anonymize_video(path, out, settings)


def _functions() -> Any:
    """All that they need is imported at the first call: ``import anon`` stays cheap, and no room depends on an app."""
    return importlib.import_module("anon.apps.python")
