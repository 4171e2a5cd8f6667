"""Methods of methods: what each of several is by hand, in a table, and as an attack's victim."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.anonymizers.ensembles import InTurn, Mean, Regions
from anon.anonymizers.filters import PixelNoise, SolidMask
from anon.apps.config import choices, composed
from anon.apps.victims import victim_of
from anon.attacks.victim import compare, describe
from anon.errors import UserError
from anon.evaluation.harness.context import CHANGED, MeasureContext
from anon.evaluation.harness.suite import Combination, Suite, plans
from anon.faces.alignment import part_of
from anon.faces.contract import to_float
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import settings, stages


class Scaled(nn.Module):
    """Multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        return images * self.factor


def colour(value: float) -> SolidMask:
    return SolidMask((value, value, value))


def test_one_after_another_by_hand():
    images = torch.full((2, 3, 8, 8), 0.25)
    found = InTurn({"double": Scaled(2.0), "fourfold": Scaled(4.0), "half": Scaled(0.5)})(images)
    assert found.unique().tolist() == [0.5]  # 2 x .25 = .5, four times that ends at 1
    assert InTurn({"half": Scaled(0.5), "colour": colour(-0.5)})(images).unique().tolist() == [-0.5]


def test_the_mean_by_hand():
    found = Mean({"dark": colour(-0.5), "light": colour(1.0), "same": Scaled(1.0)})(torch.full((1, 3, 8, 8), 0.25))
    assert found.unique().tolist() == [0.25]


def test_each_on_its_region_by_hand():
    """A hard border but for a pixel: eyes dark, mouth light, the rest as it was."""
    images = torch.full((1, 3, 112, 112), 0.25)
    parts = {"dark": colour(-1.0), "light": colour(1.0), "same": Scaled(1.0)}
    found = Regions(parts, {"eyes": "dark", "mouth": "light"}, "same", soft=1e-3)(images)
    eyes, mouth = (part_of(name, 112) for name in ("eyes", "mouth"))
    assert float(found[0, 0, eyes[0], eyes[1]].mean()) < -0.95
    assert float(found[0, 0, mouth[0], mouth[1]].mean()) > 0.95
    outside = torch.ones(112, 112, dtype=torch.bool)
    for rows, columns in (eyes, mouth):
        outside[slice(rows.start - 2, rows.stop + 2), slice(columns.start - 2, columns.stop + 2)] = False
    torch.testing.assert_close(found[0, :, outside], images[0, :, outside])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda parts: InTurn({"a": parts["a"]}), "two or more"),
        (lambda parts: Regions(parts, {"nose": "a"}, "b"), "no region 'nose'; there are: eyes"),
        (lambda parts: Regions(parts, {"eyes": "c"}, "b"), "'c' is none of the methods"),
        (lambda parts: Regions(parts, {"eyes": "a"}, "a"), "the method 'b' draws no region"),
    ],
)
def test_what_is_none(made, told):
    with pytest.raises(UserError, match=told):
        made({"a": colour(0.0), "b": colour(0.5)})


def ensemble(kind="InTurn", **more):
    own = settings()["methods"]
    return {
        "title": "Both",
        "policies": True,
        "methods": {"other": own["other"], "noise": own["noise"]},
        "anonymizer": {"_target_": f"anon.anonymizers.ensembles.{kind}", "_partial_": True, **more},
    }


def changed(methods, name, policy="none"):
    context = MeasureContext(stages(methods=methods), Combination("default", name, policy))
    return to_float(context.view(CHANGED).eight_bits()), context


def test_in_a_table_each_is_what_it_is_alone():
    methods = settings()["methods"] | {"both": ensemble("Mean"), "real": {"title": "Real", "anonymizer": None}}
    both, context = changed(methods, "both", "plain")
    drawn, noisy = changed(methods, "other", "plain")[0], changed(methods, "noise")[0]
    assert float((both - (drawn + noisy) / 2).abs().max()) < 0.01  # of a level
    assert [each.name for each in context.method.made_on] == ["projection-0"] and context.method.encoder is None
    other = MeasureContext(context.stages, Combination("default", "both", "itm"))
    assert other.method.key != context.method.key


def test_whom_a_part_was_trained_with_may_not_judge():
    methods = settings()["methods"] | {"both": ensemble()}
    made = stages(methods=methods, judge=0)
    with pytest.raises(UserError, match="is the encoder that Other was trained with"):
        made.factory.check("both", "default")


def test_a_part_that_nobody_trained_is_named():
    given = ensemble()
    given["methods"]["other"] = settings()["methods"]["untrained"]
    context = MeasureContext(stages(methods=settings()["methods"] | {"both": given}), Combination("default", "both"))
    wanted = "needs python train.py experiment=untrained, then suite.methods.both.methods.other.anonymizer.checkpoint"
    assert str(context.needs()).startswith(wanted)


def test_tables_of_generators_and_filters_leave_them_out():
    methods = settings()["methods"] | {"both": ensemble()}
    table = {"title": "T", "measures": ["retrieval"], "columns": {}}

    def chosen(word):
        grid = [{"methods": [word], "policies": ["plain"]}]
        return {
            one.method
            for one in plans(
                Suite(**settings(methods=methods, measures={"retrieval": {}}, tables={"t": {**table, "grid": grid}}))
            )[0].combinations
        }

    assert chosen("ensembles") == {"both"}
    assert "both" not in chosen("generators") | chosen("filters")


def test_an_attack_learns_the_whole():
    own = {"_target_": "anon.identity.policies.Negation"}
    victim = victim_of(ensemble(), own, tiny_world.Data())
    images = tiny_world.Data().faces("attacker").images[:3]
    rng = torch.Generator().manual_seed(0)
    drawn = victim_of(settings()["methods"]["other"], own, tiny_world.Data())(images)
    torch.testing.assert_close(victim(images, rng=rng), PixelNoise(0.1)(drawn, rng=torch.Generator().manual_seed(0)))
    assert compare(describe(victim), describe(victim_of(ensemble("Mean"), own, tiny_world.Data()))).stranger


@pytest.mark.parametrize("name", [name for name in choices("method") if name.startswith("ensemble_")])
def test_configured_ones_name_methods_that_there_are(name):
    """As Hydra composes them: each of the methods is what its own YAML says."""
    given = composed("evaluate", (f"method={name}",)).method
    assert len(given.methods) >= 2 and given.policies and given.anonymizer._partial_
    assert {inner.title for inner in given.methods.values()} <= {"FIVA", "FaceDancer", "MI-FGSM cloak", "Pixelate"}
    assert set((given.anonymizer.get("regions") or {}).values()) <= set(given.methods)
