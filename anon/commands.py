"""What every command line here has in common: UTF-8 whatever the locale, one sentence for a mistake, the exit code.

0 done, 2 a mistake that the user can mend, 130 stopped by Ctrl-C, 1 a bug.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from anon.errors import UserError
from anon.printable import flat

#: What is the matter with a place that the user named.
_PLACES = {errno.EACCES, errno.EDQUOT, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOSPC}
_PLACES |= {errno.ENOTDIR, errno.EPERM, errno.EROFS}
STOPPED = 130  # 128 + SIGINT, as a shell reports it
_LONGEST = 1000  # characters of a sentence


def in_utf8() -> None:
    """Begin this process again in Python's UTF-8 mode where the locale has another encoding.

    The command line is decoded and names of files are encoded before any code of ours runs, so nothing less helps:
    with LC_ALL=C and PYTHONUTF8=0 no name outside of ASCII can be opened or printed. Call it first, in a script only.
    """
    if sys.getfilesystemencoding().lower().replace("-", "") != "utf8":
        words = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, words, {**os.environ, "PYTHONUTF8": "1"})  # the same bytes, read as UTF-8
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a name of bytes that are no UTF-8 is printed with their numbers
            reconfigure(encoding="utf-8", errors="backslashreplace")


def ended(task: Callable[[], object], stopped: str = "stopped.") -> int:
    """Run ``task`` and return the exit code; a mistake is told in one sentence on stderr.

    A place that cannot be read or written is one, whoever met it. Of Ctrl-C ``stopped`` is told, or what the
    KeyboardInterrupt says.
    """
    try:
        task()
    except UserError as error:
        return refused(str(error))
    except OSError as error:
        sentence = of_a_place(error)
        if sentence is None:
            raise
        return refused(sentence)
    except KeyboardInterrupt as error:
        print(str(error) or stopped, file=sys.stderr)
        return STOPPED
    return 0


def of_a_place(error: BaseException) -> str | None:
    """The sentence for a place that the user named and that cannot be used; None for any other error."""
    if not isinstance(error, OSError) or error.filename is None or error.errno not in _PLACES:
        return None
    return f"'{error.filename}' cannot be used ({error.strerror})."


def usage(told: str | None) -> str:
    """What a command's docstring says below its first paragraph.

    >>> usage("The command.\\n\\nusage: anon")
    'usage: anon'
    """
    return str(told).partition("\n\n")[2].strip()


def refused(sentence: str) -> int:
    """Print the sentence and return the exit code of a mistake."""
    print(f"error: {shortened(sentence)}", file=sys.stderr)
    return 2


def shortened(sentence: str) -> str:
    """One line of at most 1,000 characters for a terminal, for it may quote a file's words."""
    line = flat(sentence).strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are one sentence as all others are, instead of the usage and one."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; see {self.prog} --help.")


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """A ``type`` of :class:`Parser`: a finite number in [least, most]."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most):
            raise argparse.ArgumentTypeError(f"{text!r} must be a number {_between(least, most)}")
        return value

    return read


def whole(least: int, most: float = math.inf) -> Callable[[str], int]:
    """A ``type`` of :class:`Parser`: a whole number in [least, most]."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number {_between(least, most)}")
        return value

    return read


def path(text: str) -> Path:
    """A ``type`` of :class:`Parser`: a path, with ``~`` in the place of a home; an empty one is none."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such home folder") from error


def _between(least: float, most: float) -> str:
    return f"of {least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
