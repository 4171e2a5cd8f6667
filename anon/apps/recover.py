"""Undo ``anon anonymize policy=rotation``, with its key.

usage: anon recover input=<place> output=<place> [<setting>=<value> ...]

  input=out.png output=back.png   what anonymize wrote; a video, a folder or a pattern as well
  key.file=my.key                 the password that was given, or ANON_KEY in the environment; key.salt=... as then
  domain=synthetic method=...     the method, and everything else of it, as then: policy.angle, data, encoder
  --dry-run                       only say what is found and would be done
  --cfg job                       print every setting; docs/keys.md explains them

Where the report of anonymize (<input>.json) still lies beside a file, other settings than its own are refused. A wrong
key is not: it gives another person, and nothing tells.
Exit codes: 0 done, 2 a mistake that you can mend, 130 stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anon.commands import in_utf8, usage
from anon.errors import UserError
from anon.plain import read_json
from anon.video.report import SUFFIX

_MOST = 64 * 1024**2  # bytes of a report
#: Of the settings in a report: what decides which face a key gives back.
_SAME: tuple[str, ...] = ("method", "policy", "size")


def main() -> None:
    """Entry point: ``anon anonymize`` with the policy's inverse."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage(__doc__))
        return
    named = any(word.startswith("policy=") for word in sys.argv)
    sys.argv += ["recover=true", *([] if named else ["policy=rotation"])]
    from anon.apps.anonymize import main as anonymize  # it imports everything, and this module

    anonymize()


def check_as_anonymized(sources: Iterable[Path], settings: Mapping[str, Any]) -> None:
    """See that faces are recovered by what they were anonymized by, as far as reports beside the files tell.

    Args:
        sources: what :func:`anon.apps.anonymize.anonymize` wrote.
        settings: of this run, as its report will have them.

    Raises:
        UserError: a report says otherwise, or cannot be read.
    """
    for source in sources:
        report = source.with_name(source.name + SUFFIX)
        if not report.is_file():
            continue
        told = read_json(report, _MOST)
        then = told.get("settings") if isinstance(told, dict) else None
        if not isinstance(then, dict) or "weights" not in then:
            continue  # somebody else's file
        other = [f"{name}={then.get(name)}" for name in _SAME if then.get(name) != settings.get(name)]
        if not other and then["weights"].get("method") != settings["weights"]["method"]:
            other = ["other weights, or another data set"]
        if other:
            raise UserError(
                f"'{source}' was anonymized with {', '.join(other)}, says '{report}'; this would give back another "
                "face. Recover with the same settings, or take that report away."
            )


if __name__ == "__main__":
    in_utf8()
    main()
