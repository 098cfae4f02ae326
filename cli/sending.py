"""What ``queue send`` and ``channel publish`` share: the body, the options, the answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from broker.errors import Invalid, TooBig
from broker.names import DEFAULT_KEY_TTL_MS, DEFAULT_PRIORITY, LARGEST_MESSAGE_BYTES

from .output import write_value
from .settings import DURATION, Settings, WholeNumber

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
                "--key", metavar="KEY",
                help="Send once: a second send with this key stores nothing.",
            ),
            click.option(
                "--key-ttl", "key_ttl_ms", type=DURATION, default=DEFAULT_KEY_TTL_MS,
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
    found: dict[str, str] = {}
    for word in headers:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise Invalid(f"not a header: {word[:40]!r}; write NAME=VALUE")
        if name in found:
            raise Invalid(f"the header {name!r} is given twice")
        found[name] = value
    return found or None


def write_sent(settings: Settings, sent: Any) -> None:
    """Write the id of a message alone on a line."""
    if settings.json:
        import json

        click.echo(json.dumps({"id": sent.id, "duplicate": sent.duplicate}))
        return
    write_value(settings, "id", sent.id)
    if sent.duplicate:
        settings.remark("a duplicate: a message with this key was sent before")
