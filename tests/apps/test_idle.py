"""Settings that the chosen parts do not read: refused by name, and only then."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from torch import nn

from anon.anonymizers.filters import GaussianBlur, SolidMask
from anon.apps.idle import check_photograph, check_read
from anon.errors import UserError

BLACK, BLUR = SolidMask([-1.0, -1.0, -1.0]), GaussianBlur(0.1)
REDRAWS, PLUGGED = "redraws", nn.Identity()


def checked(word: str, method: object, thresholds: tuple[float | None, ...] = (), domain: str = "photographs") -> None:
    gate = SimpleNamespace(judging=[SimpleNamespace(judge=SimpleNamespace(threshold=each)) for each in thresholds])
    own = PLUGGED if method == REDRAWS else method
    check_read(["margin=0.2", word], own, gate, domain, method == REDRAWS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "method", "told"),
    [
        ("size=64", BLUR, "size=64 would do nothing here: a filter takes every face as it is"),
        ("gate.max_turn=.2", BLACK, "a filter takes every face as it is"),
        ("++gate.min_size=2", BLUR, "a filter takes every face as it is"),
        ("gate.far=.1", PLUGGED, "no judge is calibrated"),
        ("policy=own", PLUGGED, "this method redraws nobody as another"),
        ("policy.key=3", BLUR, "this method redraws nobody as another"),
        ("seed=3", BLUR, "this method draws nothing by it"),
        ("data=synthetic_large", BLUR, "this run has neither"),
        ("data.identities.train=9", PLUGGED, "this run has neither"),
        ("method@fallback=blur", BLACK, "leaves nothing of any face; name a method that can fail"),
        ("fallback.anonymizer.sigma=1", BLACK, "leaves nothing of any face; name a method that can fail"),
        ("judge=edgeface", BLACK, "leaves nothing of any face, so there is nothing to judge"),
        ("++judge.threshold=.7", BLACK, "so there is nothing to judge"),
    ],
)
def test_what_nothing_reads_is_refused(word: str, method: object, told: str) -> None:
    with pytest.raises(UserError) as refused:
        checked(word, method)
    assert str(refused.value).startswith(f"{word} would do nothing here: ") and told in str(refused.value)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("word", "method", "thresholds", "domain"),
    [
        ("size=64", REDRAWS, (), "photographs"),
        ("gate.min_size=9", PLUGGED, (), "photographs"),
        ("policy=itm", REDRAWS, (), "photographs"),
        ("seed=1", REDRAWS, (), "photographs"),
        ("data.identities.train=9", REDRAWS, (), "photographs"),
        ("data.identities.background=9", BLUR, (0.5, None), "synthetic"),
        ("gate.far=.01", BLUR, (None,), "synthetic"),
        ("judge=edgeface", BLUR, (0.5,), "photographs"),
        ("judge=synthetic", BLACK, (None,), "synthetic"),
        ("method@fallback=blur", BLUR, (), "photographs"),
        ("method.anonymizer.colour=[0,0,0]", BLACK, (), "photographs"),
        ("sizes=3", BLACK, (), "photographs"),
    ],
)
def test_what_is_read_passes(word: str, method: object, thresholds: tuple[float | None, ...], domain: str) -> None:
    checked(word, method, thresholds, domain)


@pytest.mark.parametrize("word", ["audio=drop", "batch=2"])
def test_what_is_for_videos(word: str) -> None:
    with pytest.raises(UserError, match=f"{word} would do nothing here: a photograph has neither sound"):
        check_photograph(["margin=0.2", word])
    check_photograph(["margin=0.2", "detector.batch=2"])
