"""A statement of a hot path: built from the models' tables, compiled once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Table, UpdateBase, bindparam, delete, insert, literal_column
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect

from ...models import Base
from ...models.base import BigInt


class Statement:
    """A statement and the order of its parameters.

    Args:
        build: returns the Core statement; called at the first use, so that
            importing this module compiles nothing.
        parameters: the names of its bound parameters, each once, in the order in which
            their values are given; where and how often they stand in it is its own affair.
    """

    __slots__ = ("_build", "_sql", "changes", "parameters")

    def __init__(self, build: Callable[[], Any], *parameters: str) -> None:
        self._build = build
        self._sql: dict[str, str] = {}
        #: The name of the table that it changes, once its text was asked for, or None.
        self.changes: str | None = None
        self.parameters = parameters

    def sql(self, dialect: str) -> str:
        """Return the text of the statement for a dialect, by its name."""
        text = self._sql.get(dialect)
        if text is None:
            built = self._build()
            self.changes = str(built.table) if isinstance(built, UpdateBase) else None
            compiled = built.compile(dialect=_DIALECTS[dialect]())
            named = tuple(compiled.positiontup or ())
            if sorted(named) != sorted(self.parameters):
                raise AssertionError(f"parameters are {named}, not {self.parameters}")
            places = {name: place for place, name in enumerate(self.parameters, 1)}
            text = self._sql[dialect] = _PLACE.sub(
                lambda found: f"?{places[named[int(found[1]) - 1]]}", str(compiled)
            )
        return text


#: A parameter as SQLAlchemy numbers it. SQLite calls that a name, which it may not have
#: where values are given by position; it numbers them with a question mark.
_PLACE: Final = re.compile(r":(\d+)")


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
        is_run: whether the first of those is the id of the first row, and the ids of the
            others follow it, so that each step goes on where the one before has ended.
    """

    __slots__ = ("_statements", "is_run", "width")

    def __init__(
        self,
        build: Callable[[int], Any],
        columns: Sequence[str],
        *,
        shared: Sequence[str] = (),
        is_run: bool = False,
    ) -> None:
        self.width = len(columns)
        self.is_run = is_run
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

    def compile(self, dialect: str) -> None:
        """Make its texts now, some milliseconds' work, which its first use would wait for."""
        for statement in self._statements.values():
            statement.sql(dialect)


class ByIds(Bulk):
    """A :class:`Bulk` whose rows are ids, each given once.

    Those that follow each other, as what was sent together does, are a span of the key:
    one statement walks it, without a search for each.

    Args:
        build: returns the Core statement, given the condition that a row is one of them.
        column: the ids'.
        shared: the parameters of all rows together, which come first.
    """

    __slots__ = ("span",)

    def __init__(
        self, build: Callable[[ColumnElement[bool]], Any], column: Any, shared: Sequence[str] = ()
    ) -> None:
        super().__init__(lambda size: build(one_of(column, size)), ["id"], shared=shared)
        self.span = Statement(
            lambda: build(column.between(bindparam("first"), bindparam("last"))),
            *shared,
            "first",
            "last",
        )


def numbered(column: str, row: int) -> str:
    """Return the name of a parameter of one row of a :class:`Bulk`."""
    return f"{column}_{row}"


_DIALECTS: dict[str, Callable[[], Dialect]] = {
    "sqlite": lambda: sqlite.dialect(paramstyle="numeric")
}


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


def insert_run(
    table: Table,
    *each: str,
    shared: Sequence[str],
    following: Sequence[str] = ("id",),
    zero: Sequence[str] = (),
) -> Bulk:
    """Return the statement that inserts rows whose ids follow each other, alike but for little.

    A parameter costs more than the column it fills: what the rows share is given once.

    Args:
        table: where to.
        each: the columns in which the rows differ.
        shared: those whose value is the same in all.
        following: those that hold ``first`` in the first row, and one more in each other.
        zero: those that are 0.
    """
    first: ColumnElement[int] = bindparam("first", type_=BigInt)

    def row(number: int) -> dict[str, Any]:
        values: dict[str, Any] = dict.fromkeys(following, first + literal_column(f"{number}"))
        values |= {column: bindparam(column) for column in shared}
        values |= dict.fromkeys(zero, ZERO)
        return values | {column: bindparam(numbered(column, number)) for column in each}

    return Bulk(
        lambda size: insert(table).values([row(number) for number in range(size)]),
        each,
        shared=["first", *shared],
        is_run=True,
    )


def one_of(column: Any, size: int) -> ColumnElement[bool]:
    """Return the condition that ``column`` is the ``id`` of one of the rows of a :class:`Bulk`."""
    found: ColumnElement[bool] = column.in_([bindparam(numbered("id", row)) for row in range(size)])
    return found


def delete_from(column: Any) -> ByIds:
    """Return the statement that deletes the rows with the given ids in ``column``."""
    return ByIds(lambda chosen: delete(column.table).where(chosen), column)
