"""Deliveries: arriving, being claimed, falling due, expiring, going."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    and_,
    bindparam,
    case,
    column,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    update,
    values,
)

from ...models import Delivery, Message, Queue
from ...models.base import BigInt
from .draft import (
    NULL,
    ZERO,
    BulkDraft,
    ByIdsDraft,
    Draft,
    delete_from,
    insert_into,
    insert_run,
    numbered,
    table_of,
    unjournaled,
)
from .queues import has_room

_QUEUES = table_of(Queue)
_MESSAGES = table_of(Message)
_DELIVERIES = table_of(Delivery)

_ARRIVING = (
    "id", "queue_id", "message_id", "rank", "size", "attempts", "generation", "ready_at", "due_at",
    "expires_at",
)  # fmt: skip

# --- arriving ---

INSERT_DELIVERIES = insert_into(_DELIVERIES, *_ARRIVING)
#: Of messages alike, each with the id of its message.
INSERT_DELIVERIES_ALIKE = insert_run(
    _DELIVERIES,
    "size",
    shared=["queue_id", "rank", "ready_at", "due_at", "expires_at"],
    following=["id", "message_id"],
    zero=["attempts", "generation"],
)
#: As they were elsewhere.
IMPORT_DELIVERIES = insert_into(_DELIVERIES, *_ARRIVING, "failures", "died")


def _fan_out(copies: Any) -> Any:
    """Return the statement that makes copies for the queues of subscriptions.

    Each goes to a page of its own of the index. Were the statement to be undone by itself when
    it fails, SQLite would first copy all these pages; but its transaction is undone as a whole.
    """
    return unjournaled(insert(_DELIVERIES)).from_select(list(_ARRIVING), copies)


_PUBLISHED = ("message", "rank", "size", "ready_at", "due_at", "expires_at")
_OF_CHANNEL = _QUEUES.c.channel_id == bindparam("channel")
#: A copy's place among those of its message, whose id its own follows.
_PLACE = func.row_number().over()


def _fan_out_all(size: int) -> Any:
    """Return one delivery for each subscription's queue of each of so many publications."""
    published = (
        values(*(column(name, BigInt) for name in _PUBLISHED))
        .data([tuple(bindparam(numbered(c, row)) for c in _PUBLISHED) for row in range(size)])
        .cte("published")
    )
    subscribed = select(_PLACE.label("place"), _QUEUES.c.id).where(_OF_CHANNEL).cte("subscribed")
    message, *alike = published.c
    return _fan_out(
        # An outer join, though there are subscriptions: SQLite keeps its order. The queues are
        # numbered once for all, and copies come by their ids, so that each is the table's last.
        select(
            message + subscribed.c.place, subscribed.c.id, message, *alike[:2], ZERO, ZERO,
            *alike[2:],
        ).select_from(published.outerjoin(subscribed, true()))
    )  # fmt: skip


#: Of publications to a channel whose subscriptions have no limits; made inside the database.
FAN_OUT = BulkDraft(_fan_out_all, _PUBLISHED, shared=["channel"])


def _earlier_expiry() -> Any:
    """Return when a copy expires: by the message's lifetime or the queue's, the shorter."""
    own: Any = bindparam("now") + _QUEUES.c.ttl
    expires_at: Any = bindparam("expires_at", type_=BigInt)
    return case((_QUEUES.c.ttl == ZERO, expires_at), (expires_at < own, expires_at), else_=own)


#: Of one to a channel where some have: who is full or paused does not get it.
FAN_OUT_WITHIN_LIMITS = Draft(
    _fan_out(
        select(
            bindparam("message") + _PLACE,
            _QUEUES.c.id,
            bindparam("message"),
            bindparam("rank"),
            bindparam("size"),
            ZERO,
            ZERO,
            bindparam("ready_at"),
            bindparam("due_at"),
            _earlier_expiry(),
        ).where(_OF_CHANNEL, has_room())
    ),
    *_PUBLISHED, "now", "channel",
)  # fmt: skip


# --- being claimed ---

