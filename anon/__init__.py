"""anon: train face anonymizers, attack them, defend them, and judge all of it in one harness.

    anon.anonymize(frame)                       # a photograph as a numpy array, every face in it changed
    fiva = anon.load("fiva")                    # an anonymizer of aligned faces (B, 3, H, W) in [-1, 1]
    changed = fiva(faces)
    anon.embed(changed, "synthetic_d")          # who they are now, to a recognizer
    anon.attack(changed)                        # what an adversary makes of them
    anon.evaluate("faces", "changed", "out")    # two folders: Table 1

Everything but torch is imported at the first call.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeVar

from anon.torchvision_ops import declare_missing_operators

if TYPE_CHECKING:
    import os

    from torch import Tensor, nn

    from anon.evaluation.document import Document

__all__ = ["__version__", "anonymize", "anonymize_video", "attack", "embed", "evaluate", "load"]
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


def load(method: str = "fiva", **settings: object) -> nn.Module:
    """An anonymizer of aligned faces: what ``anon anonymize method=<method>`` works by, without detector and gate.

    Args:
        method: a choice of ``conf/method``; ``"checkpoint"`` with ``checkpoint=<run folder or file>`` is your own.
        settings: those of ``anon anonymize``, with ``__`` for a dot: ``policy="negation"``, ``method__sigma=0.05``.

    Returns:
        a module, ``changed = module(faces, rng=torch.Generator())``: float32 (B, 3, H, W) RGB in [-1, 1] to the same.
        A generator with ``policy="itm"``, the default, keeps one fake identity for everybody that it has seen; it reads
        some hundred rendered people the first time.

    Raises:
        anon.errors.UserError: a setting that cannot be, or a method that changes no face.
    """
    return _functions().load(method, settings)


def attack(changed: Tensor, checkpoint: str = "shipped:reconstruction") -> Tensor:
    """What the reconstruction attack makes of anonymized faces.

    Args:
        changed: float32 (B, 3, H, W) RGB in [-1, 1].
        checkpoint: what ``anon train experiment=reconstruction`` made, or what ships, which learned on FIVA + ITM.

    Returns:
        the same form: the faces as they were before, as far as the attack can tell.

    Raises:
        anon.errors.UserError: the checkpoint is of something else.
        ValueError: faces of another form.
    """
    return _functions().attack(changed, checkpoint)


def embed(faces: Tensor, judge: str = "synthetic_d", **settings: object) -> Tensor:
    """Who faces are to a recognizer.

    Args:
        faces: float32 (B, 3, H, W) RGB in [-1, 1], aligned.
        judge: a choice of ``conf/judge``; ``"edgeface"`` with ``judge__encoder__weights=<file>`` is for photographs.

    Returns:
        (B, D) float32; of unit length where the judge compares by cosine.

    Raises:
        anon.errors.UserError: no such judge, several of them, or a weight file that is not there.
        ValueError: faces of another form.
    """
    return _functions().embed(faces, judge, settings)


def evaluate(
    originals: str | os.PathLike[str],
    changed: str | os.PathLike[str],
    out: str | os.PathLike[str],
    **settings: object,
) -> Document:
    """Table 1 of what any tool made of a folder: ``anon evaluate suite=table1 originals=... method=folder ...``.

    Args:
        originals: ``<identity>/<picture>``, aligned faces.
        changed: the result of each picture, at the same relative path.
        out: folder for the report; ``results.json`` in it holds what is returned.
        settings: those of ``anon evaluate``, with ``__`` for a dot: ``judge="edgeface"``, ``data__size=112``.

    Returns:
        ``document.lines`` are the table's; ``line.metrics["ID"]`` has ``value``, ``low`` and ``high``.

    Raises:
        anon.errors.UserError: see ``anon evaluate``; nothing is measured then.
    """
    return _functions().evaluate(originals, changed, out, settings)


def _functions() -> Any:
    """All that they need is imported at the first call: ``import anon`` stays cheap, and no room depends on an app."""
    return importlib.import_module("anon.apps.python")
