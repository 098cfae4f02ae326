"""Storing messages: sends to queues, publications to channels."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ... import names
from ...commands.channel import PUBLISH_ANYONE, ChannelPublish
from ...commands.queue import QueueSend
from ...commands.request import Principal, Request
from ...commands.sending import Sent
from ...errors import BrokerError, Denied, NotFound
from .. import statements as sql
from ..transaction import CounterChanges, Transaction
from .registry import handles_batch
from .rights import check_may_send, existing_queue


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


@handles_batch(QueueSend)
def send(tx: Transaction, requests: list[Request]) -> list[Any]:
    """Store messages, each with one delivery of the same id.

    The whole batch is two statements, whatever its size.
    """
    outcomes: list[Any] = []
    message_rows = []
    delivery_rows = []
    now = tx.now
    next_id = tx.allocate(len(requests))
    for principal, command in requests:
        try:
            queue = existing_queue(tx, command.queue)
            check_may_send(queue)
            size = len(command.body)
            names.check_body_size(size, tx.limits.max_message_bytes)
            tx.check_room()
            sent = _sent_before(tx, queue.id, command)
        except BrokerError as refusal:
            outcomes.append(refusal)
            continue
        if sent is not None:
            outcomes.append(sent)
            continue
        message_id = next_id
        next_id += 1
        due_at = now + command.delay_ms if command.delay_ms else None
        message_rows.append(_message_row(message_id, principal, command, now))
        delivery_rows.append(
            (
                message_id, queue.id, message_id, names.MAX_PRIORITY - command.priority, size,
                0, 0, None if due_at else now, due_at,
            )
        )  # fmt: skip
        _count_arrival(tx.counters(queue.id), size, due_at)
        if due_at is None:
            tx.woken_queues[queue.name] += 1
        else:
            tx.falls_due(queue.name, due_at)
        outcomes.append(_remember_key(tx, queue.id, command, message_id))
    if message_rows:
        tx.run_many(sql.INSERT_MESSAGE, message_rows)
        tx.run_many(sql.INSERT_DELIVERY, delivery_rows)
    return outcomes


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
        except BrokerError as refusal:
            outcomes.append(refusal)
            continue
        if sent is not None:
            outcomes.append(sent)
            continue
        message_id = _fan_out(tx, principal, channel, command)
        outcomes.append(_remember_key(tx, channel.id, command, message_id))
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
    tx: Transaction, principal: Principal, channel: ChannelRow, command: ChannelPublish
) -> int:
    """Store one message with a delivery for each subscription; return its id.

    Without subscriptions there is nobody to keep it for: only the id is used up.
    """
    copies = channel.subscriptions
    message_id = tx.allocate(1 + copies)
    if not copies:
        return message_id
    now = tx.now
    size = len(command.body)
    due_at = now + command.delay_ms if command.delay_ms else None
    rank = names.MAX_PRIORITY - command.priority
    tx.run(sql.INSERT_MESSAGE, _message_row(message_id, principal, command, now))
    tx.run(sql.INSERT_PUBLICATION, (message_id, copies, copies))
    made = tx.run(
        sql.FAN_OUT,
        (message_id, message_id, rank, size, None if due_at else now, due_at, channel.id),
    )
    if made != copies:
        raise AssertionError(f"{channel.name!r} counts {copies} subscriptions and has {made}")
    _count_arrival(tx.channel_counters(channel.id), size, due_at)
    if due_at is None:
        tx.woken_channels[channel.name] += 1
    else:
        tx.channel_falls_due(channel.name, due_at)
    return message_id


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
    tx: Transaction, target_id: int, command: QueueSend | ChannelPublish
) -> Sent | None:
    """Return what the first send with this key answered, if the key is still remembered."""
    if command.key is None:
        return None
    row = tx.one(sql.FIND_KEY, (target_id, command.key))
    if row is None:
        return None
    message_id, expires_at = row
    if expires_at > tx.now:
        return Sent(message_id, True)
    tx.run(sql.DELETE_KEY, (target_id, command.key))
    return None


def _remember_key(
    tx: Transaction, target_id: int, command: QueueSend | ChannelPublish, message_id: int
) -> int | Sent:
    """Return the answer to a send that was stored; with a key, remember it first."""
    if command.key is None:
        return message_id
    expires_at = tx.now + command.key_ttl_ms
    tx.run(sql.INSERT_KEY, (target_id, command.key, message_id, expires_at))
    tx.key_expires_at = min(expires_at, tx.key_expires_at or expires_at)
    return Sent(message_id, False)
