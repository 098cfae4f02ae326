"""A statement of a hot path: built from the models' tables, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Table, bindparam, delete, insert, literal_column
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


#: For how many rows a :class:`Bulk` is compiled; any number is made up of these. Beyond
#: 64 a row costs no less, and the text of the statement only grows.
BULK_SIZES: Final = (64, 16, 4, 1)


class Bulk:
    """A statement that does the same to many rows in one step.

    Each step gives the interpreter away and has to get it back from the thread that
    took it: a step a row would leave the writer waiting for the event loop most of
    the time.

    Args:
        build: returns the Core statement for so many rows, whose parameters are named
            by :func:`numbered`.
        columns: the parameters of each row, in order.
        shared: those of all rows together, which come first.
    """

    __slots__ = ("_statements", "width")

    def __init__(
        self, build: Callable[[int], Any], columns: Sequence[str], *, shared: Sequence[str] = ()
    ) -> None:
        self.width = len(columns)
        self._statements = {
            size: Statement(
                partial(build, size),
                *shared,
                *(numbered(column, row) for row in range(size) for column in columns),
            )
            for size in BULK_SIZES
        }

    def of(self, size: int) -> Statement:
        """Return the statement for ``size`` rows, one of :data:`BULK_SIZES`."""
        return self._statements[size]


def numbered(column: str, row: int) -> str:
    """Return the name of a parameter of one row of a :class:`Bulk`."""
    return f"{column}_{row}"


_DIALECTS: dict[str, Callable[[], Dialect]] = {"sqlite": lambda: sqlite.dialect(paramstyle="qmark")}


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    return cast(Table, model.__table__)


#: SQLite's dialect writes an OFFSET beside each LIMIT; as a literal it is no parameter.
ZERO = literal_column("0", BigInt)
NULL: ColumnElement[Any] = literal_column("NULL")


def insert_into(table: Table, *columns: str) -> Bulk:
    """Return the statement that inserts rows of the named columns."""
    return Bulk(
        lambda size: insert(table).values(
            [{c: bindparam(numbered(c, row)) for c in columns} for row in range(size)]
        ),
        columns,
    )


def one_of(column: Any, size: int) -> ColumnElement[bool]:
    """Return the condition that ``column`` is the ``id`` of one of the rows of a :class:`Bulk`."""
    found: ColumnElement[bool] = column.in_([bindparam(numbered("id", row)) for row in range(size)])
    return found


def delete_from(table: Table, column: str) -> Bulk:
    """Return the statement that deletes the rows with the given values of ``column``."""
    return Bulk(lambda size: delete(table).where(one_of(table.c[column], size)), ["id"])
