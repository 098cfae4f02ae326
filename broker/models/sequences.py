"""Where ids come from."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from .base import PREFIX, Base, Big

#: Users, queues, channels, subscriptions, messages and deliveries draw from one
#: sequence, so that an id says by itself what it names.
ID_SEQUENCE = "id"


class Sequence(Base):
    """A counter; ``value`` is the last number given out."""

    __tablename__ = f"{PREFIX}sequences"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[Big]
