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
from anon.errors import UserError
from anon.evaluation.harness.attackers import Unavailable
from anon.evaluation.harness.suite import Combination
from anon.evaluation.protocol import Protocol
from anon.faces.contract import Label
from anon.faces.datamodule import FaceData
from anon.identity.latent import RandomIdentity
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


def by_table(built: nn.Module, policy: str, **changes: object) -> nn.Module:
    """As the harness builds it for table 1."""
    words = [f"suite.policies.{policy}.{name}={value}" for name, value in changes.items()]
    suite = OmegaConf.to_container(composed("evaluate", "suite=table1", *words).suite.policies, resolve=True)
    method = {"title": "Own", "policies": True, "anonymizer": built}
    made = stages(data=tiny_world.Data(), methods={**settings()["methods"], "own": method}, policies=suite)
    return made.factory.method(Combination("default", "own", policy)).pristine.policy


def by_victim(built: nn.Module, policy: str, monkeypatch: pytest.MonkeyPatch, **changes: object) -> nn.Module:
    """As what an attack is trained against."""
    words = [f"policy.{name}={value}" for name, value in changes.items()]
    given = composed("train", "experiment=reconstruction", f"policy={policy}", *words).attack.policy
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


@pytest.mark.parametrize(
    ("policy", "changes"),
    [("k_same", {"k": 3}), ("identity_dp", {"epsilon": 40}), ("von_mises_fisher", {"epsilon": 40})],
)
def test_sets_and_budgets_are_the_same_from_both(policy, changes, monkeypatch):
    """What is measured, and who is clustered, is of the data: the same people give the same identities."""
    built = Built("here")
    z = built.encoder(tiny_world.Data().faces("evaluation").images).z
    own = by_table(built, policy, **changes), by_victim(built, policy, monkeypatch, **changes)
    one, other = (each(z, rng=torch.Generator().manual_seed(0)) for each in own)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert float((one * z).sum(1).mean()) < 0.98


def test_the_sensitivity_is_measured_on_background_people(monkeypatch):
    built = Built("here")
    z = built.encoder(tiny_world.Data().faces("background").images).z
    widest = float((z[:, None] - z[None]).abs().sum(-1).max())
    assert by_table(built, "identity_dp", epsilon=2).scale(32) == pytest.approx(widest / 2, rel=1e-3)
    assert by_table(built, "identity_dp", epsilon=2, sensitivity="bounded").scale(32) == pytest.approx(32**0.5)


@pytest.mark.parametrize("kind", [Built, Swapper])
def test_anchors_share_a_label_of_the_training_people(kind, monkeypatch):
    def annotations(self):
        return {"side": Label(self.labels % 2, ("even", "odd"))}

    monkeypatch.setattr(tiny_world.People, "annotations", annotations, raising=False)
    built = kind("here")
    own = by_table(built, "sampling", matched="side"), by_victim(built, "sampling", monkeypatch, matched="side")
    for policy in map(sampling_of, own):
        assert policy is not None and policy.reader is not None and policy.reader.of.tolist() == [0, 1, 0, 1, 0, 1]
    z = built.encoder(tiny_world.Data().faces("evaluation").images).z
    torch.testing.assert_close(own[0](z), own[1](z))
    with pytest.raises(UserError, match="'hair' is no label of the training people; they have side"):
        by_table(built, "sampling", matched="hair")


class Inpaints(Built):
    """Its people come from a latent."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__(checkpoint)
        self.generator.steers = 0


def test_a_generator_with_a_latent_is_told_nothing_of_the_face(monkeypatch):
    """Whatever makes fake identities becomes a random draw; the tracker keeps one for each person."""
    built = Inpaints("here")
    z = built.encoder(tiny_world.Data().faces("evaluation").images).z
    for policy in (by_table(built, "plain"), by_victim(built, "negation", monkeypatch)):
        assert type(policy) is RandomIdentity
        draws = [policy(face, rng=torch.Generator().manual_seed(0)) for face in (z, z.flip(0))]
        assert torch.equal(*draws)
    for policy in (by_table(built, "itm"), by_victim(built, "itm", monkeypatch)):
        assert type(policy.policy) is RandomIdentity and sampling_of(policy) is None
        first, again = (policy(z, rng=torch.Generator().manual_seed(seed)) for seed in (0, 1))
        assert torch.equal(first, again)


@pytest.mark.parametrize("policy", ["source", "dial", "own", "rotation", "sampling"])
def test_a_generator_with_a_latent_can_be_nobody_in_particular(policy, monkeypatch):
    """In a table that is no mistake, elsewhere it is one."""
    with pytest.raises(Unavailable, match=r"n/a \(draws people from a latent, and \w+ wants somebody\)"):
        by_table(Inpaints("here"), policy)
    with pytest.raises(UserError, match=r"wants somebody; take policy=random .* or policy=itm"):
        by_victim(Inpaints("here"), policy, monkeypatch)
