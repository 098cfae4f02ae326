"""Commands on the database as a whole; for admins."""

from __future__ import annotations

from typing import Final, NamedTuple

from .grammar import LIMIT, LINE, Argument, Option, Syntax


class DbCompact(NamedTuple):
    """Give the file's free pages back to the file system; answers how many bytes that were.

    It goes in slices, with other commands in between, and gives back what was free
    when it began. ``left_pages`` and ``given_back`` (bytes) are how it goes on, not
    for callers.
    """

    left_pages: int | None = None
    given_back: int = 0


class Imported(NamedTuple):
    """What an import has stored.

    Attributes:
        users, channels, queues, subscriptions, messages, keys: how many are new; a
            subscription's queue counts as its subscription.
        deliveries: of those messages.
        known: how many records were there already, and were left as they are.
    """

    users: int
    channels: int
    queues: int
    subscriptions: int
    messages: int
    deliveries: int
    keys: int
    known: int


class DbImport(NamedTuple):
    """Store lines of an export, all or none; for admins. Answers :class:`Imported`.

    The first line is the header of the export, whichever lines follow. Repeating it
    stores nothing twice. ``first_line`` is the number, in its file, of the line after
    the header, for what is said of a line that is refused.
    """

    lines: tuple[bytes, ...]
    first_line: int = 2


SYNTAX: Final = (
    Syntax(
        ("DB", "IMPORT"), DbImport, (Argument("lines", LINE, repeated=True, counted=True),),
        (Option("FROM", "first_line", LIMIT, "the number of the second line in its file"),),
        "record",
        "Store lines of an export, led by its header, all or none (admins only).",
        Imported, creates=True,
    ),
    Syntax(
        ("DB", "COMPACT"), DbCompact, (), (), "count",
        "Give what is free in the database file back to the file system (admins only); "
        "answers how many bytes that were.",
        progress=("left_pages", "given_back"),
    ),
)  # fmt: skip
