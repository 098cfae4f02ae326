"""What ``queue send`` and ``channel publish`` share: the body, the options, the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broker.errors import Invalid, TooBig
from broker.names import DEFAULT_KEY_TTL_MS, DEFAULT_PRIORITY, LARGEST_MESSAGE_BYTES

from .output import write_value
from .settings import DURATION, LIFETIME, TIME, Settings, WholeNumber

if TYPE_CHECKING:
    from datetime import datetime

_Function = TypeVar("_Function", bound=Callable[..., Any])
READ_BYTES = 1024 * 1024


def send_options(function: _Function) -> _Function:
    """Add the body and the options of a message to a command."""
    for decorate in reversed(
        (
            click.argument("body", required=False),
            click.option("--file", "path", metavar="PATH", help="Send what is in a file."),
            click.option(
                "--priority", type=WholeNumber(0, 9), metavar="N", default=DEFAULT_PRIORITY,
                show_default=True, help="Higher comes first.",
            ),
            click.option(
                "--delay", "delay_ms", type=DURATION, default=0, metavar="DURATION",
                help="Not delivered before so long from now.",
            ),
            click.option(
                "--at", type=TIME, metavar="TIME",
                help="Not delivered before that time, as 2026-12-24T18:00:00+01:00.",
            ),
            click.option(
                "--ttl", "ttl_ms", type=LIFETIME, metavar="DURATION",
                help="Expires so long from now, unless leased by then.",
            ),
            click.option(
                "--key", metavar="KEY",
                help="Send once: a second send with this key stores nothing.",
            ),
            click.option(
                "--key-ttl", "key_ttl_ms", type=LIFETIME, default=DEFAULT_KEY_TTL_MS,
                metavar="DURATION", help="How long the key is remembered (default: 24h).",
            ),
            click.option("--content-type", metavar="TYPE", help="The content type."),
            click.option(
                "--header", "headers", multiple=True, metavar="NAME=VALUE",
                help="A header; may be repeated.",
            ),
        )
    ):  # fmt: skip
        function = decorate(function)
    return function


def read_body(body: str | None, path: str | None) -> bytes:
    """Return the bytes of a message: the argument, a file, or stdin.

    Raises:
        Invalid: two of them, none, or what cannot be read.
        TooBig: more than any broker takes.
    """
    if path is not None:
        if body is not None:
            raise Invalid("give the body as an argument or as --file, not both")
        try:
            with open(path, "rb") as file:
                return _bounded(file.fileno())
        except OSError as error:
            raise Invalid(f"{path} cannot be read: {error.strerror}") from error
    if body is not None and body != "-":
        return os.fsencode(body)
    if sys.stdin is None:
        raise Invalid("no body: give it as an argument, as --file, or on stdin, which is closed")
    try:
        return _bounded(0)
    except OSError as error:
        raise Invalid(f"stdin cannot be read: {error.strerror}") from error


def read_settings(words: tuple[str, ...]) -> dict[str, str]:
    """Return the settings of NAME=VALUE words.

    Raises:
        Invalid: a word without ``=``, or a name given twice.
    """
    return _pairs(words, "setting", "name=value")


def _bounded(descriptor: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := os.read(descriptor, READ_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_MESSAGE_BYTES:
            raise TooBig(f"a body has at most {LARGEST_MESSAGE_BYTES} bytes")
    return b"".join(pieces)


def read_headers(headers: tuple[str, ...]) -> dict[str, str] | None:
    """Return the headers of NAME=VALUE words.

    Raises:
        Invalid: a word without ``=``, or a name given twice.
    """
    return _pairs(headers, "header", "NAME=VALUE") or None


def _pairs(words: tuple[str, ...], what: str, form: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Invalid(f"not a {what}: {word[:40]!r}; write {form}")
        if name in found:
            raise Invalid(f"the {what} {name!r} is given twice")
        found[name] = value
    return found


def message_options(
    priority: int,
    delay_ms: int,
    at: datetime | None,
    ttl_ms: int | None,
    key: str | None,
    key_ttl_ms: int,
    content_type: str | None,
    headers: tuple[str, ...],
) -> dict[str, Any]:
    """Return what the options of :func:`send_options` say, for a client's send or publish."""
    return {
        "priority": priority,
        "delay_ms": delay_ms,
        "at": at,
        "ttl_ms": ttl_ms,
        "key": key,
        "key_ttl_ms": key_ttl_ms,
        "content_type": content_type,
        "headers": read_headers(headers),
    }


def write_sent(settings: Settings, sent: Any) -> None:
    """Write the id of a message alone on a line."""
    if settings.json:
        import json

        click.echo(json.dumps({"id": sent.id, "duplicate": sent.duplicate}))
        return
    write_value(settings, "id", sent.id)
    if sent.duplicate:
        settings.remark("a duplicate: a message with this key was sent before")
