"""Attacks by their configuration, and those that a multirun of trainings has left in a folder.

    python train.py experiment=reconstruction attack=ladder paths.ladder=<folder>

leaves ``<folder>/<name>/train/reconstruction/<run>/checkpoints``.
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
from anon.errors import UserError
from anon.identity.contract import JudgeLike

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


def attack_config(checkpoint: str) -> dict[str, str]:
    """The configuration of a trained attack: it is built, as names in YAML are, by the room above this one."""
    return {"_target_": "anon.apps.victims.trained_attack", "checkpoint": checkpoint}


def adversary(
    attack: DictConfig | Mapping[str, Any], judge: JudgeLike, device: torch.device | str
) -> AttackLike | functools.partial:
    """The attack on the device, in eval mode; a partial is one that still wants the anonymizer (a parrot).

    Raises:
        UserError: its training knew the judge, who would flatter it.
    """
    found: AttackLike | functools.partial = instantiate(attack)
    if getattr(found, "learned_with", None) == judge.fingerprint:
        raise UserError(f"The attack was trained with the judge '{judge.name}', which flatters it; choose another.")
    return found.to(device).eval() if isinstance(found, nn.Module) else found
