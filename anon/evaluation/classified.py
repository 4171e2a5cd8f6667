"""What a classifier of binary attributes reads rightly off faces that no training saw, for its model card.

anon ship <run folder of experiment=attribute_classifier> <name>
"""

from __future__ import annotations

import torch
from torch import Tensor

from anon.attributes.classifier import AttributeClassifier, balanced
from anon.evaluation.embeddings import batches
from anon.faces.attributes import binary
from anon.faces.contract import FaceSet


@torch.no_grad()
def readings(classifier: AttributeClassifier, faces: FaceSet, batch_size: int = 128) -> tuple[Tensor, Tensor]:
    """What is read of a set's pictures and what is so, (N, c) each of 0 and 1; of the truth NaN where it is unknown."""
    images = (batch["image"] for batch in batches(faces, torch.arange(len(faces)), batch_size, "measuring"))
    return torch.cat([classifier.read(part)[1] for part in images]), binary(faces, classifier.attributes)


def classifier_figures(classifier: AttributeClassifier, faces: FaceSet) -> dict[str, float]:
    """The share of attributes that is read rightly, and of each one the balanced accuracy."""
    read, truth = readings(classifier, faces)
    each = balanced(read, truth)
    figures = {"accuracy": float((read == truth)[~truth.isnan()].float().mean())}
    figures["balanced accuracy, mean"] = float(each.nanmean())
    names = [f"balanced accuracy of {name}" for name in classifier.attributes]
    return figures | dict(zip(names, each.tolist(), strict=True))
