"""A statement of a hot path: built from the models' tables, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, bindparam, insert, literal_column
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect

from ...models import Base
from ...models.base import BigInt


class Statement:
    """A statement and the order of its parameters.

    Args:
        build: returns the Core statement; called at the first use, so that
            importing this module compiles nothing.
        parameters: the names of its bound parameters in the order of their places.
    """

    __slots__ = ("_build", "_sql", "parameters")

    def __init__(self, build: Callable[[], Any], *parameters: str) -> None:
        self._build = build
        self._sql: dict[str, str] = {}
        self.parameters = parameters

    def sql(self, dialect: str) -> str:
        """Return the text of the statement for a dialect, by its name."""
        text = self._sql.get(dialect)
        if text is None:
            compiled = self._build().compile(dialect=_DIALECTS[dialect]())
            order = tuple(compiled.positiontup or ())
            if order != self.parameters:
                raise AssertionError(f"parameters are {order}, not {self.parameters}")
            text = self._sql[dialect] = str(compiled)
        return text


_DIALECTS: dict[str, Callable[[], Dialect]] = {"sqlite": lambda: sqlite.dialect(paramstyle="qmark")}


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    return cast(Table, model.__table__)


#: SQLite's dialect writes an OFFSET beside each LIMIT; as a literal it is no parameter.
ZERO = literal_column("0", BigInt)
NULL: ColumnElement[Any] = literal_column("NULL")


def insert_into(table: Table, *columns: str) -> Statement:
    """Return the statement that inserts a row of the named columns."""
    return Statement(
        lambda: insert(table).values({column: bindparam(column) for column in columns}), *columns
    )
