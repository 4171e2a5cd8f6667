"""Figures of an expression embedder: classification, agreement on valence and arousal, what a perfect swap keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from anon.attributes.expression import ExpressionEmbedder
from anon.attributes.expression_classes import Labels, labelled, synthetic_labels
from anon.faces.contract import FaceSet, batch_of, to_float
from anon.faces.synthetic.parameters import EXPRESSION, Columns, people, stills
from anon.faces.synthetic.render import BATCH, render
from anon.progress import track

Labelling = Callable[[dict[str, Tensor]], Labels] | None


def concordance(predicted: Tensor, truth: Tensor) -> Tensor:
    """Concordance correlation coefficient (Lin 1989), () in [-1, 1]; rows whose truth is NaN are left out.

    2·cov / (var + var' + (mean - mean')²); 0 where both are constant.

    >>> concordance(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 3.0, 4.0]))  # 2·(2/3) / (2/3 + 2/3 + 1)
    tensor(0.5714)
    """
    known = truth.isfinite()
    x, y = predicted[known], truth[known]
    if not len(x):
        return predicted.sum() * 0.0
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    spread = x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()).square()
    return 2 * covariance / spread.clamp(min=1e-8)


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> Tensor:
    """(classes, classes) int64: rows the truth, columns what was said; unknown truths are left out."""
    known = truth >= 0
    return torch.bincount(truth[known] * classes + predicted[known], minlength=classes**2).view(classes, classes)


def classification(table: Tensor) -> dict[str, float]:
    """Accuracy, and recall and F1 averaged over the classes that occur, of a confusion matrix.

    >>> classification(torch.tensor([[3, 1], [0, 2]]))  # F1: 6/7 and 4/5
    {'accuracy': 0.8333333..., 'macro recall': 0.875, 'macro F1': 0.8285714...}
    """
    table = table.double()
    right, truth, said = table.diag(), table.sum(1), table.sum(0)
    present = truth > 0
    recall = (right / truth.clamp(min=1))[present]
    f1 = (2 * right / (truth + said).clamp(min=1))[present]
    return {
        "accuracy": float(right.sum() / table.sum().clamp(min=1)),
        "macro recall": float(recall.mean()) if len(recall) else 0.0,
        "macro F1": float(f1.mean()) if len(f1) else 0.0,
    }


def affect_figures(predicted: Tensor, valence: Tensor, arousal: Tensor) -> dict[str, float]:
    """CCC and RMSE of (B, 2) predictions; nothing for what no face has."""
    figures = {}
    for name, said, truth in (("valence", predicted[:, 0], valence), ("arousal", predicted[:, 1], arousal)):
        known = truth.isfinite()
        if bool(known.any()):
            figures[f"{name} CCC"] = float(concordance(said, truth))
            figures[f"{name} RMSE"] = float((said - truth)[known].square().mean().sqrt())
    return figures


def measure(
    embedder: ExpressionEmbedder, faces: FaceSet, labels: Labelling, batch_size: int = 128
) -> tuple[dict[str, float], Tensor]:
    """All figures on a face set, and the confusion matrix."""
    logits, affect, truth = [], [], []
    for rows in track(torch.arange(len(faces)).split(batch_size), "measuring", len(faces), batch_size):
        batch: dict[str, Tensor] = dict(batch_of(faces, rows.tolist()))  # type: ignore[arg-type]
        with torch.no_grad():
            read = embedder.judge(embedder.features(batch["image"]))
        logits.append(read["logits"])
        affect.append(read["affect"])
        truth.append(labelled(batch, labels, embedder.classes))
    known = {key: torch.cat([part[key] for part in truth]) for key in truth[0]}
    table = confusion(torch.cat(logits).argmax(1), known["expression_class"], embedder.classes)
    return classification(table) | affect_figures(torch.cat(affect), known["valence"], known["arousal"]), table


class Swap(NamedTuple):
    """Reading of perfect swaps, as Paper II's Table 5.2: the source's person with all else of the target."""

    t2c: float  # mean L2 distance of target and changed
    s2c: float  # of source and changed
    share: float  # of the swaps whose t2c is below their s2c


def synthetic_swaps(numbers: Sequence[int], size: int, seed: int = 0, still: int = 0) -> dict[str, dict[str, Tensor]]:
    """Samples (B, ...) of four roles; the next person of the list is each one's source.

    ``target`` and ``source`` as they are, ``changed`` with the source's identity and the target's expression, pose,
    gaze, light and background, which is what a perfect swapper would make, and ``expression only``: the source with
    nothing but the target's expression, so that nothing else can tell the two apart.

    Args:
        numbers: synthetic people.
        still: number of the still that each person shows.
    """
    sources = [*numbers[1:], numbers[0]]
    target, source = (stills(whose, [still] * len(numbers), seed) for whose in (numbers, sources))
    shown = {
        "target": (numbers, target),
        "source": (sources, source),
        "changed": (sources, target),
        "expression only": (sources, source | {key: target[key] for key in EXPRESSION}),
    }
    return {name: _rendered(people(whose, seed), mood, size) for name, (whose, mood) in shown.items()}


def _rendered(person: Columns, mood: Columns, size: int) -> dict[str, Tensor]:
    parts = []
    for start in range(0, len(mood["yaw"]), BATCH):
        part = slice(start, start + BATCH)
        whose, how = ({key: column[part] for key, column in columns.items()} for columns in (person, mood))
        parts.append(render(whose, how, size))
    image, expression = (torch.cat([getattr(part, key) for part in parts]) for key in ("images", "expression"))
    return {"image": to_float(image), "expression": expression}


def swap_check(
    read: Callable[[dict[str, Tensor]], Tensor], swaps: dict[str, dict[str, Tensor]], role: str = "changed"
) -> dict[str, Swap]:
    """By whether target and source are of ``different`` classes or the ``same``; ``read`` gives (B, ...) vectors."""
    with torch.no_grad():
        target, source, changed = (read(swaps[name]).flatten(1) for name in ("target", "source", role))
    t2c, s2c = (target - changed).norm(dim=1), (source - changed).norm(dim=1)
    one, two = (synthetic_labels(swaps[name])["expression_class"] for name in ("target", "source"))
    known = (one >= 0) & (two >= 0)
    return {
        name: Swap(float(t2c[rows].mean()), float(s2c[rows].mean()), float((t2c < s2c)[rows].float().mean()))
        for name, rows in (("different", known & (one != two)), ("same", known & (one == two)))
    }
