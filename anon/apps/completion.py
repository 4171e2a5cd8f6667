"""Tab completion of ``anon``, which is Hydra's: ``eval "$(anon -sc install=bash)"``.

Hydra completes the settings of one configuration. Here the first word says of which: ``anon train experiment=fi`` of
conf/train.yaml. ``install=fish`` is for fish; zsh takes bash's after ``autoload -U bashcompinit && bashcompinit``.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence

from anon.commands import refused

#: Commands whose words are settings, each with a configuration of its name.
CONFIGURED = ("anonymize", "train", "evaluate")
_WORD = re.compile(r"(?:install|uninstall|query)=(?:bash|zsh|fish)")


def complete(words: Sequence[str], commands: Sequence[str]) -> int:
    """Answer the shell, or print what makes it ask; returns the exit code.

    Args:
        words: one: install=<shell>, uninstall=<shell> or query=<shell>, for which COMP_LINE holds what was typed.
        commands: the first words of ``anon``.
    """
    if len(words) != 1 or not _WORD.fullmatch(words[0]):
        return refused("anon -sc takes one of install=<shell> and uninstall=<shell>; the shell is bash, zsh or fish.")
    if not words[0].startswith("query="):
        _hydra(words[0], "train")
        return 0
    typed = os.environ.get("COMP_LINE", "").lstrip().split(" ")  # the last may be empty
    if len(typed) <= 2:
        print(" ".join(each for each in commands if each.startswith(typed[-1])))
    elif typed[1] in CONFIGURED:  # without options, which Hydra does not know
        os.environ["COMP_LINE"] = " ".join(["anon", *(each for each in typed[2:] if not each.startswith("-"))])
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # a word that is not finished
            _hydra(words[0], typed[1])
    return 0


def _hydra(word: str, name: str) -> None:
    import hydra

    from anon.apps.config import config_dir

    sys.argv[:] = ["anon", "-sc", word]  # for which Hydra names the program
    hydra.main(config_path=str(config_dir()), config_name=name, version_base="1.3")(lambda config: None)()
