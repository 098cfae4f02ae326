"""Where ids come from."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ..tables import PREFIX
from .base import Base, Big


class Sequence(Base):
    """A counter; ``value`` is the last number given out."""

    __tablename__ = f"{PREFIX}sequences"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[Big]
