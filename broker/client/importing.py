"""Sending an export to a broker, in batches that are stored whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..commands.archive import read_header
from ..commands.db import DbImport, Imported
from ..errors import BrokerError, Invalid
from ..names import LARGEST_MESSAGE_BYTES, MAX_RECORD_BYTES
from .lines import Batch, batches

if TYPE_CHECKING:
    from .sync import Client

#: A body as base64, and all else that a line may have.
_MAX_LINE_BYTES = LARGEST_MESSAGE_BYTES * 3 // 2 + MAX_RECORD_BYTES

#: Before the first batch.
NOTHING = Imported(*[0] * len(Imported._fields))


class Step(NamedTuple):
    """A batch of an import, and the command that stores it."""

    batch: Batch
    command: DbImport

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add to what the command is refused with how far the import had come."""
        try:
            yield
        except BrokerError as error:
            first = self.command.first_line
            stays = f"the {first - 2} records before line {first} are stored" if first > 2 else ""
            raise type(error)(f"{error.message} ({stays or 'nothing is stored'})") from error


def steps(file: BinaryIO) -> Iterator[Step]:
    """Yield what is to be done, one after the other, to import all of an export.

    Raises:
        Invalid, TooBig: it is not one, cannot be read, or has a line beyond all bounds.
    """
    header: bytes | None = None
    for batch in batches(file, _MAX_LINE_BYTES):
        lines, first = batch.lines, batch.first
        if header is None:
            header, *lines = lines
            first += 1
            _check_header(header)
        yield Step(batch, DbImport((header, *lines), first))
    if header is None:
        raise Invalid("line 1: not an export: it is empty")


def together(before: Imported, stored: Imported) -> Imported:
    """Return what is new in all."""
    return Imported(*map(sum, zip(before, stored, strict=True)))


def import_lines(
    client: Client, file: BinaryIO, progress: Callable[[Batch], None] | None = None
) -> Imported:
    """Import all of an export.

    Args:
        client: of an admin.
        file: the lines.
        progress: told of each batch once it is stored.

    Returns:
        What is new in all.

    Raises:
        BrokerError: why the first batch that was not stored was refused, and how far
            the import had come; repeated, it goes on from there.
    """
    total = NOTHING
    for step in steps(file):
        with step.explained():
            stored: Imported = client.execute(step.command)
        total = together(total, stored)
        if progress is not None:
            progress(step.batch)
    return total


def _check_header(line: bytes) -> None:
    """Refuse what is no export before all of a batch is looked at."""
    try:
        read_header(line)
    except BrokerError as error:
        raise type(error)(f"line 1: {error.message}") from None
