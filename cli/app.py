"""The root of ``brokerctl``: finding a noun's module, and the one place where errors end."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from broker._version import __version__
from broker.errors import BrokerError, Internal

from .settings import Group, Settings

#: A noun's module is imported when it is asked for: a one-shot pays for one of them.
NOUNS = {
    "queue": ("queue", "Create, delete, list, show queues; send to them and pull from them."),
    "channel": ("channel", "Channels: subscribe, publish, pull."),
    "message": ("message", "Acknowledge messages, give them back, keep them longer."),
    "user": ("user", "Create, list, change and delete users."),
    "whoami": ("about", "Show who I am."),
    "status": ("about", "Show how the server does."),
    "serve": ("serve", "Run the server."),
    "shell": ("shell", "A menu of everything, for people."),
    "db": ("db", "Upgrade a database, or show its revision."),
}
#: What a shell reports of a process that SIGPIPE has ended.
EXIT_BROKEN_PIPE = 141
EXIT_INTERRUPTED = 130


class Root(Group):
    """The commands by name, each imported at its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the nouns in the order of the help."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a noun and return its command."""
        entry = NOUNS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"{__package__}.{entry[0]}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of nouns without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in NOUNS.items()])


@click.command(
    "brokerctl",
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="brokerctl", message="%(prog)s %(version)s")
def brokerctl() -> None:
    """Durable queues and channels in one SQLite file, with or without a server running."""


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run ``brokerctl`` and exit: 0, or what the error's code says."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = Settings()
    try:
        status = _invoke(arguments, settings)
        _flush()
    except BrokerError as error:
        status = _report(error.code, error.message, error.retryable, error.exit_status, settings)
    except click.UsageError as error:
        settings.json = settings.json or "--json" in arguments
        status = _report("INVALID", _usage(error), False, 2, settings)
    except click.ClickException as error:
        status = _report("INVALID", error.format_message(), False, 2, settings)
    except (KeyboardInterrupt, click.Abort):
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        status = EXIT_BROKEN_PIPE
    except OSError as error:
        status = _report(
            Internal.code, f"{error.strerror or error}", False, Internal.exit_status, settings
        )
    _leave(status if isinstance(status, int) else 0)


def _invoke(arguments: list[str], settings: Settings) -> Any:
    """Run a command and return its exit status, letting every error through.

    Not by Click's own ``main``, which keeps a broken pipe to itself; but that is
    what knows how to answer a shell that completes a word.
    """
    if "_BROKERCTL_COMPLETE" in os.environ:
        brokerctl.main(arguments, prog_name="brokerctl")
    try:
        with brokerctl.make_context("brokerctl", arguments, obj=settings) as context:
            return brokerctl.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code


def _usage(error: click.UsageError) -> str:
    text = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx is not None and not error.possibilities:
        from broker.commands.grammar import nearest

        known = [o for p in error.ctx.command.params for o in p.opts if o.startswith("--")]
        text = text.rstrip(".") + nearest(error.option_name, known)
    path = error.ctx.command_path if error.ctx is not None else "brokerctl"
    return f"{text.rstrip('.')} (try: {path} --help)"


def _report(code: str, message: str, retryable: bool, status: int, settings: Settings) -> int:
    """Write one line on stderr and return the exit status."""
    message = " ".join(message.split())
    if settings.json:
        import json

        line = json.dumps({"error": code, "message": message, "retryable": retryable})
    else:
        line = f"brokerctl: {message}"
    try:
        click.echo(line, err=True)
    except OSError:
        # Nobody reads it; the status says it too.
        return status
    return status


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _leave(status: int) -> NoReturn:
    """Exit; what cannot be flushed any more must not print a traceback on the way out."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            _point_to_nowhere(stream)
            status = status or EXIT_BROKEN_PIPE
    sys.exit(status)


def _point_to_nowhere(stream: Any) -> None:
    """Let the interpreter's own flush at exit succeed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):
        return
    finally:
        os.close(nowhere)
