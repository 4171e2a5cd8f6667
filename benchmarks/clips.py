"""Real clips, of the faces that either of two detectors finds: ``ANON_REAL=<folder> python benchmarks/clips.py``.

CenterFace (Xu et al. 2019, arXiv:1911.03599) is who ``anon anonymize`` finds faces by, YuNet (OpenCV's) the one that it
did not ask. A face of the union of both is changed when more than half of the pixels in the ellipse of its box are
others than before; what YuNet alone finds tells what one detector misses. Every clip is done with ``--strict``. Then
the shipped FIVA redraws faces, and M_tc (FIVA, eq. 7, Rosberg et al. 2023) says, by a recognizer that it never saw,
whether a person stays one person, beside the same figure of the unchanged clip. Writes docs/benchmarks/clips.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from anon.apps.python import built
from anon.evaluation.results import markdown_table
from anon.faces.detection.contract import Detections
from anon.faces.detection.frames import overlaps
from anon.faces.detection.yunet import YuNet
from anon.faces.video import is_video
from anon.video.gate import Verdict
from anon.video.suite.records import NOBODY, unchanged
from anon.video.tracks import Seen
from benchmarks.machine import description, written

REPORT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks" / "clips.md"
SAME = 0.4  # IoU from which on two boxes are one face
JUDGE = ("judge=edgeface", "judge.threshold=0.7")
WEIGHTS = "models/edgeface_xs/derived_edgeface_xs_float32_state_dict.pt"
NOTE = """Masks (`method=solid --strict`) by CenterFace and its tracks; the other detector is YuNet, and not
all of its boxes are faces. Intervals are Clopper and Pearson's at 95 %, of faces as if they were
independent, which those of a clip are not."""


class Union:
    """Looks on while a clip is changed, and counts the faces that the tracks of it follow and that another finds."""

    def __init__(self, other: YuNet) -> None:
        self.other = other
        self.own = self.alone = 0  # faces of the detector that is used; of the other one alone
        self.left = self.left_alone = 0  # of those, unchanged

    def __call__(
        self, number: int, before: Tensor, after: Tensor, faces: Sequence[Seen], verdicts: Sequence[Verdict]
    ) -> None:
        """See :class:`anon.video.pipeline.Watching`."""
        self.count(before, after, [face for face in faces if not face.filled], self.other.detect(before))

    def count(self, before: Tensor, after: Tensor, faces: Sequence[Seen], others: Detections) -> None:
        """The faces of a frame uint8 (H, W, 3), as it was and as it is written."""
        changed = (before != after).any(-1)
        own = torch.stack([face.box for face in faces]) if faces else torch.zeros(0, 4)
        shared = overlaps(others.boxes, own)  # (M, N)
        new = [i for i in range(len(others.boxes)) if not len(own) or float(shared[i].max()) < SAME]
        for face in faces:
            same = unchanged(face.box, changed)
            self.own, self.left = self.own + (same != NOBODY), self.left + (same == 1)
        for i in new:
            same = unchanged(others.boxes[i], changed)
            self.alone, self.left_alone = self.alone + (same != NOBODY), self.left_alone + (same == 1)


def told(changed: int, of: int) -> str:
    """A share with its interval.

    >>> told(9, 10)
    '9 of 10 (55.5 to 99.7 %)'
    """
    if not of:
        return "0 of 0"
    low, high = binomtest(changed, of).proportion_ci(method="exact")
    return f"{changed} of {of} ({100 * low:.1f} to {100 * high:.1f} %)"


def covered(clip: Path, other: YuNet, out: Path) -> tuple[Union, dict[str, Any]]:
    """A clip by the default method under ``--strict``."""
    watch = Union(other)
    return watch, built("strict=true").video(clip, out, watch)


def steady(clip: Path, weights: Path, out: Path) -> dict[str, Any] | None:
    """M_tc of a clip whose faces FIVA redraws, and of the clip itself; None: no track has two faces that were drawn."""
    by = built("method=fiva", *JUDGE, f"judge.encoder.weights={weights}")
    with by.change.remembering():
        (judge,) = by.video(clip, out)["judges"].values()
    return judge.get("M_tc")


def main() -> None:
    """Measure and write the report; prints it too."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", type=int, nargs="+", help="numbers of clips, from 1")
    parser.add_argument("--masks", action="store_true", help="no FIVA, no M_tc")
    parser.add_argument("--out", type=Path, default=REPORT)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    real = Path(os.environ["ANON_REAL"])
    found = sorted(file for file in (real / "clips").rglob("*") if is_video(file))
    other = YuNet(real / "models/yunet/yunet_n_dynamic.onnx", max_side=1280)
    rows, total = [], [0, 0, 0, 0, 0]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mp4"
        for number, clip in enumerate(found, 1):
            if args.only and number not in args.only:
                continue
            watch, report = covered(clip, other, out)
            part = [watch.own, watch.left, watch.alone, watch.left_alone, report["unverified"]]
            total = [a + b for a, b in zip(total, part, strict=True)]
            size = f"{report['width']} x {report['height']}"
            row = [f"{number}", size, f"{report['frames']}", *cells(part)]
            mtc = None if args.masks else steady(clip, real / WEIGHTS, out)
            row.append(f"{mtc['mu']:.3f} ({mtc['unchanged_mu']:.3f})" if mtc else "-")
            rows.append(row)
            print(row, flush=True)
    rows.append(["all", "", "", *cells(total), ""])
    head = ["clip", "size", "frames", "CenterFace's faces, changed", "YuNet's others, changed", "the union, changed"]
    head += ["unverified", "M_tc mu by FIVA (the clip's own)"]
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]  # no folders
    command = shlex.join(["benchmarks/clips.py", *words])
    lines = ["# Real clips", "", f"    ANON_REAL=<folder> python {command}", "", *description(), "", NOTE]
    print(written(args.out, [*lines, "", *markdown_table(head, rows)]))


def cells(part: Sequence[int]) -> list[str]:
    """Of a clip: its shares, and the faces that nobody verified."""
    own, left, alone, left_alone, unverified = part
    shares = [
        told(own - left, own),
        told(alone - left_alone, alone),
        told(own + alone - left - left_alone, own + alone),
    ]
    return [*shares, f"{unverified}"]


if __name__ == "__main__":
    main()
