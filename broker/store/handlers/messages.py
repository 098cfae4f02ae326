"""Storing messages: sends to queues, publications to channels."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ... import names
from ...commands.channel import PUBLISH_ANYONE, ChannelPublish
from ...commands.queue import QueueSend, QueueSendMany
from ...commands.request import Principal, Request
from ...commands.sending import Sent, SentMany
from ...errors import BrokerError, Denied, Full, Invalid, NotFound
from .. import statements as sql
from ..transaction import CounterChanges, QueueRow, Transaction
from .expiry import expire
from .limits import check_takes, is_limited, make_room_in_channel
from .registry import all_or_none, handles, handles_batch
from .rights import check_may_send, existing_queue

#: Expired keys are not honoured any more; they are taken away this long after, so
#: that many go together. In milliseconds.
KEY_CLEAN_UP_DELAY_MS = 60_000


class ChannelRow(NamedTuple):
    """A channel as the handlers know it."""

    id: int
    name: str
    owner_id: int
    publish: str
    subscriptions: int


def existing_channel(tx: Transaction, name: str) -> ChannelRow:
    """Return a channel by name, or refuse."""
    row = tx.one(sql.FIND_CHANNEL, (name,))
    if row is None:
        raise NotFound(f"there is no channel {name!r}")
    return ChannelRow(*row)


class _Outbox:
    """Rows of messages that are stored together, and what is owed to their queues."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        # The parameters of one row after the other.
        self._messages: list[Any] = []
        self._deliveries: list[Any] = []

    def add(self, message: tuple[Any, ...], delivery: tuple[Any, ...]) -> None:
        """Take a message and its one delivery."""
        self._messages += message
        self._deliveries += delivery

    def flush(self) -> None:
        """Store what was taken."""
        self._tx.run_bulk(sql.INSERT_MESSAGES, self._messages)
        self._tx.run_bulk(sql.INSERT_DELIVERIES, self._deliveries)
        self._messages, self._deliveries = [], []


