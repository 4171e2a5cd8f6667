"""The command ``anon``: everything that can be run, by one name.

usage: anon <command> [...]

faces
  anonymize   photographs and videos in, photographs and videos out
  recover     undo anonymize with policy=rotation, whose key you have
  identities  who is in an identity store of anonymize, and forgetting people
  prepare     photographs and videos to a packed data set of aligned faces
  demo        a page on this machine: a picture in, anonymized, judged and attacked

research
  train       train any experiment: anon train experiment=fiva
  evaluate    Table 1 of a training, or any suite: anon evaluate experiment=fiva
  report      the report of an evaluation, made again from its results.json
  compare     runs side by side: settings that differ, curves, figures with intervals

weights
  zoo         what ships: how it was made, and whether it is what its card says
  ship        measure what a run trained, and ship it with a model card
  export      a trained anonymizer as one ONNX or TorchScript file

anon <command> --help says more; anon --version. Tab completion in bash: eval "$(anon -sc install=bash)"
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from pathlib import Path

import anon
from anon.apps.completion import complete
from anon.commands import in_utf8, refused, usage

#: Modules and functions; each is imported when it is run.
COMMANDS = {
    "anonymize": ("anon.apps.anonymize", "main"),
    "recover": ("anon.apps.recover", "main"),
    "identities": ("anon.apps.identities", "main"),
    "prepare": ("anon.faces.prepare.__main__", "main"),
    "demo": ("anon.apps.demo.serve", "command"),
    "train": ("anon.apps.train", "main"),
    "evaluate": ("anon.apps.evaluate", "main"),
    "report": ("anon.evaluation.report.__main__", "main"),
    "compare": ("anon.evaluation.compare.__main__", "main"),
    "zoo": ("anon.apps.zoo", "command"),
    "ship": ("anon.apps.ship", "command"),
    "export": ("anon.apps.export", "command"),
}


def main() -> None:
    """Entry point of the console script; exits with the command's code."""
    in_utf8()
    given = sys.argv[1:]
    if not given or given[0] in ("-h", "--help"):
        print(usage(__doc__))
        sys.exit(0 if given else 2)
    if given[0] == "--version":
        print(anon.__version__)
        sys.exit(0)
    if given[0] in ("-sc", "--shell-completion"):
        sys.exit(complete(given[1:], list(COMMANDS)))
    if given[0] not in COMMANDS:
        sys.exit(refused(f"there is no command '{given[0]}'; anon knows {', '.join(COMMANDS)}."))
    module, function = COMMANDS[given[0]]
    if {"-h", "--help"} & set(given[1:]) and (told := _usage(module)):
        print(told)
        sys.exit(0)
    sys.argv[:] = [f"{sys.argv[0]} {given[0]}", *given[1:]]
    sys.exit(getattr(importlib.import_module(module), function)())


def _usage(module: str) -> str:
    """The usage in a module's docstring, without the seconds that its import takes; empty where it parses its own."""
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    told = usage(ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))))
    return told if told.startswith("usage: ") else ""


if __name__ == "__main__":
    main()
