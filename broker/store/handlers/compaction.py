"""Giving free pages of the file back while it is in use."""

from __future__ import annotations

from ...commands.db import DbCompact
from ...commands.request import Principal, Unfinished
from ..dialect import free_pages, give_back
from ..transaction import Transaction
from .registry import handles
from .rights import check_admin

#: Pages that one transaction gives back, of 4 KiB: each takes the place of one that
#: is moved there, some 5 ms in all.
COMPACT_SLICE = 256


@handles(DbCompact)
def compact(tx: Transaction, principal: Principal, command: DbCompact) -> int | Unfinished:
    """Give one slice back; after the last the file is cut, with its log."""
    check_admin(principal, "compact the database")
    free, page_size = free_pages(tx.driver)
    # No more than there was at the beginning: acks free pages faster than this takes them.
    left = free if command.left_pages is None else min(command.left_pages, free)
    count = min(left, COMPACT_SLICE)
    if count:
        give_back(tx.driver, count)
        # A database that somebody made without incremental vacuum keeps its pages.
        count = free - free_pages(tx.driver)[0]
    given_back = command.given_back + count * page_size
    if count and left > count:
        return Unfinished(DbCompact(left - count, given_back))
    tx.cuts_file = True
    return given_back
