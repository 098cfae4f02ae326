"""Commands on the database as a whole; for admins."""

from __future__ import annotations

from typing import Final, NamedTuple

from .grammar import Syntax


class DbCompact(NamedTuple):
    """Give the file's free pages back to the file system; answers how many bytes that were.

    It goes in slices, with other commands in between, and gives back what was free
    when it began. ``left_pages`` and ``given_back`` (bytes) are how it goes on, not
    for callers.
    """

    left_pages: int | None = None
    given_back: int = 0


SYNTAX: Final = (
    Syntax(
        ("DB", "COMPACT"), DbCompact, (), (), "count",
        "Give what is free in the database file back to the file system (admins only); "
        "answers how many bytes that were.",
        progress=("left_pages", "given_back"),
    ),
)  # fmt: skip
