"""What all tables share: the naming convention, the prefix, the integer type."""

from __future__ import annotations

from typing import Annotated

from sqlalchemy import BigInteger, Integer, MetaData
from sqlalchemy.orm import DeclarativeBase, mapped_column

#: 64 bits everywhere; SQLite wants the word INTEGER to make a key its rowid.
BigInt = BigInteger().with_variant(Integer, "sqlite")

Id = Annotated[int, mapped_column(BigInt, primary_key=True, autoincrement=False)]
#: Milliseconds since 1970, UTC.
Time = Annotated[int, mapped_column(BigInt)]
Big = Annotated[int, mapped_column(BigInt)]


class Base(DeclarativeBase):
    """The declarative base.

    Ids are allocated by the store (:class:`~broker.models.sequences.Sequence`)
    and never reused: a bare ``INTEGER PRIMARY KEY`` reuses them once a queue has
    drained, and an old receipt would then acknowledge a new message.
    """

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
