"""Rendered clips with a pulse: it is in the skin alone, at its rate, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anon.errors import UserError
from anon.faces.contract import to_float
from anon.faces.synthetic import paint, scene
from anon.faces.synthetic.dataset import SyntheticFaces, people_of
from anon.faces.synthetic.parameters import clip, people
from anon.faces.synthetic.pulse import BEATS, RATES, PulseFaces, beating, pulse_synthetic_data, rate_of, seen, wave
from anon.faces.synthetic.render import render

SIZE, FPS = 32, 25.0


def columns(number: int, frames: int):  # type: ignore[no-untyped-def]
    mood = clip(number, 0, frames, 0, occluders=0.0, fps=FPS)
    person = {name: column.expand(frames, *column.shape[1:]) for name, column in people([number]).items()}
    return person, mood


def test_rates_differ_and_are_the_clips_own() -> None:
    rates = [rate_of(number, 0)[0] for number in range(40)]
    assert len(set(rates)) == 40 and min(rates) >= RATES[0] and max(rates) <= RATES[1]
    assert rate_of(3, 0) == rate_of(3, 0) != rate_of(3, 1) and rate_of(3, 0, seed=1) != rate_of(3, 0)


def test_the_wave_by_hand() -> None:
    """At an eighth of a beat: sin 45° + .3 sin 90°."""
    assert float(wave(60.0, 0.0, 2, 8.0)[1]) == pytest.approx(0.5**0.5 + 0.3)


def test_no_amplitude_is_what_the_renderer_draws() -> None:
    """Before the sensor's noise, which is drawn otherwise: the same picture to half a level of eight bits."""
    person, mood = columns(11, 2)
    mood = {**mood, "noise": torch.zeros(2), "contrast": torch.full((2,), 0.5)}
    drawn = render(person, mood, SIZE).images.float() / 255
    own = scene.sensor(seen(person, mood, SIZE)[0], mood, torch.zeros(2, 3, SIZE, SIZE)).permute(0, 2, 3, 1)
    assert float((own - drawn).abs().mean()) < 0.01  # its noise is never less than .004


def test_the_skin_is_what_follows_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """All colours of skin made 2 percent darker: the picture is darker by 2 percent of what is called skin."""
    person, mood = columns(11, 2)
    plain, skin = seen(person, mood, SIZE)
    monkeypatch.setattr(paint, "_SKIN", tuple(tuple(0.98 * part for part in colour) for colour in paint._SKIN))
    darker = seen(person, mood, SIZE)[0]
    assert float((darker - (plain - 0.02 * skin)).abs().max()) < 2e-4
    assert float((plain - darker).abs().max()) > 5e-3
    assert float(skin[:, :, 0].abs().max()) < 2e-3  # above the head there is hair and background


def test_only_the_skin_beats(tmp_path: Path) -> None:
    number, frames = people_of("evaluation", 1)[0], 50
    with_, without = (beating(number, 0, frames, SIZE, 0, FPS, amplitude, 0.0) for amplitude in (0.05, 0.0))
    assert with_.rate == without.rate == rate_of(number, 0)[0]
    apart = with_.images.float() - without.images.float()  # (n, S, S, 3)
    expected = wave(*rate_of(number, 0), frames, FPS)
    inner = apart[:, 14:24, 11:21].mean((1, 2))  # (n, 3)
    for channel, strength in enumerate(BEATS):
        course = inner[:, channel]
        assert float(np.corrcoef(course.numpy(), expected.numpy())[0, 1]) > 0.98
        share = 0.05 * strength * float(without.images[:, 14:24, 11:21, channel].float().mean())
        assert (
            0.4 * share < float(course.std() / expected.std()) < 1.2 * share
        )  # eyes, highlights and brows do not beat
    assert float(apart[:, 0].abs().max()) <= 1.0  # a rounding, above the head


def test_stills_are_those_of_the_other_data(tmp_path: Path) -> None:
    """And clips, labels and rates stand beside them."""
    faces = PulseFaces(SIZE, 2, 2, 32, 8.0, 0.01, 0.1, cache=tmp_path)
    stills = SyntheticFaces("evaluation", SIZE, 2, 2, cache=tmp_path)
    first = list(range(4))
    assert torch.equal(faces.__getitems__(first)["image"], to_float(stills.raw_batch(first)["image"]))
    assert len(faces) == 4 + 64 and faces.labels[[4, 35, 36]].tolist() == [0, 0, 1]
    batch = faces.__getitems__([3, 4, 36])
    assert batch["video"].tolist() == [-1, 0, 0] and batch["frame"].tolist()[1:] == [0, 0]
    rates = [rate_of(number, 0)[0] for number in people_of("evaluation", 2)]
    assert batch["pulse"].isnan().tolist() == [True, False, False]
    assert batch["pulse"][1:].tolist() == pytest.approx(rates)
    again = beating(people_of("evaluation", 2)[1], 0, 32, SIZE, 0, 8.0, 0.01, 0.1)
    assert torch.equal(to_float(again.images[:1]), batch["image"][2:])


def test_other_splits_are_the_stills_of_everybody_else(tmp_path: Path) -> None:
    settings = {"size": SIZE, "images": 2, "clip_frames": 100, "fps": FPS, "amplitude": 0.01, "motion": 0.1}
    data = pulse_synthetic_data(identities={"background": 3, "evaluation": 2}, batch_size=2, cache=tmp_path, **settings)
    assert isinstance(data.faces("background"), SyntheticFaces) and len(data.faces("background")) == 6
    assert isinstance(data.faces("evaluation"), PulseFaces) and data.faces("evaluation").synthetic


def test_too_short_a_clip_is_refused() -> None:
    with pytest.raises(UserError, match="four seconds"):
        PulseFaces(SIZE, 2, 2, 99, 25.0)
    with pytest.raises(UserError, match="8 frames a second"):
        PulseFaces(SIZE, 2, 2, 99, 7.0)