CLAIM = Draft(
    select(
        _DELIVERIES.c.id,
        _DELIVERIES.c.message_id,
        _DELIVERIES.c.rank,
        _DELIVERIES.c.attempts,
        _DELIVERIES.c.generation,
        _DELIVERIES.c.died,
        _MESSAGES.c.sender,
        _MESSAGES.c.sent_at,
        _MESSAGES.c.content_type,
        _MESSAGES.c.headers,
        _MESSAGES.c.body,
    )
    .join_from(_DELIVERIES, _MESSAGES, _MESSAGES.c.id == _DELIVERIES.c.message_id)
    .where(
        _DELIVERIES.c.queue_id == bindparam("queue"),
        _DELIVERIES.c.due_at.is_(None),
        or_(_DELIVERIES.c.expires_at.is_(None), _DELIVERIES.c.expires_at > bindparam("now")),
    )
    .order_by(_DELIVERIES.c.rank, _DELIVERIES.c.id)
    .limit(bindparam("count"))
    .offset(ZERO),
    "queue",
    "now",
    "count",
)
#: When what comes next in a queue expires.
HEAD_EXPIRY = Draft(
    select(_DELIVERIES.c.expires_at)
    .where(_DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_(None))
    .order_by(_DELIVERIES.c.rank, _DELIVERIES.c.id)
    .limit(literal_column("1"))
    .offset(ZERO),
    "queue",
)
LEASE = ByIdsDraft(
    lambda chosen: (
        unjournaled(update(_DELIVERIES))
        .values(
            due_at=bindparam("until"),
            leased_by=bindparam("user"),
            attempts=_DELIVERIES.c.attempts + literal_column("1"),
            generation=_DELIVERIES.c.generation + literal_column("1"),
        )
        .where(chosen)
    ),
    _DELIVERIES.c.id,
    shared=["until", "user"],
)
FIND_LEASES = ByIdsDraft(
    lambda chosen: select(
        _DELIVERIES.c.id,
        _DELIVERIES.c.queue_id,
        _DELIVERIES.c.message_id,
        _DELIVERIES.c.size,
        _DELIVERIES.c.generation,
        _DELIVERIES.c.due_at,
        _DELIVERIES.c.leased_by,
        _DELIVERIES.c.attempts,
        _DELIVERIES.c.failures,
    ).where(chosen, _DELIVERIES.c.leased_by.is_not(None)),
    _DELIVERIES.c.id,
)
#: How many of a span of deliveries are under a lease alike, each with a message of its own, and
#: how large they are.
COUNT_LEASES = Draft(
    select(func.count(), func.sum(_DELIVERIES.c.size)).where(
        _DELIVERIES.c.id.between(bindparam("first"), bindparam("last")),
        _DELIVERIES.c.queue_id == bindparam("queue"),
        _DELIVERIES.c.generation == bindparam("number"),
        _DELIVERIES.c.due_at == bindparam("until"),
        _DELIVERIES.c.leased_by.is_not(None),
        _DELIVERIES.c.message_id == _DELIVERIES.c.id,
    ),
    "first",
    "last",
    "queue",
    "number",
    "until",
)
#: Ends a lease or a delay: ready (``until`` NULL) or delayed; ``uncounted`` is taken off
#: the attempts.
RELEASE = Draft(
    update(_DELIVERIES)
    .values(
        due_at=bindparam("until"),
        leased_by=NULL,
        attempts=_DELIVERIES.c.attempts - bindparam("uncounted"),
        ready_at=func.coalesce(_DELIVERIES.c.ready_at, bindparam("ready_now")),
        failures=bindparam("failures_now"),
    )
    .where(_DELIVERIES.c.id == bindparam("delivery")),
    "uncounted",
    "ready_now",
    "until",
    "failures_now",
    "delivery",
)
EXTEND = Draft(
    update(_DELIVERIES)
    .values(due_at=bindparam("until"))
    .where(_DELIVERIES.c.id == bindparam("delivery")),
    "until",
    "delivery",
)

# --- falling due ---


def _due(state: Any, *columns: Any) -> Any:
    return (
        select(_DELIVERIES.c.id, *columns)
        .where(
            _DELIVERIES.c.queue_id == bindparam("queue"),
            _DELIVERIES.c.due_at <= bindparam("now"),
            state,
        )
        .order_by(_DELIVERIES.c.due_at)
        .limit(bindparam("count"))
        .offset(ZERO)
    )


def _next_due(state: Any) -> Any:
    return select(func.min(_DELIVERIES.c.due_at)).where(
        _DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_not(None), state
    )


_IS_DELAYED = _DELIVERIES.c.leased_by.is_(None)
_IS_LEASED = _DELIVERIES.c.leased_by.is_not(None)

