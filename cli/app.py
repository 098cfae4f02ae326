"""The root of ``brokerctl``: finding a noun's module, and the one place where errors end."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from broker._version import __version__
from broker.errors import BrokerError, Internal, Invalid

from .settings import Group, Settings, say

#: A noun's module is imported when it is asked for: a one-shot pays for one of them.
NOUNS = {
    "queue": ("queue", "Create, delete, list, show queues; send to them and pull from them."),
    "channel": ("channel", "Channels: subscribe, publish, pull."),
    "message": ("message", "Acknowledge messages, give them back, keep them, find them."),
    "dead": ("dead", "List what has died in a queue, put it back, drop it."),
    "user": ("user", "Create, list, change and delete users."),
    "whoami": ("about", "Show who I am."),
    "status": ("about", "Show how the server does."),
    "serve": ("serve", "Run the server."),
    "shell": ("shell", "A menu of everything, for people."),
    "backup": ("backup", "Copy the database while it is in use."),
    "restore": ("backup", "Make a database of a back-up."),
    "export": ("moving", "Write all that a database holds as lines of JSON."),
    "import": ("moving", "Take in what an export has written."),
    "db": ("db", "Check the database file, compact it, upgrade it."),
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
        module = import_module(f"{__package__}.{entry[0]}")
        # Two are called by words of Python.
        command: click.Command = getattr(module, cmd_name, None) or getattr(module, f"{cmd_name}_")
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
    _keep_standard_descriptors()
    settings = Settings()
    try:
        status = _invoke(arguments, settings)
        _flush()
    except BrokerError as error:
        status = _refuse(error, settings)
    except click.UsageError as error:
        settings.json = settings.json or "--json" in arguments
        status = _refuse_usage(error, settings)
    except click.ClickException as error:
        status = _refuse(Invalid(error.format_message()), settings)
    except (KeyboardInterrupt, click.Abort):
        status = EXIT_INTERRUPTED
    except BrokenPipeError:
        status = EXIT_BROKEN_PIPE
    except OSError as error:
        status = _refuse(Internal(_system_error(error)), settings)
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


def _keep_standard_descriptors() -> None:
    """Put something where stdin, stdout or stderr is closed.

    Or the next file to be opened, the database's lock, would get that number, and
    whatever is written there. Opened the wrong way round, so that it still fails.
    """
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, which is this one.
            os.open(os.devnull, mode)


def _refuse(error: BrokerError, settings: Settings) -> int:
    settings.complain(error)
    return error.exit_status


def _refuse_usage(error: click.UsageError, settings: Settings) -> int:
    """Say what is wrong with the words; to whom gave none, the help is more use."""
    # By name: before Click 8.2 there is no such class, and the help is printed by itself.
    if type(error).__name__ == "NoArgsIsHelpError":
        if not settings.json:
            say(error.format_message())
            return Invalid.exit_status
        error = click.UsageError("Missing command", error.ctx)
    return _refuse(Invalid(_usage(error)), settings)


def _system_error(error: OSError) -> str:
    """Return what the system refused: what is read says so itself, so without a name, stdout."""
    what = "stdout" if error.filename is None else os.fsdecode(error.filename)
    return f"{what}: {error.strerror or error}"


def _usage(error: click.UsageError) -> str:
    text = error.format_message()
    if isinstance(error, click.NoSuchOption) and error.ctx is not None and not error.possibilities:
        from broker.commands.grammar import nearest

        known = [o for p in error.ctx.command.params for o in p.opts if o.startswith("--")]
        text = text.rstrip(".") + nearest(error.option_name, known)
    path = error.ctx.command_path if error.ctx is not None else "brokerctl"
    return f"{text.rstrip('.')} (try: {path} --help)"


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
            if stream is sys.stdout:
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
