"""What reads faces: recognizers, an estimator of attributes, detectors; each with the key of all that it depends on."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from anon.attacks.contract import AttackLike
from anon.attributes.contract import Estimator
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.pictures import READING, Pictures
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.faces.detection.contract import Detector
from anon.identity import networks
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.plugs import check_call, check_has
from anon.provenance import code, made_of


class Readers(NamedTuple):
    """What reads faces besides the recognizers; None or empty where the weights are not at hand."""

    attributes: Estimator | None = None
    attributes_key: str = ""
    detectors: Mapping[str, Detector] = {}
    detector_keys: Mapping[str, str] = {}


class KeyedRecognizer(NamedTuple):
    """A recognizer with its key."""

    recognizer: JudgeLike
    key: str


def keyed_recognizer(recognizer: JudgeLike) -> KeyedRecognizer:
    """A recognizer with the key of all that changes what it sees: two settings of one file are two recognizers."""
    return KeyedRecognizer(recognizer, made_of(recognizer, recognizer.fingerprint))


def adversary_recognizer(attack: AttackLike, judge: KeyedRecognizer) -> KeyedRecognizer:
    """The recognizer of an adversary: the judge, or another that the attack brings."""
    recognizer = attack.judge(judge.recognizer)
    return judge if recognizer is judge.recognizer else keyed_recognizer(recognizer)


@torch.no_grad()
def _embed(pictures: Pictures, by: KeyedRecognizer, size: int, device: torch.device) -> Tensors:
    parts, recognizer = pictures.batches(size, f"recognizing with {by.recognizer.name}"), folded(*by)
    return {"z": torch.cat([embedded(recognizer, part.to(device)).cpu() for part in parts])}


def folded(reader: Any, key: str) -> Any:
    """A copy for inference: where its networks are of this package, batch norms are folded into their convolutions.

    The same function, with fewer passes over the maps. ``key``: of the reader's weights, so that others are another's.
    """
    return _folded(reader, key) if isinstance(reader, nn.Module) else reader


@functools.lru_cache(maxsize=8)
def _folded(reader: nn.Module, key: str) -> nn.Module:
    found: list[str] = []
    for name, module in reader.named_modules():
        if type(module).__module__.startswith(networks.__name__) and not any(name.startswith(f"{n}.") for n in found):
            found.append(name)
    fast = copy.deepcopy(reader)
    for name in found:
        fast.set_submodule(name, fuse(fast.get_submodule(name)).to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    return fast


def embeddings(store: Store, pictures: Pictures, by: KeyedRecognizer, size: int, device: torch.device) -> Tensor:
    """(N, D) embeddings of pictures, ``size`` at a time, kept in the store; on the CPU."""

    key = key_of(of=pictures.key, by=by.key, batch=size, code=code(_embed, *READING))
    return store.get("embeddings", key, lambda: _embed(pictures, by, size, device))["z"]


def as_it_conditions(encoder: Encoder) -> JudgeLike:
    """The conditioning encoder as it conditions: no mirror image is added."""
    return cast(JudgeLike, Judge(encoder, flip=False))


def readers_of(cfg: DictConfig, device: torch.device) -> Readers:
    """The estimator of attributes and the detectors of the configuration, with their keys."""
    readers = OmegaConf.masked_copy(cfg, ["attributes", "detectors"])
    settings = cast(dict[str, Any], OmegaConf.to_container(readers, resolve=True))
    attributes = None if settings.get("attributes") is None else instantiate(settings["attributes"])
    if attributes is not None:
        check_call(attributes, "attributes", "estimator(images)", "images")
    if isinstance(attributes, nn.Module):
        attributes.to(device).eval()
    chosen = {name: given for name, given in (settings.get("detectors") or {}).items() if given is not None}
    detectors = {name: instantiate(given) for name, given in chosen.items()}
    for name, detector in detectors.items():
        check_has(detector, f"detectors.{name}", "name", "has_points", "detect", "detect_batch")
    return Readers(
        attributes,
        "" if attributes is None else made_of(settings["attributes"], attributes),
        detectors,
        {name: made_of(chosen[name], detector) for name, detector in detectors.items()},
    )
