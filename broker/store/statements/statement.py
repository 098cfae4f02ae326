"""A statement as it runs: text, ready for the driver."""

from __future__ import annotations

from typing import Final

#: For how many rows at once a :class:`Bulk` runs; any number is made up of these. Beyond
#: 64 a row costs no less, and the text of the statement only grows.
BULK_SIZES: Final = (64, 32, 16, 8, 4, 2, 1)


class Statement:
    """A statement.

    Attributes:
        text: its parameters are numbered in the order in which their values are given.
        changes: the name of the table that it changes, or None.
    """

    __slots__ = ("changes", "text")

    def __init__(self, text: str, changes: str | None = None) -> None:
        self.text = text
        self.changes = changes


class Bulk:
    """A statement that does the same to many rows in one step.

    A step a row would cost several times as much: each goes through the driver, and
    gives the interpreter away and has to get it back.

    Args:
        head: what stands before the rows.
        row: what stands for each; its own parameters are ``?{0}``, ``?{1}`` and so on, its
            place among the others ``{row}``.
        tail: what stands after them.
        width: how many parameters a row has.
        shared: how many all rows share, which come first.
        changes: as of a :class:`Statement`.
        is_run: whether the first that is shared is the id of the first row, and the ids of
            the others follow it, so that each step goes on where the one before has ended.

    Attributes:
        width: how many parameters a row has.
        is_run: as given.
        one: the text for one row.
    """

    __slots__ = ("_changes", "_head", "_made", "_row", "_shared", "_tail", "is_run", "one", "width")

    def __init__(
        self,
        head: str,
        row: str,
        tail: str,
        *,
        width: int,
        shared: int,
        changes: str | None,
        is_run: bool = False,
    ) -> None:
        self._head, self._row, self._tail = head, row, tail
        self.width = width
        self._shared = shared
        self._changes = changes
        self.is_run = is_run
        self._made: dict[int, Statement] = {}
        self.one = self.of(1).text

    def of(self, size: int) -> Statement:
        """Return the statement for ``size`` rows."""
        made = self._made.get(size)
        if made is None:
            starts = range(self._shared + 1, self._shared + 1 + size * self.width, self.width)
            rows = (
                self._row.format(*range(start, start + self.width), row=number)
                for number, start in enumerate(starts)
            )
            made = Statement(self._head + ", ".join(rows) + self._tail, self._changes)
            self._made[size] = made
        return made


class ByIds(Bulk):
    """A :class:`Bulk` whose rows are ids, each given once.

    Those that follow each other, as what was sent together does, are a span of the key:
    one statement walks it, without a search for each.

    Args:
        head, row, tail, width, shared, changes: as of a :class:`Bulk`.
        span: the text for all rows from one id to another, which come last.
    """

    __slots__ = ("span",)

    def __init__(
        self,
        head: str,
        row: str,
        tail: str,
        *,
        width: int,
        shared: int,
        changes: str | None,
        span: str,
    ) -> None:
        super().__init__(head, row, tail, width=width, shared=shared, changes=changes)
        self.span = Statement(span, changes)
