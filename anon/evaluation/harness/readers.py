"""What reads faces: recognizers, an estimator of attributes, detectors; each with the key of all that it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from anon.attributes.contract import Estimator
from anon.evaluation.harness.pictures import Pictures
from anon.evaluation.harness.store import Store, Tensors, code, key_of, made_of
from anon.faces.detection.contract import Detector
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge


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
    names = ("flip", "size", "bgr", "mean", "std", "chips")
    inner = getattr(recognizer, "encoder", None)
    settings = [getattr(part, name, None) for part in (recognizer, inner) for name in names]
    shown = [value.flatten().tolist() if isinstance(value, Tensor) else str(value) for value in settings]
    return Eye(recognizer, key_of(weights=recognizer.fingerprint, settings=shown))


def embeddings(store: Store, pictures: Pictures, by: Eye, size: int, device: torch.device) -> Tensor:
    """(N, D) embeddings of pictures, ``size`` at a time, kept in the store; on the CPU."""

    @torch.no_grad()
    def make() -> Tensors:
        parts = pictures.batches(size, f"recognizing with {by.recognizer.name}")
        return {"z": torch.cat([by.recognizer.embed(part.to(device)).float().cpu() for part in parts])}

    return store.get(
        "embeddings", key_of(of=pictures.key, by=by.key, batch=size, code=code("identity", "faces/alignment")), make
    )["z"]


def as_it_conditions(encoder: Encoder) -> JudgeLike:
    """The conditioning encoder as it conditions: no mirror image is added."""
    return cast(JudgeLike, Judge(encoder, flip=False))


def key_of_reader(settings: Mapping[str, Any], estimator: object) -> str:
    """Of an estimator or a detector: its settings and its weights."""
    weights = made_of(estimator) if isinstance(estimator, nn.Module) else None
    return key_of(settings=settings, weights=weights, files=files_of(settings))


def files_of(settings: Any) -> list[str]:
    """Size and time of the files that settings name: weights that are no module's state (ONNX)."""
    found = []
    for value in settings.values() if isinstance(settings, Mapping) else []:
        if isinstance(value, Mapping):
            found += files_of(value)
        elif isinstance(value, str) and len(value) < 4096 and Path(value).expanduser().is_file():
            stat = Path(value).expanduser().stat()
            found.append(f"{stat.st_size} {stat.st_mtime_ns}")
    return found


def tools_of(metrics: DictConfig, device: torch.device) -> Tools:
    """The estimator of attributes and the detectors of the configuration, with their keys."""
    settings = cast(dict[str, Any], OmegaConf.to_container(metrics, resolve=True))
    attributes = None if settings.get("attributes") is None else instantiate(settings["attributes"])
    if isinstance(attributes, nn.Module):
        attributes.to(device).eval()
    chosen = {name: given for name, given in (settings.get("detectors") or {}).items() if given is not None}
    detectors = {name: instantiate(given) for name, given in chosen.items()}
    return Tools(
        attributes,
        "" if attributes is None else key_of_reader(settings["attributes"], attributes),
        detectors,
        {name: key_of_reader(chosen[name], detector) for name, detector in detectors.items()},
    )
