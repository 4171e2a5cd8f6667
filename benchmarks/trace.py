"""How many files lie on the way to one ID figure: ``python benchmarks/trace.py`` prints them in the order of the way.

A small evaluation of the shipped FIVA, one line of one table, from the command line on; a file counts when one of its
functions is entered (to import it is not enough) before the measure of retrieval has given its ID.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("experiment=fiva", "checkpoint=shipped:fiva", "logger=csv", "suite.far=0.01", "suite.resamples=20")
WORDS += ("data.images=4", "data.size=32", "data.clips.evaluation=0", "suite.calibration_images=4")
TABLE = "suite.tables.table1"  # one line and one measure
WORDS += (f"{TABLE}.grid=[{{methods: [checkpoint], policies: [plain]}}]", f"{TABLE}.measures=[retrieval]")
WORDS += (f"~{TABLE}.columns", f"+{TABLE}.columns={{ID: {{}}}}")
WORDS += ("suite.tables.robustness=null", "suite.tables.identities=null")
PEOPLE = {"train": 3, "background": 24, "evaluation": 4}


class Reached(BaseException):
    """The figure is there; nothing catches this, so the evaluation ends."""


def trace(*words: str) -> dict[str, str]:
    """The files, relative to the package, each with the function of it that is entered first."""
    found: dict[str, str] = {}

    def look(frame: FrameType, event: str, given: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(f"{ROOT / 'anon'}/") and _is_function(frame):
            found.setdefault(str(Path(code.co_filename).relative_to(ROOT / "anon")), code.co_qualname)
        if event == "return" and code.co_qualname == "Retrieval.__call__" and "ID" in (given or {}):
            raise Reached

    people = [f"data.identities.{split}={count}" for split, count in PEOPLE.items()]
    with tempfile.TemporaryDirectory() as folder:
        places = [f"paths.cache={folder}/cache", f"paths.runs={folder}/runs"]
        sys.argv = ["evaluate.py", *WORDS, *people, *places, *words]
        sys.setprofile(look)
        try:
            from anon.apps.evaluate import main  # what decorators enter counts, too

            main()
        except Reached:
            return found
        finally:
            sys.setprofile(None)
    raise RuntimeError("the evaluation ended without an ID")


def _is_function(frame: FrameType) -> bool:
    """Neither the body of a module or class, nor a comprehension, which is entered with what holds it."""
    name = frame.f_code.co_name
    return bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED) and (not name.startswith("<") or name == "<lambda>")


if __name__ == "__main__":
    files = trace(*sys.argv[1:])
    print("\n".join(f"{file}: {first}" for file, first in files.items()))
    print(f"{len(files)} files of {len(list((ROOT / 'anon').rglob('*.py')))}")
