"""Files of lines, read in batches that are sent together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from ..errors import Invalid, TooBig

#: What one batch holds at most: lines, and bytes of them (one line always fits).
BATCH_LINES = 500
BATCH_BYTES = 1024 * 1024


class Batch(NamedTuple):
    """Lines that are sent together; ``first`` is the number of the first, from 1."""

    first: int
    lines: list[bytes]

    @property
    def size(self) -> int:
        """The bytes of the lines, their ends counted."""
        return sum(map(len, self.lines)) + len(self.lines)


def batches(file: BinaryIO, max_bytes: int) -> Iterator[Batch]:
    """Yield the lines of a file in batches.

    Args:
        file: to read.
        max_bytes: of one line; more of it is not read.

    Raises:
        TooBig: a line is longer.
        Invalid: the file cannot be read.
    """
    lines: list[bytes] = []
    size = 0
    number = first = 1
    for line in _lines(file, max_bytes):
        if lines and (len(lines) == BATCH_LINES or size + len(line) > BATCH_BYTES):
            yield Batch(first, lines)
            lines, size, first = [], 0, number
        lines.append(line)
        size += len(line)
        number += 1
    if lines:
        yield Batch(first, lines)


def _lines(file: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a file without their ends."""
    try:
        while line := file.readline(max_bytes + 2):
            if len(line) > max_bytes + 1:
                raise TooBig(f"a line has at most {max_bytes} bytes")
            yield line.removesuffix(b"\n")
    except OSError as error:
        raise Invalid(f"the lines cannot be read: {error.strerror}") from error
