"""Queues and their counters."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from ..tables import PREFIX
from .base import Base, Big, BigInt, Id, Time


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
    #: How many it has lost: expired, or it was full.
    dropped: Mapped[Big]
    sends_paused: Mapped[bool]
    pulls_paused: Mapped[bool]
    # The settings, as broker.commands.settings reads them.
    max_attempts: Mapped[Big]
    #: A name, not a reference: it may come and go.
    dead_letter: Mapped[str | None] = mapped_column(String(128))
    backoff: Mapped[str | None] = mapped_column(String(64))
    ttl: Mapped[Big]
    on_expire: Mapped[str] = mapped_column(String(16))
    max_messages: Mapped[Big]
    max_bytes: Mapped[Big]
    on_full: Mapped[str] = mapped_column(String(16))
    expire_idle: Mapped[Big]
    #: When it ends unless somebody pulls from it; only with ``expire_idle``.
    idle_at: Mapped[int | None] = mapped_column(BigInt)
    #: Whether a publication must look at its limits, its lifetime or its pause, so
    #: that the fan-out to a channel where none has any costs nothing for them.
    is_limited: Mapped[bool]


#: The subscriptions of a channel, and those among them that have limits.
Index(
    "ix_broker_queues_channel",
    Queue.channel_id,
    Queue.is_limited,
    sqlite_where=Queue.channel_id.is_not(None),
    postgresql_where=Queue.channel_id.is_not(None),
)
Index(
    None,
    Queue.idle_at,
    sqlite_where=Queue.idle_at.is_not(None),
    postgresql_where=Queue.idle_at.is_not(None),
)
#: A claim finds the queues whose dead come to its own.
Index(
    None,
    Queue.dead_letter,
    sqlite_where=Queue.dead_letter.is_not(None),
    postgresql_where=Queue.dead_letter.is_not(None),
)


class Removal(Base):
    """A deleted queue whose deliveries are still there; they go in slices.

    The name is free at once, and no other command waits for a million deletes.
    """

    __tablename__ = f"{PREFIX}removals"

    queue_id: Mapped[Id]
