"""Changed enrolled pictures by hand, and what the recognizers see that a cloak is made on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anon.anonymizers.cloaks.pgd import PGD
from anon.errors import UserError
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination, Suite, plans
from anon.evaluation.measures.encoder import EncoderRetrieval
from anon.evaluation.measures.poisoned import Poisoned
from anon.evaluation.measures.purified import PurifiedRetrieval
from anon.evaluation.measures.verification import Verification
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import settings, stages
from tests.evaluation.measures.test_patterns import Inverted, Negative


class Same(nn.Module):
    """Changes nothing."""

    def forward(self, images, *, source=None, key=None, track=None, rng=None):
        return images


def cloak(seed=5, epsilon=0.4):
    return PGD({f"projection-{seed}": tiny_world.encoder(seed)}, epsilon, steps=10, step=0.25)


def context(method, **changes):
    methods = {"real": {"title": "Real", "anonymizer": None}, "mine": {"title": "Mine", "anonymizer": method}}
    return MeasureContext(stages(methods=methods, attacked_probes=2, **changes), Combination("default", "mine"))


def test_enrolled_negatives_are_never_found_and_enrolled_originals_always():
    negative, same = (Poisoned(enrolled=2)(context(method)) for method in (Inverted(), Same()))
    assert negative["poisoned_ID"].value == 0.0 and negative["poisoned_PSR"].value == 1.0
    assert same["poisoned_ID"].value > 0.9 and same["poisoned_PSR"].value == 0.0
    assert EncoderRetrieval()(context(Same())) == {}  # made on nobody


def test_white_boxes_are_named_and_see_less_than_the_judge():
    here = context(cloak())
    found = EncoderRetrieval()(here) | Verification()(here)
    assert found["PSR_projection-5"].value > 0.9 > 0.5 > found["PSR"].value
    assert found["ID_projection-5"].value < 0.1
    assert Verification()(context(Same()))["PSR"].value == 0.0


def test_purified_psr_by_hand():
    """All are hidden in negatives; their negatives are the originals, of which none is hidden."""
    found = PurifiedRetrieval({"negative": Negative(), "same": nn.Identity()})(context(Inverted()))
    assert found["purified_PSR_same"].value == 1.0 and found["purified_PSR_negative"].value == 0.0
    assert found["purified_PSR"].value == 0.0 and found["purified_PSR"].n == found["purified_PSR_same"].n


def test_no_figures_of_attacks_and_of_the_faces_as_they_are():
    made = stages()
    assert Poisoned()(MeasureContext(made, Combination("default", "real"))) == {}
    assert Poisoned()(MeasureContext(made, Combination("default", "pixelate", attack="mirror"))) == {}
    assert Poisoned()(MeasureContext(made, Combination("default", "pixelate", defense="half"))) == {}


def test_whom_it_is_made_on_may_not_judge():
    """The kind: a cloak whose figures are by the recognizer that it deceives."""
    with pytest.raises(UserError, match="is the encoder that Mine was trained with"):
        Verification()(context(cloak(seed=1)))
    allowed = context(cloak(seed=1), allow_training_encoder=True)
    assert Verification()(allowed)["PSR"].value > 0.9
    assert any("the figures flatter it" in note for note in allowed.stages.factory.notes)


def test_a_word_for_all_cloaks():
    methods = {
        "real": {"title": "Real", "anonymizer": None},
        "a": {"title": "A", "anonymizer": Same(), "cloak": True},
        "b": {"title": "B", "anonymizer": Same()},
    }
    table = {"title": "T", "measures": ["retrieval"], "columns": {}}

    def chosen(word):
        suite = Suite(
            **settings(
                methods=methods, measures={"retrieval": {}}, tables={"t": {**table, "grid": [{"methods": [word]}]}}
            )
        )
        return [one.method for one in plans(suite)[0].combinations]

    assert chosen("cloaks") == ["a"] and chosen("filters") == ["b"]


def test_poisoned_pictures_are_drawn_once_for_all_judges():
    first = context(Inverted())
    Poisoned()(first)
    made = first.stages.store.made["changed"]
    other = MeasureContext(first.stages.beside(tiny_world.judge(2)), first.one)
    Poisoned()(other)
    assert first.stages.store.made["changed"] == made == 1
    assert torch.equal(first.labels, other.labels)
