"""Channels and subscriptions."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from ..tables import PREFIX
from .base import Base, Big, BigInt, Id, Time


class Channel(Base):
    """A channel; ``subscriptions`` counts its subscriptions."""

    __tablename__ = f"{PREFIX}channels"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(128), unique=True)
    owner_id: Mapped[int] = mapped_column(BigInt, ForeignKey(f"{PREFIX}users.id"), index=True)
    created_at: Mapped[Time]
    publish: Mapped[str] = mapped_column(String(16))
    subscriptions: Mapped[Big]


class Subscription(Base):
    """A user's place on a channel, with a queue of its own; ``name`` is empty for the first."""

    __tablename__ = f"{PREFIX}subscriptions"
    __table_args__ = (UniqueConstraint("channel_id", "user_id", "name"),)

    id: Mapped[Id]
    channel_id: Mapped[int] = mapped_column(BigInt, ForeignKey(f"{PREFIX}channels.id"))
    user_id: Mapped[int] = mapped_column(BigInt, ForeignKey(f"{PREFIX}users.id"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    queue_id: Mapped[int] = mapped_column(BigInt, ForeignKey(f"{PREFIX}queues.id"), unique=True)
    created_at: Mapped[Time]
