"""A file that only ever holds whole records, whatever stops the program or fills the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class AppendFile:
    """Appends records without a buffer: what ``append`` returned from is on its way to the disk, whole.

    A record that does not fit (full disk, quota) is taken back, so that the file ends with the one before it.
    """

    def __init__(self, path: Path) -> None:
        """Create the file, with its folder, or empty it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self.size = 0

    def append(self, record: bytes) -> None:
        """Add one record.

        Raises:
            OSError: it could not be written; the file is as it was before.
        """
        written = 0
        try:
            while written < len(record):
                written += os.write(self._fd, record[written:])
        except BaseException as error:
            with suppress(OSError):  # a pipe cannot be cut
                os.ftruncate(self._fd, self.size)
                os.lseek(self._fd, self.size, os.SEEK_SET)
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(self.path)
            raise
        self.size += written

    def patch(self, offset: int, data: bytes) -> None:
        """Write over bytes that are already there."""
        os.pwrite(self._fd, data, offset)

    def close(self) -> None:
        """Close. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
