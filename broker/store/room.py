"""Whether the disk has room for more."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Final

from ..names import MIN_FREE_BYTES
from .dialect import free_pages

#: Where so much is free, it is not asked for again for so many seconds: nothing fills a disk
#: by that in that time. Where less is, it is asked for each time.
_AMPLE_BYTES: Final = 32 * MIN_FREE_BYTES
_HOLDS_S: Final = 0.05


class Room:
    """What is free on the disk of a database, and inside its file.

    Args:
        path: of the database.
    """

    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path) or "."
        self._ample_at = float("-inf")

    def is_there(self, connection: sqlite3.Connection) -> bool:
        """Return whether :data:`~broker.names.MIN_FREE_BYTES` are free."""
        now = time.monotonic()
        if now - self._ample_at < _HOLDS_S:
            return True
        free = self.free_bytes(connection)
        if free >= _AMPLE_BYTES:
            self._ample_at = now
        return free >= MIN_FREE_BYTES

    def free_bytes(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes are free; those inside the file count where the disk has few."""
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free >= MIN_FREE_BYTES:
            return free
        pages, page_size = free_pages(connection)
        return free + pages * page_size
