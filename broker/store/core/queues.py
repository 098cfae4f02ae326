"""Queues and their counters, subscriptions with limits, and what of both needs care."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, true, update

from ...commands.settings import SUBSCRIPTION_SETTINGS
from ...models import Channel, Delivery, Queue, Removal, Sequence, Subscription, User
from ...models.base import BigInt
from .draft import ZERO, Draft, insert_into, table_of

_SEQUENCES = table_of(Sequence)
_QUEUES = table_of(Queue)
_CHANNELS = table_of(Channel)
_SUBSCRIPTIONS = table_of(Subscription)
_DELIVERIES = table_of(Delivery)
_USERS = table_of(User)
_REMOVALS = table_of(Removal)

#: A negative count gives back the last that were allocated.
ALLOCATE = Draft(
    update(_SEQUENCES)
    .values(value=_SEQUENCES.c.value + bindparam("count"))
    .where(_SEQUENCES.c.name == bindparam("sequence"))
    .returning(_SEQUENCES.c.value),
    "count",
    "sequence",
)

ALLOCATE_BEYOND = Draft(
    update(_SEQUENCES)
    .values(value=bindparam("last"))
    .where(_SEQUENCES.c.name == bindparam("sequence"), _SEQUENCES.c.value < bindparam("last")),
    "last",
    "sequence",
)

#: In the order of :class:`~broker.store.transaction.QueueRow`.
QUEUE_COLUMNS = (
    "id", "name", "owner_id", "channel_id", "ready", "delayed", "leased", "dead", "bytes",
    "sends_paused", "pulls_paused", "max_attempts", "dead_letter", "backoff", "ttl", "on_expire",
    "max_messages", "max_bytes", "on_full", "expire_idle", "idle_at",
)  # fmt: skip
_COUNTERS = ("ready", "delayed", "leased", "dead", "bytes", "dropped")

FIND_QUEUE = Draft(
    select(*(_QUEUES.c[c] for c in QUEUE_COLUMNS)).where(_QUEUES.c.name == bindparam("n")),
    "n",
)
FIND_QUEUE_BY_ID = Draft(
    select(*(_QUEUES.c[c] for c in QUEUE_COLUMNS)).where(_QUEUES.c.id == bindparam("n")),
    "n",
)


def _added() -> Any:
    return update(_QUEUES).values({c: _QUEUES.c[c] + bindparam(f"add_{c}") for c in _COUNTERS})


ADD_TO_QUEUE = Draft(
    _added().where(_QUEUES.c.id == bindparam("queue")),
    *(f"add_{counter}" for counter in _COUNTERS),
    "queue",
)
ADD_TO_SUBSCRIPTIONS = Draft(
    _added().where(_QUEUES.c.channel_id == bindparam("channel")),
    *(f"add_{counter}" for counter in _COUNTERS),
    "channel",
)

# --- subscriptions with limits ---


def has_room() -> Any:
    """Return the condition that a subscription's queue takes one more of ``size`` bytes."""
    held = _QUEUES.c.ready + _QUEUES.c.delayed + _QUEUES.c.leased + _QUEUES.c.dead
    return and_(
        _QUEUES.c.sends_paused.is_not(true()),
        or_(_QUEUES.c.max_messages == ZERO, held < _QUEUES.c.max_messages),
        or_(
            _QUEUES.c.max_bytes == ZERO,
            _QUEUES.c.bytes + bindparam("size") <= _QUEUES.c.max_bytes,
        ),
    )


#: Whether any subscription of a channel has limits, a lifetime or a pause.
IS_LIMITED = Draft(
    select(_QUEUES.c.id)
    .where(_QUEUES.c.channel_id == bindparam("channel"), _QUEUES.c.is_limited.is_(true()))
    .limit(bindparam("count"))
    .offset(ZERO),
    "channel",
    "count",
)
ADD_TO_ROOMY = Draft(
    _added().where(_QUEUES.c.channel_id == bindparam("channel"), has_room()),
    *(f"add_{counter}" for counter in _COUNTERS),
    "channel",
    "size",
)
#: Before :data:`ADD_TO_ROOMY`: who does not get a publication has lost it.
COUNT_MISSED = Draft(
    update(_QUEUES)
    .values(dropped=_QUEUES.c.dropped + bindparam("missed"))
    .where(
        _QUEUES.c.channel_id == bindparam("channel"),
        _QUEUES.c.is_limited.is_(true()),
        ~has_room(),
    ),
    "missed",
    "channel",
    "size",
)


def _ready_in(deliveries: Any) -> Any:
    return and_(deliveries.c.queue_id == _QUEUES.c.id, deliveries.c.due_at.is_(None))


def _first_to_go() -> Any:
    """Return the id of what a full queue drops: ready, of the lowest priority, the oldest."""
    ranks, rows = _DELIVERIES.alias(), _DELIVERIES.alias()
    lowest = select(func.max(ranks.c.rank)).where(_ready_in(ranks)).correlate(_QUEUES)
    return (
        select(func.min(rows.c.id))
        .where(_ready_in(rows), rows.c.rank == lowest.scalar_subquery())
        .correlate(_QUEUES)
        .scalar_subquery()
    )


#: What the full subscriptions of a channel that drop their oldest drop first, one of each.
VICTIMS = Draft(
    select(_DELIVERIES.c.id, _DELIVERIES.c.message_id, _DELIVERIES.c.size, _QUEUES.c.id)
    .join_from(_QUEUES, _DELIVERIES, _DELIVERIES.c.id == _first_to_go())
    .where(
        _QUEUES.c.channel_id == bindparam("channel"),
        _QUEUES.c.is_limited.is_(true()),
        _QUEUES.c.on_full == bindparam("on_full"),
        _QUEUES.c.sends_paused.is_not(true()),
        or_(_QUEUES.c.max_bytes == ZERO, _QUEUES.c.max_bytes >= bindparam("least")),
        ~has_room(),
    ),
    "channel",
    "on_full",
    "least",
    "size",
)
#: The same for one queue.
VICTIM = Draft(
    select(_DELIVERIES.c.id, _DELIVERIES.c.message_id, _DELIVERIES.c.size)
    .join_from(_QUEUES, _DELIVERIES, _DELIVERIES.c.id == _first_to_go())
    .where(_QUEUES.c.id == bindparam("queue")),
    "queue",
)

