"""The reply parser of our own clients: RESP2 and RESP3, every type, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...errors import Protocol, error_for
from .encoder import OK, Push, Status


class _NotReady:
    """What :meth:`ReplyParser.next` returns when a reply is not whole yet."""

    def __repr__(self) -> str:
        return "NOT_READY"


NOT_READY: Final = _NotReady()
#: Deeper than any reply of a broker.
MAX_DEPTH: Final = 32
#: The most a bulk string of Redis holds.
MAX_BULK: Final = 512 * 1024 * 1024


class ReplyParser:
    """Parses what one server sends.

    Bulk strings stay bytes, simple strings are :class:`Status`, errors are
    BrokerErrors as values, maps are dictionaries with text keys where those are
    UTF-8. A reply in the making is kept as a stack, so no byte is parsed twice.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._position = 0
        self._searched = 0
        # Aggregates in the making: [mark, how many items are missing, items].
        self._stack: list[tuple[int, int, list[Any]]] = []
        self._bulk: tuple[int, int] | None = None

    def feed(self, data: bytes | memoryview) -> None:
        """Take bytes that have been received."""
        if self._position:
            del self._data[: self._position]
            self._searched -= self._position
            self._position = 0
        self._data += data

    def next(self) -> Any:
        """Return the next whole reply, or NOT_READY.

        Raises:
            Protocol: the bytes are no reply.
        """
        while True:
            value = self._next_item()
            if value is NOT_READY:
                return NOT_READY
            if value is _OPENED:
                continue
            value = self._close_aggregates(value)
            if value is not NOT_READY:
                return value

    def _close_aggregates(self, value: Any) -> Any:
        """Put a value where it belongs; return it, or the aggregate it has completed."""
        while self._stack:
            mark, count, items = self._stack[-1]
            items.append(value)
            if len(items) < count:
                return NOT_READY
            self._stack.pop()
            value = _aggregate(mark, items)
            if value is _ATTRIBUTES:
                return NOT_READY
        return value

    def _next_item(self) -> Any:
        if self._bulk is not None:
            return self._read_bulk()
        end = self._data.find(b"\r\n", max(self._position, self._searched))
        if end < 0:
            self._searched = max(self._position, len(self._data) - 1)
            if len(self._data) - self._position > 1024 * 1024:
                raise Protocol("a reply line of over 1 MiB")
            return NOT_READY
        mark = self._data[self._position]
        line = bytes(self._data[self._position + 1 : end])
        self._position = self._searched = end + 2
        reader = _LINES.get(mark)
        if reader is not None:
            return reader(line)
        length = _integer(line)
        if mark in b"$=!":
            if length < 0:
                return None
            if length > MAX_BULK:
                raise Protocol(f"a bulk string of {length} bytes")
            self._bulk = (mark, length)
            return self._read_bulk()
        if mark in b"*~>%|":
            return self._open(mark, length)
        raise Protocol(f"no reply begins with {bytes([mark])!a}")

    def _read_bulk(self) -> Any:
        if self._bulk is None:
            raise AssertionError("no bulk string is awaited")
        mark, length = self._bulk
        end = self._position + length
        if len(self._data) < end + 2:
            return NOT_READY
        body = bytes(self._data[self._position : end])
        if self._data[end : end + 2] != b"\r\n":
            raise Protocol("a bulk string does not end with CR LF")
        self._position = self._searched = end + 2
        self._bulk = None
        if mark == 0x21:
            return _error(body)
        return body[4:] if mark == 0x3D else body

    def _open(self, mark: int, length: int) -> Any:
        if length < 0:
            return None
        if len(self._stack) >= MAX_DEPTH:
            raise Protocol(f"a reply nested deeper than {MAX_DEPTH}")
        count = 2 * length if mark in b"%|" else length
        if count == 0:
            value = _aggregate(mark, [])
            return _OPENED if value is _ATTRIBUTES else value
        self._stack.append((mark, count, []))
        return _OPENED


_OPENED: Final = object()
_ATTRIBUTES: Final = object()


def _aggregate(mark: int, items: list[Any]) -> Any:
    if mark == 0x2A or mark == 0x7E:
        return items
    if mark == 0x3E:
        return Push(items)
    if mark == 0x7C:
        return _ATTRIBUTES
    return {_key(items[i]): items[i + 1] for i in range(0, len(items), 2)}


def _key(key: Any) -> Any:
    if isinstance(key, bytes):
        try:
            return key.decode()
        except UnicodeDecodeError:
            return key
    if isinstance(key, list | dict):
        raise Protocol("a map's key is an aggregate")
    return key


def _integer(line: bytes) -> int:
    digits = line[1:] if line[:1] in (b"-", b"+") else line
    if not digits.isdigit() or len(digits) > 19:
        raise Protocol(f"not a number: {line[:24]!a}")
    return int(line)


def _big_number(line: bytes) -> int:
    digits = line[1:] if line[:1] in (b"-", b"+") else line
    if not digits.isdigit() or len(digits) > 4000:
        raise Protocol(f"not a number: {line[:24]!a}")
    return int(line)


def _double(line: bytes) -> float:
    try:
        return float(line)
    except ValueError:
        raise Protocol(f"not a number: {line[:24]!a}") from None


def _boolean(line: bytes) -> bool:
    if line not in (b"t", b"f"):
        raise Protocol(f"not a boolean: {line[:24]!a}")
    return line == b"t"


def _error(line: bytes) -> Any:
    code, _, message = line.decode("utf-8", "replace").partition(" ")
    return error_for(code, message)


def _status(line: bytes) -> Status:
    return OK if line == b"OK" else Status(line.decode("utf-8", "replace"))


_LINES: Final[dict[int, Callable[[bytes], Any]]] = {
    0x2B: _status,
    0x2D: _error,
    0x3A: _integer,
    0x2C: _double,
    0x23: _boolean,
    0x28: _big_number,
    0x5F: lambda line: None,
}
