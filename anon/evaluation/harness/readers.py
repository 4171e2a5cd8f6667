"""What reads faces: recognizers, an estimator of attributes, detectors; each with the key of all that it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from anon.attributes.contract import Estimator
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.pictures import READING, Pictures
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.faces.detection.contract import Detector
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.plugs import check_call, check_has
from anon.provenance import code, made_of


class Tools(NamedTuple):
    """What reads faces besides the recognizers; None or empty where the weights are not at hand."""

    attributes: Estimator | None = None
    attributes_key: str = ""
    detectors: Mapping[str, Detector] = {}
    detector_keys: Mapping[str, str] = {}


class Eye(NamedTuple):
    """A recognizer with its key."""

    recognizer: JudgeLike
    key: str


def eye(recognizer: JudgeLike) -> Eye:
    """A recognizer with the key of all that changes what it sees: two settings of one file are two recognizers."""
    return Eye(recognizer, made_of(recognizer, recognizer.fingerprint))


@torch.no_grad()
def _embed(pictures: Pictures, by: Eye, size: int, device: torch.device) -> Tensors:
    parts = pictures.batches(size, f"recognizing with {by.recognizer.name}")
    return {"z": torch.cat([embedded(by.recognizer, part.to(device)).cpu() for part in parts])}


def embeddings(store: Store, pictures: Pictures, by: Eye, size: int, device: torch.device) -> Tensor:
    """(N, D) embeddings of pictures, ``size`` at a time, kept in the store; on the CPU."""

    key = key_of(of=pictures.key, by=by.key, batch=size, code=code(_embed, *READING))
    return store.get("embeddings", key, lambda: _embed(pictures, by, size, device))["z"]


def as_it_conditions(encoder: Encoder) -> JudgeLike:
    """The conditioning encoder as it conditions: no mirror image is added."""
    return cast(JudgeLike, Judge(encoder, flip=False))


def tools_of(metrics: DictConfig, device: torch.device) -> Tools:
    """The estimator of attributes and the detectors of the configuration, with their keys."""
    settings = cast(dict[str, Any], OmegaConf.to_container(metrics, resolve=True))
    attributes = None if settings.get("attributes") is None else instantiate(settings["attributes"])
    if attributes is not None:
        check_call(attributes, "metrics.attributes", "estimator(images)", "images")
    if isinstance(attributes, nn.Module):
        attributes.to(device).eval()
    chosen = {name: given for name, given in (settings.get("detectors") or {}).items() if given is not None}
    detectors = {name: instantiate(given) for name, given in chosen.items()}
    for name, detector in detectors.items():
        check_has(detector, f"metrics.detectors.{name}", "name", "has_points", "detect", "detect_batch")
    return Tools(
        attributes,
        "" if attributes is None else made_of(settings["attributes"], attributes),
        detectors,
        {name: made_of(chosen[name], detector) for name, detector in detectors.items()},
    )
