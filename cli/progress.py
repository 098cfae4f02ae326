"""How far something has come, on a terminal: a bar, or without a length a count."""

from __future__ import annotations

import sys

import click

from .settings import Settings


class Progress:
    """A bar of bytes on stderr, if that is a terminal and people want remarks.

    Args:
        settings: whether they do.
        label: what is under way.
        size: of all of it, in bytes; 0 if that is not known, then things are counted.
        things: what those are called.
    """

    def __init__(self, settings: Settings, label: str, size: int, things: str) -> None:
        shown = not settings.quiet and sys.stderr is not None and sys.stderr.isatty()
        self._bar = (
            click.progressbar(length=size, label=label, file=sys.stderr) if shown and size else None
        )
        self._counts = shown and self._bar is None
        self._text = f"\r{label}  {{}} {things}"
        self._count = 0

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def advance(self, size: int, count: int = 1) -> None:
        """Show that so many bytes more are done, and so many things."""
        self._count += count
        if self._bar is not None:
            self._bar.update(size)
        elif self._counts:
            click.echo(self._text.format(self._count), nl=False, err=True)

    def at(self, done: int, total: int) -> None:
        """Show that ``done`` bytes are done of ``total``, which is known only now."""
        if self._bar is not None:
            self._bar.length = total
            self._bar.update(done - self._bar.pos)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
        elif self._counts and self._count:
            click.echo(err=True)
