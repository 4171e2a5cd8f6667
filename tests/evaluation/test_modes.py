"""One builder of policies: tables and victims give a face the same fake identity.

Kind: one thing built in two places. Before, swappers got mirrored anchors as victims and in the ladder, LFW and the
noise shares, and plain ones in table 1; so their attacks were trained on another anonymizer than the tables evaluate.
"""

from __future__ import annotations

from typing import cast

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from anon.apps import victims
from anon.apps.checkpoints import Trained
from anon.evaluation.harness.suite import Combination
from anon.evaluation.protocol import Protocol
from anon.faces.datamodule import FaceData
from anon.identity.policies import sampling_of
from tests.apps.test_configs import composed
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import Trained as Built
from tests.evaluation.harness.tiny_stages import settings, stages

RULES = {"far": 0.01, "clip_frames": 3, "anchors": 8, "batch_size": 5}


class Swapper(Built):
    """Its generator becomes its condition."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(checkpoint)
        self.generator.steers = 1


def by_table(built: nn.Module, policy: str) -> nn.Module:
    """As the harness builds it for table 1."""
    suite = OmegaConf.to_container(composed("evaluate", "suite=table1").suite.policies, resolve=True)
    method = {"title": "Own", "policies": True, "anonymizer": built}
    made = stages(data=tiny_world.Data(), methods={**settings()["methods"], "own": method}, policies=suite)
    return made.factory.method(Combination("default", "own", policy)).pristine.policy


def by_victim(built: nn.Module, policy: str, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """As what an attack is trained against."""
    given = composed("train", "experiment=reconstruction", f"policy={policy}").attack.policy
    monkeypatch.setattr(victims, "Protocol", lambda: Protocol(**RULES))
    trained = Trained(built.generator, built.encoder, "Own", OmegaConf.create())
    return victims.victim_of({"anonymizer": trained}, given, cast(FaceData, tiny_world.Data())).policy


@pytest.mark.parametrize("kind", [Built, Swapper])
@pytest.mark.parametrize("policy", ["sampling", "itm"])
def test_all_entry_points_build_equal_policies(kind, policy, monkeypatch):
    built = kind("here")
    own = by_table(built, policy), by_victim(built, policy, monkeypatch)
    assert {sampling_of(each).mirrored for each in own} == {built.generator.steers < 0}
    z = built.encoder(tiny_world.Data().faces("evaluation").images).z
    first, *others = (each(z) for each in own)
    for other in others:
        torch.testing.assert_close(other, first)
    assert len({getattr(each, "threshold", None) for each in own}) == 1
