"""The video benchmark: who is compared with whom, and a clip that goes on for long."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest

from anon.video import clips
from benchmarks import video
from tests.video.scenes import frame_of, write_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Four frames."""
    write_clip(tmp_path / "in.mp4", [frame_of([])[0]] * 4)
    return tmp_path / "in.mp4"


def test_ways_take_turns_and_ratios_are_those_of_a_round(clip: Path, tmp_path: Path) -> None:
    order = list[str]()

    def way(name: str, seconds: float, against: str | None = None) -> video.Way:
        def run(given: Path, out: Path) -> None:
            order.append(name)
            out.write_bytes(b"")
            until = time.process_time() + seconds
            while time.process_time() < until:
                pass

        return video.Way(name, against, run)

    table = video.compared(clip, [way("theirs", 0.2), way("ours", 0.05, "theirs")], 2, tmp_path)
    assert order == ["theirs", "ours"] * 3  # the first warms up
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    assert [row[0] for row in rows] == ["theirs", "ours"] and rows[0][3:] == ["-", "-"]
    assert 0 < float(rows[0][1].split()[0]) <= 20 and 2 < float(rows[1][4].split()[0]) < 8


def test_a_clip_is_repeated_until_it_is_so_long(clip: Path, tmp_path: Path) -> None:
    long = video.repeated(clip, 0.05, tmp_path)
    times = [frame.time for frame in clips.frames_of(long, clips.told(long))]
    assert len(times) == 0.05 * 60 * video.SLOW == 15 and times[-1] == Fraction(14, video.SLOW)


def test_memory_is_watched_while_something_runs() -> None:
    with video.resident() as seen:
        time.sleep(1.2)
    assert seen and all(10 < mib < 100_000 for _, mib in seen)
