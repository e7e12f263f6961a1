"""The log: on standard error, in a file that does not grow without end, and without anybody's password."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from onlinetada.trackers.io.redact import redact

_NAMES = ("onlinetada", "aiohttp", "asyncio")
_FILE_BYTES, _FILES = 1 << 20, 5


class Masked(logging.Formatter):
    """Formats a line and then masks passwords in addresses, and the given secrets wherever they are.

    Args:
        secrets: texts that must never be logged.
    """

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secrets = tuple(s for s in secrets if s)

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback with it."""
        text = redact(super().format(record))
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def start_logging(*, file: Path | None = None, secrets: tuple[str, ...] = ()) -> list[logging.Handler]:
    """Send the package's and the web library's messages to standard error and to a file.

    The file is turned over at 1 MB, and five old ones are kept.

    Returns:
        The handlers, to be given to ``stop_logging``.

    Raises:
        OSError: the file cannot be written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(RotatingFileHandler(file, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(Masked(secrets))
        for name in _NAMES:
            logging.getLogger(name).addHandler(handler)
    logging.getLogger("onlinetada").setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.ERROR)  # a line a request tells nobody anything
    return handlers


def stop_logging(handlers: list[logging.Handler]) -> None:
    """Undo ``start_logging``."""
    for handler in handlers:
        for name in _NAMES:
            logging.getLogger(name).removeHandler(handler)
        handler.close()
