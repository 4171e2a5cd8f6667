"""The one exception for mistakes that the person at the keyboard can mend."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input: the message names the thing and the way out, in one sentence.

    The scripts print the message without a traceback and exit with code 2.
    """
