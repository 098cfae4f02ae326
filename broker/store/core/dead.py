"""Dead deliveries: going there, being listed, coming back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, insert, select

from ...models import DeadDelivery, Delivery
from .draft import NULL, ZERO, Draft, delete_from, insert_into, table_of

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
