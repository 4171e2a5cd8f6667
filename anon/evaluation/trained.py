"""Attacks by their configuration, those that a multirun of trainings has left in a folder, and whom they learned.

    python train.py experiment=reconstruction +sweep=defenses paths.attackers=<folder>

leaves ``<folder>/<name>/train/reconstruction/<run>/checkpoints``. An attack that learned another anonymizer than
the one it is used on is refused (:func:`check_victim`): that it finds nobody would look like privacy.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from anon.attacks.contract import AttackLike
from anon.attacks.victim import Acquaintance, Record, compare, describe, title_of
from anon.errors import UserError
from anon.evaluation.judges.judging import is_one
from anon.identity.contract import JudgeLike
from anon.identity.encoder import Encoder
from anon.plugs import check_has
from anon.weights.files import SHIPPED

SHELF = Path("train") / "reconstruction"
LAST = Path("checkpoints") / "last.ckpt"


def newest(folder: str | Path | None, name: str) -> Path | None:
    """The newest ``last.ckpt`` of the reconstruction attacks in ``<folder>/<name>``; None where there is none.

    Run folders are named by date and time, so the last name is the newest run. A run without a checkpoint (broken, or
    still in its first steps) is passed over; one that is still training gives the attack so far.
    """
    if folder is None:
        return None
    found = sorted((Path(folder).expanduser() / name / SHELF).glob(f"*/{LAST}"))
    return found[-1] if found else None


def undefended(settings: Mapping[str, Any], method: str) -> str | Path | None:
    """The checkpoint of an attack on a method: a file that is named, the newest in the folder, or what ships.

    Args:
        settings: of the attack: ``trained``, checkpoints by method, and ``folder``, that of a multirun.
    """
    named = settings["trained"].get(method)
    own = None if named is not None and not str(named).startswith(SHIPPED) else newest(settings.get("folder"), method)
    return own or named


def check_folder(folder: str | Path | None, where: str, multirun: str) -> None:
    """See that the folder of a multirun's runs, if one is given, is one.

    Raises:
        UserError: it is none.
    """
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise UserError(f"{where}={folder} is no folder; give that of the runs of +sweep={multirun}.")


def attack_config(checkpoint: str) -> dict[str, str]:
    """The configuration of a trained attack: it is built, as names in YAML are, by the room above this one."""
    return {"_target_": "anon.apps.victims.trained_attack", "checkpoint": checkpoint}


def adversary(
    attack: DictConfig | Mapping[str, Any], judge: JudgeLike, device: torch.device | str
) -> AttackLike | functools.partial:
    """The attack on the device, in eval mode; a partial is one that still wants the anonymizer (a parrot).

    Raises:
        UserError: it is none, or its training knew the judge, who would flatter it.
    """
    if not isinstance(attack, Mapping) or "_target_" not in attack:
        raise UserError(f"{attack} is no attack that can be built (no _target_); choose one of conf/attack.")
    found: AttackLike | functools.partial = instantiate(attack)
    if not isinstance(found, functools.partial):
        check_has(found, "The attack", "images", "probe", "gallery", "judge")
    encoder = getattr(found, "encoder", None)
    if isinstance(encoder, Encoder) and is_one(judge, encoder):
        raise UserError(f"The attack was trained with the judge '{judge.name}', which flatters it; choose another.")
    return found.to(device).eval() if isinstance(found, nn.Module) else found


def met(attack: object, anonymizer: object, defense: object | None = None) -> Acquaintance | None:
    """How an attack's record compares with an anonymizer and a defense; None for an attack that learned nobody."""
    learns, record = learned_on(attack)
    return compare(record, describe(anonymizer, defense)) if learns else None


def learned_on(attack: object) -> tuple[bool, Record | None]:
    """Whether an attack, or the recognizer that it brings, was trained on an anonymizer, and its record of it."""
    brought = attack.keywords.get("recognizer") if isinstance(attack, functools.partial) else None
    for part in (attack, brought, getattr(attack, "recognizer", None)):
        if hasattr(part, "learned_on"):
            return True, part.learned_on
    return False, None


def check_victim(
    attack: object, anonymizer: object, who: str, way_out: str, defense: object | None = None, adaptive: bool = False
) -> str | None:
    """What a reader must know of figures of this attack on this anonymizer; None: nothing.

    Args:
        attack: an attack, or a partial that still wants the anonymizer.
        who: the attack in the sentence, such as "The attack 'reconstruction'".
        way_out: what to do in the place of it.
        defense: that stands behind the anonymizer, or None.
        adaptive: the attack says that it learned behind that defense; otherwise it is the naive one, which learned
            undefended faces whatever the defense is.

    Raises:
        UserError: the attack learned another method, or, adaptive, another defense.
    """
    found = met(attack, anonymizer, defense if adaptive else None)
    if found is None:
        return None
    if found.stranger:
        raise UserError(f"{who} cannot attack {title_of(describe(anonymizer))}: {found.note}; {way_out}.")
    if found.behind:
        return found.note
    learned = title_of(learned_on(attack)[1] or {})
    if adaptive:
        raise UserError(
            f"{who} is no attack on {title_of(describe(anonymizer, defense))}: it learned {learned}; {way_out}."
        )
    return f"learned on {learned}"  # another defense than none, which its name does not tell


def untrained(given: Any, where: str) -> str | None:
    """Where in an attack's configuration a checkpoint is asked for and none is named."""
    if not isinstance(given, Mapping):
        return None
    if given.get("checkpoint", "") is None:
        return f"{where}.checkpoint"
    return next((found for name, part in given.items() if (found := untrained(part, f"{where}.{name}"))), None)


def check_kind(attack: object, defense: object, who: str, way_out: str) -> None:
    """See that an adaptive attack learned faces behind such a defense, at whatever strength.

    Raises:
        UserError: it learned none of that kind.
    """
    learned = learned_on(attack)[1]
    kind = str(((learned or {}).get("defense") or {}).get("class")).rpartition(".")[2]
    if learned is not None and kind != type(defense).__name__:
        raise UserError(f"{who} learned no faces behind {type(defense).__name__}, but {title_of(learned)}; {way_out}.")
