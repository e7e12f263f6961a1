"""A file that only ever holds whole records, whatever stops the program or fills the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class AppendFile:
    """Appends records without a buffer: what ``append`` returned from is with the system, whole.

    A record that does not fit (full disk, quota) is taken back, so that the file ends with the one before it.
    """

    def __init__(self, path: Path) -> None:
        """Create the file, with its folder, or empty it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = open(path, "wb", buffering=0)
        self.size = 0

    def append(self, record: bytes) -> None:
        """Add one record.

        Raises:
            OSError: it could not be written; the file is as it was before.
        """
        written = 0
        try:
            while written < len(record):
                written += self._file.write(record[written:])
        except BaseException as error:
            with suppress(OSError):  # a pipe cannot be cut
                self._file.truncate(self.size)
                self._file.seek(self.size)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(self.path)
            raise
        self.size += written

    def patch(self, offset: int, data: bytes) -> None:
        """Write over bytes that are already there."""
        self._file.seek(offset)
        self._file.write(data)
        self._file.seek(self.size)

    def sync(self) -> None:
        """Wait until what was written is on the disk itself.

        Raises:
            OSError: it did not get there.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            error.filename = str(self.path)
            raise

    def close(self) -> None:
        """Close. May be called twice."""
        self._file.close()
