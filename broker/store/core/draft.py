"""A statement as SQLAlchemy builds it from the models, and the text that is kept of it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from sqlalchemy import ColumnElement, Table, UpdateBase, bindparam, delete, insert, literal_column
from sqlalchemy.dialects import sqlite

from ...models import Base
from ...models.base import BigInt


class Draft:
    """A statement and the order of its parameters.

    Args:
        built: the Core statement.
        parameters: the names of its bound parameters, each once, in the order in which
            their values are given; where and how often they stand in it is its own affair.
    """

    def __init__(self, built: Any, *parameters: str) -> None:
        self._built = built
        self._parameters = parameters

    @property
    def changes(self) -> str | None:
        """The name of the table that it changes, or None."""
        return str(self._built.table) if isinstance(self._built, UpdateBase) else None

    def text(self) -> str:
        """Return it as SQLite reads it, its parameters numbered."""
        # SQLAlchemy numbers with a colon. SQLite calls that a name, which it may not have
        # where values are given by position; it numbers them with a question mark.
        dialect = sqlite.dialect(paramstyle="numeric")
        # The driver counts the rows of what begins with INSERT, not of a WITH.
        dialect.cte_follows_insert = True
        compiled = self._built.compile(dialect=dialect)
        named = tuple(compiled.positiontup or ())
        if sorted(named) != sorted(self._parameters):
            raise AssertionError(f"parameters are {named}, not {self._parameters}")
        places = {name: place for place, name in enumerate(self._parameters, 1)}
        return _COMPILED.sub(
            lambda found: f"?{places[named[int(found[1]) - 1]]}", " ".join(str(compiled).split())
        )

    def source(self) -> str:
        """Return the expression that makes the statement of its text."""
        return _call("Statement", _literal(self.text()), repr(self.changes))


class BulkDraft:
    """A statement that does the same to many rows in one step.

    Args:
        build: returns the Core statement for so many rows, whose parameters are named
            by :func:`numbered`.
        columns: the parameters of each row, in order.
        shared: those of all rows together, which come first.
        is_run: whether the first of those is the id of the first row, and the ids of the
            others follow it, so that each step goes on where the one before has ended.
    """

    def __init__(
        self,
        build: Callable[[int], Any],
        columns: Sequence[str],
        *,
        shared: Sequence[str] = (),
        is_run: bool = False,
    ) -> None:
        self._build = build
        self._columns = columns
        self._shared = shared
        self._is_run = is_run

    def of(self, size: int) -> Draft:
        """Return the statement for ``size`` rows."""
        each = (numbered(column, row) for row in range(size) for column in self._columns)
        return Draft(self._build(size), *self._shared, *each)

    def source(self) -> str:
        """Return the expression that makes the statement of its texts: around and of a row."""
        return _call("Bulk", *self._parts(), f"is_run={self._is_run}")

    def _parts(self) -> list[str]:
        one = self.of(1)
        text = one.text()
        found = _ROW.search(text)
        if found is None:
            raise AssertionError(f"no place for rows in {text}")
        shared = len(self._shared)

        def relative(place: re.Match[str]) -> str:
            number = int(place[1])
            return place[0] if number <= shared else f"?{{{number - shared - 1}}}"

        row = _NUMBERED.sub(relative, found[0]).replace("+ 0", "+ {row}")
        texts = (text[: found.start()], row, text[found.end() :])
        return [
            *map(_literal, texts), f"width={len(self._columns)}", f"shared={shared}",
            f"changes={one.changes!r}",
        ]  # fmt: skip


class ByIdsDraft(BulkDraft):
    """A :class:`BulkDraft` whose rows are ids, each given once.

    Args:
        build: returns the Core statement, given the condition that a row is one of them.
        column: the ids'.
        shared: the parameters of all rows together, which come first.
    """

    def __init__(
        self, build: Callable[[ColumnElement[bool]], Any], column: Any, shared: Sequence[str] = ()
    ) -> None:
        super().__init__(lambda size: build(one_of(column, size)), ["id"], shared=shared)
        chosen = column.between(bindparam("first"), bindparam("last"))
        self._span = Draft(build(chosen), *shared, "first", "last")

    def source(self) -> str:
        """Return the expression that makes the statement, with the text for a span of ids."""
        return _call("ByIds", *self._parts(), f"span={_literal(self._span.text())}")


#: A parameter as SQLAlchemy numbers it, and as SQLite does.
_COMPILED: Final = re.compile(r":(\d+)")
_NUMBERED: Final = re.compile(r"\?(\d+)")
#: What stands once for each row.
_ROW: Final = re.compile(r"(?<= VALUES )\(.*\)$|(?<= \(VALUES )\([^)]*\)|(?<= IN \()\?\d+(?=\))")


def _call(function: str, *arguments: str) -> str:
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{function}(\n{lines})"


def _literal(text: str) -> str:
    """Return a text as a literal of several lines."""
    lines = textwrap.wrap(text, 88, drop_whitespace=False, break_on_hyphens=False) or [""]
    if len(lines) == 1:
        return repr(text)
    return "(\n" + "".join(f"        {line!r}\n" for line in lines) + "    )"


def numbered(column: str, row: int) -> str:
    """Return the name of a parameter of one row of a :class:`BulkDraft`."""
    return f"{column}_{row}"


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    return cast(Table, model.__table__)


#: SQLite's dialect writes an OFFSET beside each LIMIT; as a literal it is no parameter.
ZERO = literal_column("0", BigInt)
NULL: ColumnElement[Any] = literal_column("NULL")


def unjournaled(statement: Any) -> Any:
    """Return an INSERT or UPDATE of many rows that leaves its failures to its transaction.

    To be able to undo it alone, SQLite would copy each page before it changes it; here nothing
    goes on after a failure, but its transaction or its savepoint is undone.
    """
    return statement.prefix_with("OR FAIL")


def insert_into(table: Table, *columns: str) -> BulkDraft:
    """Return the statement that inserts rows of the named columns."""
    return BulkDraft(
        lambda size: unjournaled(insert(table)).values(
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
) -> BulkDraft:
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

    return BulkDraft(
        lambda size: unjournaled(insert(table)).values([row(number) for number in range(size)]),
        each,
        shared=["first", *shared],
        is_run=True,
    )


def one_of(column: Any, size: int) -> ColumnElement[bool]:
    """Return the condition that ``column`` is the ``id`` of one of the rows of a bulk."""
    found: ColumnElement[bool] = column.in_([bindparam(numbered("id", row)) for row in range(size)])
    return found


def delete_from(column: Any) -> ByIdsDraft:
    """Return the statement that deletes the rows with the given ids in ``column``."""
    return ByIdsDraft(lambda chosen: delete(column.table).where(chosen), column)