# --- queues that need care ---

#: Queues whose dead go to a queue of that name, and that have some leased.
FEEDERS = Draft(
    select(_QUEUES.c.name).where(_QUEUES.c.dead_letter == bindparam("n"), _QUEUES.c.leased > ZERO),
    "n",
)
#: Whether there is any queue whose dead go to one of that name.
HAS_FEEDERS = Draft(select(_QUEUES.c.id).where(_QUEUES.c.dead_letter == bindparam("n")), "n")
#: All queues in which something falls due; looked for once, as a server starts.
BUSY_QUEUES = Draft(
    select(_QUEUES.c.name).where(or_(_QUEUES.c.leased > ZERO, _QUEUES.c.delayed > ZERO))
)
QUEUES_OF_CHANNEL = Draft(
    select(_QUEUES.c.name)
    .join_from(_CHANNELS, _QUEUES, _QUEUES.c.channel_id == _CHANNELS.c.id)
    .where(_CHANNELS.c.name == bindparam("n")),
    "n",
)
#: A deleted queue of which something may be left.
NEXT_REMOVAL = Draft(select(func.min(_REMOVALS.c.queue_id)))
TOUCH = Draft(
    update(_QUEUES).values(idle_at=bindparam("until")).where(_QUEUES.c.id == bindparam("queue")),
    "until",
    "queue",
)
NEXT_IDLE = Draft(select(func.min(_QUEUES.c.idle_at)).where(_QUEUES.c.idle_at.is_not(None)))
IDLE = Draft(
    select(_QUEUES.c.id)
    .where(_QUEUES.c.idle_at <= bindparam("now"))
    .order_by(_QUEUES.c.idle_at)
    .limit(bindparam("count"))
    .offset(ZERO),
    "now",
    "count",
)

# --- queues as they are created, changed, listed and deleted ---

_SETTINGS = tuple(setting.name for setting in SUBSCRIPTION_SETTINGS)
_NEW = (
    "id", "name", "owner_id", "channel_id", "created_at", "dropped", "sends_paused",
    "pulls_paused", *_SETTINGS,
)  # fmt: skip

#: Empty; whether it is limited follows with :data:`DERIVE_LIMITED`.
INSERT_QUEUE = Draft(
    insert(_QUEUES).values(
        dict.fromkeys(("ready", "delayed", "leased", "dead", "bytes", "is_limited"), ZERO)
        | {column: bindparam(column) for column in _NEW}
    ),
    *_NEW,
)
SET_QUEUE = Draft(
    update(_QUEUES)
    .values({setting: bindparam(setting) for setting in _SETTINGS})
    .where(_QUEUES.c.id == bindparam("queue")),
    *_SETTINGS,
    "queue",
)
PAUSE_QUEUE = Draft(
    update(_QUEUES)
    .values(sends_paused=bindparam("sends_paused"), pulls_paused=bindparam("pulls_paused"))
    .where(_QUEUES.c.id == bindparam("queue")),
    "sends_paused",
    "pulls_paused",
    "queue",
)
#: After each of those: what follows from settings and pauses.
DERIVE_LIMITED = Draft(
    update(_QUEUES)
    .values(
        is_limited=or_(
            _QUEUES.c.max_messages > ZERO,
            _QUEUES.c.max_bytes > ZERO,
            _QUEUES.c.ttl > ZERO,
            _QUEUES.c.sends_paused.is_(true()),
        )
    )
    .where(_QUEUES.c.id == bindparam("queue")),
    "queue",
)
DELETE_QUEUE = Draft(delete(_QUEUES).where(_QUEUES.c.id == bindparam("queue")), "queue")


def _records() -> Any:
    """Return what queues show, with their ids."""
    columns = (
        "created_at", "ready", "delayed", "leased", "dead", "bytes", "dropped", "sends_paused",
        "pulls_paused", *_SETTINGS,
    )  # fmt: skip
    return select(
        _QUEUES.c.id, _QUEUES.c.name, _USERS.c.name, *(_QUEUES.c[c] for c in columns)
    ).join_from(_QUEUES, _USERS, _USERS.c.id == _QUEUES.c.owner_id)


def _listed(query: Any) -> Any:
    """Return a query of those that are no subscriptions': of one ``owner``, or all with NULL."""
    owner: Any = bindparam("owner", type_=BigInt)
    return query.where(
        _QUEUES.c.channel_id.is_(None), or_(owner.is_(None), _QUEUES.c.owner_id == owner)
    ).order_by(_QUEUES.c.name)


#: In the order of :data:`QUEUE_COLUMNS`; then :data:`SHOW_QUEUES` shows the same ones.
LIST_QUEUES = Draft(_listed(select(*(_QUEUES.c[c] for c in QUEUE_COLUMNS))), "owner")
SHOW_QUEUES = Draft(_listed(_records()), "owner")
SHOW_QUEUE = Draft(_records().where(_QUEUES.c.id == bindparam("queue")), "queue")

#: A queue whose deliveries are still to be deleted.
INSERT_REMOVALS = insert_into(_REMOVALS, "queue_id")
DELETE_REMOVAL = Draft(delete(_REMOVALS).where(_REMOVALS.c.queue_id == bindparam("queue")), "queue")
