"""Reading a whole database as the lines of an export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection, Select, null, select, union_all

from ..commands.archive import (
    COPIES_A_LINE,
    ChannelRecord,
    CopyRecord,
    Header,
    KeyRecord,
    MessageRecord,
    QueueRecord,
    Record,
    SubscriptionRecord,
    UserRecord,
    identity_of,
)
from ..commands.delivery import DEAD, DELAYED, LEASED, READY
from ..commands.settings import QUEUE_SETTINGS, SUBSCRIPTION_SETTINGS
from ..models import (
    Channel,
    DeadDelivery,
    Delivery,
    IdempotencyKey,
    Queue,
    Sequence,
    Subscription,
    User,
)
from ..names import MAX_PRIORITY
from ..tables import ID_SEQUENCE
from . import statements as sql
from .handlers.queues import paused_text

#: Rows fetched at a time: what is in memory of a list that may be long.
_FETCH: Final = 500


def header_of(connection: Connection, now: int, *, with_secrets: bool) -> Header:
    """Return the header of an export that is made at ``now``."""
    last_id = connection.scalar(select(Sequence.value).where(Sequence.name == ID_SEQUENCE)) or 0
    return Header(last_id, now, with_secrets)


def records_of(connection: Connection, now: int, *, with_secrets: bool) -> Iterator[Record]:
    """Yield everything in a database, each thing after what it refers to.

    What is left of deleted queues, and keys whose time is over, are no part of it.

    Args:
        connection: to a snapshot that nobody changes, of the newest revision.
        now: in milliseconds since 1970.
        with_secrets: whether users come with the hashes of their passwords.
    """
    yield from _users(connection, with_secrets)
    yield from _channels(connection)
    yield from _queues(connection)
    yield from _subscriptions(connection)
    yield from _messages(connection)
    yield from _keys(connection, now)


def _rows(connection: Connection, query: Select[Any] | Any) -> Iterator[Any]:
    return iter(connection.execution_options(yield_per=_FETCH).execute(query))


def _users(connection: Connection, with_secrets: bool) -> Iterator[Record]:
    columns = (User.name, User.uid, User.is_admin, User.created_at, User.password_hash)
    for row in _rows(connection, select(*columns).order_by(User.id)):
        user = UserRecord._make(row)
        yield user if with_secrets else user._replace(password_hash=None)


def _channels(connection: Connection) -> Iterator[Record]:
    query = (
        select(Channel.name, User.name, Channel.created_at, Channel.publish)
        .join(User, User.id == Channel.owner_id)
        .order_by(Channel.id)
    )
    for row in _rows(connection, query):
        yield ChannelRecord(*row)


_PLACE = (Queue.created_at, Queue.sends_paused, Queue.pulls_paused, Queue.dropped)


def _queues(connection: Connection) -> Iterator[Record]:
    settings = [getattr(Queue, setting.name) for setting in QUEUE_SETTINGS]
    query = (
        select(Queue.name, User.name, *_PLACE, *settings)
        .join(User, User.id == Queue.owner_id)
        .where(Queue.channel_id.is_(None))
        .order_by(Queue.id)
    )
    for name, owner, created_at, sends, pulls, dropped, *values in _rows(connection, query):
        texts = _texts(QUEUE_SETTINGS, values)
        yield QueueRecord(name, owner, created_at, texts, paused_text(sends, pulls), dropped)


def _subscriptions(connection: Connection) -> Iterator[Record]:
    settings = [getattr(Queue, setting.name) for setting in SUBSCRIPTION_SETTINGS]
    query = (
        select(Channel.name, User.name, Subscription.name, *_PLACE, *settings)
        .select_from(Subscription)
        .join(Queue, Queue.id == Subscription.queue_id)
        .join(Channel, Channel.id == Subscription.channel_id)
        .join(User, User.id == Subscription.user_id)
        .order_by(Subscription.id)
    )
    for channel, user, name, created_at, sends, pulls, dropped, *values in _rows(connection, query):
        texts = _texts(SUBSCRIPTION_SETTINGS, values)
        paused = paused_text(sends, pulls)
        yield SubscriptionRecord(channel, user, name, created_at, texts, paused, dropped)


def _texts(settings: Any, values: list[Any]) -> dict[str, str]:
    """Return all settings as they are written, for another version may have other defaults."""
    shown = ((s.name, s.show(value)) for s, value in zip(settings, values, strict=True))
    return {name: "" if value is None else str(value) for name, value in shown}


# --- messages --------------------------------------------------------------------


def _deliveries() -> Any:
    """Return all deliveries, alive and dead, by their ids: so are those of a message together."""
    living = select(
        Delivery.id, Delivery.message_id, Delivery.queue_id, Delivery.rank, Delivery.attempts,
        Delivery.ready_at, Delivery.due_at, Delivery.leased_by, Delivery.expires_at,
        null().label("dead_at"), null().label("reason"), Delivery.failures, Delivery.died,
    )  # fmt: skip
    dead = select(
        DeadDelivery.id, DeadDelivery.message_id, DeadDelivery.queue_id, DeadDelivery.rank,
        DeadDelivery.attempts, null(), null(), null(), null(), DeadDelivery.dead_at,
        DeadDelivery.reason, DeadDelivery.failures, DeadDelivery.died,
    )  # fmt: skip
    return union_all(living, dead).order_by("id")


def _messages(connection: Connection) -> Iterator[Record]:
    names, contents = _QueueNames(connection), _Contents(connection)

    def line_of(row: Any) -> tuple[int, int]:
        """Return the message of a copy, and in which of its lines it stands."""
        published = row.id != row.message_id
        part = (row.id - row.message_id - 1) // COPIES_A_LINE if published else 0
        return row.message_id, part

    for (message_id, part), rows in groupby(_rows(connection, _deliveries()), line_of):
        copies: list[CopyRecord] = []
        published = False
        for row in rows:
            published |= row.id != row.message_id
            queue = names.of(row.queue_id)
            if queue is not None:
                copies.append(_copy(row, queue))
        if copies:
            content = contents.of(message_id)
            if content is None:
                raise AssertionError(f"delivery {copies[0]} has no message")
            sender, sent_at, content_type, headers, body = content
            yield MessageRecord(
                message_id, part, published, sender, sent_at, content_type, headers, body,
                tuple(copies),
            )  # fmt: skip


class _QueueNames:
    """The names of queues, looked up as they are met; the last few are remembered."""

    _MOST: Final = 10_000

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[int, str | None] = {}

    def of(self, queue_id: int) -> str | None:
        """Return the name of a queue, or None if it is deleted."""
        if queue_id not in self._known:
            if len(self._known) >= self._MOST:
                self._known.clear()
            query = select(Queue.name).where(Queue.id == queue_id)
            self._known[queue_id] = self._connection.scalar(query)
        return self._known[queue_id]


def _copy(row: Any, queue: str) -> CopyRecord:
    if row.dead_at is not None:
        state = DEAD
    elif row.leased_by is not None:
        state = LEASED
    else:
        state = READY if row.due_at is None else DELAYED
    return CopyRecord(
        queue, state, MAX_PRIORITY - row.rank, row.attempts, row.ready_at,
        row.due_at if state == DELAYED else None, row.expires_at, row.dead_at, row.reason,
        None if row.failures is None else json.loads(row.failures),
        None if row.died is None else json.loads(row.died),
    )  # fmt: skip


class _Contents:
    """Messages by their ids, on the driver's cursor: one is looked up for each line."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.connection.cursor()
        self._find = sql.FIND_MESSAGE.text

    def of(self, message_id: int) -> tuple[Any, ...] | None:
        """Return sender, time, content type, headers and body, or None if it is gone."""
        self._cursor.execute(self._find, (message_id,))
        row = self._cursor.fetchone()
        if row is None:
            return None
        sender, sent_at, content_type, headers, body = row
        return sender, sent_at, content_type, json.loads(headers) if headers else {}, body


# --- keys ------------------------------------------------------------------------


def _keys(connection: Connection, now: int) -> Iterator[Record]:
    """Yield the keys that are remembered; those that imports have left belong to nothing."""
    query = (
        select(
            Queue.name, Channel.name, IdempotencyKey.key, IdempotencyKey.expires_at,
            IdempotencyKey.count, IdempotencyKey.message_id,
        )
        .select_from(IdempotencyKey)
        .outerjoin(Queue, Queue.id == IdempotencyKey.target_id)
        .outerjoin(Channel, Channel.id == IdempotencyKey.target_id)
        .where(IdempotencyKey.expires_at > now)
        .order_by(IdempotencyKey.target_id, IdempotencyKey.key)
    )  # fmt: skip
    contents = _Contents(connection)
    for queue, channel, key, expires_at, count, message_id in _rows(connection, query):
        if queue is None and channel is None:
            continue
        content = contents.of(message_id)
        identity = None if content is None else identity_of(message_id, 0, *content)
        yield KeyRecord(queue, channel, key, expires_at, count, identity)