@handles_batch(QueueSend)
def send(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Store messages, each with one delivery of the same id.

    The whole batch goes in a few statements, whatever its size; but a full queue that
    drops its oldest has each of its messages stored before the next.
    """
    outcomes: list[Any] = []
    outbox = _Outbox(tx)
    now = tx.now
    next_id = tx.allocate(len(requests))
    max_size = tx.limits.max_message_bytes
    # Queues without limits, which are looked at once a batch.
    unlimited: dict[str, QueueRow] = {}
    for principal, command in requests:
        size = len(command.body)
        try:
            tx.check_room()
            queue = unlimited.get(command.queue)
            if queue is None:
                queue = existing_queue(tx, command.queue)
                check_may_send(queue)
                if not is_limited(queue):
                    unlimited[command.queue] = queue
            if size > max_size:
                names.check_body_size(size, max_size)
            sent = None if command.key is None else _sent_before(tx, queue.id, command)
            due_at, expires_at = _times(command, queue.ttl, now)
            if sent is None and command.queue not in unlimited:
                outbox.flush()
                _check_takes(tx, queue, size)
        except BrokerError as refusal:
            outcomes.append(refusal)
            continue
        if sent is not None:
            outcomes.append(Sent(sent[0], True))
            continue
        message_id = next_id
        next_id += 1
        outbox.add(
            _message_row(message_id, principal, command, now),
            (
                message_id, queue.id, message_id, names.MAX_PRIORITY - command.priority, size,
                0, 0, None if due_at else now, due_at, expires_at,
            ),
        )  # fmt: skip
        _count_arrival(tx.counters(queue.id), size, due_at)
        if due_at is None:
            tx.woken_queues[queue.name] += 1
        else:
            tx.falls_due(queue.name, due_at)
        if expires_at is not None:
            tx.to_clean_up(expires_at)
        if command.key is None:
            outcomes.append(message_id)
        else:
            _remember_key(tx, queue.id, command, message_id, 1)
            outcomes.append(Sent(message_id, False))
    outbox.flush()
    return outcomes


def _check_takes(tx: Transaction, queue: QueueRow, size: int) -> None:
    """Refuse what a queue does not take, after what has expired is out of the way."""
    try:
        check_takes(tx, queue, size)
    except Full:
        expire(tx)
        check_takes(tx, queue, size)


@handles(QueueSendMany)
def send_many(
    tx: Transaction, principal: Principal, command: QueueSendMany
) -> tuple[int, ...] | SentMany:
    """Store many messages alike, all or none."""
    queue = existing_queue(tx, command.queue)
    sent = _sent_before(tx, queue.id, command)
    if sent is not None:
        first, count = sent
        return SentMany(tuple(range(first, first + count)), True)
    sends = [
        Request(
            principal,
            QueueSend(
                command.queue, body, command.priority, command.delay_ms, None,
                names.DEFAULT_KEY_TTL_MS, command.content_type, command.headers, command.at_ms,
                command.ttl_ms,
            ),
        )
        for body in command.bodies
    ]  # fmt: skip
    ids = tuple(all_or_none(tx, sends))
    if command.key is None:
        return ids
    _remember_key(tx, queue.id, command, ids[0], len(ids))
    return SentMany(ids, False)


@handles_batch(ChannelPublish)
def publish(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Store each message once and fan it out inside the database."""
    channels: dict[str, ChannelRow] = {}
    publishers: set[tuple[int, int]] = set()
    outcomes: list[Any] = []
    for principal, command in requests:
        try:
            channel = channels.get(command.channel)
            if channel is None:
                channel = channels[command.channel] = existing_channel(tx, command.channel)
            if (channel.id, principal.id) not in publishers:
                _check_may_publish(tx, principal, channel)
                publishers.add((channel.id, principal.id))
            names.check_body_size(len(command.body), tx.limits.max_message_bytes)
            tx.check_room()
            sent = _sent_before(tx, channel.id, command)
            times = _times(command, 0, tx.now)
        except BrokerError as refusal:
            outcomes.append(refusal)
            continue
        if sent is not None:
            outcomes.append(Sent(sent[0], True))
            continue
        message_id = _fan_out(tx, principal, channel, command, times)
        if command.key is None:
            outcomes.append(message_id)
        else:
            _remember_key(tx, channel.id, command, message_id, 1)
            outcomes.append(Sent(message_id, False))
    # Whoever reads a subscription's counters later in this transaction must see them.
    tx.flush()
    return outcomes


def _check_may_publish(tx: Transaction, principal: Principal, channel: ChannelRow) -> None:
    """Only subscribers publish, owner and admin too, unless the channel is open to anyone."""
    if channel.publish == PUBLISH_ANYONE:
        return
    if tx.one(sql.IS_SUBSCRIBED, (channel.id, principal.id)) is None:
        raise Denied(f"only subscribers publish to {channel.name!r}: subscribe first")


def _fan_out(
    tx: Transaction,
    principal: Principal,
    channel: ChannelRow,
    command: ChannelPublish,
    times: tuple[int | None, int | None],
) -> int:
    """Store one message with a delivery for each subscription that takes it; return its id.

    Without subscriptions there is nobody to keep it for: only the id is used up.
    """
    message_id = tx.allocate(1 + channel.subscriptions)
    if not channel.subscriptions:
        return message_id
    due_at, expires_at = times
    size = len(command.body)
    copy = (
        message_id,
        message_id,
        names.MAX_PRIORITY - command.priority,
        size,
        None if due_at else tx.now,
        due_at,
    )
    if tx.one(sql.IS_LIMITED, (channel.id, 1)) is None:
        copies = tx.run(sql.FAN_OUT, (*copy, expires_at, channel.id))
        if copies != channel.subscriptions:
            raise AssertionError(
                f"{channel.name!r} counts {channel.subscriptions} subscriptions and has {copies}"
            )
        _count_arrival(tx.channel_counters(channel.id), size, due_at)
        tx.to_clean_up(expires_at)
    else:
        copies = _fan_out_within_limits(tx, channel.id, copy, expires_at)
        if not copies:
            return message_id
    tx.run_bulk(sql.INSERT_MESSAGES, _message_row(message_id, principal, command, tx.now))
    tx.run_bulk(sql.INSERT_PUBLICATIONS, (message_id, copies, copies))
    if due_at is None:
        tx.woken_channels[channel.name] += 1
    else:
        tx.channel_falls_due(channel.name, due_at)
    return message_id


def _fan_out_within_limits(
    tx: Transaction, channel_id: int, copy: tuple[Any, ...], expires_at: int | None
) -> int:
    """Make a copy for each subscription that has room, and return how many that were.

    Who is full misses it, and counts it, without failing the others. The limits
    are read from the rows, so what is owed to them is written before and after.
    """
    *_, size, _, due_at = copy
    expire(tx)
    tx.flush()
    make_room_in_channel(tx, channel_id, size)
    now = tx.now
    lifetimes = (expires_at, expires_at, now, expires_at, now)
    copies = tx.run(sql.FAN_OUT_WITHIN_LIMITS, (*copy, *lifetimes, channel_id, size))
    tx.run(sql.COUNT_MISSED, (1, channel_id, size))
    arrival = CounterChanges()
    _count_arrival(arrival, size, due_at)
    tx.run(sql.ADD_TO_ROOMY, (*arrival.row(channel_id), size))
    tx.to_clean_up(tx.one(sql.NEXT_EXPIRY, ())[0])
    return copies


def _times(
    command: QueueSend | ChannelPublish, ttl_ms: int, now: int
) -> tuple[int | None, int | None]:
    """Return when a message is due, None for at once, and when it expires, None for never.

    Args:
        command: with its own lifetime, or none.
        ttl_ms: that of the queue, 0 for none; the shorter counts.
        now: when it is sent.
    """
    due_at = now + command.delay_ms if command.delay_ms else None
    if command.at_ms is not None and command.at_ms > now:
        due_at = command.at_ms
    if command.ttl_ms is not None:
        ttl_ms = min(command.ttl_ms, ttl_ms) if ttl_ms else command.ttl_ms
    if not ttl_ms:
        return due_at, None
    if due_at is not None and due_at - now >= ttl_ms:
        life = names.format_duration(ttl_ms)
        raise Invalid(f"a message that lives for {life}, no longer than its delay, never comes")
    return due_at, now + ttl_ms


def _message_row(
    message_id: int, principal: Principal, command: QueueSend | ChannelPublish, now: int
) -> tuple[Any, ...]:
    headers = command.headers
    return (
        message_id,
        principal.name,
        now,
        command.content_type,
        json.dumps(dict(headers), ensure_ascii=False, separators=(",", ":")) if headers else None,
        command.body,
    )


def _count_arrival(counters: CounterChanges, size: int, due_at: int | None) -> None:
    counters.bytes += size
    if due_at is None:
        counters.ready += 1
    else:
        counters.delayed += 1


def _sent_before(
    tx: Transaction, target_id: int, command: QueueSend | QueueSendMany | ChannelPublish
) -> tuple[int, int] | None:
    """Return the first id and the number of what was sent with this key, if it is remembered."""
    if command.key is None:
        return None
    row = tx.one(sql.FIND_KEY, (target_id, command.key))
    if row is None:
        return None
    message_id, expires_at, count = row
    if expires_at > tx.now:
        return message_id, count
    tx.run(sql.DELETE_KEY, (target_id, command.key))
    return None


def _remember_key(
    tx: Transaction,
    target_id: int,
    command: QueueSend | QueueSendMany | ChannelPublish,
    message_id: int,
    count: int,
) -> None:
    """Remember the key of what was stored: ``count`` messages from ``message_id`` on."""
    expires_at = tx.now + command.key_ttl_ms
    tx.run_bulk(sql.INSERT_KEYS, (target_id, command.key, message_id, expires_at, count))
    tx.to_clean_up(expires_at + KEY_CLEAN_UP_DELAY_MS)
