"""Commands on queues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from .. import names
from .grammar import BODY, NAME, QUEUE, Argument, Option, Syntax
from .message import Message
from .sending import PULL_OPTIONS, SEND_OPTIONS


class Queue(NamedTuple):
    """What a queue is and holds.

    Attributes:
        name, owner: who created it, and under which name.
        created_at: milliseconds since 1970, UTC.
        ready, delayed, leased, dead: how many deliveries are in each state.
        bytes: of the bodies of all of them.
        oldest_ready_ms: how long ago the oldest ready one became ready, or None.
    """

    name: str
    owner: str
    created_at: int
    ready: int
    delayed: int
    leased: int
    dead: int
    bytes: int
    oldest_ready_ms: int | None


class QueueCreate(NamedTuple):
    """Create a queue that belongs to the caller."""

    name: str
    if_missing: bool = False


class QueueDelete(NamedTuple):
    """Delete a queue with all its messages; answers how many there were."""

    name: str
    if_empty: bool = False
    if_exists: bool = False


class QueueList(NamedTuple):
    """List the queues, those of the caller or all, by name; subscriptions are not among them."""

    mine: bool = False


class QueueShow(NamedTuple):
    """Show one queue, be it that of a subscription."""

    name: str


class QueueSend(NamedTuple):
    """Send a message to a queue; answers its id, with a key a :class:`Sent`."""

    queue: str
    body: bytes
    priority: int = names.DEFAULT_PRIORITY
    delay_ms: int = 0
    key: str | None = None
    key_ttl_ms: int = names.DEFAULT_KEY_TTL_MS
    content_type: str | None = None
    headers: Mapping[str, str] | None = None


class QueuePull(NamedTuple):
    """Pull messages from a queue: the first by priority, then by age.

    Answers a tuple of :class:`Message`, empty if nothing came within ``wait_ms``.
    ``max_count`` None is one message, which the doors answer bare.
    """

    queue: str
    max_count: int | None = None
    wait_ms: int = 0
    lease_ms: int = names.DEFAULT_LEASE_MS
    no_ack: bool = False


_NAMED = (Argument("name", NAME),)

SYNTAX: Final = (
    Syntax(
        ("QUEUE", "CREATE"), QueueCreate, _NAMED,
        (Option("IFMISSING", "if_missing", None, "no error if it exists"),),
        "ok", "Create a queue.", creates=True,
    ),
    Syntax(
        ("QUEUE", "DELETE"), QueueDelete, (Argument("name", QUEUE),),
        (
            Option("IFEMPTY", "if_empty", None, "refuse if it has messages"),
            Option("IFEXISTS", "if_exists", None, "no error if it is missing"),
        ),
        "count", "Delete a queue and its messages; answers how many those were.",
    ),
    Syntax(
        ("QUEUE", "LIST"), QueueList, (),
        (Option("MINE", "mine", None, "only those I own"),),
        "records", "List queues and their owners.", Queue, reads=True,
    ),
    Syntax(
        ("QUEUE", "SHOW"), QueueShow, (Argument("name", QUEUE),), (),
        "record", "Show a queue.", Queue, reads=True,
    ),
    Syntax(
        ("QUEUE", "SEND"), QueueSend,
        (Argument("queue", QUEUE), Argument("body", BODY)), SEND_OPTIONS,
        "sent", "Send a message to a queue; answers its id.",
    ),
    Syntax(
        ("QUEUE", "PULL"), QueuePull, (Argument("queue", QUEUE),), PULL_OPTIONS,
        "pulled", "Pull messages from a queue.", Message,
    ),
)  # fmt: skip
