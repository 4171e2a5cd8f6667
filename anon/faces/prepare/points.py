"""The five points of a folder's photographs as a CSV, for ``data.points``: where photographs are to stay files.

    python -m anon.faces.prepare.points faces points.csv --detector yunet --weights face_detection_yunet.onnx

Of several faces the largest whole one counts, as :mod:`anon.faces.prepare` chooses. A photograph without a face, or one
that cannot be read, has no row and is counted.
"""

from __future__ import annotations

import collections
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from anon import checksums
from anon.commands import Parser, ended, in_utf8, path
from anon.errors import UserError
from anon.faces.detection.contract import Detector
from anon.faces.images import ImageError, is_photograph, read_image
from anon.faces.points import OURS, fault_in
from anon.faces.prepare.extract import chosen
from anon.faces.prepare.options import FACES, build_detector, detector_conf
from anon.faces.tree import files_below
from anon.progress import track

_BATCH = 16
WITHOUT_FACE = "without a face"


def write_points(
    root: Path, table: Path, detector: Detector, which: str = FACES[0]
) -> tuple[int, collections.Counter[str]]:
    """Write the CSV; returns how many photographs have a row, and why others have none.

    Args:
        which: of several faces, largest or central.

    Raises:
        UserError: the folder cannot be read or has no photograph, the CSV cannot be written, or no face was found.
    """
    entries = [entry for entry in files_below(root, f"'{root}'") if entry.aside is None and is_photograph(entry.name)]
    if not entries:
        raise UserError(f"'{root}' has no photographs.")
    rows: list[tuple[object, ...]] = []
    without: collections.Counter[str] = collections.Counter()
    for start in track(range(0, len(entries), _BATCH), "finding faces", len(entries), _BATCH):
        read = []
        for entry in entries[start : start + _BATCH]:
            try:
                read.append((entry.file, read_image(entry.path)))
            except ImageError as error:
                without[str(error)] += 1
        frames = [frame for _, frame in read]
        for (name, frame), found in zip(read, detector.detect_batch(frames) if frames else [], strict=True):
            canvas = (frame.shape[0], frame.shape[1])
            usable = [place for place, points in enumerate(found.points) if fault_in(points, canvas) is None]
            if not usable:
                without[WITHOUT_FACE] += 1
                continue
            points = found.points[chosen(found, usable, which, frame)]
            rows.append((name, *(round(float(value), 3) for value in points.flatten())))
    if not rows:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in without.most_common())
        raise UserError(f"No face was found in the {len(entries):,} photographs of '{root}' ({reasons}).")
    head = ("file", *(f"{point}_{axis}" for point in OURS for axis in "xy"))
    try:
        with checksums.written_whole(table) as stream:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([head, *rows])  # for a program: names stay as they are
            stream.write(text.getvalue().encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise UserError(f"'{table}' cannot be written ({error.strerror or type(error).__name__}).") from error
    return len(rows), without


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = Parser(prog="python -m anon.faces.prepare.points", description=str(__doc__).split("\n")[0])
    parser.add_argument("root", type=path, help="folder of photographs, at any depth")
    parser.add_argument("table", type=path, help="the CSV")
    parser.add_argument("--detector", required=True, help="the name of a file in conf/detector")
    parser.add_argument("--weights", help="the detector's file")
    parser.add_argument("--faces", choices=FACES[:2], default=FACES[0], help="of a photograph (default: %(default)s)")

    def run() -> None:
        given = parser.parse_args(arguments)
        detector = build_detector(detector_conf(given.detector, given.weights, None))
        count, without = write_points(given.root, given.table, detector, given.faces)
        reasons = "".join(f"; {number:,} {reason}" for reason, number in without.most_common())
        print(f"{count:,} photographs with points{reasons}\n{given.table}")

    return ended(run)


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
