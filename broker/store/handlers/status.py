"""What the database holds in total."""

from __future__ import annotations

from sqlalchemy import func, select

from ...commands.request import Principal
from ...commands.status import Status, Totals
from ...models import Channel, Queue, Subscription, User
from ..transaction import Transaction
from .registry import handles


@handles(Status)
def totals(tx: Transaction, principal: Principal, command: Status) -> Totals:
    """Return the totals over all queues; costs their number, not that of their messages."""
    tx.flush()
    scalar = tx.connection.scalar
    sums = tx.connection.execute(
        select(
            *(
                func.coalesce(func.sum(column), 0)
                for column in (Queue.ready, Queue.delayed, Queue.leased, Queue.dead, Queue.bytes)
            )
        )
    ).one()
    return Totals(
        scalar(select(func.count()).select_from(Queue).where(Queue.channel_id.is_(None))) or 0,
        scalar(select(func.count()).select_from(Channel)) or 0,
        scalar(select(func.count()).select_from(Subscription)) or 0,
        scalar(select(func.count()).select_from(User)) or 0,
        *(int(value) for value in sums),
    )
