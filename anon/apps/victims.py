"""Whom a reconstruction attack is trained against: any anonymizer, and the attacker's pairs made with it.

python train.py experiment=reconstruction method=pixelate
python train.py experiment=reconstruction method=fiva policy=itm method.anonymizer.checkpoint=<file>

What was trained keeps a record of its victim, see :mod:`anon.attacks.victim`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from anon import weights
from anon.anonymizers.contract import AnonymizerLike
from anon.anonymizers.plugged import as_anonymizer
from anon.apps.checkpoints import read_checkpoint, restore_module, shipped_part
from anon.attacks.pairs import ChangedFaces
from anon.attacks.reconstruction import Reconstruction
from anon.attacks.victim import Record, check_record, compare, describe
from anon.defenses.contract import DefenseLike, draws
from anon.defenses.defended import Defended, complete
from anon.errors import UserError
from anon.evaluation.harness.store import Store, cache_of
from anon.evaluation.harness.suite import as_plain
from anon.evaluation.modes import basis_of, posed, reach_note
from anon.evaluation.protocol import Data, Protocol
from anon.evaluation.trained import check_victim
from anon.faces.contract import FaceSet, Sample, in_eight_bits
from anon.faces.datamodule import FaceData
from anon.plugs import built_of
from anon.training.augment import step_rng
from anon.training.reconstruction import ReconstructionTraining
from anon.weights.files import SHIPPED

#: Which people of the data the attack's splits are: it never learns from the people of the evaluation.
SPLITS = {"train": "attacker", "background": "background"}


def victim_of(
    method: Mapping[str, Any], policy: Mapping[str, Any] | None, data: FaceData, seed: int = 0, cache: str | None = None
) -> nn.Module:
    """The anonymizer of a method's configuration as tables have it: the same anchors, the same tracker's threshold.

    Args:
        method: one of ``conf/method``; its ``anonymizer`` may be built already.
        policy: one of ``conf/policy``, for a generator, which redraws a face as whom a policy wants.
        data: gives the training people, whose mixtures are the anchors, and the background people, for the threshold.
        cache: folder of embeddings that are kept.

    Raises:
        UserError: an unfit method, checkpoint or policy, or too few people for the threshold.
    """
    who, given, inner = "method.anonymizer", as_plain(method).get("anonymizer"), as_plain(method).get("methods")
    if inner:
        own = {name: policy if each.get("policies") else None for name, each in inner.items()}
        parts = {name: victim_of(each, own[name], data, seed, cache) for name, each in inner.items()}
        return cast(nn.Module, built_of(cast("Mapping[str, Any]", given), who)(parts=parts))
    if given is None:
        raise UserError("this method changes no face, so there is nothing to undo; choose another with method=<name>.")
    base = built_of(given, who) if isinstance(given, Mapping) else given
    if getattr(base, "encoder", None) is None:  # a filter, or an anonymizer that brings its own policy
        return as_anonymizer(base, who, data)
    basis = basis_of(cast(Data, data), base.encoder, Protocol(), seed, Store(cache_of(cache)))
    victim = posed(base, None if policy is None else as_plain(policy), basis, who)
    note = reach_note(victim.policy, type(base.generator).__name__, basis)
    if note:
        print(note, flush=True)
    return victim


def trained_attack(checkpoint: str) -> Reconstruction:
    """What ``experiment=reconstruction`` trained, with averaged weights, or one that ships: ``shipped:reconstruction``.

    Raises:
        UserError: the checkpoint is of something else, or nothing ships by that name.
    """
    if str(checkpoint).startswith(SHIPPED):
        network, encoder, shipped = shipped_part(checkpoint, "attack")
        return Reconstruction(network, encoder, record_of(shipped, "victim")).eval()
    module, config = restore_module(Path(checkpoint))
    if not isinstance(module, ReconstructionTraining):
        raise UserError(f"{checkpoint} is of experiment={config.get('experiment')}, which trains no attack.")
    network = module.averaged.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Reconstruction(network, module.encoder, record_of(config)).eval()


def record_of(config: DictConfig, key: str = "run.victim") -> Record | None:
    """The record of its victim that an attack's configuration holds; None in one from before there were records.

    Raises:
        UserError: it is no record.
    """
    found = OmegaConf.select(config, key)
    plain = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    return check_record(plain, f"its checkpoint ({key})")


def recorded_victim(checkpoint: str) -> Record | None:
    """The record in a checkpoint of an attack, or of one that ships, whose network is not built.

    Raises:
        UserError: see :func:`anon.apps.checkpoints.read_checkpoint` and :func:`record_of`.
    """
    if checkpoint.startswith(SHIPPED):
        entry = weights.index().get(checkpoint.removeprefix(SHIPPED)) or {}
        return check_record((entry.get("config") or {}).get("victim"), checkpoint)
    return record_of(read_checkpoint(Path(checkpoint))[1])


def shipped_on(anonymizer: object) -> str | None:
    """The attack that ships which learned an anonymizer, ``shipped:<name>``; None: none did."""
    met = describe(anonymizer)
    names = [SHIPPED + name for name, entry in weights.index().items() if "victim" in (entry.get("config") or {})]
    return next((name for name in names if not compare(recorded_victim(name), met).stranger), None)


class AttackerData(FaceData):
    """An attacker's data, which knows whom it shows; where the victim draws at random, every step gets new draws.

    A defense's draws are not the attacker's to know, so one that saw a single draw for each picture would learn these
    and be weaker than it need be. The draws are a function of seed, step and rank, the same after a kill as without.

    Args:
        record: gives the victim's.
        software: gives the anonymizer with its defense; None: pairs stay as they are.
    """

    def __init__(
        self, record: Callable[[], Record], *args: Any, software: Callable[[], Defended | None] = lambda: None
    ) -> None:
        super().__init__(*args)
        self.record, self.software = record, software

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Lightning's hook, on the device."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        trainer = self.trainer
        software = self.software() if trainer is not None and trainer.training else None
        if trainer is None or software is None:
            return batch
        image, changed = batch["image"], batch["changed"]  # type: ignore[typeddict-item]
        rng = step_rng(image.device, self.seed % 2**32, trainer.global_step, trainer.global_rank)
        with torch.no_grad():
            noisy = in_eight_bits(software.to(image.device).again(image.float(), changed.float(), rng))
        return cast(Sample, {**batch, "changed": noisy.to(changed)})


def defended(
    victim: AnonymizerLike, defense: Mapping[str, Any] | DefenseLike | None = None, against: str | None = None
) -> tuple[AnonymizerLike, Record]:
    """The victim in eval mode, with the defense behind it if there is one.

    Args:
        defense: one of ``conf/defense``, or built.
        against: the attack, by its checkpoint, that a gradient defense works against; read for such a one only.

    Returns:
        What the attacker calls, and the record of whom it is.

    Raises:
        UserError: a gradient defense without ``against``, or with an attack on another victim.
    """
    whole, behind = victim, None
    if defense is not None:
        built = instantiate(defense) if isinstance(defense, Mapping) else defense
        attack = trained_attack(str(against)) if isinstance(built, functools.partial) and against is not None else None
        if attack is not None:
            way_out = "name one that did, or train it without a defense first"
            note = check_victim(attack, victim, f"attack.against={against}", way_out)
            if note:
                print(f"attack.against={against}: {note}", flush=True)
        behind = complete(built, attack)
        whole = Defended(victim, behind)
    return whole.eval() if isinstance(whole, nn.Module) else whole, describe(victim, behind)


def attack_data(
    data: FaceData,
    method: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
    pairs: int | None = None,
    defense: Mapping[str, Any] | DefenseLike | None = None,
    against: str | None = None,
    seed: int = 0,
    cache: str | None = None,
) -> FaceData:
    """The pairs that an attacker trains on: pictures of the attacker split, validated on the background people.

    Args:
        data: the data of the experiment.
        method, policy, cache: whom it learns, see :func:`victim_of`.
        pairs: how many the attacker owns; None: one for each picture of its people.
        defense: behind the anonymizer: the attacker learns from defended pictures and adapts to them, with new noise at
            every step where the defense draws any (:class:`AttackerData`).
        against: checkpoint of the attack that a gradient defense works against.
        seed: which pictures, and the anonymizer's and the defense's own randomness.

    Raises:
        UserError: more pairs than pictures, or a gradient defense without ``against``.
    """

    @functools.cache
    def anonymizer() -> tuple[AnonymizerLike, Record]:
        return defended(victim_of(method, policy, data, seed, cache), defense, against)

    def software() -> Defended | None:
        made = anonymizer()[0] if defense is not None else None
        return made if isinstance(made, Defended) and draws(made.defense) else None

    def sets(split: str) -> FaceSet:
        if split not in SPLITS:
            raise UserError(f"an attack has no split '{split}'.")
        train = split == "train"
        drawing = software() if train else None
        shown = anonymizer()[0] if drawing is None else drawing.anonymizer
        return cast(FaceSet, ChangedFaces(data.faces(SPLITS[split]), shown, pairs if train else None, seed))

    rest = (data.size, data.synthetic, data.batch_size, data.workers, data.seed)
    return AttackerData(lambda: anonymizer()[1], sets, str(data.name), *rest, software=software)
