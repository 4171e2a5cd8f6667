"""Photographs and videos to a packed data set of aligned faces, which ``data=packed`` reads.

    anon prepare --root photos --detector yunet --weights yunet.onnx --out packed/mine
    anon prepare --root snaps --identities "pattern=(?P<identity>.+)_[0-9]+[.]jpg" ...
    anon prepare --collection lfw --root lfw --points lfw.csv --size 112 --out packed/lfw
    sbatch --array=0-15 slurm/prepare.sh ...
    anon prepare --verify --out packed/mine        # is every file as it was written?

Stopped or killed, the same command continues. Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from anon.commands import Parser, ended, in_utf8, number, path, whole
from anon.errors import UserError
from anon.faces.points import read_points
from anon.faces.prepare.options import (
    CODECS,
    FACES,
    Options,
    build,
    build_detector,
    conf_file,
    detector_conf,
    fingerprint,
)
from anon.faces.prepare.report import told
from anon.faces.prepare.run import LIMITS, check_place, prepare
from anon.faces.prepare.sources import Inputs, of_collection, survey
from anon.faces.prepare.verify import verify
from anon.faces.prepare.workers import Limits
from anon.printable import flat


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    return ended(lambda: _run(_parser().parse_args(arguments)), "stopped; the same command continues.")


def _run(given: argparse.Namespace) -> None:
    if given.verify:
        print(f"{verify(given.out):,} files of {given.out} are as they were written.")
        return
    check_place(given.out)
    if given.root is None:
        raise UserError("Give --root <folder>: the photographs and videos that are to be packed.")
    if given.detector is None and given.points is None and given.collection is None:
        raise UserError("Give --detector <name> --weights <file>, or --points <csv>, so that faces can be aligned.")
    detector = None if given.detector is None else detector_conf(given.detector, given.weights, given.score)
    if detector is not None:
        build_detector(detector)  # what is wrong with it is better said before the folder is begun
    asked = ("size", "codec", "faces", "every", "max_frames", "min_size", "score", "margin", "unit")
    options = Options(
        detector=detector,
        weights="" if detector is None else fingerprint(detector),
        **{name: getattr(given, name) for name in asked},
    )
    inputs, name = _inputs(given)
    if inputs.note is not None:
        print(flat(inputs.note), file=sys.stderr)
    task, tasks = array_task()
    report = prepare(
        inputs.sources,
        given.name or name,
        given.out,
        options,
        workers=given.workers,
        limits=Limits(given.timeout, given.memory),
        task=task,
        tasks=tasks,
        contact_sheet=given.contact_sheet,
        aside=inputs.aside,
    )
    if report is None:
        print("This task's share is packed; the task that finishes last writes the index.")
    else:
        print(f"{told(report)}\nEvery file has its line in {given.out / 'files.csv'}.")


def _inputs(given: argparse.Namespace) -> tuple[Inputs, str]:
    table = None if given.points is None else read_points(Path(given.points).expanduser())
    if given.collection is not None:
        if given.identities is not None or given.frames:
            raise UserError("--collection says who is who and what is a video: leave out --identities and --frames.")
        collection = build(conf_file("collection", given.collection), root=given.root)
        return Inputs(of_collection(collection, table), [], None), collection.name
    inputs = survey(given.root, table, given.identities, given.frames, given.out)
    return inputs, given.root.name or given.root.resolve().name


def array_task() -> tuple[int, int]:
    """This task's number and the number of tasks of a SLURM array; (0, 1) outside of one."""
    first = os.environ.get("SLURM_ARRAY_TASK_MIN", "0")
    task, tasks = os.environ.get("SLURM_ARRAY_TASK_ID"), os.environ.get("SLURM_ARRAY_TASK_COUNT", "1")
    if task is None:
        return 0, 1
    try:
        return int(task) - int(first), int(tasks)
    except ValueError as error:
        raise UserError("SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT must be numbers.") from error


def _parser() -> Parser:
    parser = Parser(prog="anon prepare", description=str(__doc__).split("\n")[0])
    add = parser.add_argument
    add("--root", type=path, help="folder with photographs and videos, at any depth")
    add(
        "--identities",
        metavar="RULE",
        help="who is who: folder (the first below --root; the default), none (each file is a person of its own; the "
        "default where there are no folders), pattern=<regular expression with a group (?P<identity>...) on the path>, "
        "csv=<file with the columns file,identity>",
    )
    add("--frames", action="store_true", help="a folder inside a person's is one video, and holds its frames")
    add("--collection", help="a published data set in --root instead: the name of a file in conf/collection")
    add("--out", required=True, type=path, help="folder of the packed data set")
    add("--verify", action="store_true", help="compare what lies in --out with its checksums, and pack nothing")
    add("--name", help="of the data set (default: the folder's or the collection's)")
    add("--detector", help="the name of a file in conf/detector")
    add("--weights", help="the detector's file")
    add("--points", help="CSV of five points a photograph, used instead of a detector; see anon.faces.points")
    add("--size", type=int, default=256, help="side of the faces in pixels (default: %(default)s)")
    add("--codec", choices=tuple(CODECS), default="jpg", help="jpg is quality 95, png and webp lossless")
    add("--faces", choices=FACES, default="largest", help="of a photograph (default: %(default)s)")
    add("--every", type=int, default=1, help="every how many frames of a video")
    add("--max-frames", type=int, default=20_000, help="of a video at most (default: %(default)s)")
    add("--min-size", type=float, default=32, help="least shorter side of a face in pixels (default: %(default)s)")
    add("--score", type=float, help="least score of the detector (default: its own threshold)")
    add("--margin", type=float, default=0, help="how much more than the template to keep, 0.5: half as much again")
    add("--unit", type=int, default=1024, help="photographs a shard (default: %(default)s); a video counts as 64")
    add("--workers", type=whole(1, 512), default=os.cpu_count() or 1, help="processes (default: one a core)")
    seconds = number(0.001, 1e6)
    add("--timeout", type=seconds, default=LIMITS.seconds, help="seconds an input may take without a sign of progress")
    add("--memory", type=number(0, 1e6), default=0, help="GiB of address space a worker may use (default: no limit)")
    add("--contact-sheet", action="store_true", help="also write contact-sheet.png, which shows the people")
    return parser


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
