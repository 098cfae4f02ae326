"""Queues and their counters."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from .base import PREFIX, Base, Big, BigInt, Id, Time


class Queue(Base):
    """A queue, or the queue of a subscription.

    That of a subscription has ``channel_id`` and belongs to the subscriber. The
    counters are changed once a batch, in the transaction that changes what they
    count, so that no listing or limit ever counts rows.
    """

    __tablename__ = f"{PREFIX}queues"

    id: Mapped[Id]
    #: CHANNEL@USER@NAME, each of 128 characters.
    name: Mapped[str] = mapped_column(String(386), unique=True)
    owner_id: Mapped[int] = mapped_column(BigInt, ForeignKey(f"{PREFIX}users.id"), index=True)
    channel_id: Mapped[int | None] = mapped_column(BigInt, ForeignKey(f"{PREFIX}channels.id"))
    created_at: Mapped[Time]
    ready: Mapped[Big]
    delayed: Mapped[Big]
    leased: Mapped[Big]
    dead: Mapped[Big]
    bytes: Mapped[Big]


Index(
    None,
    Queue.channel_id,
    sqlite_where=Queue.channel_id.is_not(None),
    postgresql_where=Queue.channel_id.is_not(None),
)


class Removal(Base):
    """A deleted queue whose deliveries are still there; they go in slices.

    The name is free at once, and no other command waits for a million deletes.
    """

    __tablename__ = f"{PREFIX}removals"

    queue_id: Mapped[Id]
