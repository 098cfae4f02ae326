"""Dead deliveries: going there, being listed, coming back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import LargeBinary, bindparam, cast, func, insert, or_, select

from ...models import DeadDelivery, Delivery, Message
from .draft import NULL, ZERO, Draft, delete_from, insert_into, table_of

_MESSAGES = table_of(Message)
_DELIVERIES = table_of(Delivery)
_DEAD = table_of(DeadDelivery)

_KEPT = ("id", "queue_id", "message_id", "rank", "size")

#: As they were elsewhere.
IMPORT_DEAD = insert_into(
    _DEAD, *_KEPT, "attempts", "generation", "failures", "died", "dead_at", "reason"
)
#: Copies a delivery to the dead; the delivery itself is deleted after it.
BURY = Draft(
    insert(_DEAD).from_select(
        [*_KEPT, "attempts", "generation", "failures", "died", "dead_at", "reason"],
        select(
            *(_DELIVERIES.c[column] for column in _KEPT),
            _DELIVERIES.c.attempts,
            _DELIVERIES.c.generation,
            bindparam("failures"),
            _DELIVERIES.c.died,
            bindparam("dead_at"),
            bindparam("reason"),
        ).where(_DELIVERIES.c.id == bindparam("delivery")),
    ),
    "failures",
    "dead_at",
    "reason",
    "delivery",
)
#: Copies it back to its old place, attempts at zero, alive without an end.
REVIVE = Draft(
    insert(_DELIVERIES).from_select(
        [*_KEPT, "attempts", "generation", "ready_at", "due_at", "leased_by", "expires_at",
         "failures", "died"],
        select(
            *(_DEAD.c[column] for column in _KEPT),
            ZERO,
            _DEAD.c.generation,
            bindparam("ready_at"),
            NULL,
            NULL,
            NULL,
            _DEAD.c.failures,
            _DEAD.c.died,
        ).where(_DEAD.c.id == bindparam("delivery")),
    ),
    "ready_at",
    "delivery",
)  # fmt: skip
DELETE_DEAD = delete_from(_DEAD.c.id)


def _dead_of_a_queue() -> Any:
    return (
        select(_DEAD.c.id, _DEAD.c.message_id, _DEAD.c.size)
        .where(_DEAD.c.queue_id == bindparam("queue"), _DEAD.c.id > bindparam("after"))
        .order_by(_DEAD.c.id)
        .limit(bindparam("count"))
        .offset(ZERO)
    )


DEAD_SLICE = Draft(_dead_of_a_queue(), "queue", "after", "count")


def _matching(*columns: Any) -> Any:
    """Return those of a slice that have a text in their body, their headers, or the reason."""
    sought: Any = bindparam("sought", type_=LargeBinary)
    # SQLite seeks bytes in bytes alone; it would read both as text otherwise.
    places = (
        _MESSAGES.c.body,
        cast(_MESSAGES.c.headers, LargeBinary),
        cast(_DEAD.c.reason, LargeBinary),
    )
    return (
        select(*columns)
        .join_from(_DEAD, _MESSAGES, _MESSAGES.c.id == _DEAD.c.message_id)
        .where(
            _DEAD.c.queue_id == bindparam("queue"),
            _DEAD.c.id.between(bindparam("first"), bindparam("last")),
            or_(sought.is_(None), *(func.instr(place, sought) > ZERO for place in places)),
        )
        .order_by(_DEAD.c.id)
        .limit(bindparam("count"))
        .offset(ZERO)
    )


#: All of a slice where ``sought`` is NULL.
LIST_DEAD = Draft(
    _matching(
        _DEAD.c.message_id,
        _DEAD.c.dead_at,
        _DEAD.c.reason,
        _DEAD.c.attempts,
        _DEAD.c.rank,
        _DEAD.c.size,
        _MESSAGES.c.content_type,
        _MESSAGES.c.sender,
        _MESSAGES.c.sent_at,
    ),
    "queue",
    "first",
    "last",
    "sought",
    "count",
)
#: The same, to be put back or deleted.
PICK_DEAD = Draft(
    _matching(_DEAD.c.id, _DEAD.c.message_id, _DEAD.c.size),
    "queue",
    "first",
    "last",
    "sought",
    "count",
)
#: The one of a message in a queue: a direct one has the message's id, the copies of a
#: publication have those that follow it.
FIND_DEAD = Draft(
    select(_DEAD.c.id, _DEAD.c.message_id, _DEAD.c.size).where(
        _DEAD.c.id.between(bindparam("first"), bindparam("last")),
        _DEAD.c.queue_id == bindparam("queue"),
    ),
    "first",
    "last",
    "queue",
)