FIND_DUE_DELAYED = Draft(_due(_IS_DELAYED), "queue", "now", "count")
FIND_DUE_LEASED = Draft(
    _due(
        _IS_LEASED,
        _DELIVERIES.c.message_id,
        _DELIVERIES.c.leased_by,
        _DELIVERIES.c.attempts,
        _DELIVERIES.c.failures,
        _DELIVERIES.c.size,
    ),
    "queue",
    "now",
    "count",
)
#: Leases that live as long as a connection; their attempts are taken back.
FIND_CONNECTION_LEASES = Draft(
    select(_DELIVERIES.c.id, _DELIVERIES.c.failures)
    .where(
        _DELIVERIES.c.queue_id == bindparam("queue"),
        _DELIVERIES.c.due_at >= bindparam("far"),
        _IS_LEASED,
    )
    .limit(bindparam("count"))
    .offset(ZERO),
    "queue",
    "far",
    "count",
)
NEXT_DUE_DELAYED = Draft(_next_due(_IS_DELAYED), "queue")
NEXT_DUE_LEASED = Draft(_next_due(_IS_LEASED), "queue")
MAKE_READY = Draft(
    update(_DELIVERIES)
    .values(
        ready_at=func.coalesce(_DELIVERIES.c.ready_at, _DELIVERIES.c.due_at),
        due_at=NULL,
    )
    .where(_DELIVERIES.c.id == bindparam("delivery")),
    "delivery",
)
#: A lease that has ended by itself: ready again, one failure more.
END_LEASE = Draft(
    update(_DELIVERIES)
    .values(due_at=NULL, leased_by=NULL, failures=bindparam("failures_now"))
    .where(_DELIVERIES.c.id == bindparam("delivery")),
    "failures_now",
    "delivery",
)
#: The head of a priority, to tell how long its oldest message has been ready.
READY_HEAD = Draft(
    select(_DELIVERIES.c.ready_at)
    .where(
        _DELIVERIES.c.queue_id == bindparam("queue"),
        _DELIVERIES.c.due_at.is_(None),
        _DELIVERIES.c.rank == bindparam("rank_of_head"),
    )
    .order_by(_DELIVERIES.c.id)
    .limit(bindparam("count"))
    .offset(ZERO),
    "queue",
    "rank_of_head",
    "count",
)

# --- moving and going ---

#: To another queue, where it is ready and nobody has tried yet.
MOVE = Draft(
    update(_DELIVERIES)
    .values(
        queue_id=bindparam("queue"),
        attempts=ZERO,
        ready_at=bindparam("ready_now"),
        due_at=NULL,
        leased_by=NULL,
        expires_at=bindparam("expiry"),
        failures=bindparam("failures_now"),
        died=bindparam("provenance"),
    )
    .where(_DELIVERIES.c.id == bindparam("delivery")),
    "queue",
    "ready_now",
    "expiry",
    "failures_now",
    "provenance",
    "delivery",
)
DELETE_DELIVERIES = delete_from(_DELIVERIES.c.id)


def _slice(*conditions: Any) -> Any:
    return (
        select(_DELIVERIES.c.id, _DELIVERIES.c.message_id, _DELIVERIES.c.size)
        .where(_DELIVERIES.c.queue_id == bindparam("queue"), *conditions)
        .limit(bindparam("count"))
        .offset(ZERO)
    )


_IS_READY = _DELIVERIES.c.due_at.is_(None)
_WAITS_FOR_ITS_TIME = and_(_DELIVERIES.c.due_at.is_not(None), _IS_DELAYED)

READY_SLICE = Draft(_slice(_IS_READY), "queue", "count")
DELAYED_SLICE = Draft(_slice(_WAITS_FOR_ITS_TIME), "queue", "count")
LEASED_SLICE = Draft(_slice(_IS_LEASED), "queue", "count")
#: Those that were there when a purge began.
OLD_READY_SLICE = Draft(
    _slice(_IS_READY, _DELIVERIES.c.id <= bindparam("last")), "queue", "last", "count"
)
OLD_DELAYED_SLICE = Draft(
    _slice(_WAITS_FOR_ITS_TIME, _DELIVERIES.c.id <= bindparam("last")),
    "queue",
    "last",
    "count",
)

EXPIRED = Draft(
    select(
        _DELIVERIES.c.id,
        _DELIVERIES.c.message_id,
        _DELIVERIES.c.size,
        _DELIVERIES.c.queue_id,
        _DELIVERIES.c.due_at,
        _DELIVERIES.c.failures,
    )
    .where(_DELIVERIES.c.expires_at <= bindparam("now"), _IS_DELAYED)
    .order_by(_DELIVERIES.c.expires_at)
    .limit(bindparam("count"))
    .offset(ZERO),
    "now",
    "count",
)
NEXT_EXPIRY = Draft(
    select(func.min(_DELIVERIES.c.expires_at)).where(
        _DELIVERIES.c.expires_at.is_not(None), _IS_DELAYED
    )
)
#: The one of a message in a queue, as :data:`~.dead.FIND_DEAD` finds a dead one.
FIND_COPY = Draft(
    select(
        _DELIVERIES.c.id,
        _DELIVERIES.c.message_id,
        _DELIVERIES.c.size,
        _DELIVERIES.c.due_at,
        _DELIVERIES.c.leased_by,
        _DELIVERIES.c.expires_at,
        _DELIVERIES.c.failures,
        _DELIVERIES.c.died,
        _DELIVERIES.c.generation,
    ).where(
        _DELIVERIES.c.id.between(bindparam("first"), bindparam("last")),
        _DELIVERIES.c.queue_id == bindparam("queue"),
    ),
    "first",
    "last",
    "queue",
)
