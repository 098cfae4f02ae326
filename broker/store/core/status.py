"""What the database holds in total."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, func, select

from ...models import Channel, Queue, Subscription, User
from .draft import ZERO, Draft, table_of

_QUEUES = table_of(Queue)


def _count(table: Table) -> Any:
    return select(func.count()).select_from(table).scalar_subquery()


#: In the order of :class:`~broker.commands.status.Totals`.
TOTALS = Draft(
    select(
        func.count().filter(_QUEUES.c.channel_id.is_(None)),
        _count(table_of(Channel)),
        _count(table_of(Subscription)),
        _count(table_of(User)),
        *(
            func.coalesce(func.sum(_QUEUES.c[column]), ZERO)
            for column in ("ready", "delayed", "leased", "dead", "bytes")
        ),
    )
)
