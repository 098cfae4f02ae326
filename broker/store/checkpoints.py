"""Checkpoints between transactions, for an owner that stays: a server.

SQLite's own checkpoint runs inside the COMMIT that finds the log long enough: those
who wait for that commit wait for the checkpoint as well, and if it fails nobody is
told. Here it comes after the replies, and an I/O error in it is one.

While it runs nobody is answered, so it is not to take long. But each has its own sync
besides that of the pages, and moves a page once that was written many times: the longer
the log, the less they cost, and the fewer commands meet one. So the log grows long, unless
the disk is slow.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import sys
import time
from typing import Final

#: Pages (of 4 KiB) of log after which a checkpoint is due, where they are quick: 12 MiB.
MOST_PAGES = 3000
#: Of what takes longer than this, in seconds, the next is due after half as many pages.
SLOW_S = 0.04
#: But after no fewer than a share of the most: where that takes long as well, it is the syncs
#: of each checkpoint that do, and more checkpoints only have more of them.
_LEAST_SHARE: Final = 3
#: Where the log's index says how many frames the log has ("WAL-Index Format" in
#: sqlite.org/walformat.html: mxFrame, in the machine's byte order).
_FRAMES: Final = slice(16, 20)
_HEADER_SIZE: Final = 136


class Checkpoints:
    """The checkpoints of one connection, which is its database's only writer.

    Args:
        connection: in WAL mode; from now on it checkpoints only here.
        path: of the database.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        # Open for as long as the connection is: closing any descriptor of this file
        # drops the locks that SQLite holds on it. Mapped, for each system call would give
        # the interpreter away.
        self._descriptor = os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC)
        self._index = mmap.mmap(self._descriptor, _HEADER_SIZE, prot=mmap.PROT_READ)
        self._done = 0
        self._pages = MOST_PAGES
        self._execute("PRAGMA wal_autocheckpoint=0")

    def are_due(self) -> bool:
        """Return whether the log has grown by enough since the last one."""
        frames = self._frames()
        if frames < self._done:
            # All of it was in the file, so it was begun anew.
            self._done = 0
        return frames - self._done >= self._pages

    def run(self) -> None:
        """Move the log into the file.

        What a reader, such as a back-up, still needs stays in the log.

        Raises:
            sqlite3.Error: it failed; what was committed is safe in the log.
        """
        # At the next attempt too, if this one fails, there is as much more to do.
        self._done = self._frames()
        began = time.monotonic()
        self._execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._pages = paced(self._pages, time.monotonic() - began)

    def close(self) -> None:
        """Let go of the index; only once the connection is closed."""
        self._index.close()
        os.close(self._descriptor)

    def _frames(self) -> int:
        return int.from_bytes(self._index[_FRAMES], sys.byteorder)

    def _execute(self, pragma: str) -> None:
        cursor = self._connection.cursor()
        try:
            cursor.execute(pragma)
            cursor.fetchall()
        finally:
            cursor.close()


def paced(pages: int, seconds: float) -> int:
    """Return after how many pages of log the next checkpoint is due.

    Args:
        pages: after how many the last was due.
        seconds: how long it took.
    """
    if seconds > SLOW_S:
        return max(pages // 2, MOST_PAGES // _LEAST_SHARE)
    return min(pages + pages // 4, MOST_PAGES)
