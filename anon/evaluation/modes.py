"""The rows of FIVA's table 1: the faces as they are, and one generator plain, with Sampling and with ITM."""

from __future__ import annotations

from typing import NamedTuple

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from anon.anonymizers.composed import Anonymizer
from anon.errors import UserError
from anon.generators.contract import GeneratorLike
from anon.identity.contract import PolicyLike
from anon.identity.encoder import Encoder
from anon.identity.policies import Negation


class Mode(NamedTuple):
    """A row: an anonymizer, or None for the faces as they are."""

    name: str
    policy: str
    anonymizer: Anonymizer | None


def four_rows(
    name: str, encoder: Encoder, generator: GeneratorLike, policy: DictConfig, anchors: Tensor, threshold: float
) -> list[Mode]:
    """The four rows, ITM last. ``policy`` is a tracker's configuration, whose own policy is the row Sampling."""
    sampling, tracker = built_policies(policy, anchors, threshold)
    return [
        Mode("Real", "none", None),
        Mode(name, "negation", Anonymizer(encoder, Negation(), generator)),
        Mode(f"{name} + Sampling", "sampling", Anonymizer(encoder, sampling, generator)),
        Mode(f"{name} + ITM", "itm", Anonymizer(encoder, tracker, generator)),
    ]


def built_policies(policy: DictConfig, anchors: Tensor, threshold: float) -> tuple[PolicyLike, PolicyLike]:
    """Sampling and ITM. ``policy`` is a tracker's configuration; its own threshold, if it has one, goes first.

    Raises:
        UserError: another policy.
    """
    if OmegaConf.select(policy, "policy") is None:
        raise UserError("Sampling and ITM are made of a tracker's configuration; use policy=itm.")
    sampling = instantiate(policy.policy)(anchors=anchors)
    chosen = threshold if policy.threshold is None else float(policy.threshold)
    return sampling, get_class(policy._target_)(sampling, threshold=chosen)
