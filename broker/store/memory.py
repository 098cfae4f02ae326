"""What the owner of a database knows of it from one transaction to the next."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Final

#: Beyond that all is forgotten: a row takes some 500 bytes.
MOST_REMEMBERED: Final = 4000


class Memory:
    """Rows that were read or written, as they are committed, by their keys.

    They hold as long as no other connection writes, and SQLite tells whether one has:
    nobody of ours does while the owner lock is held, but an embedded owner lets go of it,
    and any tool may.
    """

    __slots__ = ("_version", "rows")

    def __init__(self) -> None:
        self._version = -1
        #: What is known, by keys.
        self.rows: dict[Hashable, Any] = {}

    def begin(self, version: int) -> bool:
        """Forget all if another connection has written since the last transaction.

        Args:
            version: ``PRAGMA data_version``, in a transaction that may write.

        Returns:
            Whether it still holds.
        """
        if version == self._version:
            return True
        self._version = version
        self.rows.clear()
        return False

    def learn(self, rows: Mapping[Hashable, Any]) -> None:
        """Remember what a committed transaction has found or changed."""
        if len(self.rows) + len(rows) > MOST_REMEMBERED:
            self.rows.clear()
        self.rows.update(rows)

    def forget(self) -> None:
        """Remember nothing."""
        self.rows.clear()
