"""Results on stdout: JSON, tab-separated values in a pipe, tables on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from .settings import Settings

_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_TIMES = frozenset(
    ["created_at", "sent_at", "leased_until", "ready_at", "delayed_until", "expires_at",
     "dead_at", "at"]
)  # fmt: skip


def rfc3339(milliseconds: int) -> str:
    """Return a time as RFC 3339 in UTC, with milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


def as_json(record: Any) -> dict[str, Any]:
    """Return a record with the keys and forms of the JSON output.

    Times become RFC 3339; a body becomes text with ``encoding`` utf-8, or base64
    where it is none.
    """
    values: dict[str, Any] = {}
    for name, value in zip(record._fields, record, strict=True):
        if name == "body":
            values["body"], values["encoding"] = _encoded(value)
        elif name == "headers":
            values[name] = dict(value)
        else:
            values[name] = _plain(name, value)
    return values


def _plain(name: str, value: Any) -> Any:
    """Return a value as JSON has it, times in mappings and lists too."""
    if name in _TIMES and value is not None:
        return rfc3339(value)
    if hasattr(value, "items"):
        return {key: _plain(key, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain("", item) for item in value]
    return value


def _encoded(body: bytes) -> tuple[str, str]:
    try:
        return body.decode(), "utf-8"
    except UnicodeDecodeError:
        import base64

        return base64.b64encode(body).decode(), "base64"


def json_line(record: Any) -> str:
    """Return a record as one line of JSON."""
    import json

    return json.dumps(as_json(record), ensure_ascii=False)


def write_records(
    settings: Settings, records: Sequence[Any], nothing: str, columns: Sequence[str] = ()
) -> None:
    """Write a list.

    Args:
        settings: how.
        records: all of a kind.
        nothing: what is said on stderr of an empty list.
        columns: those that a table on a terminal has; without them all.
    """
    if not records:
        settings.remark(nothing)
    elif settings.json:
        for record in records:
            click.echo(json_line(record))
    elif is_terminal():
        _write_table(records, columns or records[0]._fields)
    else:
        for record in records:
            click.echo("\t".join(_cells(record)))


def write_record(settings: Settings, record: Any) -> None:
    """Write one record: aligned lines on a terminal, one line elsewhere."""
    if settings.json:
        click.echo(json_line(record))
    elif is_terminal():
        width = max(len(name) for name in record._fields)
        for name, value in as_json(record).items():
            click.echo(f"{name:<{width}}  {_cell(value)}".rstrip())
    else:
        click.echo("\t".join(_cells(record)))


def write_value(settings: Settings, name: str, value: Any) -> None:
    """Write one value alone on a line."""
    if settings.json:
        import json

        click.echo(json.dumps({name: value}))
    else:
        click.echo(value)


def is_terminal() -> bool:
    """Return whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def _write_table(records: Sequence[Any], columns: Sequence[str]) -> None:
    rows = [list(columns)]
    for record in records:
        values = as_json(record)
        rows.append([_cell(values[name]) for name in columns])
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        click.echo("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())


def _cells(record: Any) -> list[str]:
    return [_cell(value) for value in as_json(record).values()]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        import json

        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, tuple | list):
        return ",".join(_cell(item) for item in value)
    return _escape(str(value))


def _escape(text: str) -> str:
    """Return text that keeps a table a table."""
    return text.translate(_ESCAPES)
