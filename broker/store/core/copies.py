"""Single deliveries: peeked at, shown, with their messages."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, bindparam, or_, select

from ...models import DeadDelivery, Delivery, Message
from .draft import NULL, ZERO, Draft, table_of

_MESSAGES = table_of(Message)
_DELIVERIES = table_of(Delivery)
_DEAD = table_of(DeadDelivery)

#: Where a delivery is, the same columns of the living and of the dead.
_LIVING_PLACE = (
    _DELIVERIES.c.attempts,
    _DELIVERIES.c.rank,
    _DELIVERIES.c.ready_at,
    _DELIVERIES.c.due_at,
    _DELIVERIES.c.leased_by,
    _DELIVERIES.c.expires_at,
    NULL,
    NULL,
    _DELIVERIES.c.failures,
    _DELIVERIES.c.died,
)
_DEAD_PLACE = (
    _DEAD.c.attempts,
    _DEAD.c.rank,
    NULL,
    NULL,
    NULL,
    NULL,
    _DEAD.c.dead_at,
    _DEAD.c.reason,
    _DEAD.c.failures,
    _DEAD.c.died,
)

# --- peeked at ---


def _with_message(table: Table, place: tuple[Any, ...]) -> Any:
    return select(
        *place,
        _MESSAGES.c.id,
        _MESSAGES.c.body,
        _MESSAGES.c.content_type,
        _MESSAGES.c.headers,
        _MESSAGES.c.sender,
        _MESSAGES.c.sent_at,
    ).join_from(table, _MESSAGES, _MESSAGES.c.id == table.c.message_id)


def _peek(table: Table, place: tuple[Any, ...], *conditions: Any, order: tuple[Any, ...]) -> Any:
    """Return the first of a queue in a state, in the order in which they come."""
    return (
        _with_message(table, place)
        .where(table.c.queue_id == bindparam("queue"), *conditions)
        .order_by(*order)
        .limit(bindparam("count"))
        .offset(ZERO)
    )


_IS_ALIVE = or_(_DELIVERIES.c.expires_at.is_(None), _DELIVERIES.c.expires_at > bindparam("now"))

PEEK_READY = Draft(
    _peek(
        _DELIVERIES,
        _LIVING_PLACE,
        _DELIVERIES.c.due_at.is_(None),
        _IS_ALIVE,
        order=(_DELIVERIES.c.rank, _DELIVERIES.c.id),
    ),
    "queue",
    "now",
    "count",
)
PEEK_DELAYED = Draft(
    _peek(
        _DELIVERIES,
        _LIVING_PLACE,
        _DELIVERIES.c.due_at.is_not(None),
        _DELIVERIES.c.leased_by.is_(None),
        _IS_ALIVE,
        order=(_DELIVERIES.c.due_at,),
    ),
    "queue",
    "now",
    "count",
)
PEEK_LEASED = Draft(
    _peek(
        _DELIVERIES,
        _LIVING_PLACE,
        _DELIVERIES.c.leased_by.is_not(None),
        order=(_DELIVERIES.c.due_at,),
    ),
    "queue",
    "count",
)
#: The oldest message first.
PEEK_DEAD = Draft(_peek(_DEAD, _DEAD_PLACE, order=(_DEAD.c.id,)), "queue", "count")
#: The same of one.
SHOW_DEAD = Draft(
    _with_message(_DEAD, _DEAD_PLACE).where(_DEAD.c.id == bindparam("delivery")), "delivery"
)

# --- shown ---


def _places(table: Table, place: tuple[Any, ...]) -> Any:
    """Return the queue and the place of each delivery of a message."""
    return (
        select(table.c.queue_id, *place)
        .where(
            table.c.id.between(bindparam("message"), bindparam("last")),
            table.c.message_id == bindparam("message"),
        )
        .limit(bindparam("count"))
        .offset(ZERO)
    )


LIVING_PLACES = Draft(_places(_DELIVERIES, _LIVING_PLACE), "message", "last", "count")
DEAD_PLACES = Draft(_places(_DEAD, _DEAD_PLACE), "message", "last", "count")
