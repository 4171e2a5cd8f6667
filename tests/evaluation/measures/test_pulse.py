"""The measure of the pulse, over colours that are set by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from anon.evaluation.document.estimates import Estimate
from anon.evaluation.intervals.bootstrap import Bootstrap
from anon.evaluation.measures.pulse import Pulse

FPS, COUNT = 25.0, 200


def colours(rate: float, amplitude: float) -> torch.Tensor:
    """Mean colours (n, 3) of skin whose green beats most."""
    beat = (2 * torch.pi * rate / 60 * torch.arange(COUNT) / FPS).sin()[:, None]
    return torch.tensor([0.6, 0.4, 0.3]) * (1 + amplitude * beat * torch.tensor([0.33, 0.77, 0.53]))


def shown_pulse(clips: bool = True, attack: str = "none", known: bool = True) -> Any:
    """Two people with a clip each, which beat at 66 and at 90; the truth says 60 and 90."""
    shown = torch.cat((colours(66.0, 0.01), colours(90.0, 0.01)))
    rates = torch.tensor([60.0, 90.0]).repeat_interleave(COUNT)
    labels = torch.tensor([0, 1]).repeat_interleave(COUNT)
    places = torch.arange(2 * COUNT).view(2, COUNT) if clips else torch.zeros(0, COUNT, dtype=torch.long)
    faces = SimpleNamespace(fps=FPS, length=COUNT)
    bootstrap = Bootstrap(labels, 50, 0)

    def known_mean(values: torch.Tensor, labels: torch.Tensor) -> Estimate:
        kept = ~values.isnan()
        if not bool(kept.any()):
            return Estimate.absent("n/a (never known)")
        return bootstrap.mean(values[kept], labels[kept])

    found = SimpleNamespace(
        one=SimpleNamespace(attack=attack),
        people=SimpleNamespace(
            truth={"pulse": rates} if known else {}, clips=places, items=SimpleNamespace(faces=faces, labels=labels)
        ),
        applied=lambda name, function, of: shown,
        clip_labels=torch.tensor([0, 1]),
        known_mean=known_mean,
    )
    found.of_items = lambda: found
    return found


def test_errors_are_those_of_the_rates() -> None:
    """One clip is read 6 too high, the other one right: 3 in the mean, by both."""
    found = Pulse()(shown_pulse())
    for by in ("POS", "CHROM"):
        assert found[f"pulse_error_{by}"].value == pytest.approx(3.0, abs=0.6)
        assert found[f"pulse_error_{by}"].low is not None
        assert found[f"pulse_snr_{by}"].value is not None


def test_where_there_is_none_there_is_no_figure() -> None:
    assert Pulse()(shown_pulse(known=False)) == {} and Pulse()(shown_pulse(attack="mirror")) == {}
    assert {figure.reason for figure in Pulse()(shown_pulse(clips=False)).values()} == {"n/a (no clips)"}


def test_frames_with_others_between_them_are_not_read() -> None:
    """Every second frame would tell twice the rate."""
    context = shown_pulse()
    context.people.clips = context.people.clips[:, ::2]
    reasons = {figure.reason for figure in Pulse()(context).values()}
    assert reasons == {"n/a (100 of 200 frames; suite.clip_frames=200 takes all)"}


def test_skin_that_does_not_move_says_nothing() -> None:
    context = shown_pulse()
    context.applied = lambda name, function, of: torch.full((2 * COUNT, 3), 0.5)
    assert {figure.reason for figure in Pulse()(context).values()} == {"n/a (never known)"}
