"""What the configuration of a checkpoint may build: what ``conf/`` itself builds models and data of, by full name.

A new method's YAML in ``conf/`` puts it on the list. Names are compared whole, never by how they begin, and only names
on the list are looked up: a look-up imports a module, which runs it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch

from anon.apps.config import config_dir, own_yaml

Kind = Literal["model", "data"]

#: Groups of conf/ that are parts of a model. What an experiment adds stands under its ``model``.
_GROUPS = ("discriminator", "encoder", "generator", "objective")
_EXPERIMENTS = ("experiment", "experiment/shared", "experiment_scale")
#: Classes of models that no file of conf/ names, but the documentation does.
_FURTHER = (
    "anon.generators.patchgan.PatchGAN",
    "anon.identity.networks.iresnet.IResNet",
    "anon.losses.contrastive.SupervisedContrastive",
    "anon.losses.features.VGGPerceptual",
)
#: PyTorch's, by their public names: layers, losses and optimizers, which make tensors and nothing else.
_TORCH_NN = (
    *("AdaptiveAvgPool2d", "AvgPool2d", "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Conv2d", "ConvTranspose2d"),
    *("CrossEntropyLoss", "Dropout", "Dropout2d", "ELU", "Flatten", "GELU", "GroupNorm", "HuberLoss", "Identity"),
    *("InstanceNorm2d", "L1Loss", "LayerNorm", "LeakyReLU", "Linear", "MSELoss", "MaxPool2d", "ModuleList", "PReLU"),
    *("PixelShuffle", "ReLU", "Sequential", "SiLU", "Sigmoid", "SmoothL1Loss", "Softplus", "Tanh", "Upsample"),
)
_TORCH_OPTIM = ("SGD", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop")


@functools.cache
def parts(kind: Kind) -> Mapping[str, Callable[..., Any]]:
    """Full name -> class or function, for a model or a data module.

    Every one of ours is defined in the module that its name says: a name that hops through an import is none.

    Raises:
        TypeError: conf/ names something that is defined elsewhere.
    """
    names = {*_named(kind), *(_FURTHER if kind == "model" else ())}
    found = {name: _defined(name) for name in sorted(names) if name.startswith("anon.")}
    if kind == "model":
        found |= {f"torch.nn.{name}": getattr(torch.nn, name) for name in _TORCH_NN}
        found |= {f"torch.optim.{name}": getattr(torch.optim, name) for name in _TORCH_OPTIM}
    return found


def defined_at(found: Any, module: str, name: str) -> bool:
    """Whether ``found`` is a class or function that the module itself defines by that name."""
    return callable(found) and (getattr(found, "__module__", None), getattr(found, "__qualname__", None)) == (
        module,
        name,
    )


def targets(node: Any) -> Iterator[Any]:
    """Every ``_target_`` in plain data, whatever it is."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from targets(item)


def _defined(target: str) -> Callable[..., Any]:
    module, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not defined_at(found, module, name):
        raise TypeError(f"conf/ names {target}, which is defined in {getattr(found, '__module__', None)}.")
    return found


def _named(kind: Kind) -> set[str]:
    """Every target in those files of conf/, which are this installation's own."""
    folders: list[tuple[str, str | None]] = [(group, None) for group in (("data",) if kind == "data" else _GROUPS)]
    folders += [(group, "model") for group in _EXPERIMENTS if kind == "model"]
    found: set[str] = set()
    for folder, key in folders:
        for file in sorted((config_dir() / folder).glob("*.yaml")):
            content = own_yaml(file.read_text(encoding="utf-8"))
            found.update(map(str, targets(content if key is None else content.get(key))))
    return found
