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

from anon.apps.anonymize import main as anonymize
from anon.commands import in_utf8, usage


def main() -> None:
    """Entry point: ``anon anonymize`` with the policy's inverse."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage(__doc__))
        return
    named = any(word.startswith("policy=") for word in sys.argv)
    sys.argv += ["recover=true", *([] if named else ["policy=rotation"])]
    anonymize()


if __name__ == "__main__":
    in_utf8()
    main()
