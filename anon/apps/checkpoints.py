"""Checkpoints: plain resolved YAML text and tensors, written atomically, loaded with ``weights_only=True``."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeVar, cast

import pytorch_lightning as pl
import torch
import yaml
from omegaconf import DictConfig
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import nn

from anon import weights
from anon.anonymizers.identity_mask import RELATIVE, IdentityMask
from anon.anonymizers.ideudemon import NoisedCode
from anon.anonymizers.made_simple import DDIM, DegreeAnonymizer
from anon.apps.run_folders.folder import LAST
from anon.apps.untrusted import build, read_config
from anon.checksums import written_whole
from anon.errors import UserError
from anon.faces.learned import DOMAINS, Learned, learned_of, remember
from anon.generators.contract import GeneratorLike
from anon.generators.inpainting.contract import Inpainter
from anon.generators.made_simple.network import MadeSimple
from anon.generators.subjects.fatm import FATM
from anon.identity.encoder import Encoder
from anon.training.callbacks.clock import TrainingClock
from anon.training.fatm import FATMTraining
from anon.training.first_order import FirstOrderTraining
from anon.training.ideudemon import IDeudemonTraining
from anon.training.made_simple import MadeSimpleTraining
from anon.training.target_oriented import TargetOriented
from anon.weights import archives
from anon.weights.files import SHIPPED, check_types, load_into, notes

MAX_BYTES = 64 * 1024**3  # of a checkpoint; what it makes is no larger than the file
CONFIG_KEY = "config"  # the resolved configuration, as YAML text
Training = TypeVar("Training", bound=pl.LightningModule)
LEARNED_KEY = "learned"  # whom it learned from, see anon.faces.learned


class CheckpointFiles(TorchCheckpointIO):
    """Writes beside the file, then renames: a kill at any moment leaves the old checkpoint or the new one.

    Lightning's own writer goes through the system's temporary folder, which is often another file system, and there
    the last step is a copy.
    """

    def __init__(self, config_text: str, learned: Learned | None = None) -> None:
        super().__init__()
        self.config_text = config_text
        self.learned = {} if learned is None else {LEARNED_KEY: learned.plain()}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` with the run's configuration and whom it learned from added."""
        target = Path(path)
        target.parent.mkdir(exist_ok=True)  # not the run folder: one that was removed does not come back by half
        with written_whole(target) as file:
            torch.save({**checkpoint, CONFIG_KEY: self.config_text, **self.learned}, file)


def checkpoint_file(text: str) -> Path:
    """The checkpoint that a path means: the file itself, or the last one of a run folder.

    Raises:
        UserError: a folder without one.
    """
    path = Path(text).expanduser()
    if not path.is_dir():
        return path
    if not (path / LAST).is_file():
        raise UserError(f"the folder {path} holds no {LAST}; give a run folder that does, or a checkpoint file.")
    return path / LAST


def read_checkpoint(path: Path) -> tuple[dict[str, Any], DictConfig]:
    """The content of a checkpoint, or of a run folder's last one, on the CPU, and what it was trained with.

    Raises:
        UserError: when the file is missing, truncated, not a checkpoint, or not one of this project's.
    """
    path = checkpoint_file(str(path))
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}.")
    try:
        content = archives.read(path, MAX_BYTES)
    except UserError as error:
        raise UserError(f"{path} is not a checkpoint, or a broken one: {error}") from error
    if not isinstance(content, dict) or not {"state_dict", "global_step", CONFIG_KEY} <= content.keys():
        raise UserError(f"{path} is not a training checkpoint of this project; give a checkpoints/last.ckpt.")
    state = content["state_dict"]
    named = state.items() if isinstance(state, dict) else [(None, state)]
    if not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in named):
        raise UserError(f"{path} holds weights that are no tensors.")
    return content, read_config(content[CONFIG_KEY], path)


def learned_from(content: Mapping[str, Any], config: DictConfig, path: Path) -> Learned | None:
    """Whom the training of a checkpoint learned from; of one that does not say, its data's domain alone.

    Raises:
        UserError: it says what cannot be.
    """
    if LEARNED_KEY in content:
        return Learned.from_plain(content[LEARNED_KEY], path)
    data = config.get("data")
    target = str(data.get("_target_")) if isinstance(data, DictConfig) else ""
    if not target.endswith("_data"):
        return None
    synthetic = target.endswith("synthetic_data")
    return Learned(frozenset(DOMAINS[:1] if synthetic else DOMAINS[1:]), complete=synthetic)


