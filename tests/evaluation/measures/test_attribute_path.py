"""Who is found from the maps of a generator: nobody from zeros, everybody who can be from the picture itself."""

from __future__ import annotations

import pytest

from anon.errors import UserError
from anon.evaluation.harness.context import MeasureContext
from anon.evaluation.harness.suite import Combination
from anon.evaluation.measures.attribute_path import AttributePath
from anon.evaluation.measures.retrieval import Retrieval
from tests.evaluation import tiny_world
from tests.evaluation.harness.tiny_stages import settings, stages


@pytest.fixture(scope="module")
def made():
    paths = {
        name: {"title": name, "policies": True, "anonymizer": tiny_world.mapped(name)} for name in ("copy", "zeros")
    }
    return stages(methods=settings()["methods"] | paths)


def context(made, method, **more):
    return MeasureContext(made, Combination("default", method, **more))


def test_a_path_that_copies_the_picture_tells_all_that_the_judge_can_tell(made):
    """The maps of full side hold the picture, so he is found exactly where unchanged faces are: by the same judge."""
    copied, real = AttributePath()(context(made, "copy", policy="plain")), Retrieval()(context(made, "real"))
    for figure, same in (("path_ID", "ID"), ("path_rank1", "ID_rank1")):
        assert copied[figure].value == copied[f"{figure}_16"].value == real[same].value > 0.9
        assert copied[figure].low < copied[figure].high <= 1.0
    # A quarter of the picture, four times as wide, is less of it.
    assert copied["path_ID_4"].value < copied["path_ID_16"].value


def test_a_path_of_zeros_tells_nothing(made):
    """All pictures of it are one, which is nearest to one person: one of seven, whoever is looked for."""
    nothing = AttributePath()(context(made, "zeros", policy="plain"))
    assert nothing["path_chance"].value == 1 / 8
    assert nothing["path_rank1"].value <= 1 / 7 and nothing["path_ID"].value <= 1 / 7


def test_it_is_the_same_whatever_becomes_of_the_vector(made):
    """No policy changes it; it is learned once."""
    first = AttributePath()(context(made, "copy", policy="plain"))
    made_before = made.store.made["figures"]
    second = AttributePath()(context(made, "copy", policy="itm"))
    assert made.store.made["figures"] == made_before > 0
    assert {name: figure.value for name, figure in first.items()} == {
        name: figure.value for name, figure in second.items()
    }


def test_what_has_none(made):
    reasons = AttributePath()(context(made, "other", policy="plain"))
    assert {figure.reason for figure in reasons.values()} == {"n/a (no attribute path)"}
    assert set(reasons) == {"path_ID", "path_rank1"}
    for method in ("real", "pixelate"):
        assert AttributePath()(context(made, method)) == {}
    assert AttributePath()(context(made, "copy", policy="plain", attack="negation")) == {}
    with pytest.raises(UserError, match="is a number from 1 on"):
        AttributePath(0)
