"""The filter of the pulse: what it leaves of beats, of slow changes and of stills."""

from __future__ import annotations

import math

import pytest
import torch

from anon.anonymizers.pulse import STILL, SteadySkin
from anon.errors import Failed

FPS = 25.0


def clip(rate: float, amplitude: float, seconds: float = 12.0) -> torch.Tensor:
    """Frames (n, 3, 16, 16) in [-1, 1]: skin that beats within a blue border that does not."""
    time = torch.arange(round(FPS * seconds)) / FPS
    beat = 1 + amplitude * (2 * math.pi * rate / 60 * time).sin()[:, None, None, None]
    frames = torch.tensor([0.1, 0.2, 0.8])[:, None, None].expand(len(time), 3, 16, 16).clone()
    frames[:, :, 2:14, 2:14] = torch.tensor([0.6, 0.4, 0.3])[:, None, None] * beat
    return 2 * frames - 1


def swing(frames: torch.Tensor) -> float:
    """Half of how far the green of the face's middle goes up and down in the last two thirds."""
    green = frames[len(frames) // 3 :, 1, 6:10, 6:10].mean((1, 2))
    return float(green.max() - green.min()) / 2


def steadied(frames: torch.Tensor, number: int = 0, cutoff: float = 0.1) -> torch.Tensor:
    track = torch.full((len(frames),), number)
    tool = SteadySkin(cutoff, FPS)
    return torch.cat([tool(part, track=of) for part, of in zip(frames.split(40), track.split(40), strict=True)])


def test_beats_go_as_far_as_two_low_passes_say() -> None:
    """Of 72 beats a minute, 1.2 Hz behind 0.1 Hz twice, 1 / (1 + 12²) = .0069 is left."""
    frames = clip(72.0, 0.02, seconds=40)
    left = swing(steadied(frames)) / swing(frames)
    assert left == pytest.approx(1 / (1 + 12**2), rel=0.15)
    assert 0.9 < swing(frames) / (2 * 0.4 * 0.02) < 1.01


def test_what_does_not_beat_stays() -> None:
    """Two of 16 pixels are a cell: the outer one of the border is half a cell from the skin's."""
    frames = clip(72.0, 0.02)
    border = (steadied(frames) - frames)[:, :, 0]
    assert float(border.abs().max()) < 1e-5


def test_it_changes_no_more_than_its_bound() -> None:
    """A face that is suddenly half as bright is three percent brighter than that, not what it was."""
    frames = clip(72.0, 0.0, 2.0)
    frames[25:] = (frames[25:] + 1) / 2 - 1
    gain = (steadied(frames)[30:, :, 6:10, 6:10] + 1) / (frames[30:, :, 6:10, 6:10] + 1)
    torch.testing.assert_close(gain, torch.full_like(gain, 1.03))


def test_slow_changes_of_light_stay() -> None:
    """3 a minute, half the cutoff: 1 / (1 + 1/4) is left of it."""
    frames = clip(3.0, 0.02, seconds=60)
    assert swing(steadied(frames)) / swing(frames) == pytest.approx(0.8, abs=0.06)


def test_clips_do_not_touch_each_other_and_stills_stay() -> None:
    one, other = clip(72.0, 0.02, 4.0), clip(90.0, 0.05, 4.0) * 0.9
    mixed = torch.stack((one, other), 1).flatten(0, 1)
    track = torch.tensor([3, 8]).repeat(len(one))
    tool = SteadySkin(0.1, FPS)
    found = tool(mixed, track=track).view(len(one), 2, 3, 16, 16)
    torch.testing.assert_close(found[:, 0], steadied(one))
    torch.testing.assert_close(found[:, 1], steadied(other))
    still = one[:2]
    assert torch.equal(tool(still, track=torch.full((2,), STILL)), still)
    tool.reset()
    assert torch.equal(tool(one[5:6], track=torch.tensor([3])), one[5:6])  # a first frame again


def test_without_time_it_does_nothing() -> None:
    with pytest.raises(Failed, match="frames of clips"):
        SteadySkin()(clip(72.0, 0.02, 0.2))
