"""Configurations that came with a file: read as plain data, checked whole, and only then built.

In this order: the text is plain YAML (:mod:`anon.plain`), without tags, aliases and interpolations, so that what is
checked is what will be built; every ``_target_`` is, letter for letter, one of :func:`anon.apps.untrusted.parts`, or
defined in a package that the command line trusts; nothing takes more memory than such a model can need; and whatever
fails on the way is one sentence.

    python evaluate.py experiment=fiva checkpoint=<file> trust=my_package
"""

from __future__ import annotations

import importlib
import math
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from anon.apps.launch.failures import causes
from anon.apps.untrusted.parts import Kind, defined_at, parts, targets
from anon.errors import UserError
from anon.plain import parse_yaml

Built = TypeVar("Built")

#: Hydra's own words in a configuration; the rest of a mapping with a target are the target's arguments.
_WORDS = {"_target_", "_partial_", "_args_", "_convert_", "_recursive_"}
_NOBODYS = {
    *("anon", "cv2", "hydra", "lightning_fabric", "numpy", "omegaconf", "onnx", "onnxruntime", "PIL"),
    *("pytorch_lightning", "safetensors", "torch", "torchvision", "wandb", "yaml"),
}
#: What comes of numbers and names that no part can be built of.
_MISFITS = (
    *(HydraException, OmegaConfBaseException, ArithmeticError, AssertionError, AttributeError, LookupError),
    *(MemoryError, OSError, RuntimeError, TypeError, ValueError),
)
#: Where files written before the callbacks moved name one.
_MOVED = re.compile(r"(_target_: anon\.training\.)(?=(debugging|guards|progress|steps)\.)")
MAX_SIDE = 4096  # pixels
MAX_RENDERED = 16 * 1024**3  # bytes of pictures
_FLOOR = 2**30  # bytes that a model may take beside what its checkpoint holds: encoders come from files of their own
_MAX_OPERATIONS = 60_000  # networks here take 2,500; the first iterations of CIAGAN's spectral norms make it 16,100

_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted", default=())


@contextmanager
def trusting(packages: str | Sequence[str] | None) -> Iterator[None]:
    """Inside, what these packages define may be built too; ``trust=my_package`` on the command line.

    Raises:
        UserError: what is given are no names of packages.
    """
    names = (packages,) if isinstance(packages, str) else tuple(packages or ())
    for name in names:
        if not all(part.isidentifier() for part in str(name).split(".")) or not _ownable(str(name)):
            raise UserError(f"trust={name} is no name of a package of your own, such as trust=my_package.")
    token = _trusted.set(names)
    try:
        yield
    finally:
        _trusted.reset(token)


def read_config(text: object, where: object) -> DictConfig:
    """The configuration that a file carries as text, plain and resolved. Nothing is built or looked up.

    What has moved since the file was written has its name of today.

    Raises:
        UserError: see :func:`anon.plain.parse_yaml`; or it is no mapping.
    """
    content = parse_yaml(_MOVED.sub(r"\1callbacks.", text), where) if isinstance(text, str) else None
    if not isinstance(content, dict):
        raise UserError(f"{where} holds no readable configuration.")
    try:
        return OmegaConf.create(content)
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{where} holds no readable configuration ({str(error).splitlines()[0]}).") from error


def build(config: Any, where: object, kind: Kind, wanted: type[Built], held: int = 0) -> Built:
    """Build one part of a configuration that :func:`read_config` has read, such as its model.

    Args:
        config: the part.
        where: the file, for messages.
        kind: which parts it may be made of.
        wanted: what must come of it.
        held: bytes of weights that came with it, by which its size is judged.

    Raises:
        UserError: it asks for anything that is not on the list, for absurd sizes, or does not fit together.
    """
    content = OmegaConf.to_container(config) if OmegaConf.is_config(config) else config
    _check_targets(content, where, parts(kind))
    _check_words(content, where)
    if not isinstance(content, dict) or "_target_" not in content:
        raise UserError(f"{where} does not say which {kind} it is of.")
    if kind == "data" and (count := _rendered(content)) > MAX_RENDERED:
        raise UserError(f"{where} asks for {count / 2**30:,.0f} GiB of rendered pictures; it was not loaded.")
    with mendable(f"the {kind} of {where} cannot be built"), _Bounded(where, _FLOOR + 4 * held):
        made = instantiate(content)
    if not isinstance(made, wanted):
        raise UserError(f"the {kind} of {where} is a {type(made).__name__}, which it cannot be.")
    if isinstance(made, nn.Module) and any(value.is_meta for value in made.state_dict().values()):
        raise UserError(f"the {kind} of {where} is built without memory for its weights (device: meta).")
    return made


