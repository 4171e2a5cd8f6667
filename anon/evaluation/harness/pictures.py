"""Pictures that an evaluation made, in the eight bits in which pictures are published, and what reads faces.

Readers are recognizers, an estimator of attributes and detectors, each with the key of all that it depends on.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from anon.anonymizers.composed import Anonymizer
from anon.attacks.contract import AttackLike
from anon.attributes.contract import Estimator
from anon.errors import Failed, UserError
from anon.evaluation.embeddings import embedded
from anon.evaluation.harness.store import Store, Tensors, key_of
from anon.evaluation.harness.subjects import Group
from anon.faces.contract import published, to_float, to_uint8
from anon.faces.detection.contract import Detector
from anon.identity import networks
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.parallel import in_parts
from anon.plugs import check_call, check_has
from anon.progress import track
from anon.provenance import code, made_of

IMAGES = "images"


class Pictures:
    """N pictures under a key; they are made, or read from the store, when somebody looks.

    Args:
        store: keeps them.
        kind: of thing they are.
        key: of everything that makes them.
        make: gives ``images`` (N, H, W, 3) uint8 and whatever else was found on the way, each (N, ...).
        count: N.
    """

    def __init__(self, store: Store, kind: str, key: str, make: Callable[[], Tensors], count: int) -> None:
        self.store, self.kind, self.key, self.make, self.count = store, kind, key, make, count

    def __len__(self) -> int:
        return self.count

    def tensors(self) -> Tensors:
        """``images`` and the rest. Nothing is held here: a data set may be larger than memory allows twice."""
        return self.store.get(self.kind, self.key, self.make)

    def batches(self, size: int, what: str) -> Iterator[Tensor]:
        """(B, 3, H, W) in [-1, 1], in order."""
        return _in_batches(self.tensors()[IMAGES], size, what)


class Originals(Pictures):
    """The pictures of a group, as the data set has them, in eight bits."""

    def __init__(self, group: Group) -> None:
        super().__init__(Store(None), "original", group.key, dict, len(group))
        self.group = group

    def tensors(self) -> Tensors:
        """``images`` (N, H, W, 3) uint8."""
        return {IMAGES: torch.cat(list(self.group.frames(256, "reading faces")))}

    def batches(self, size: int, what: str) -> Iterator[Tensor]:
        return map(to_float, self.group.frames(size, what))


@dataclass(frozen=True)
class View:
    """Some of the pictures, in an order: rows of a context."""

    pictures: Pictures
    places: Tensor  # (R,)

    @classmethod
    def whole(cls, pictures: Pictures) -> View:
        """All of them."""
        return cls(pictures, torch.arange(len(pictures)))

    def __len__(self) -> int:
        return len(self.places)

    @functools.cached_property
    def key(self) -> str:
        """Of the pictures and which of them."""
        return key_of(of=self.pictures.key, places=self.places.tolist())

    def eight_bits(self) -> Tensor:
        """(R, H, W, 3) uint8."""
        return self.pictures.tensors()[IMAGES][self.places]

    def batches(self, size: int, what: str) -> Iterator[Tensor]:
        """(B, 3, H, W) in [-1, 1], in order."""
        return _in_batches(self.eight_bits(), size, what)


def _in_batches(images: Tensor, size: int, what: str) -> Iterator[Tensor]:
    return track((to_float(part) for part in images.split(size)), what, len(images), size)


#: How faces reach what is made of them: part of the key of that, for which it is a method of an argument.
READING = (
    *(Group.frames, Pictures.tensors, Pictures.batches, Originals.tensors, Originals.batches),
    *(View.eight_bits, View.batches),
)


def drawn(images: Tensor, target: Tensor, who: str) -> Tensor:
    """What ``who`` made of ``target`` (B, 3, H, W) -> (B, H, W, 3) uint8 on the CPU.

    Raises:
        Failed: it is no such pictures, see :func:`anon.faces.contract.published`.
    """
    return to_uint8(published(images, target, who)).cpu()


@contextlib.contextmanager
def failing(who: str) -> Iterator[None]:
    """What a method, a defense or an attack raises inside is a failure of its line and of no other.

    Raises:
        Failed: in the place of any other exception, which is its cause; a sentence for the user passes.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's code raises, an out-of-memory error too
        told = next(iter(str(error).splitlines()), "")
        raise Failed(f"{type(error).__name__}: {told[:200]} ({who})") from error


def drawn_by(
    anonymizer: nn.Module, images: Tensor, z: Tensor | None, source: Tensor | None, rng: torch.Generator, who: str
) -> Tensors:
    """``images`` (B, H, W, 3) uint8 of a batch, and of a generator what it was told and where it drew.

    Args:
        z: (B, D) of the images by the generator's encoder.
    """
    if not isinstance(anonymizer, Anonymizer):
        return {IMAGES: drawn(anonymizer(images, source=source, rng=rng), images, who)}
    z_source = None if source is None else anonymizer.identify(source)
    wanted = anonymizer.policy(cast(Tensor, z), source=z_source, rng=rng)
    redrawn = anonymizer.draw(images, wanted)
    part = {IMAGES: drawn(redrawn.blend(images).clamp(-1.0, 1.0), images, who), "wanted": wanted.cpu()}
    if redrawn.mask is not None:
        part["mask_area"] = redrawn.mask.flatten(1).mean(1).cpu()
    return part


@torch.no_grad()
def in_time(
    fresh: Callable[[], nn.Module],
    target: Pictures,
    clips: Tensor,
    size: int,
    device: torch.device,
    who: str,
    seed: int,
) -> Tensors:
    """``images`` (N, H, W, 3) uint8 of a method that works on clips.

    Args:
        fresh: the method, which remembers nothing.
        clips: (N,) which clip each picture of ``target`` is of, -1 a still.
        seed: of what it draws.
    """
    anonymizer, parts, rng = fresh(), [], torch.Generator(device).manual_seed(seed)
    for batch, of in zip(target.batches(size, f"anonymizing with {who}"), clips.split(size), strict=True):
        images = batch.to(device)
        with failing(who):
            parts.append(drawn(anonymizer(images, track=of.to(device), rng=rng), images, who))
    return {IMAGES: torch.cat(parts)}


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
    batches, recognizer = pictures.batches(size, f"recognizing with {by.recognizer.name}"), folded(*by)
    embed = functools.partial(embedded, recognizer)
    return {"z": torch.cat([in_parts(embed, batch.to(device), by=recognizer).cpu() for batch in batches])}


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
    own = OmegaConf.masked_copy(cfg, ["attributes", "detectors"])
    settings = cast(dict[str, Any], OmegaConf.to_container(own, resolve=True))
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
