"""The report again, from the results.json of an evaluation: ``python -m anon.evaluation.report <folder>``.

Exit codes: 0 done, 2 a mistake that you can mend.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from anon.errors import UserError
from anon.evaluation.document import read
from anon.evaluation.report import write
from anon.printable import flat


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m anon.evaluation.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of an evaluation, with its results.json")
    folder = parser.parse_args(arguments).folder.expanduser()
    try:
        for path in write(read(folder / "results.json"), folder):
            print(path)
    except UserError as error:
        print(f"error: {flat(str(error)).strip()}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
