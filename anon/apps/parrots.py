"""A recognizer that was trained on anonymized faces: its data, and what came of it.

    python train.py experiment=parrot method=fiva policy=itm
    python evaluate.py suite=attackers method=fiva \
        suite.attacks.parrot_tuned.attack.recognizer.checkpoint=<run folder>/checkpoints/last.ckpt

(``tuned`` in the place of ``parrot_tuned``: the same recognizer, for whom people are enrolled as they are.)
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from anon.anonymizers.contract import AnonymizerLike
from anon.apps.checkpoints import restore_module, trained_minutes
from anon.apps.untrusted import MAX_SIDE
from anon.apps.victims import SPLITS, AttackerData, defended, record_of, victim_of
from anon.attacks.parrot import ParrotFaces
from anon.attacks.victim import Record
from anon.defenses.contract import DefenseLike
from anon.errors import UserError
from anon.faces.contract import FaceSet
from anon.faces.datamodule import FaceData
from anon.identity.encoder import Encoder
from anon.identity.judge import Judge
from anon.training.recognizer import RecognizerTraining


def parrot_data(
    data: FaceData,
    method: Mapping[str, Any],
    policy: Mapping[str, Any] | None = None,
    runs: int = 4,
    clear: float = 0.5,
    defense: Mapping[str, Any] | DefenseLike | None = None,
    against: str | None = None,
    seed: int = 0,
    cache: str | None = None,
) -> FaceData:
    """Anonymized people of the attacker split to learn from, and of the background to validate on; nobody else.

    Args:
        data: the data of the experiment.
        method, policy, cache: whose faces it learns, see :func:`anon.apps.victims.victim_of`.
        runs, clear: see :class:`anon.attacks.parrot.ParrotFaces`; nothing is validated on clear pictures.
        defense: behind the anonymizer: the adversary learns from defended pictures.
        against: the attack, by its checkpoint, that a gradient defense works against.
        seed: of the anonymizer's and the defense's own randomness, and of the choice of the clear pictures.

    Raises:
        UserError: a split that is not the adversary's, or a gradient defense without ``against``.
    """

    @functools.cache
    def pristine() -> tuple[AnonymizerLike, Record]:
        return defended(victim_of(method, policy, data, seed, cache), defense, against)

    def sets(split: str) -> FaceSet:
        if split not in SPLITS:
            raise UserError(f"a parrot has no split '{split}'.")
        share = clear if split == "train" else 0.0
        faces = ParrotFaces(data.faces(SPLITS[split]), lambda: copy.deepcopy(pristine()[0]), runs, share, seed)
        return cast(FaceSet, faces)

    rest = (data.size, data.synthetic, data.batch_size, data.workers, data.seed)
    return AttackerData(lambda: pristine()[1], sets, str(data.name), *rest)


class Tuned(Judge):
    """The adversary's recognizer, with the record of whose faces it learned from (None: nobody wrote it down).

    ``minutes``: how long its training took; None: its checkpoint does not say.
    """

    def __init__(self, encoder: Encoder, learned_on: Record | None, minutes: float | None = None) -> None:
        super().__init__(encoder)
        self.learned_on, self.minutes = learned_on, minutes


def tuned_recognizer(checkpoint: str) -> Tuned:
    """What ``experiment=parrot`` trained, as the adversary's recognizer.

    Raises:
        UserError: the checkpoint is of something else.
    """
    module, config = restore_module(Path(checkpoint))
    if not isinstance(module, RecognizerTraining):
        raise UserError(f"{checkpoint} is of experiment={config.get('experiment')}, which trains no recognizer.")
    side = module.size or OmegaConf.select(config, "data.size")
    if not isinstance(side, int) or not 0 < side <= MAX_SIDE:
        raise UserError(f"{checkpoint} does not say how large its recognizer's pictures are (data.size={side}).")
    encoder = Encoder(module.backbone, side, name=str(config.get("experiment")))
    return Tuned(encoder, record_of(config), trained_minutes(Path(checkpoint)))