def learned_before(module: nn.Module) -> Learned | None:
    """Whom the weights that a training begins with learned from, and the recognizer that it distils; None: nobody.

    Raises:
        UserError: ``module.start`` is no readable weight file.
    """
    start, teacher = getattr(module, "start", None), getattr(module, "teacher", None)
    parts = [SimpleNamespace(**notes(start))] if start is not None else []
    parts += list(teacher.modules()) if teacher is not None else []
    index = weights.index()
    found = [learned for part in parts if (learned := learned_of(part, index)) is not None]
    return functools.reduce(Learned.beside, found) if found else None


def check_fits(module: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse the weights of another model, naming the first tensor that differs.

    A part that the module makes only once it has seen its data (None until then) is not compared.

    Raises:
        UserError: when names or shapes differ.
    """
    own = module.state_dict()
    state = {name: state[name] for name in state if getattr(module, name.partition(".")[0], own) is not None}
    odd = sorted(own.keys() ^ state.keys()) or sorted(name for name in own if own[name].shape != state[name].shape)
    if odd:
        raise UserError(f"{path} is a checkpoint of another model: {len(odd)} tensors differ, first {odd[0]!r}.")
    check_types(state, own, path)


def restore_module(path: Path) -> tuple[pl.LightningModule, DictConfig]:
    """Build the model that a checkpoint was trained as, with its weights, in eval mode.

    Raises:
        UserError: see :func:`read_checkpoint`; also when the configuration asks for anything but this project's parts.
    """
    content, config = read_checkpoint(path)
    state = content["state_dict"]
    module = build(
        config.get("model"), path, "model", pl.LightningModule, sum(value.nbytes for value in state.values())
    )
    check_fits(module, state, path)
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path} is a checkpoint of another model, or a broken one.") from error
    learned = learned_from(content, config, path)
    encoders = [part for part in module.modules() if isinstance(part, Encoder)]
    before = {id(part) for encoder in encoders for part in encoder.modules()}  # these learned from people of their own
    for part in module.modules() if learned is not None else ():
        if id(part) not in before:
            remember(part, cast(Learned, learned))
    return module.eval(), config


def trained_minutes(path: Path) -> float | None:
    """How long the training of a checkpoint took (:class:`anon.training.callbacks.clock.TrainingClock`); None: unknown.

    Raises:
        UserError: see :func:`read_checkpoint`.
    """
    callbacks = read_checkpoint(path)[0].get("callbacks")
    kept = callbacks.get(TrainingClock.__qualname__) if isinstance(callbacks, Mapping) else None
    seconds = kept.get("seconds") if isinstance(kept, Mapping) else None
    known = isinstance(seconds, float) and math.isfinite(seconds) and seconds >= 0
    return cast(float, seconds) / 60 if known else None


class Trained(NamedTuple):
    """A generator to evaluate, the encoder that conditions it, its class's name, and what it was trained by.

    ``others``: further recognizers that gave its losses (``model.others``); like the encoder they judge it no more.
    """

    generator: GeneratorLike
    encoder: Encoder
    name: str
    config: DictConfig
    others: tuple[Encoder, ...] = ()


def restore_generator(checkpoint: str | Path) -> Trained:
    """The averaged generator of a training checkpoint, or one that ships: ``shipped:facedancer``; on the CPU.

    Raises:
        UserError: see :func:`restore_module`; the training made no generator, or nothing ships by that name.
    """
    if not str(checkpoint).startswith(SHIPPED):
        module, config = restore_module(Path(checkpoint))
        if not isinstance(module, TargetOriented) or not isinstance(module.averaged, GeneratorLike):  # R is none
            raise UserError(f"{checkpoint} is of experiment={config.get('experiment')}, which trains no generator.")
        generator = module.averaged.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        others = cast("tuple[Encoder, ...]", tuple(module.others))
        return Trained(generator, module.encoder, type(module.generator).__name__, config, others)
    generator, encoder, config = shipped_part(str(checkpoint), "generator")
    others = tuple(build(other, str(checkpoint), "model", Encoder) for other in config.get("others", ()))
    return Trained(cast(GeneratorLike, generator), encoder, type(generator).__name__, config, others)


def restore_inpainter(checkpoint: str | Path, truncation: float | None = None) -> Trained:
    """:func:`restore_generator` of one that inpaints, with its latents cut at ``truncation``; None: as it was trained.

    Raises:
        UserError: see there; or the generator draws from no latent.
    """
    trained = restore_generator(checkpoint)
    if not isinstance(trained.generator, Inpainter):
        raise UserError(f"{checkpoint} is a {trained.name}, which does not inpaint; its method is another.")
    if truncation is not None:
        trained.generator.truncation = float(truncation)
    return trained


def restore_made_simple(
    checkpoint: str | Path, degree: float = 1.25, guidance: float = 4.0, steps: int = 10, sampler: str = DDIM
) -> DegreeAnonymizer:
    """What ``experiment=made_simple`` trained, with its dial, see there; or what ships: ``shipped:made_simple``.

    Raises:
        UserError: see :func:`restore_module`; a checkpoint of another experiment, or a number outside its range.
    """
    if str(checkpoint).startswith(SHIPPED):
        network = MadeSimple(weights=str(checkpoint))
    else:
        network = _restored(checkpoint, MadeSimpleTraining, "made_simple")[0].network.requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return DegreeAnonymizer(network, degree, guidance, steps, sampler)


def restore_identity_mask(parts: Mapping[str, nn.Module], checkpoint: str | Path, flow: str = RELATIVE) -> IdentityMask:
    """What ``experiment=identity_mask`` trained, behind the one generator that changes first frames.

    Args:
        parts: that generator with its policy, by any name.
        checkpoint: of the motion module, or its run folder.
        flow: see :class:`anon.anonymizers.identity_mask.IdentityMask`.

    Raises:
        UserError: see :func:`restore_module`; a checkpoint of another experiment, unfit parts or no such flow.
    """
    module, _ = _restored(checkpoint, FirstOrderTraining, "identity_mask")
    return IdentityMask(parts, module.network.requires_grad_(False), flow)


def restore_ideudemon(checkpoint: str | Path, scale: float = 0.25, albedo: bool = False) -> NoisedCode:
    """What ``experiment=ideudemon`` trained, with its dial.

    Raises:
        UserError: see :func:`restore_module`; a checkpoint of another experiment, or a scale outside its range.
    """
    module, _ = _restored(checkpoint, IDeudemonTraining, "ideudemon")
    network = module.network.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return NoisedCode(network, module.encoder, scale, albedo)


def restore_fatm(checkpoint: str | Path, encoder: Encoder) -> Trained:
    """The generator that ``experiment=fatm`` trained.

    Args:
        checkpoint: of it, or its run folder.
        encoder: tells a tracker who is who, so that a person keeps one donor; the training had none.

    Raises:
        UserError: see :func:`restore_module`; or a checkpoint of another experiment.
    """
    module, config = _restored(checkpoint, FATMTraining, "fatm")
    tool = cast(FATM, module.generator).requires_grad_(False)
    return Trained(tool, encoder, type(tool).__name__, config)


def _restored(checkpoint: str | Path, kind: type[Training], experiment: str) -> tuple[Training, DictConfig]:
    """What a checkpoint of one experiment holds, and what it was trained with.

    Raises:
        UserError: see :func:`restore_module`; or it is of another experiment.
    """
    module, config = restore_module(Path(checkpoint))
    if not isinstance(module, kind):
        raise UserError(f"{checkpoint} is of experiment={config.get('experiment')}, not of {experiment}.")
    return module, config


def shipped_part(name: str, part: str) -> tuple[nn.Module, Encoder, DictConfig]:
    """A ``generator`` or an ``attack`` that ships, with its encoder, in eval mode, and what both are built from.

    Raises:
        UserError: none ships by that name, or its configuration asks for anything but this project's parts.
    """
    built = {f"{SHIPPED}{key}": entry.get("config", {}) for key, entry in weights.index().items()}
    built = {key: config for key, config in built.items() if part in config}
    if name not in built:
        raise UserError(f"no {part} ships as '{name}'; there are: {', '.join(sorted(built)) or 'none'}.")
    config = read_config(yaml.safe_dump(built[name]), name)
    network = build(config[part], name, "model", nn.Module)
    load_into(network, name)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval(), build(config.get("encoder"), name, "model", Encoder), config
