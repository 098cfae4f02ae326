"""Ids, given out of blocks that were reserved.

One sequence numbers everything (:mod:`broker.models.sequences`). To move it on for each
batch would cost a statement and a page of the log; so it is moved on by a block, a large one
by an owner that stays, by one that comes and goes no more than it has needed before. What is
left of it is given back at the end. It is never given out after a crash, nor once somebody else
has written: what was sent there would have the larger id and come after what is sent here later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: What a server reserves at once: some seconds of its sends, and nothing of 63 bits.
BLOCK: Final = 10_000
#: What an owner that comes and goes reserves at most beyond what it needs.
SMALL_BLOCK: Final = 64


class Ids:
    """The ids that the transactions of one owner give out.

    What a rollback undoes is undone here by going back to what was :attr:`left`.
    """

    __slots__ = ("at_once", "left")

    def __init__(self) -> None:
        #: Reserved and not given out: from the first to before the end.
        self.left = 0, 0
        #: How many are reserved at least, the next time.
        self.at_once = 1

    def take(self, count: int, reserve: Callable[[int], int]) -> int:
        """Return the first of ``count`` ids in a row that were never given out before.

        Args:
            count: how many.
            reserve: moves the sequence on by so many, and returns the last.
        """
        first, end = self.left
        if end - first < count:
            more = max(self.at_once, count - (end - first))
            last = reserve(more)
            self.at_once = max(self.at_once, min(2 * self.at_once, SMALL_BLOCK))
            if first == end:
                first = last + 1 - more
            end = last + 1
        self.left = first + count, end
        return first

    def forget(self) -> None:
        """Give out none of those that are left: others were given out after them."""
        self.left = 0, 0