@contextmanager
def mendable(what: str) -> Iterator[None]:
    """Whatever a file's numbers and names make fail inside is one sentence that begins with ``what``.

    Raises:
        UserError: the sentence, or the one that was raised inside.
    """
    try:
        yield
    except UserError:
        raise
    except _MISFITS as error:
        told = next((str(link) for link in causes(error) if isinstance(link, UserError)), None)
        raise UserError(told or f"{what}: {_first(error)}") from error


def check_targets(content: Any, where: object, known: Iterable[Any]) -> None:
    """Refuse the configuration of a whole run that names parts which no configuration of this command names.

    Args:
        known: plain data with the targets that it may name, beside those of models and data.

    Raises:
        UserError: it names another, or has words or sizes that none here has.
    """
    allowed = {*parts("model"), *parts("data"), *(target for node in known for target in targets(node))}
    _check_targets(content, where, allowed)
    _check_words(content, where)


def _check_targets(content: Any, where: object, allowed: Collection[str]) -> None:
    for target in targets(content):
        if not isinstance(target, str) or not (target in allowed or _is_trusted(target)):
            target = str(target)[:80]
            own = target.partition(".")[0]
            way = f"; if {own} is yours, say trust={own}" if own.isidentifier() and _ownable(own) else ""
            raise UserError(f"{where} asks to run {target}, which is no part of this project; it was not loaded{way}.")


def _check_words(node: Any, where: object) -> None:
    if isinstance(node, list):
        for item in node:
            _check_words(item, where)
    elif isinstance(node, dict):
        for key, value in node.items():
            odd = isinstance(key, str) and key.startswith("_") and key not in _WORDS
            if odd or ("_target_" in node and not isinstance(key, str)):
                raise UserError(f"{where} says {key}, which no configuration here does; it was not loaded.")
            if key == "size" and not (value is None or (isinstance(value, int) and 0 < value <= MAX_SIDE)):
                raise UserError(f"{where} wants pictures of size={value}; sides are 1 to {MAX_SIDE} pixels.")
            _check_words(value, where)


def _ownable(package: str) -> bool:
    """Whether it may be somebody's own: Python's modules and what this project stands on hold more than models."""
    own = package.partition(".")[0]
    return own not in sys.stdlib_module_names and own not in _NOBODYS


def _is_trusted(target: str) -> bool:
    """Whether a package that the user trusts defines this; only then is anything imported."""
    if not any(target.startswith(f"{package}.") for package in _trusted.get()):
        return False
    module, _, name = target.rpartition(".")
    try:
        return defined_at(getattr(importlib.import_module(module), name, None), module, name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and module.startswith(str(error.name)):  # a hop, or a wrong name
            return False
        raise UserError(f"{target} of trust={target.partition('.')[0]} cannot be imported ({error}).") from error


def _rendered(content: Mapping[Any, Any]) -> int:
    """Bytes of the pictures that a synthetic data module would render, all splits together; 0 for others."""

    def most(name: str) -> int:
        value = content.get(name, 0)
        numbers = value.values() if isinstance(value, Mapping) else [value]
        return max((number for number in numbers if isinstance(number, int)), default=0)

    frames = most("images") + most("clips") * most("clip_frames")
    return 4 * most("identities") * frames * 3 * most("size") ** 2


#: Operations that take no memory, whatever sizes they name.
_VIEWS = ("aten::expand", "aten::view", "aten::_unsafe_view", "aten::as_strided", "aten::slice")


class _Bounded(TorchDispatchMode):
    """Refuses to make more tensors than a model of this kind has, before they take memory."""

    def __init__(self, where: object, most: int) -> None:
        super().__init__()
        self.where, self.most, self.taken, self.operations = where, most, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        numbers = 0
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.name in ("size", "repeats") and isinstance(value, list | tuple):
                numbers = math.prod(value)
            elif argument.name in ("end", "n", "m", "steps") and isinstance(value, int | float):
                numbers = max(1, numbers) * max(0, int(value))
        self.taken += 0 if func._schema.name in _VIEWS else 4 * numbers
        if self.taken > self.most or self.operations > _MAX_OPERATIONS:
            raise UserError(f"{self.where} asks for a model of absurd size; it was not loaded.")
        return func(*args, **(kwargs or {}))


def _first(error: BaseException) -> str:
    """What was wrong, without what Hydra says about where."""
    *_, root = causes(error)
    if isinstance(root, MemoryError):
        return "it takes more memory than there is."
    lines = str(root).strip().splitlines() or [type(root).__name__]
    return lines[0].rstrip(".") + "."
