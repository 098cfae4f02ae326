"""Channels and subscriptions."""

from __future__ import annotations

from collections.abc import Set

from ...commands.channel import (
    SETTINGS,
    Channel,
    ChannelCreate,
    ChannelDelete,
    ChannelList,
    ChannelSet,
    ChannelShow,
    ChannelSubscribe,
    ChannelUnsubscribe,
)
from ...commands.grammar import default_settings, read_settings
from ...commands.request import Principal
from ...commands.settings import SUBSCRIPTION_SETTINGS
from ...errors import BrokerError, Exists
from ...names import subscription_queue
from .. import statements as sql
from ..transaction import EVERYONE, Transaction
from .deliveries import missing_subscription
from .messages import existing_channel
from .queues import apply_settings, check_settings, drop_queue, insert_queue
from .registry import handles
from .rights import check_owns, check_still_exists, existing_queue

#: How many forgotten subscriptions end in one transaction.
IDLE_SLICE = 100


@handles(ChannelCreate)
def create(tx: Transaction, principal: Principal, command: ChannelCreate) -> None:
    """Create a channel; one that exists is EXISTS, with ``if_missing`` fine."""
    check_still_exists(tx, principal)
    if tx.one(sql.FIND_CHANNEL, (command.name,)) is not None:
        if command.if_missing:
            return
        raise Exists(f"the channel {command.name!r} exists already")
    settings = default_settings(SETTINGS) | read_settings(SETTINGS, command.settings)
    values = (settings[setting.name] for setting in SETTINGS)
    channel = (tx.allocate(), command.name, principal.id, tx.now, 0, *values)
    tx.run_bulk(sql.INSERT_CHANNELS, channel)


@handles(ChannelSet)
def change(tx: Transaction, principal: Principal, command: ChannelSet) -> None:
    """Change settings of a live channel."""
    channel = existing_channel(tx, command.name)
    check_owns(principal, channel.owner_id, f"the channel {channel.name!r}")
    settings = read_settings(SETTINGS, command.settings)
    if settings:
        values = (settings.get(s.name, getattr(channel, s.name)) for s in SETTINGS)
        tx.run(sql.SET_CHANNEL, (*values, channel.id))


@handles(ChannelDelete)
def delete_channel(tx: Transaction, principal: Principal, command: ChannelDelete) -> int:
    """Delete a channel with all subscriptions, however many, in a handful of statements."""
    try:
        channel = existing_channel(tx, command.name)
    except BrokerError:
        if command.if_exists:
            return 0
        raise
    check_owns(principal, channel.owner_id, f"the channel {channel.name!r}")
    tx.flush()
    held = tx.one(sql.COUNT_HELD, (channel.id,))[0]
    tx.run(sql.REMOVE_QUEUES_OF_CHANNEL, (channel.id,))
    tx.run(sql.DELETE_SUBSCRIPTIONS_OF_CHANNEL, (channel.id,))
    tx.run(sql.DELETE_QUEUES_OF_CHANNEL, (channel.id,))
    tx.run(sql.DELETE_CHANNEL, (channel.id,))
    tx.forget_queues()
    tx.wakes_channel(channel.name, EVERYONE)
    tx.left_to_clean_up = True
    return int(held or 0)


@handles(ChannelList)
def list_channels(
    tx: Transaction, principal: Principal, command: ChannelList
) -> tuple[Channel, ...]:
    """List channels by name."""
    owner = principal.id if command.mine else None
    subscriber = principal.id if command.subscribed else None
    return tuple(map(Channel._make, tx.all(sql.SHOW_CHANNELS, (owner, subscriber))))


@handles(ChannelShow)
def show(tx: Transaction, principal: Principal, command: ChannelShow) -> Channel:
    """Show one channel."""
    channel = existing_channel(tx, command.name)
    return Channel._make(tx.one(sql.SHOW_CHANNEL, (channel.id,)))


@handles(ChannelSubscribe)
def subscribe(tx: Transaction, principal: Principal, command: ChannelSubscribe) -> None:
    """Give the caller a queue of its own on a channel; one it has already keeps what waits."""
    check_still_exists(tx, principal)
    channel = existing_channel(tx, command.channel)
    settings = read_settings(SUBSCRIPTION_SETTINGS, command.settings)
    name = subscription_queue(channel.name, principal.name, command.as_name or "")
    queue = tx.find_queue(name)
    check_settings(tx, name, settings)
    if queue is None:
        queue_id = insert_queue(tx, name, principal.id, channel.id, {})
        subscription = (
            tx.allocate(), channel.id, principal.id, command.as_name or "", queue_id, tx.now
        )  # fmt: skip
        tx.run_bulk(sql.INSERT_SUBSCRIPTIONS, subscription)
        tx.run(sql.ADD_SUBSCRIPTIONS, (1, channel.id))
        queue = existing_queue(tx, name)
    if settings:
        apply_settings(tx, queue, settings)


@handles(ChannelUnsubscribe)
def unsubscribe(tx: Transaction, principal: Principal, command: ChannelUnsubscribe) -> int:
    """End a subscription of the caller and answer how many messages waited in it."""
    tx.flush()
    name = subscription_queue(command.channel, principal.name, command.as_name or "")
    queue = tx.find_queue(name)
    if queue is None or queue.channel_id is None:
        raise missing_subscription(tx, command.channel, command.as_name)
    drop_queue(tx, queue)
    tx.run(sql.ADD_SUBSCRIPTIONS, (-1, queue.channel_id))
    return queue.held


def end_subscriptions(tx: Transaction, user_id: int) -> int:
    """End all subscriptions of a user and return how many messages waited in them."""
    tx.flush()
    held = 0
    for (queue_id,) in tx.all(sql.SUBSCRIPTIONS_OF_USER, (user_id,)):
        queue = tx.find_queue_by_id(queue_id)
        if queue is not None and queue.channel_id is not None:
            held += queue.held
            drop_queue(tx, queue)
            tx.run(sql.ADD_SUBSCRIPTIONS, (-1, queue.channel_id))
    return held


def end_idle_subscriptions(tx: Transaction, in_use: Set[str]) -> bool:
    """End subscriptions that nobody has used for as long as they allow.

    One that has some leased, or that somebody waits for (``in_use``), is in use.

    Returns:
        Whether there may be more.
    """
    rows = tx.all(sql.IDLE, (tx.now, IDLE_SLICE))
    for (queue_id,) in rows:
        tx.flush()
        queue = tx.find_queue_by_id(queue_id)
        if queue is None or queue.channel_id is None:
            raise AssertionError("what idles is a subscription's queue")
        if queue.leased or queue.name in in_use:
            tx.run(sql.TOUCH, (tx.now + queue.expire_idle, queue_id))
            continue
        drop_queue(tx, queue)
        tx.run(sql.ADD_SUBSCRIPTIONS, (-1, queue.channel_id))
    return len(rows) == IDLE_SLICE
