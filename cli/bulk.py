"""``queue send --lines`` and ``--jsonl``: a message a line, in batches that are all or none."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from broker.client.lines import Batch, batches
from broker.errors import BrokerError, Invalid
from broker.names import LARGEST_MESSAGE_BYTES, parse_duration

from .output import is_terminal, write_value
from .progress import Progress
from .settings import Settings

if TYPE_CHECKING:
    from broker.client.sync import Client

#: What a line of JSON may say, as a pulled message does, and what it may choose.
_CHOSEN = frozenset(["body", "encoding", "content_type", "headers", "priority"])
_MORE = frozenset(["delay", "at", "ttl", "key", "key_ttl"])
_PULLED = frozenset(
    ["id", "queue", "sender", "sent_at", "attempts", "receipt", "leased_until", "died"]
)


def send_lines(
    settings: Settings, queue: str, path: str | None, options: dict[str, Any], *, as_json: bool
) -> None:
    """Send a message for each line of a file or of stdin, and print their ids.

    Each batch is stored whole or not at all; its ids are printed once it is.

    Args:
        settings: how to connect and to print.
        queue: where to.
        path: of the file, or None for stdin.
        options: for all messages; a line of JSON may say otherwise.
        as_json: whether each line is a JSON object, not a body.

    Raises:
        BrokerError: why the first batch that was not stored was refused, and how many
            messages had been.
    """
    if options["key"] is not None:
        raise Invalid("one key for many messages: give each its own, with --jsonl")
    send = _send_objects if as_json else _send_bodies
    count = 0
    with (
        opened(path) as file,
        Progress(settings, "sending", os.fstat(file.fileno()).st_size, "messages") as progress,
        settings.connect() as client,
    ):
        for batch in batches(file, LARGEST_MESSAGE_BYTES):
            try:
                ids = send(client, queue, batch, options)
            except BrokerError as error:
                raise type(error)(f"{error.message} ({count} messages were sent before)") from error
            count += len(batch.lines)
            if not is_terminal():
                for message_id in ids:
                    write_value(settings, "id", message_id)
            progress.advance(batch.size, len(batch.lines))
    settings.remark(f"{count} messages sent")


def _send_bodies(
    client: Client, queue: str, batch: Batch, options: dict[str, Any]
) -> tuple[int, ...]:
    return client.send_many(queue, batch.lines, **options).ids


def _send_objects(
    client: Client, queue: str, batch: Batch, options: dict[str, Any]
) -> tuple[int, ...]:
    with client.transaction() as transaction:
        for number, line in enumerate(batch.lines, batch.first):
            try:
                body, chosen = _read_object(line)
                transaction.send(queue, body, **(options | chosen))
            except BrokerError as error:
                raise type(error)(f"line {number}: {error.message}") from error
    return tuple(sent.id for sent in transaction.results)


def _read_object(line: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the body of a line of JSON, and the options it gives."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise Invalid("not a JSON object") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("body"), str):
        raise Invalid('not a JSON object with the text "body"')
    unknown = fields.keys() - _CHOSEN - _MORE - _PULLED
    if unknown:
        raise Invalid(f"unknown keys: {', '.join(sorted(unknown))[:80]}")
    chosen = {
        name: fields[name]
        for name in ("content_type", "headers", "priority", "key")
        if fields.get(name) is not None
    }
    for name in ("delay", "ttl", "key_ttl"):
        if fields.get(name) is not None:
            chosen[f"{name}_ms"] = parse_duration(_text(fields, name))
    if fields.get("at") is not None:
        from broker.client.times import parse_time

        chosen["at"] = parse_time(_text(fields, "at"))
    return _body(fields), chosen


def _text(fields: dict[str, Any], name: str) -> str:
    if not isinstance(fields[name], str):
        raise Invalid(f"{name} is text")
    return str(fields[name])


def _body(fields: dict[str, Any]) -> bytes:
    encoding = fields.get("encoding", "utf-8")
    if encoding == "base64":
        import base64

        try:
            return base64.b64decode(fields["body"], validate=True)
        except ValueError:
            raise Invalid("the body is not base64") from None
    if encoding != "utf-8":
        raise Invalid(f"the encoding is utf-8 or base64, not {str(encoding)[:40]!a}")
    try:
        return str(fields["body"]).encode()
    except UnicodeEncodeError:
        raise Invalid("the body is not valid UTF-8") from None


def opened(path: str | None) -> BinaryIO:
    """Open a file of lines, or stdin for None.

    Raises:
        Invalid: it cannot be read.
    """
    if path is not None:
        try:
            return open(path, "rb")
        except OSError as error:
            raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    if sys.stdin is None:
        raise Invalid("no lines: give them as --file or on stdin, which is closed")
    return os.fdopen(0, "rb", closefd=False)
