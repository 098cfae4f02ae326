"""The options that every command takes, before or after its verb."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

import click

from broker.errors import BrokerError, Invalid
from broker.names import MAX_DURATION_MS, MAX_LEASE_MS, format_duration, parse_duration

if TYPE_CHECKING:
    from datetime import datetime

    from broker.client.sync import Client

DEFAULT_TIMEOUT_MS = 30_000


class Settings:
    """What the common options say; the later of two wins.

    Attributes:
        json: machine-readable output, one object a line.
        quiet: no remarks on stderr.
        url, user: where the broker is, and who acts.
        password_file: where the password for a TCP login is, or None.
        password: that password, once it is known.
        timeout_ms: how long to wait for a connection or another process.
    """

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.url: str | None = None
        self.user: str | None = None
        self.password_file: str | None = None
        self.password: str | None = None
        self.timeout_ms = DEFAULT_TIMEOUT_MS

    @property
    def wants_login(self) -> bool:
        """Whether the broker is behind a door that wants a user and a password."""
        from broker import config

        return config.locate(self.url).kind == "tcp"

    def connect(self) -> Client:
        """Return a client of the broker these settings name."""
        from broker.client.sync import connect

        password = self.password
        if password is None and self.wants_login:
            password = password_of(self)
        return connect(
            self.url, user=self.user, password=password, timeout_s=self.timeout_ms / 1000
        )

    def copy(self) -> Settings:
        """Return the same settings, to be changed without changing these."""
        return copy(self)

    def remark(self, text: str) -> None:
        """Say something to people, on stderr."""
        if not self.quiet:
            say(text)

    def complain(self, error: BrokerError) -> None:
        """Say what was refused, and why, as one line on stderr."""
        message = " ".join(error.message.split())
        if self.json:
            import json

            fields = {"error": error.code, "message": message, "retryable": error.retryable}
            say(json.dumps(fields))
        else:
            say(f"brokerctl: {message}")


def say(line: str) -> None:
    """Write a line on stderr; if nobody can read it there, the exit status says enough."""
    try:
        click.echo(line, err=True)
    except OSError:
        return


def password_of(settings: Settings) -> str | None:
    """Return the password of a TCP login: from the file, the environment, or a prompt."""
    if settings.password_file is not None:
        return read_password_file(settings.password_file)
    if os.environ.get("BROKER_PASSWORD"):
        return os.environ["BROKER_PASSWORD"]
    if _is_terminal(0):
        import getpass

        try:
            return getpass.getpass("Password: ")
        except EOFError:
            raise click.Abort from None
    return None


def read_password_file(path: str) -> str:
    """Return the first line of a file (``-`` is stdin) as a password.

    Raises:
        Invalid: it cannot be read, or its first line is empty.
    """
    if path == "-" and sys.stdin is None:
        raise Invalid("no password: it is to come from stdin, which is closed")
    try:
        with click.open_file(path, encoding="utf-8", errors="surrogateescape") as file:
            line = file.readline(4096)
    except OSError as error:
        raise Invalid(f"the password file {path} cannot be read: {error.strerror}") from error
    password = str(line).rstrip("\r\n")
    if not password:
        raise Invalid(f"the first line of the password file {path} is empty")
    return password


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


if TYPE_CHECKING:
    _IntegerType = click.ParamType[int]
    _TimeType = click.ParamType[datetime]
else:
    # Before Click 8.4 it is no generic when the program runs.
    _IntegerType = _TimeType = click.ParamType


class Duration(_IntegerType):
    """``500ms``, ``30s``, ``10m``, ``2h``, ``7d``, as milliseconds; over 0 or not, and at most."""

    name = "duration"

    def __init__(self, low_ms: int = 0, high_ms: int = MAX_DURATION_MS) -> None:
        self._low_ms = low_ms
        self._high_ms = high_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the milliseconds of a duration."""
        if isinstance(value, int):
            return value
        try:
            milliseconds = parse_duration(value)
        except BrokerError as error:
            self.fail(error.message, param, ctx)
        if not self._low_ms <= milliseconds <= self._high_ms:
            low, high = format_duration(self._low_ms), format_duration(self._high_ms)
            self.fail(f"{value!r} is not from {low} to {high}", param, ctx)
        return milliseconds


DURATION = Duration()
LIFETIME = Duration(1)
LEASE = Duration(1, MAX_LEASE_MS)


class Time(_TimeType):
    """An ISO 8601 time with a zone."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time."""
        from broker.client.times import parse_time

        try:
            return parse_time(value)
        except BrokerError as error:
            self.fail(error.message, param, ctx)


TIME = Time()


class WholeNumber(click.IntRange):
    """A whole number within a range, called so where it is none."""

    name = "whole number"


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(context.ensure_object(Settings), name, value)

    return callback


def common_options() -> list[click.Parameter]:
    """Return the options every command and group takes."""
    return [
        click.Option(
            ["--json"], is_flag=True, expose_value=False, callback=_keep("json"),
            help="Print JSON, one object a line.",
        ),
        click.Option(
            ["--url"], metavar="URL", expose_value=False, callback=_keep("url"),
            help="A database's path, broker://[user@]host[:port] or broker+unix:///path "
            "(default: $BROKER_URL, the configuration file, the default database).",
        ),
        click.Option(
            ["--user"], metavar="NAME", expose_value=False, callback=_keep("user"),
            help="Over TCP who logs in, elsewhere whom an admin acts as (default: $BROKER_USER).",
        ),
        click.Option(
            ["--login-password-file"], metavar="FILE", expose_value=False,
            callback=_keep("password_file"),
            help="Where the password of a TCP login is (default: $BROKER_PASSWORD, or a prompt).",
        ),
        click.Option(
            ["--timeout"], type=DURATION, expose_value=False, callback=_keep("timeout_ms"),
            help="How long to wait for a connection, or for another process (default: 30s).",
        ),
        click.Option(
            ["--quiet", "-q"], is_flag=True, expose_value=False, callback=_keep("quiet"),
            help="No remarks on stderr, only errors.",
        ),
    ]  # fmt: skip


class Command(click.Command):
    """A command that takes the common options after its own.

    Args:
        prints: whether it has a result to print: with a closed stdout it is then
            refused before it does anything.
    """

    def __init__(self, *arguments: Any, prints: bool = True, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.params += common_options()
        self._prints = prints

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, unless its result could not be told."""
        if self._prints and sys.stdout is None:
            raise Invalid("stdout is closed: nothing was done")
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands that takes the common options, and knows what was meant."""

    command_class = Command

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.params += common_options()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was meant."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(unknown_command(args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)


def unknown_command(name: str, known: list[str]) -> str:
    """Return the text that says a command is unknown, and which one is near."""
    from broker.commands.grammar import nearest

    return f"unknown command {name!r}{nearest(name, known)}"
