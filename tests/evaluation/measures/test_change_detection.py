"""Changed faces told from genuine ones by an attack, on the tiny world, worked out by hand (FIVA, figure 5)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anon.attacks.reconstruction import Reconstruction
from anon.evaluation.harness.attackers import Unavailable
from anon.evaluation.harness.context import ATTACKED, MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.attacked import Attacked
from anon.evaluation.measures.change_detection import ChangeDetection
from anon.evaluation.protocol import first_of_each, halves
from anon.faces.contract import to_float, to_uint8
from tests.evaluation.harness.tiny_stages import settings, stages
from tests.evaluation.tiny_world import Data, Projection, encoder

HERE = "tests.evaluation.measures.test_change_detection"
JUDGE = 0x5EED


class Dark(nn.Module):
    """Halves the range and darkens: nothing is brighter than grey, and nothing is lost but half of the eight bits."""

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        return images / 2 - 0.5


class Brighten(nn.Module):
    """What an attack on :class:`Dark` should learn: pictures without light are undone, others are left alone."""

    def forward(self, images):
        return torch.where(images.amax((1, 2, 3), keepdim=True) <= 0.01, (2 * images + 1).clamp(-1, 1), images)


def planted(network):
    """In the place of what ``experiment=reconstruction`` trained."""
    return Reconstruction({"brighten": Brighten(), "nothing": nn.Identity()}[network], encoder(0))


def figures(method, attack, **place):
    """``dark`` can be undone, ``open`` changes nothing, of ``solid`` nothing is left."""
    solid = {"_target_": "anon.anonymizers.filters.SolidMask", "colour": [-1.0, -1.0, -1.0]}
    methods = {
        "real": {"title": "Real", "anonymizer": None},
        "dark": {"title": "Dark", "anonymizer": {"_target_": f"{HERE}.Dark"}},
        "open": {"title": "Open", "anonymizer": {"_target_": "anon.anonymizers.composed.Unchanged"}},
        "solid": {"title": "Solid", "anonymizer": solid},
    }
    attacks = {
        name: {"attack": {"_target_": f"{HERE}.planted", "network": name}, "transfer": True}
        for name in ("brighten", "nothing")
    }
    attacks["negation"] = settings()["attacks"]["negation"]
    made = stages(data=Data(), judge=JUDGE, methods=methods, attacks=attacks, attacked_probes=2, resamples=200)
    context = MeasureContext(made, Combination("default", method, attack=attack, **place))
    return Attacked()(context) | ChangeDetection()(context), context


def test_the_attack_on_what_it_knows():
    found, _ = figures("dark", "brighten")
    assert found["RA"].value == found["RA_rank1"].value == 1.0 and found["RA"].n == 14  # two probes of seven people
    auc, eer = found["detection_AUC"], found["detection_EER"]
    assert (auc.value, eer.value, auc.n) == (1.0, 0.0, 28)
    bound = 0.025 ** (1 / 7)  # seven people, each a trial that went well
    assert (auc.low, auc.high) == (pytest.approx(bound), 1.0) and (eer.low, eer.high) == (0.0, pytest.approx(1 - bound))
    assert found["flagged_genuine"].value == found["moved_genuine"].value == 0.0


def test_distances_are_the_judges_between_a_face_and_its_reconstruction():
    """1 - cos of the projections of a darkened picture and of the picture that it was, both in eight bits."""
    faces = Data().faces("evaluation")
    probe = halves(faces).probe
    images = faces.images[probe[first_of_each(faces.labels[probe], 2)]]
    dark = to_float(to_uint8(to_float(to_uint8(images)) / 2 - 0.5))
    back = to_float(to_uint8(2 * dark + 1))
    z, undone = (F.normalize(Projection(JUDGE)(part).double()) for part in (dark, back))
    wanted = 1 - (z * undone).sum(1)
    found, context = figures("dark", "brighten")
    assert found["moved_changed"].value == pytest.approx(float(wanted.median()), abs=1e-5)
    assert found["moved_changed"].low <= float(wanted.median()) <= found["moved_changed"].high
    assert found["flagged_changed"].value == pytest.approx(float((wanted >= 0.6).double().mean()))
    (drawn,) = ChangeDetection(bins=4).plots(context, "Dark, brighten", 3)
    assert set(drawn.densities) == {"genuine", "changed"} and (drawn.threshold, drawn.below) == (0.6, "genuine")
    width = drawn.edges[1] - drawn.edges[0]
    assert drawn.densities["genuine"] == (pytest.approx(1 / width), 0.0, 0.0, 0.0)  # all of them are at 0


@pytest.mark.parametrize("method", ["dark", "open", "solid"])
def test_an_attack_that_does_nothing_sees_nothing(method):
    found, _ = figures(method, "nothing")
    auc = found["detection_AUC"]
    assert (auc.value, auc.low, auc.high, auc.n) == (0.5, 0.5, 0.5, 28) and found["detection_EER"].value == 0.5
    assert found["flagged_genuine"].value == found["flagged_changed"].value == 0.0


def test_an_unchanged_face_is_found_and_cannot_be_told():
    found, _ = figures("open", "brighten")
    assert found["RA"].value == 1.0 and found["detection_AUC"].value == 0.5


def test_genuine_faces_are_behind_the_same_defense():
    """Half the resolution blurs both: what the attack leaves alone stays alone."""
    found, context = figures("dark", "brighten", defense="half")
    assert found["moved_genuine"].value == 0.0 and found["detection_AUC"].value > 0.9
    assert context.of_unchanged().one.defense == "half"


def test_where_there_is_nothing_to_tell():
    assert "detection_AUC" not in figures("real", "brighten")[0]
    found, context = figures("dark", "negation")
    assert found["detection_AUC"].reason == "n/a (the attack recovers no picture)" and found["RA"].value is not None
    assert ChangeDetection().plots(context, "", 0) == []


def test_a_defense_that_genuine_faces_cannot_have(monkeypatch):
    """The line keeps its other figures, and says what is missing for this one."""
    view = MeasureContext.view

    def unfit(context, of):
        if context.one.method == "real" and of == ATTACKED:
            raise Unavailable("needs an attack")
        return view(context, of)

    monkeypatch.setattr(MeasureContext, "view", unfit)
    found, context = figures("dark", "brighten")
    assert found["detection_AUC"].reason == "needs an attack" and found["RA"].value == 1.0
    assert ChangeDetection().plots(context, "", 0) == []
