"""Who may act."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from ..tables import PREFIX
from .base import Base, BigInt, Id, Time


class User(Base):
    """A user: known by password, by operating-system uid, by both or (not yet) by neither."""

    __tablename__ = f"{PREFIX}users"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(128), unique=True)
    password_hash: Mapped[str | None] = mapped_column(String(72))
    uid: Mapped[int | None] = mapped_column(BigInt, unique=True)
    is_admin: Mapped[bool]
    created_at: Mapped[Time]
