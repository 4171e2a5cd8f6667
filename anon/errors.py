"""The exceptions that end a run in one sentence: a mistake that can be mended, and a measurement that failed."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in the input: the message names the thing and the way out, in one sentence.

    The scripts print the message without a traceback and exit with code 2.
    """


class Failed(UserError):
    """A method, an attack or a reader gave something that cannot be measured: NaN, another shape, another range.

    A table's line says so in the place of its figures; elsewhere it ends the run. It is never a figure, for a face that
    nobody recognizes because nothing could be read looks like perfect privacy.
    """
