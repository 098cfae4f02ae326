"""Commands on what has died in a queue."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from ..errors import Invalid
from .delivery import Peeked
from .grammar import AFTER, COUNT, ID, LIMIT, MATCH, QUEUE, Argument, Option, Syntax

DEFAULT_LIMIT: Final = 100


class Dead(NamedTuple):
    """A dead delivery in a list; the attributes are those of :class:`~.delivery.Peeked`.

    ``bytes`` is the size of its body, which the list leaves out.
    """

    id: int
    queue: str
    dead_at: int
    reason: str
    attempts: int
    priority: int
    bytes: int
    content_type: str | None
    sender: str
    sent_at: int


class DeadList(NamedTuple):
    """List what is dead in a queue, the oldest message first.

    ``match`` finds text in the body, the headers, or the reason. It looks through
    them in slices, with other commands in between; ``after`` is the message after
    which the list begins; ``position`` and ``found`` are how it goes on, not for callers.
    """

    queue: str
    match: str | None = None
    max_count: int = DEFAULT_LIMIT
    after: int = 0
    position: int | None = None
    found: tuple[Dead, ...] = ()


class DeadShow(NamedTuple):
    """Show a dead message with its body and its failures."""

    queue: str
    id: int


class DeadRetry(NamedTuple):
    """Put dead messages back at their old places, attempts at zero; answers how many.

    One by its ``id``, or ``all`` (at most ``limit``, those that ``match``); the rest
    is how it goes on, not for callers. For owner and admins.
    """

    queue: str
    id: int | None = None
    all: bool = False
    match: str | None = None
    limit: int | None = None
    position: int = 0
    done: int = 0


class DeadDrop(NamedTuple):
    """Delete dead messages; answers how many. The fields are those of :class:`DeadRetry`."""

    queue: str
    id: int | None = None
    all: bool = False
    match: str | None = None
    limit: int | None = None
    position: int = 0
    done: int = 0


def _check_which(command: DeadRetry | DeadDrop, _given: Collection[str]) -> None:
    if (command.id is None) is not command.all:
        raise Invalid("say which: one by its id, or all; not both")
    if command.id is not None and (command.match is not None or command.limit is not None):
        raise Invalid("a text to match and a limit choose from all, not from one by its id")


_QUEUE = (Argument("queue", QUEUE),)
_MATCH = Option("MATCH", "match", MATCH, "only those with this in body, headers or reason")
_WHICH = (
    Option("ID", "id", ID, "the one of this message"),
    Option("ALL", "all", None, "all of them"),
    _MATCH,
    Option("LIMIT", "limit", LIMIT, "at most so many"),
)

SYNTAX: Final = (
    Syntax(
        ("DEAD", "LIST"), DeadList, _QUEUE,
        (
            _MATCH,
            Option("LIMIT", "max_count", COUNT, "at most so many (1 to 1000, default 100)"),
            Option("AFTER", "after", AFTER, "only those after this message, to go on with a list"),
        ),
        "records", "List dead messages, the oldest first.", Dead, reads=True,
        progress=("position", "found"),
    ),
    Syntax(
        ("DEAD", "SHOW"), DeadShow, (*_QUEUE, Argument("id", ID)), (),
        "record", "Show a dead message with its failures.", Peeked, reads=True,
    ),
    Syntax(
        ("DEAD", "RETRY"), DeadRetry, _QUEUE, _WHICH,
        "count", "Put dead messages back at their old places; answers how many.",
        rule=_check_which, progress=("position", "done"),
    ),
    Syntax(
        ("DEAD", "DROP"), DeadDrop, _QUEUE, _WHICH,
        "count", "Delete dead messages; answers how many.",
        rule=_check_which, progress=("position", "done"),
    ),
)  # fmt: skip
