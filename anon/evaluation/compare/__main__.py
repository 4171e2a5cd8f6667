"""Runs side by side: ``anon compare runs/train/fiva/*``.

usage: anon compare <run> [<run> ...] [--out <folder>] [--lower <metric>] [--higher <metric>]

  <run>            run folders of trainings or evaluations, folders of them, multiruns, patterns
  --out compare    folder of compare.html and the files beside it
  --lower, --higher <metric>   a metric of which lower, or higher, is better; may be given again

Exit codes: 0 done, 2 a mistake that you can mend.
"""

from __future__ import annotations

import sys
from pathlib import Path

from anon.commands import Parser, ended, in_utf8, path
from anon.evaluation.compare import Better, compare
from anon.printable import flat


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = Parser(prog="anon compare", description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders, folders of them, multiruns, patterns")
    parser.add_argument("--out", type=path, default=Path("compare"), help="folder of the files (default: compare)")
    for way in ("lower", "higher"):
        parser.add_argument(
            f"--{way}", action="append", default=[], metavar="METRIC", help=f"a metric of which {way} is better"
        )

    def run() -> None:
        given = parser.parse_args(arguments)
        better = Better(frozenset(given.lower), frozenset(given.higher))
        for file in compare(given.runs, given.out, better):
            print(flat(str(file)))

    return ended(run)


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
