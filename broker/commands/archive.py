"""The lines of an export: JSON objects, checked as they are read.

The first is the header, ``{"format": "broker-export", "version": 1, ...}``. Each that
follows is a record with its ``kind``; users come before what they own, queues before
what waits in them. Times are milliseconds since 1970, UTC. A message is one line with
all of its copies; a publication with very many is several, each with the body, so
that no line is without a bound. docs/operations.md describes every key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .. import names
from ..errors import BrokerError, Invalid
from .channel import SETTINGS as CHANNEL_SETTINGS
from .delivery import DEAD, DELAYED, LEASED, READY
from .grammar import read_settings
from .settings import QUEUE_SETTINGS, SUBSCRIPTION_SETTINGS

FORMAT: Final = "broker-export"
#: Raised when an older program could not read it, or would get it wrong.
VERSION: Final = 1
#: Copies of a publication go into a line by their place, so many to each: the same
#: ones stay together in whatever export.
COPIES_A_LINE: Final = 64
#: Ids of other databases; far enough from the end for all that follow.
MAX_LAST_ID: Final = 2**62
#: `N attempts, the last: REASON`
_MAX_REASON_LENGTH: Final = names.MAX_REASON_LENGTH + 100
_PAUSES: Final = (None, "sends", "pulls", "all")


class Header(NamedTuple):
    """The first line.

    Attributes:
        last_id: the last id that the database had given out.
        exported_at: when.
        secrets: whether users have the hashes of their passwords.
    """

    last_id: int
    exported_at: int
    secrets: bool


class UserRecord(NamedTuple):
    """A user; ``password_hash`` is bcrypt's, or None."""

    name: str
    uid: int | None
    admin: bool
    created_at: int
    password_hash: str | None = None


class ChannelRecord(NamedTuple):
    """A channel."""

    name: str
    owner: str
    created_at: int
    publish: str


class QueueRecord(NamedTuple):
    """A queue; ``settings`` are text by name as it is written, stored values as it is read."""

    name: str
    owner: str
    created_at: int
    settings: Mapping[str, Any]
    paused: str | None
    dropped: int


class SubscriptionRecord(NamedTuple):
    """A subscription and its queue; ``name`` is empty for a user's first."""

    channel: str
    user: str
    name: str
    created_at: int
    settings: Mapping[str, Any]
    paused: str | None
    dropped: int


class CopyRecord(NamedTuple):
    """A delivery: one message in one queue; the attributes are those of the models.

    ``due_at`` is when a delay ends; a lease ends with the move.
    """

    queue: str
    state: str
    priority: int
    attempts: int
    ready_at: int | None = None
    due_at: int | None = None
    expires_at: int | None = None
    dead_at: int | None = None
    reason: str | None = None
    failures: Sequence[Mapping[str, str | int]] | None = None
    died: Mapping[str, str | int] | None = None


class MessageRecord(NamedTuple):
    """A message and its copies.

    Attributes:
        id: it had in the database it comes from.
        part: which of the lines of its copies this is, from 0.
        published: whether it was, or was sent to a queue and has one copy.
    """

    id: int
    part: int
    published: bool
    sender: str
    sent_at: int
    content_type: str | None
    headers: Mapping[str, str]
    body: bytes
    copies: tuple[CopyRecord, ...]

    @property
    def identity(self) -> str:
        """What tells it from all other messages, of whatever database."""
        return identity_of(
            self.id, self.part, self.sender, self.sent_at, self.content_type, self.headers,
            self.body,
        )  # fmt: skip


class KeyRecord(NamedTuple):
    """A key of "send once", of a queue or a channel.

    ``messages`` is how many were sent with it, ``message`` the identity of the first
    if that is there.
    """

    queue: str | None
    channel: str | None
    key: str
    expires_at: int
    messages: int
    message: str | None


Record = UserRecord | ChannelRecord | QueueRecord | SubscriptionRecord | MessageRecord | KeyRecord


def identity_of(
    message_id: int,
    part: int,
    sender: str,
    sent_at: int,
    content_type: str | None,
    headers: Mapping[str, str],
    body: bytes,
) -> str:
    """Return a digest of all that never changes about a message."""
    from hashlib import sha256

    fields = [message_id, part, sender, sent_at, content_type, sorted(headers.items())]
    return sha256(json.dumps(fields).encode() + b"\n" + body).hexdigest()[:32]


# --- writing ---------------------------------------------------------------------


def write_header(header: Header) -> bytes:
    """Return the first line, without its end."""
    return _line({"format": FORMAT, "version": VERSION, **header._asdict()})


