"""Values as RESP2 and RESP3 bytes (the Redis serialization protocol specification).

Values are plain: None, bool, int, float, str, bytes, sequences, mappings,
records (``NamedTuple``), :class:`Status`, :class:`Push` and
:class:`~broker.errors.BrokerError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from ...commands.delivery import Message
from ...errors import BrokerError


class Status(str):
    """A simple string, as ``+OK``."""

    __slots__ = ()


class Push(list[Any]):
    """An out-of-band message of RESP3."""

    __slots__ = ()


OK: Final = Status("OK")

_OK_BYTES = b"+OK\r\n"
#: By protocol version.
_NULL = {2: b"*-1\r\n", 3: b"_\r\n"}
_TRUE = {2: b":1\r\n", 3: b"#t\r\n"}
_FALSE = {2: b":0\r\n", 3: b"#f\r\n"}
#: Keys of the records of a type, encoded once.
_KEYS: dict[type, tuple[bytes, ...]] = {}


def encode_request(words: Sequence[bytes]) -> bytes:
    """Return a command as the array of bulk strings that servers read."""
    pieces = [b"*%d\r\n" % len(words)]
    for word in words:
        pieces.append(b"$%d\r\n" % len(word))
        pieces.append(word)
        pieces.append(b"\r\n")
    return b"".join(pieces)


def encode(value: Any, protocol: int) -> bytes:
    """Return a value as a reply in RESP2 or RESP3 (``protocol`` 2 or 3)."""
    if value is OK:
        return _OK_BYTES
    if type(value) is int:
        return b":%d\r\n" % value
    pieces: list[bytes] = []
    _write(value, protocol, pieces)
    return b"".join(pieces)


def _write(value: Any, protocol: int, pieces: list[bytes]) -> None:
    kind = type(value)
    if kind is bytes:
        pieces += (b"$%d\r\n" % len(value), value, b"\r\n")
    elif kind is str:
        _write_text(value, pieces)
    elif kind is int:
        pieces.append(b":%d\r\n" % value)
    elif value is None:
        pieces.append(_NULL[protocol])
    elif kind is bool:
        pieces.append((_TRUE if value else _FALSE)[protocol])
    elif kind is Message:
        pieces.append(encode_message(value, protocol))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        _write_record(value, protocol, pieces)
    elif isinstance(value, Push):
        _write_items(b">" if protocol == 3 else b"*", value, protocol, pieces)
    elif isinstance(value, list | tuple):
        _write_items(b"*", value, protocol, pieces)
    elif isinstance(value, Mapping):
        pieces.append(_map_header(len(value), protocol))
        for key, item in value.items():
            _write(key, protocol, pieces)
            _write(item, protocol, pieces)
    elif isinstance(value, Status):
        pieces.append(b"+%s\r\n" % _line(value))
    elif isinstance(value, BrokerError):
        pieces.append(b"-%s %s\r\n" % (value.code.encode(), _line(value.message)))
    elif isinstance(value, float):
        text = b"%s" % repr(value).encode()
        pieces.append(b",%s\r\n" % text if protocol == 3 else b"$%d\r\n%s\r\n" % (len(text), text))
    elif isinstance(value, str):
        _write_text(str(value), pieces)
    else:
        raise TypeError(f"{kind.__name__} has no form in RESP")


def _write_text(text: str, pieces: list[bytes]) -> None:
    encoded = text.encode("utf-8", "surrogateescape")
    pieces += (b"$%d\r\n" % len(encoded), encoded, b"\r\n")


def _write_items(mark: bytes, items: Sequence[Any], protocol: int, pieces: list[bytes]) -> None:
    pieces.append(b"%s%d\r\n" % (mark, len(items)))
    if items and items[0] is OK and items.count(OK) == len(items):
        # What many receipts are mostly answered.
        pieces.append(_OK_BYTES * len(items))
        return
    for item in items:
        _write(item, protocol, pieces)


def _write_record(record: Any, protocol: int, pieces: list[bytes]) -> None:
    keys = _KEYS.get(type(record))
    if keys is None:
        fields = [name.encode() for name in record._fields]
        keys = _KEYS[type(record)] = tuple(b"$%d\r\n%s\r\n" % (len(f), f) for f in fields)
    pieces.append(_map_header(len(keys), protocol))
    for key, item in zip(keys, record, strict=True):
        pieces.append(key)
        _write(item, protocol, pieces)


def _map_header(count: int, protocol: int) -> bytes:
    return b"%%%d\r\n" % count if protocol == 3 else b"*%d\r\n" % (2 * count)


def _message_template(protocol: int) -> bytes:
    """Return a message with its keys in place, and places for its values."""
    values = {"id": b":%d\r\n", "body": b"$%d\r\n%b\r\n"}
    values |= dict.fromkeys(["sent_at", "attempts", "priority"], b":%d\r\n")
    # A per cent sign of the header is none of a place.
    parts = [_map_header(len(Message._fields), protocol).replace(b"%", b"%%")]
    for field in Message._fields:
        parts.append(b"$%d\r\n%s\r\n" % (len(field), field.encode()))
        parts.append(values.get(field, b"%b"))
    return b"".join(parts)


def encode_message(message: Message, protocol: int) -> bytes:
    """Return a message as a reply has it: what :func:`encode` returns, several times as fast."""
    (
        message_id, queue, body, content_type, headers, sender, sent_at, attempts, priority,
        receipt, leased_until, died,
    ) = message  # fmt: skip
    null = _NULL[protocol]
    return _MESSAGES[protocol] % (
        message_id,
        _name(queue),
        len(body),
        body,
        null if content_type is None else encode(content_type, protocol),
        encode(headers, protocol) if headers else _NO_HEADERS[protocol],
        _name(sender),
        sent_at,
        attempts,
        priority,
        null if receipt is None else b"$%d\r\n%b\r\n" % (len(receipt), receipt.encode()),
        null if leased_until is None else b":%d\r\n" % leased_until,
        null if died is None else encode(died, protocol),
    )


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return encode(name, 2)


_MESSAGES: Final = {protocol: _message_template(protocol) for protocol in (2, 3)}
_NO_HEADERS: Final = {protocol: _map_header(0, protocol) for protocol in (2, 3)}
#: What a pushed message begins with.
_PUSHED: Final = b">2\r\n$7\r\nmessage\r\n"


def encode_pushes(messages: Sequence[Message]) -> bytes:
    """Return messages as they are pushed in RESP3, a push each."""
    return b"".join([_PUSHED + encode_message(message, 3) for message in messages])


def _line(text: str) -> bytes:
    """Return text as one line: an error must not end its reply early."""
    return text.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace")
