"""The report again, from the results.json of an evaluation: ``anon report <folder>``.

usage: anon report <folder> [--no-intervals] [--columns <A,B>]

  <folder>         of an evaluation, with its results.json; of another machine's, too
  --no-intervals   tables.tex without the 95 % intervals
  --columns A,B    tables.tex with these columns alone: metrics or headings

Exit codes: 0 done, 2 a mistake that you can mend.
"""

from __future__ import annotations

import sys

from anon.commands import Parser, ended, in_utf8, path
from anon.evaluation.document import read
from anon.evaluation.report import write
from anon.printable import flat


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = Parser(prog="anon report", description=__doc__)
    parser.add_argument("folder", type=path, help="folder of an evaluation, with its results.json")
    parser.add_argument("--no-intervals", action="store_true", help="tables.tex without the 95 % intervals")
    parser.add_argument("--columns", default="", metavar="A,B", help="tables.tex with these alone: metrics or headings")

    def run() -> None:
        given = parser.parse_args(arguments)
        folder = given.folder
        columns = [name.strip() for name in given.columns.split(",") if name.strip()]
        for file in write(read(folder / "results.json"), folder, not given.no_intervals, columns):
            print(flat(str(file)))

    return ended(run)


if __name__ == "__main__":
    in_utf8()
    sys.exit(main())
