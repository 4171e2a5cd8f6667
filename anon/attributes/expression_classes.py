"""Expression classes: AffectNet's eight, and synthetic stand-ins for them on rendered faces.

A batch carries ``expression_class`` (B,) int64, -1 where unknown, and ``valence`` and ``arousal`` (B,) in [-1, 1], NaN
where unknown (AffectNet: Mollahosseini et al., IEEE TAC 2017). Rendered faces have four expression parameters instead;
:func:`synthetic_labels` makes *synthetic expression classes* of them. They carry AffectNet's names to be
interchangeable with it; they are regions of the renderer's parameters and no claim about emotions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from anon.errors import UserError
from anon.faces.contract import FaceSet, batch_of
from anon.progress import track

#: AffectNet's order.
CLASSES = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")

#: Prototypes of the synthetic classes: mouth opening [0, 1], smile [-1, 1], brow raise [-1, 1], blink [0, 1].
PROTOTYPES = (
    (0.00, 0.05, 0.00, 0.15),  # neutral
    (0.15, 0.75, 0.10, 0.20),  # happy
    (0.00, -0.50, 0.50, 0.20),  # sad
    (0.70, 0.10, 0.50, 0.10),  # surprise
    (0.60, -0.60, 0.30, 0.10),  # fear
    (0.00, -0.50, -0.50, 0.20),  # disgust
    (0.50, -0.20, -0.60, 0.10),  # anger
    (0.00, 0.50, -0.60, 0.20),  # contempt: the renderer's mouth is symmetric, so a smile under lowered brows
)

Labels = dict[str, Tensor]
_KEYS = ("expression_class", "valence", "arousal")


def synthetic_labels(batch: dict[str, Tensor], margin: float = 0.15) -> Labels:
    """The class whose prototype is nearest (L2) to a rendered face's ``expression`` (B, 4), valence and arousal.

    valence = 0.8·smile + 0.2·brow, arousal = 0.8·mouth + 0.4·|brow| - 0.4·blink, clipped to [-1, 1].

    Args:
        margin: a face whose second nearest prototype is less than this farther away has no class (-1).

    Raises:
        UserError: data without the renderer's truth.

    >>> labels = synthetic_labels({"expression": torch.tensor([[0.0, 0.0, 0.0, 0.1], [0.1, 1.0, 0.0, 0.0]])})
    >>> [CLASSES[number] for number in labels["expression_class"]], labels["valence"]
    (['neutral', 'happy'], tensor([0.0000, 0.8000]))
    """
    if "expression" not in batch or batch["expression"].shape[-1] != len(PROTOTYPES[0]):
        raise UserError(
            "Synthetic expression classes need the renderer's truth; use data=synthetic, or model.labels=null."
        )
    mood = batch["expression"].float()
    distance = torch.cdist(mood, mood.new_tensor(PROTOTYPES), compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distance.topk(2, dim=1, largest=False)  # (B, 2)
    clear = nearest.values[:, 1] - nearest.values[:, 0] >= margin
    mouth, smile, brow, blink = mood.unbind(-1)
    return {
        "expression_class": torch.where(clear, nearest.indices[:, 0], -1),
        "valence": (0.8 * smile + 0.2 * brow).clamp(-1, 1),
        "arousal": (0.8 * mouth + 0.4 * brow.abs() - 0.4 * blink).clamp(-1, 1),
    }


def labelled(batch: dict[str, Tensor], labels: Callable[[dict[str, Tensor]], Labels] | None, classes: int) -> Labels:
    """The three labels of a batch: its own, or those that ``labels`` makes; a class of ``classes`` or more is unknown.

    Raises:
        UserError: neither.
    """
    if "expression_class" in batch:
        known = batch["expression_class"].long()
        unknown = torch.full(known.shape, float("nan"), device=known.device)
        found = {"expression_class": known, **{key: batch.get(key, unknown).float() for key in _KEYS[1:]}}
    elif labels is not None:
        found = labels(batch)
    else:
        raise UserError("The data has no expression classes; use AffectNet, or model.labels on synthetic faces.")
    known = found["expression_class"]
    return found | {"expression_class": torch.where((known >= 0) & (known < classes), known, -1)}


def class_counts(
    faces: FaceSet, labels: Callable[[dict[str, Tensor]], Labels] | None, classes: int, batch_size: int = 256
) -> Tensor:
    """Faces of each class (classes,) int64. It reads every sample once, images included.

    Raises:
        UserError: fewer than two classes have a face.
    """
    counts = torch.zeros(classes, dtype=torch.long)
    for rows in track(
        torch.arange(len(faces)).split(batch_size), "counting expression classes", len(faces), batch_size
    ):
        known = labelled(dict(batch_of(faces, rows.tolist())), labels, classes)  # type: ignore[arg-type]
        found = known["expression_class"]
        counts += torch.bincount(found[found >= 0], minlength=classes)
    if int((counts > 0).sum()) < 2:
        raise UserError(f"Expression classes: {int((counts > 0).sum())} of {classes} occur in the training data.")
    return counts
