"""Which recognizers may judge: they compare by cosine, and are no network that conditioned and trained a generator."""

from __future__ import annotations

from anon.errors import UserError
from anon.evaluation.protocol import Protocol
from anon.identity.contract import JudgeLike, check_judge
from anon.identity.encoder import Encoder


def check_cosine(recognizer: JudgeLike, who: str) -> None:
    """Refuse what has another distance.

    Args:
        who: "The judge", in the error.

    Raises:
        UserError: the recognizer is none, or does not compare by cosine.
    """
    check_judge(recognizer)
    if recognizer.metric != "cosine":
        raise UserError(f"{who} must compare by cosine distance; '{recognizer.name}' has {recognizer.metric}.")


def judge_notes(encoder: Encoder, judge: JudgeLike, rule: Protocol, trained: str = "the generator") -> list[str]:
    """What a reader of the table must know of the judge: nothing, unless it is the training encoder and may be.

    Args:
        encoder: that conditioned and trained ``trained``, which is what it is called in the sentence.

    Raises:
        UserError: judge and encoder are one network, and the protocol does not allow that.
    """
    if judge.fingerprint != encoder.fingerprint:
        return []
    if not rule.allow_training_encoder:
        raise UserError(
            f"The judge '{judge.name}' is the encoder that {trained} was trained with, which would flatter every "
            "figure; choose another judge=..., or say protocol.allow_training_encoder=true."
        )
    return [f"The judge {judge.name} is the encoder that {trained} was trained with: the figures flatter it."]
