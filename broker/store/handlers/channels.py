"""Channels and subscriptions."""

from __future__ import annotations

from collections.abc import Set

from sqlalchemy import Select, delete, func, insert, select, update

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
from ...models import Channel as ChannelModel
from ...models import Queue, Removal, Subscription, User
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
    tx.connection.execute(
        insert(ChannelModel).values(
            id=tx.allocate(),
            name=command.name,
            owner_id=principal.id,
            created_at=tx.now,
            subscriptions=0,
            **settings,
        )
    )


@handles(ChannelSet)
def change(tx: Transaction, principal: Principal, command: ChannelSet) -> None:
    """Change settings of a live channel."""
    channel = existing_channel(tx, command.name)
    check_owns(principal, channel.owner_id, f"the channel {channel.name!r}")
    settings = read_settings(SETTINGS, command.settings)
    if settings:
        tx.connection.execute(
            update(ChannelModel).where(ChannelModel.id == channel.id).values(**settings)
        )


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
    held = tx.connection.scalar(
        select(func.sum(Queue.ready + Queue.delayed + Queue.leased + Queue.dead)).where(
            Queue.channel_id == channel.id
        )
    )
    doomed = select(Queue.id).where(Queue.channel_id == channel.id)
    tx.connection.execute(insert(Removal).from_select(["queue_id"], doomed))
    tx.connection.execute(delete(Subscription).where(Subscription.channel_id == channel.id))
    tx.connection.execute(delete(Queue).where(Queue.channel_id == channel.id))
    tx.connection.execute(delete(ChannelModel).where(ChannelModel.id == channel.id))
    tx.forget_queues()
    tx.woken_channels[channel.name] += EVERYONE
    tx.left_to_clean_up = True
    return int(held or 0)


@handles(ChannelList)
def list_channels(
    tx: Transaction, principal: Principal, command: ChannelList
) -> tuple[Channel, ...]:
    """List channels by name."""
    query = _channels()
    if command.mine:
        query = query.where(ChannelModel.owner_id == principal.id)
    if command.subscribed:
        mine = select(Subscription.channel_id).where(Subscription.user_id == principal.id)
        query = query.where(ChannelModel.id.in_(mine))
    return tuple(Channel(*row) for row in tx.connection.execute(query.order_by(ChannelModel.name)))


@handles(ChannelShow)
def show(tx: Transaction, principal: Principal, command: ChannelShow) -> Channel:
    """Show one channel."""
    channel = existing_channel(tx, command.name)
    row = tx.connection.execute(_channels().where(ChannelModel.id == channel.id)).one()
    return Channel(*row)


def _channels() -> Select[str, str, int, int, str]:
    return select(
        ChannelModel.name,
        User.name,
        ChannelModel.created_at,
        ChannelModel.subscriptions,
        ChannelModel.publish,
    ).join(User, User.id == ChannelModel.owner_id)


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
        tx.connection.execute(
            insert(Subscription).values(
                id=tx.allocate(),
                channel_id=channel.id,
                user_id=principal.id,
                name=command.as_name or "",
                queue_id=queue_id,
                created_at=tx.now,
            )
        )
        _add_subscriptions(tx, channel.id, 1)
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
    _add_subscriptions(tx, queue.channel_id, -1)
    return queue.held


def end_subscriptions(tx: Transaction, user_id: int) -> int:
    """End all subscriptions of a user and return how many messages waited in them."""
    tx.flush()
    rows = tx.connection.execute(
        select(Subscription.queue_id).where(Subscription.user_id == user_id)
    ).all()
    held = 0
    for (queue_id,) in rows:
        queue = tx.find_queue_by_id(queue_id)
        if queue is not None and queue.channel_id is not None:
            held += queue.held
            drop_queue(tx, queue)
            _add_subscriptions(tx, queue.channel_id, -1)
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
        _add_subscriptions(tx, queue.channel_id, -1)
    return len(rows) == IDLE_SLICE


def _add_subscriptions(tx: Transaction, channel_id: int, change: int) -> None:
    tx.connection.execute(
        update(ChannelModel)
        .where(ChannelModel.id == channel_id)
        .values(subscriptions=ChannelModel.subscriptions + change)
    )