def write_record(record: Record) -> bytes:
    """Return a record as a line, without its end."""
    fields = record._asdict()
    if isinstance(record, MessageRecord):
        fields["body"], fields["encoding"] = _encoded(record.body)
        fields["copies"] = [_without_none(copy._asdict()) for copy in record.copies]
        fields["headers"] = dict(record.headers)
    return _line({"kind": _KINDS_OF[type(record)], **_without_none(fields)})


def _line(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _encoded(body: bytes) -> tuple[str, str]:
    """Return a body as text; as base64 where it is none, or would be longer in JSON."""
    from base64 import b64encode

    try:
        text = body.decode()
    except UnicodeDecodeError:
        return b64encode(body).decode(), "base64"
    if len(json.dumps(text, ensure_ascii=False).encode()) - 2 > len(body) * 4 // 3:
        return b64encode(body).decode(), "base64"
    return text, "utf-8"


# --- reading ---------------------------------------------------------------------


def read_header(line: bytes) -> Header:
    """Return the header.

    Raises:
        Invalid: it is no export, or one of a newer version.
    """
    fields = _object(line)
    if fields.get("format") != FORMAT:
        raise Invalid(f'not an export: its first line has "format": "{FORMAT}"')
    version = names.check_range(fields.get("version", 0), 1, names.MAX_INTEGER, "the version")
    if version > VERSION:
        raise Invalid(
            f"an export of format version {version}, and this program reads up to {VERSION}"
        )
    del fields["format"], fields["version"]
    return Header(**_checked(fields, _HEADER, Header))


def read_record(line: bytes) -> Record:
    """Return the record of a line.

    Raises:
        Invalid, TooBig: it is none, with the reason.
    """
    fields = _object(line)
    kind = fields.pop("kind", None)
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise Invalid(f"the kind is one of {', '.join(_KINDS)}, not {str(kind)[:40]!a}")
    record, checks = known
    if record is MessageRecord:
        fields["body"] = _body(fields)
    made: Record = record(**_checked(fields, checks, record))
    if isinstance(made, MessageRecord):
        _check_message(made)
    elif isinstance(made, KeyRecord) and (made.queue is None) is (made.channel is None):
        raise Invalid("a key is of a queue or of a channel")
    return made


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise Invalid("not a JSON object") from None
    if not isinstance(fields, dict):
        raise Invalid("not a JSON object")
    return fields


def _checked(
    fields: dict[str, Any], checks: Mapping[str, Callable[[Any], Any]], record: type
) -> dict[str, Any]:
    """Return the values of an object's keys, each as its check returns it."""
    unknown = fields.keys() - checks.keys()
    if unknown:
        raise Invalid(f"unknown keys: {', '.join(sorted(unknown))[:80]!a}")
    defaults = getattr(record, "_field_defaults", {})
    values: dict[str, Any] = {}
    for name, check in checks.items():
        if fields.get(name) is None and name in defaults:
            continue
        try:
            values[name] = check(fields.get(name))
        except BrokerError as error:
            raise type(error)(f"{name}: {error.message}") from None
    return values


def _body(fields: dict[str, Any]) -> bytes:
    encoding, text = fields.pop("encoding", "utf-8"), fields.get("body")
    if not isinstance(text, str) or encoding not in ("utf-8", "base64"):
        raise Invalid("body: text, with the encoding utf-8 or base64")
    try:
        if encoding == "utf-8":
            return text.encode()
        from base64 import b64decode

        return b64decode(text, validate=True)
    except ValueError:
        raise Invalid(f"body: not valid {encoding}") from None


def _check_message(message: MessageRecord) -> None:
    if not message.published and (len(message.copies) != 1 or message.part):
        raise Invalid("copies: a message that was not published has one")


# What each key may hold; None is for keys that may be left out.


def _whole(low: int, high: int) -> Callable[[Any], int]:
    return lambda value: names.check_range(value, low, high, "it")


def _text(length: int) -> Callable[[Any], str]:
    return lambda value: names.check_text(value, length, "text")


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid("true or false")
    return value


def _one_of(*allowed: str | None) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not (value is None or isinstance(value, str)) or value not in allowed:
            raise Invalid(f"one of {', '.join(str(a) for a in allowed if a)}")
        return value

    return check


def _settings(known: Any) -> Callable[[Any], Mapping[str, Any]]:
    def check(value: Any) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise Invalid("an object of text values")
        return read_settings(known, tuple(value.items()))

    return check


def _publish(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("text")
    return str(read_settings(CHANNEL_SETTINGS, (("publish", value),))["publish"])


def _hash(value: Any) -> str:
    """Return a bcrypt hash: nothing else may ever be compared with a password."""
    if (
        not isinstance(value, str)
        or len(value) != 60
        or not value.isascii()
        or not value.startswith(("$2a$", "$2b$", "$2y$"))
        or not (value[4:6].isdigit() and 4 <= int(value[4:6]) <= 16 and value[6] == "$")
        or not value[7:].replace(".", "").replace("/", "").isalnum()
    ):
        raise Invalid("not a bcrypt hash")
    return value


def _failures(value: Any) -> Sequence[Mapping[str, str | int]]:
    if not isinstance(value, list) or len(value) > names.MAX_FAILURES:
        raise Invalid(f"an array of at most {names.MAX_FAILURES}")
    return tuple(_nested(item, _FAILURE) for item in value)


def _died(value: Any) -> Mapping[str, str | int]:
    return _nested(value, _DIED)


def _nested(value: Any, checks: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid("an object")
    return _checked(value, checks, dict)


def _copies(value: Any) -> tuple[CopyRecord, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= COPIES_A_LINE:
        raise Invalid(f"an array of 1 to {COPIES_A_LINE}")
    return tuple(_copy(item) for item in value)


def _copy(value: Any) -> CopyRecord:
    if not isinstance(value, dict):
        raise Invalid("an object")
    copy = CopyRecord(**_checked(value, _COPY, CopyRecord))
    if (copy.due_at is not None) is not (copy.state == DELAYED):
        raise Invalid("due_at: for what is delayed, and for nothing else")
    if ((copy.dead_at, copy.reason) != (None, None)) is not (copy.state == DEAD):
        raise Invalid("dead_at and reason: for what is dead, and for nothing else")
    if copy.state == DEAD and None in (copy.dead_at, copy.reason):
        raise Invalid("dead_at and reason: what is dead has both")
    return copy


def _headers(value: Any) -> Mapping[str, str]:
    return names.check_headers({} if value is None else value)


def _subscription_name(value: Any) -> str:
    return "" if value == "" else names.check_name(value)


def _user(value: Any) -> str:
    return names.check_user_name(value)


def _name(value: Any) -> str:
    return names.check_name(value)


_TIME = _whole(0, names.MAX_TIME_MS)
#: As _TIME, with all that a time may be put off by.
_LATER = _whole(0, names.MAX_TIME_MS + names.MAX_DURATION_MS)
_COUNT = _whole(0, names.MAX_INTEGER)
_HEADER: Final = {"last_id": _whole(0, MAX_LAST_ID), "exported_at": _TIME, "secrets": _flag}
_FAILURE: Final = {"at": _TIME, "consumer": _text(255), "reason": _text(_MAX_REASON_LENGTH)}
_DIED: Final = {"queue": names.check_queue_name, "reason": _text(_MAX_REASON_LENGTH), "at": _TIME}
_COPY: Final = {
    "queue": names.check_queue_name,
    "state": _one_of(READY, DELAYED, LEASED, DEAD),
    "priority": _whole(0, names.MAX_PRIORITY),
    "attempts": _whole(0, 2**31),
    "ready_at": _LATER,
    "due_at": _LATER,
    "expires_at": _LATER,
    "dead_at": _TIME,
    "reason": _text(_MAX_REASON_LENGTH),
    "failures": _failures,
    "died": _died,
}
_PLACE: Final = {"created_at": _TIME, "paused": _one_of(*_PAUSES), "dropped": _COUNT}
_KINDS: Final[dict[str, tuple[Any, Mapping[str, Callable[[Any], Any]]]]] = {
    "user": (
        UserRecord,
        {
            "name": _user,
            "uid": _optional(_whole(0, 2**32 - 2)),
            "admin": _flag,
            "created_at": _TIME,
            "password_hash": _hash,
        },
    ),
    "channel": (
        ChannelRecord,
        {"name": _name, "owner": _user, "created_at": _TIME, "publish": _publish},
    ),
    "queue": (
        QueueRecord,
        {"name": _name, "owner": _user, "settings": _settings(QUEUE_SETTINGS), **_PLACE},
    ),
    "subscription": (
        SubscriptionRecord,
        {
            "channel": _name,
            "user": _user,
            "name": _subscription_name,
            "settings": _settings(SUBSCRIPTION_SETTINGS),
            **_PLACE,
        },
    ),
    "message": (
        MessageRecord,
        {
            "id": _whole(1, MAX_LAST_ID),
            "part": _whole(0, MAX_LAST_ID),
            "published": _flag,
            "sender": _name,
            "sent_at": _TIME,
            "content_type": _optional(names.check_content_type),
            "headers": _headers,
            "body": names.check_body,
            "copies": _copies,
        },
    ),
    "key": (
        KeyRecord,
        {
            "queue": _optional(_name),
            "channel": _optional(_name),
            "key": names.check_key,
            "expires_at": _LATER,
            "messages": _whole(1, names.MAX_REPEATED),
            "message": _optional(_text(64)),
        },
    ),
}
_KINDS_OF: Final = {record: kind for kind, (record, _) in _KINDS.items()}
