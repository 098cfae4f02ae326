"""Channels and subscriptions, as they are created, changed, listed and deleted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, func, insert, or_, select, update

from ...commands.channel import SETTINGS
from ...models import Channel, Queue, Removal, Subscription, User
from ...models.base import BigInt
from .draft import Draft, insert_into, table_of

_CHANNELS = table_of(Channel)
_SUBSCRIPTIONS = table_of(Subscription)
_QUEUES = table_of(Queue)
_REMOVALS = table_of(Removal)
_USERS = table_of(User)

_SETTINGS = tuple(setting.name for setting in SETTINGS)

FIND_CHANNEL = Draft(
    select(
        _CHANNELS.c.id,
        _CHANNELS.c.name,
        _CHANNELS.c.owner_id,
        _CHANNELS.c.publish,
        _CHANNELS.c.subscriptions,
    ).where(_CHANNELS.c.name == bindparam("n")),
    "n",
)
INSERT_CHANNELS = insert_into(
    _CHANNELS, "id", "name", "owner_id", "created_at", "subscriptions", *_SETTINGS
)
SET_CHANNEL = Draft(
    update(_CHANNELS)
    .values({setting: bindparam(setting) for setting in _SETTINGS})
    .where(_CHANNELS.c.id == bindparam("channel")),
    *_SETTINGS,
    "channel",
)
DELETE_CHANNEL = Draft(delete(_CHANNELS).where(_CHANNELS.c.id == bindparam("channel")), "channel")


def _records() -> Any:
    """Return what channels show."""
    return select(
        _CHANNELS.c.name,
        _USERS.c.name,
        _CHANNELS.c.created_at,
        _CHANNELS.c.subscriptions,
        *(_CHANNELS.c[setting] for setting in _SETTINGS),
    ).join_from(_CHANNELS, _USERS, _USERS.c.id == _CHANNELS.c.owner_id)


_OWNER: Any = bindparam("owner", type_=BigInt)
_SUBSCRIBER: Any = bindparam("subscriber", type_=BigInt)
#: Of one owner, with one subscriber, or of and with whomever where that is NULL.
SHOW_CHANNELS = Draft(
    _records()
    .where(
        or_(_OWNER.is_(None), _CHANNELS.c.owner_id == _OWNER),
        or_(
            _SUBSCRIBER.is_(None),
            _CHANNELS.c.id.in_(
                select(_SUBSCRIPTIONS.c.channel_id).where(_SUBSCRIPTIONS.c.user_id == _SUBSCRIBER)
            ),
        ),
    )
    .order_by(_CHANNELS.c.name),
    "owner",
    "subscriber",
)
SHOW_CHANNEL = Draft(_records().where(_CHANNELS.c.id == bindparam("channel")), "channel")

# --- subscriptions ---

IS_SUBSCRIBED = Draft(
    select(_SUBSCRIPTIONS.c.id).where(
        _SUBSCRIPTIONS.c.channel_id == bindparam("channel"),
        _SUBSCRIPTIONS.c.user_id == bindparam("user"),
    ),
    "channel",
    "user",
)
INSERT_SUBSCRIPTIONS = insert_into(
    _SUBSCRIPTIONS, "id", "channel_id", "user_id", "name", "queue_id", "created_at"
)
#: What a channel counts; a negative number takes off.
ADD_SUBSCRIPTIONS = Draft(
    update(_CHANNELS)
    .values(subscriptions=_CHANNELS.c.subscriptions + bindparam("count"))
    .where(_CHANNELS.c.id == bindparam("channel")),
    "count",
    "channel",
)
SUBSCRIPTIONS_OF_USER = Draft(
    select(_SUBSCRIPTIONS.c.queue_id).where(_SUBSCRIPTIONS.c.user_id == bindparam("user")), "user"
)
DELETE_SUBSCRIPTION = Draft(
    delete(_SUBSCRIPTIONS).where(_SUBSCRIPTIONS.c.queue_id == bindparam("queue")), "queue"
)

# --- all subscriptions of a channel, with their queues ---

_OF_CHANNEL = _QUEUES.c.channel_id == bindparam("channel")

COUNT_HELD = Draft(
    select(func.sum(_QUEUES.c.ready + _QUEUES.c.delayed + _QUEUES.c.leased + _QUEUES.c.dead)).where(
        _OF_CHANNEL
    ),
    "channel",
)
REMOVE_QUEUES_OF_CHANNEL = Draft(
    insert(_REMOVALS).from_select(["queue_id"], select(_QUEUES.c.id).where(_OF_CHANNEL)),
    "channel",
)
DELETE_SUBSCRIPTIONS_OF_CHANNEL = Draft(
    delete(_SUBSCRIPTIONS).where(_SUBSCRIPTIONS.c.channel_id == bindparam("channel")), "channel"
)
DELETE_QUEUES_OF_CHANNEL = Draft(delete(_QUEUES).where(_OF_CHANNEL), "channel")
