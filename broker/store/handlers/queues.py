"""Queues: creating, deleting, showing."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select

from ...commands.queue import Queue, QueueCreate, QueueDelete, QueueList, QueueShow
from ...commands.request import Principal
from ...errors import Conflict, Exists, NotFound
from ...models import Queue as QueueModel
from ...models import Removal, Subscription, User
from .. import statements as sql
from ..transaction import EVERYONE, QueueRow, Transaction
from .deliveries import make_due_ready
from .registry import handles
from .rights import check_may_pull, check_owns, check_still_exists, existing_queue

#: How far into a queue the oldest ready delivery is looked for. It stands at the
#: head but where a delay has brought a younger one in front of it.
HEAD = 100


@handles(QueueCreate)
def create(tx: Transaction, principal: Principal, command: QueueCreate) -> None:
    """Create a queue; one that exists is EXISTS, with ``if_missing`` fine."""
    check_still_exists(tx, principal)
    if tx.find_queue(command.name) is not None:
        if command.if_missing:
            return
        raise Exists(f"the queue {command.name!r} exists already")
    insert_queue(tx, command.name, principal.id, None)


def insert_queue(tx: Transaction, name: str, owner_id: int, channel_id: int | None) -> int:
    """Store an empty queue and return its id."""
    queue_id = tx.allocate()
    tx.connection.execute(
        insert(QueueModel).values(
            id=queue_id, name=name, owner_id=owner_id, channel_id=channel_id, created_at=tx.now,
            ready=0, delayed=0, leased=0, dead=0, bytes=0,
        )
    )  # fmt: skip
    return queue_id


@handles(QueueDelete)
def delete_queue(tx: Transaction, principal: Principal, command: QueueDelete) -> int:
    """Delete a queue; its name is free at once, its deliveries go in slices."""
    tx.flush()
    queue = tx.find_queue(command.name)
    if queue is None:
        if command.if_exists:
            return 0
        raise NotFound(f"there is no queue {command.name!r}")
    if queue.channel_id is not None:
        raise Conflict(f"{queue.name!r} is a subscription: unsubscribe to delete it")
    check_owns(principal, queue.owner_id, f"the queue {queue.name!r}")
    held = messages_in(queue)
    if command.if_empty and held:
        raise Conflict(f"the queue {queue.name!r} holds {held} messages")
    drop_queue(tx, queue)
    return held


def messages_in(queue: QueueRow) -> int:
    """Return how many deliveries a queue holds, in whatever state."""
    return queue.ready + queue.delayed + queue.leased + queue.dead


def drop_queue(tx: Transaction, queue: QueueRow) -> None:
    """Delete a queue's row (and the subscription it is for) and have its deliveries removed."""
    tx.flush()
    tx.connection.execute(insert(Removal).values(queue_id=queue.id))
    tx.connection.execute(delete(Subscription).where(Subscription.queue_id == queue.id))
    tx.connection.execute(delete(QueueModel).where(QueueModel.id == queue.id))
    tx.woken_queues[queue.name] += EVERYONE
    tx.left_to_clean_up = True


@handles(QueueList)
def list_queues(tx: Transaction, principal: Principal, command: QueueList) -> tuple[Queue, ...]:
    """List queues by name, without those of subscriptions."""
    query = select(QueueModel.name).where(QueueModel.channel_id.is_(None))
    if command.mine:
        query = query.where(QueueModel.owner_id == principal.id)
    tx.flush()
    found = tx.connection.scalars(query.order_by(QueueModel.name)).all()
    return _shown(tx, [existing_queue(tx, name) for name in found])


@handles(QueueShow)
def show(tx: Transaction, principal: Principal, command: QueueShow) -> Queue:
    """Show one queue; that of a subscription only to those who may pull from it."""
    tx.flush()
    queue = existing_queue(tx, command.name)
    check_may_pull(principal, queue)
    return _shown(tx, [queue])[0]


def _shown(tx: Transaction, queues: list[QueueRow]) -> tuple[Queue, ...]:
    """Return the records of queues, counted after what is due was made ready."""
    for queue in queues:
        make_due_ready(tx, queue)
    tx.flush()
    query = select(
        QueueModel.id, QueueModel.name, User.name, QueueModel.created_at, QueueModel.ready,
        QueueModel.delayed, QueueModel.leased, QueueModel.dead, QueueModel.bytes,
    ).join(User, User.id == QueueModel.owner_id)  # fmt: skip
    if len(queues) == 1:
        query = query.where(QueueModel.id == queues[0].id)
    rows = {row.id: row for row in tx.connection.execute(query)}
    return tuple(Queue(*rows[queue.id][1:], _oldest_ready_ms(tx, queue)) for queue in queues)


def _oldest_ready_ms(tx: Transaction, queue: QueueRow) -> int | None:
    times: list[Any] = tx.all(sql.READY_HEAD, (queue.id, HEAD))
    # A clock that was set back makes nothing younger than now.
    return max((max(0, tx.now - ready_at) for (ready_at,) in times), default=None)
