"""Attribute anonymizers from their checkpoints: the editor, and the classifier that reads what it changes.

python evaluate.py suite=table1 method=dp_k_anonymity checkpoints=last
python evaluate.py suite=table1 method=anonymous_net checkpoints=last
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from anon.anonymizers.attributes.anonymous_net import AnonymousNet
from anon.anonymizers.attributes.private import DPkAnonymity
from anon.anonymizers.cloaks.universal import Universal
from anon.apps.checkpoints import restore_module
from anon.attributes.classifier import AttributeClassifier
from anon.errors import UserError
from anon.generators.editing.contract import Editor
from anon.training.attribute_classifier import AttributeClassifierTraining
from anon.training.editing import EditingTraining
from anon.weights.files import SHIPPED


def restore_editor(checkpoint: str | Path) -> Editor:
    """The averaged editor of a training checkpoint.

    Raises:
        UserError: see :func:`anon.apps.checkpoints.restore_module`; or the training made no editor.
    """
    if str(checkpoint).startswith(SHIPPED):
        raise UserError(f"no editor ships, and so none as '{checkpoint}': python train.py experiment=stgan.")
    module, config = restore_module(Path(checkpoint))
    if not isinstance(module, EditingTraining):
        raise UserError(f"{checkpoint} is of experiment={config.get('experiment')}, which trains no attribute editor.")
    editor = module.averaged.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return editor.requires_grad_(False).eval()


def restore_classifier(weights: str | Path, attributes: Sequence[str]) -> AttributeClassifier:
    """The classifier of some attributes that ships, or of a training checkpoint.

    Raises:
        UserError: it reads others; a checkpoint of another experiment.
    """
    if str(weights).startswith(SHIPPED):
        return AttributeClassifier(attributes, weights=str(weights))
    module, config = restore_module(Path(weights))
    if not isinstance(module, AttributeClassifierTraining):
        raise UserError(f"{weights} is of experiment={config.get('experiment')}, not of attribute_classifier.")
    return module.classifier.requires_grad_(False).eval()


def dp_k_anonymity(
    checkpoint: str,
    classifier: str,
    data: object,
    k: int = 20,
    epsilon: float = 0.25,
    gamma: float = 0.25,
    sensitivity: float = 1.0,
    tau: float | None = None,
    groups: Sequence[Sequence[str]] = (),
    protected: Sequence[str] | None = None,
) -> DPkAnonymity:
    """:class:`anon.anonymizers.attributes.private.DPkAnonymity` of an editor's checkpoint and a classifier.

    Raises:
        UserError: see there, :func:`restore_editor` and :func:`restore_classifier`.
    """
    editor = restore_editor(checkpoint)
    reader = restore_classifier(classifier, editor.attributes)
    return DPkAnonymity(reader, editor, data, k, epsilon, gamma, sensitivity, tau, groups, protected)


def anonymous_net(
    checkpoint: str,
    classifier: str,
    data: object,
    identifying: Sequence[str],
    sensitive: Sequence[str],
    k: int = 5,
    l: int = 2,  # noqa: E741, the field's letter
    t: float = 0.3,
    cloak: functools.partial[Universal] | None = None,
) -> AnonymousNet:
    """:class:`anon.anonymizers.attributes.anonymous_net.AnonymousNet` of an editor's checkpoint and a classifier.

    Raises:
        UserError: see there, :func:`restore_editor` and :func:`restore_classifier`.
    """
    editor = restore_editor(checkpoint)
    reader = restore_classifier(classifier, editor.attributes)
    return AnonymousNet(reader, editor, data, identifying, sensitive, k, l, t, cloak)
