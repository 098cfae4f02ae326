"""Messages and their deliveries.

Bodies live apart from deliveries: a lease must not rewrite a body, a fan-out
must not copy one. A message sent to a queue has one delivery, of the same id;
a published one has ``copies`` deliveries of the ids that follow its own, so
that no index on ``message_id`` is needed to find them. No foreign key ties
deliveries to messages or queues: to check it, each delete would look through
the deliveries. The handlers keep the two in step, and a test counts orphans.
"""

from __future__ import annotations

from sqlalchemy import Index, LargeBinary, String, Text, and_
from sqlalchemy.orm import Mapped, mapped_column

from ..tables import PREFIX
from .base import Base, Big, BigInt, Id, Time


class Message(Base):
    """What was sent, once, immutable.

    ``sender`` is a name, not a reference: a message outlives its sender.
    ``headers`` is a JSON object or NULL.
    """

    __tablename__ = f"{PREFIX}messages"

    id: Mapped[Id]
    sender: Mapped[str] = mapped_column(String(128))
    sent_at: Mapped[Time]
    content_type: Mapped[str | None] = mapped_column(String(255))
    headers: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Delivery(Base):
    """One message waiting in one queue.

    Its state is in two columns: *ready* has no ``due_at``, *leased* has it and
    ``leased_by``, *delayed* has it alone; each state has an index of its own.
    ``rank`` is 9 - priority, so that no index needs DESC. ``generation`` rises with
    each lease and is half of the receipt; ``attempts`` is what people count, and a
    release takes it back. ``ready_at`` is when it first became ready, NULL before.
    ``expires_at`` is NULL where it lives for ever. ``failures`` (the last few) and
    ``died`` (in a dead-letter queue, where it comes from) are JSON or NULL.
    """

    __tablename__ = f"{PREFIX}deliveries"

    id: Mapped[Id]
    queue_id: Mapped[Big]
    message_id: Mapped[Big]
    rank: Mapped[Big]
    size: Mapped[Big]
    attempts: Mapped[Big]
    generation: Mapped[Big]
    ready_at: Mapped[int | None] = mapped_column(BigInt)
    due_at: Mapped[int | None] = mapped_column(BigInt)
    leased_by: Mapped[int | None] = mapped_column(BigInt)
    expires_at: Mapped[int | None] = mapped_column(BigInt)
    failures: Mapped[str | None] = mapped_column(Text)
    died: Mapped[str | None] = mapped_column(Text)


_READY = Delivery.due_at.is_(None)
_DELAYED = and_(Delivery.due_at.is_not(None), Delivery.leased_by.is_(None))
_LEASED = Delivery.leased_by.is_not(None)
_EXPIRING = and_(Delivery.expires_at.is_not(None), Delivery.leased_by.is_(None))
#: A claim walks this one and meets nothing but what it may take; only what has
#: expired and is not yet removed is passed over, without a look at its row.
Index(
    "ix_broker_deliveries_ready",
    Delivery.queue_id,
    Delivery.rank,
    Delivery.id,
    Delivery.expires_at,
    sqlite_where=_READY,
    postgresql_where=_READY,
)
#: What is delayed or leased, by the queue and the time at which that ends.
Index(
    "ix_broker_deliveries_delayed",
    Delivery.queue_id,
    Delivery.due_at,
    sqlite_where=_DELAYED,
    postgresql_where=_DELAYED,
)
Index(
    "ix_broker_deliveries_leased",
    Delivery.queue_id,
    Delivery.due_at,
    sqlite_where=_LEASED,
    postgresql_where=_LEASED,
)
#: What may expire, of all queues; a lease in progress finishes.
Index(
    "ix_broker_deliveries_expiring",
    Delivery.expires_at,
    sqlite_where=_EXPIRING,
    postgresql_where=_EXPIRING,
)


class DeadDelivery(Base):
    """A delivery that died: out of the way, but with its queue.

    It keeps its id, so that a retry puts it back at its old place.
    """

    __tablename__ = f"{PREFIX}dead_deliveries"
    __table_args__ = (Index(None, "queue_id", "id"),)

    id: Mapped[Id]
    queue_id: Mapped[Big]
    message_id: Mapped[Big]
    rank: Mapped[Big]
    size: Mapped[Big]
    attempts: Mapped[Big]
    generation: Mapped[Big]
    failures: Mapped[str | None] = mapped_column(Text)
    died: Mapped[str | None] = mapped_column(Text)
    dead_at: Mapped[Time]
    reason: Mapped[str] = mapped_column(Text)


class Publication(Base):
    """How many copies of a published message there were, and are: the body goes with the last."""

    __tablename__ = f"{PREFIX}publications"

    message_id: Mapped[Id]
    copies: Mapped[Big]
    remaining: Mapped[Big]


class IdempotencyKey(Base):
    """A key a message was sent with, so that a second send with it stores nothing.

    ``target_id`` is a queue's or a channel's id; both draw from one sequence.
    """

    __tablename__ = f"{PREFIX}keys"

    target_id: Mapped[Id]
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    message_id: Mapped[Big]
    expires_at: Mapped[int] = mapped_column(BigInt, index=True)
    #: How many messages were sent with it, of ids that follow each other.
    count: Mapped[Big]
