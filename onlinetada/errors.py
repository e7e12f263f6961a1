"""The one exception that users see when their input is wrong."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used. Its message is one line that says what is wrong and what to do.

    The command line prints the message and exits with status 2; it never shows a traceback for it.
    """
