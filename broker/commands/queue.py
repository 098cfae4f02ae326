"""Commands on queues."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from .. import names
from .delivery import READY, Message, Peeked
from .grammar import BODY, COUNT, NAME, QUEUE, STATE, Argument, Option, Syntax, exclusive
from .sending import PULL_OPTIONS, SEND_OPTIONS, check_pull, check_send
from .settings import QUEUE_SETTINGS, SUBSCRIPTION_SETTINGS, check_change


class Queue(NamedTuple):
    """What a queue is and holds.

    Attributes:
        name, owner: who created it, and under which name.
        created_at: milliseconds since 1970, UTC.
        ready, delayed, leased, dead: how many deliveries are in each state.
        bytes: of the bodies of all of them.
        oldest_ready_ms: how long ago the oldest ready one became ready, or None.
        dropped: how many it has lost since it was created, because they expired or
            it was full.
        paused: ``sends``, ``pulls``, ``all`` or None.

    The rest are its settings, as :mod:`broker.commands.settings` shows them.
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
    dropped: int
    paused: str | None
    max_attempts: int
    dead_letter: str | None
    backoff: str | None
    ttl: str | None
    on_expire: str
    max_messages: int
    max_bytes: int
    on_full: str
    expire_idle: str | None


class QueueCreate(NamedTuple):
    """Create a queue that belongs to the caller."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()
    if_missing: bool = False


class QueueSet(NamedTuple):
    """Change settings of a live queue, be it that of a subscription.

    A lifetime counts for what is sent from then on, all else at once.
    """

    name: str
    settings: tuple[tuple[str, str], ...] = ()


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
    at_ms: int | None = None
    ttl_ms: int | None = None


class QueueSendMany(NamedTuple):
    """Send many messages alike, all or none; answers their ids, with a key a :class:`SentMany`."""

    queue: str
    bodies: tuple[bytes, ...]
    priority: int = names.DEFAULT_PRIORITY
    delay_ms: int = 0
    key: str | None = None
    key_ttl_ms: int = names.DEFAULT_KEY_TTL_MS
    content_type: str | None = None
    headers: Mapping[str, str] | None = None
    at_ms: int | None = None
    ttl_ms: int | None = None


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


class QueuePeek(NamedTuple):
    """Look at deliveries without touching them, in the order in which they would come.

    Ready ones by priority and age, delayed and leased ones by when that ends, dead
    ones by age. ``max_count`` None is one, which the doors answer bare.
    """

    queue: str
    max_count: int | None = None
    state: str = READY


class QueuePurge(NamedTuple):
    """Delete what is ready or delayed; answers how many that were.

    It goes in slices, with other commands in between: what was sent after it began
    stays, what is pulled meanwhile is delivered. ``last_id`` and ``purged`` are how
    it goes on, not for callers.
    """

    queue: str
    last_id: int | None = None
    purged: int = 0


class QueuePause(NamedTuple):
    """Refuse sends, or let pulls find nothing, or both, until it is resumed."""

    name: str
    sends: bool = False
    pulls: bool = False


class QueueResume(NamedTuple):
    """End a pause of sends, pulls, or both."""

    name: str
    sends: bool = False
    pulls: bool = False


class QueueConsume(NamedTuple):
    """Have messages pushed as they come, at most ``prefetch`` unacknowledged at a time.

    Their leases live as long as the connection and go back at once when it ends.
    ``wait_ms`` is for the server, which asks for more with it.
    """

    queue: str
    prefetch: int = names.DEFAULT_PREFETCH
    wait_ms: int = 0


class QueueCancel(NamedTuple):
    """End a consumer of this connection; what it has leased stays so."""

    queue: str


def _check_pause(command: QueuePause | QueueResume, given: Collection[str]) -> None:
    exclusive(given, "sends", "pulls")


_NAMED = (Argument("name", NAME),)
_QUEUE = (Argument("queue", QUEUE),)
_PAUSE_OPTIONS = (
    Option("SENDS", "sends", None, "only sends"),
    Option("PULLS", "pulls", None, "only pulls"),
)

SYNTAX: Final = (
    Syntax(
        ("QUEUE", "CREATE"), QueueCreate, _NAMED,
        (Option("IFMISSING", "if_missing", None, "no error if it exists"),),
        "ok", "Create a queue.", settings=QUEUE_SETTINGS, creates=True,
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
        ("QUEUE", "SET"), QueueSet, (Argument("name", QUEUE),), (),
        "ok", "Change settings of a queue or a subscription.", settings=SUBSCRIPTION_SETTINGS,
        rule=check_change,
    ),
    Syntax(
        ("QUEUE", "SEND"), QueueSend, (*_QUEUE, Argument("body", BODY)), SEND_OPTIONS,
        "sent", "Send a message to a queue; answers its id.", rule=check_send,
    ),
    Syntax(
        ("QUEUE", "SENDMANY"), QueueSendMany,
        (*_QUEUE, Argument("bodies", BODY, repeated=True, counted=True)), SEND_OPTIONS,
        "sent_many", "Send many messages alike, all or none; answers their ids.", rule=check_send,
    ),
    Syntax(
        ("QUEUE", "PULL"), QueuePull, _QUEUE, PULL_OPTIONS,
        "pulled", "Pull messages from a queue.", Message, rule=check_pull,
    ),
    Syntax(
        ("QUEUE", "PEEK"), QueuePeek, _QUEUE,
        (
            Option("COUNT", "max_count", COUNT, "up to so many (1 to 1000); answers an array"),
            Option("STATE", "state", STATE, "ready (the default), delayed, leased or dead"),
        ),
        "peeked", "Look at messages without touching them.", Peeked, reads=True,
    ),
    Syntax(
        ("QUEUE", "PURGE"), QueuePurge, _QUEUE, (),
        "count", "Delete what is ready or delayed; answers how many that were.",
        progress=("last_id", "purged"),
    ),
    Syntax(
        ("QUEUE", "PAUSE"), QueuePause, (Argument("name", QUEUE),), _PAUSE_OPTIONS,
        "ok", "Refuse sends, and let pulls find nothing.", rule=_check_pause,
    ),
    Syntax(
        ("QUEUE", "RESUME"), QueueResume, (Argument("name", QUEUE),), _PAUSE_OPTIONS,
        "ok", "End a pause.", rule=_check_pause,
    ),
    Syntax(
        ("QUEUE", "CONSUME"), QueueConsume, _QUEUE,
        (Option("PREFETCH", "prefetch", COUNT, "at most so many unacknowledged (default 100)"),),
        "ok", "Have messages pushed as they come (RESP3).", Message, progress=("wait_ms",),
    ),
    Syntax(
        ("QUEUE", "CANCEL"), QueueCancel, _QUEUE, (),
        "ok", "End a consumer of this connection.",
    ),
)  # fmt: skip
