"""Whether the disk has room for more."""

from __future__ import annotations

import os
import time
from typing import Final

from sqlalchemy import Connection

from ..names import MIN_FREE_BYTES
from .dialect import free_pages

#: An answer holds so long: a batch or two, which is little of what is kept free. In seconds.
_HOLDS_S: Final = 0.05


class Room:
    """What is free on the disk of a database, and inside its file.

    Args:
        path: of the database.
    """

    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path) or "."
        self._asked_at = float("-inf")
        self._is_there = False

    def is_there(self, connection: Connection) -> bool:
        """Return whether :data:`~broker.names.MIN_FREE_BYTES` are free, or lately were."""
        now = time.monotonic()
        if now - self._asked_at > _HOLDS_S:
            self._is_there = self.free_bytes(connection) >= MIN_FREE_BYTES
            self._asked_at = now
        return self._is_there

    def free_bytes(self, connection: Connection) -> int:
        """Return how many bytes are free; no more than what is asked for, if the disk has that."""
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if free >= MIN_FREE_BYTES:
            return free
        pages, page_size = free_pages(connection)
        return free + pages * page_size
