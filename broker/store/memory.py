"""What the owner of a database knows of it from one transaction to the next."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

#: A transaction that begins with more begins with none: a row takes some 500 bytes.
MOST_REMEMBERED: Final = 4000


class Memory:
    """Rows that were read or written, as they are in the database, by their keys.

    A transaction notes here what it finds and changes; if it is rolled back all is forgotten.

    They hold as long as no other connection writes, and SQLite tells whether one has:
    nobody of ours does while the owner lock is held, but an embedded owner lets go of it,
    and any tool may.
    """

    __slots__ = ("_version", "rows")

    def __init__(self) -> None:
        self._version = -1
        #: What is known, by keys.
        self.rows: dict[Hashable, Any] = {}

    def holds(self, version: int) -> bool:
        """Return whether it holds as a transaction begins; what does not is forgotten.

        Args:
            version: ``PRAGMA data_version``, in a transaction that may write: it is another
                once another connection has written.
        """
        is_valid = version == self._version
        if not is_valid or len(self.rows) > MOST_REMEMBERED:
            self._version = version
            self.rows.clear()
        return is_valid
