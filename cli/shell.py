"""``brokerctl shell``: a menu of everything, for people; typed one-shot commands work too."""

from __future__ import annotations

import gc
import os
import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from broker.errors import BrokerError

from .output import write_record, write_records
from .settings import Command, Settings, password_of

if TYPE_CHECKING:
    from broker.client.sync import Client
    from broker.commands.delivery import Message


class Entry(NamedTuple):
    """One line of the menu.

    Attributes:
        label: what it says.
        questions: what it asks for, in order.
        action: what it does with a client, the settings and the answers.
    """

    label: str
    questions: tuple[str, ...]
    action: Callable[..., None]


def _created(what: str, create: Callable[[str], object], name: str) -> None:
    create(name)
    click.echo(f"{what} {name} is created")


def _create_queue(client: Client, settings: Settings, name: str) -> None:
    _created("queue", client.create_queue, name)


def _delete_queue(client: Client, settings: Settings, name: str) -> None:
    click.echo(f"queue {name} is deleted, with {client.delete_queue(name)} messages")


def _my_queues(client: Client, settings: Settings) -> None:
    write_records(settings, client.list_queues(mine=True), "you own no queues")


def _all_queues(client: Client, settings: Settings) -> None:
    write_records(settings, client.list_queues(), "there are no queues")


def _send(client: Client, settings: Settings, name: str, body: str) -> None:
    click.echo(f"sent as message {client.send(name, os.fsencode(body)).id}")


def _pull(client: Client, settings: Settings, name: str) -> None:
    _show_and_ack(client, client.pull(name), f"the queue {name} is empty")


def _create_channel(client: Client, settings: Settings, name: str) -> None:
    _created("channel", client.create_channel, name)


def _delete_channel(client: Client, settings: Settings, name: str) -> None:
    count = client.delete_channel(name)
    click.echo(f"channel {name} is deleted, {count} messages waited")


def _my_channels(client: Client, settings: Settings) -> None:
    write_records(settings, client.list_channels(mine=True), "you own no channels")


def _all_channels(client: Client, settings: Settings) -> None:
    write_records(settings, client.list_channels(), "there are no channels")


def _subscribed_channels(client: Client, settings: Settings) -> None:
    found = client.list_channels(subscribed=True)
    write_records(settings, found, "you are subscribed to no channels")


def _publish(client: Client, settings: Settings, name: str, body: str) -> None:
    click.echo(f"published as message {client.publish(name, os.fsencode(body)).id}")


def _subscribe(client: Client, settings: Settings, name: str) -> None:
    client.subscribe(name)
    click.echo(f"subscribed to {name}")


def _unsubscribe(client: Client, settings: Settings, name: str) -> None:
    click.echo(f"unsubscribed from {name}, {client.unsubscribe(name)} messages waited")


def _pull_channel(client: Client, settings: Settings, name: str) -> None:
    _show_and_ack(client, client.pull_channel(name), f"nothing new in {name}")


def _whoami(client: Client, settings: Settings) -> None:
    write_record(settings, client.whoami())


def _show_and_ack(client: Client, message: Message | None, nothing: str) -> None:
    """Print a message, and acknowledge it once it is printed."""
    if message is None:
        click.echo(nothing)
        return
    click.echo(f"message {message.id} from {message.sender}:")
    click.echo(message.body)
    if message.receipt is not None:
        client.ack(message.receipt)


MENU = (
    Entry("create a queue", ("queue",), _create_queue),
    Entry("delete a queue", ("queue",), _delete_queue),
    Entry("show my queues", (), _my_queues),
    Entry("show all queues", (), _all_queues),
    Entry("send a message to a queue", ("queue", "message"), _send),
    Entry("pull a message from a queue", ("queue",), _pull),
    Entry("create a channel", ("channel",), _create_channel),
    Entry("delete a channel", ("channel",), _delete_channel),
    Entry("show my channels", (), _my_channels),
    Entry("show all channels", (), _all_channels),
    Entry("show the channels I am subscribed to", (), _subscribed_channels),
    Entry("publish a message to a channel", ("channel", "message"), _publish),
    Entry("subscribe to a channel", ("channel",), _subscribe),
    Entry("unsubscribe from a channel", ("channel",), _unsubscribe),
    Entry("pull a message from a channel", ("channel",), _pull_channel),
    Entry("show who I am", (), _whoami),
)
CLOSING = frozenset(["0", "close", "quit", "exit"])


@click.command(cls=Command)
@click.pass_obj
def shell(settings: Settings) -> None:
    """A menu of everything one can do, and a prompt for one-shot commands."""
    gc.enable()
    ask = _asker()
    if settings.wants_login:
        settings.user = settings.user or ask("user> ")
        settings.password = settings.password or password_of(settings)
    with settings.connect() as client:
        _print_menu()
        while (line := _next_line(ask)) is not None:
            try:
                _do(client, settings, ask, line)
            except BrokerError as error:
                click.echo(f"{error.code}: {error.message}", err=True)
            except click.ClickException as error:
                click.echo(error.format_message(), err=True)
            except (KeyboardInterrupt, EOFError, click.Abort):
                click.echo("never mind", err=True)
    click.echo("closed")


def _next_line(ask: Callable[[str], str]) -> str | None:
    """Return the next line that is no blank, or None when it is time to close."""
    while True:
        try:
            line = ask("broker> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return None
        if line in CLOSING:
            return None
        if line:
            return line


def _do(client: Client, settings: Settings, ask: Callable[[str], str], line: str) -> None:
    """Do what a line asks for: a number of the menu, or a command."""
    if line in ("menu", "?", "help"):
        _print_menu()
    elif line.isdigit():
        if not 1 <= int(line) <= len(MENU):
            click.echo(f"1 to {len(MENU)}, or 0 to close", err=True)
            return
        entry = MENU[int(line) - 1]
        answers = [ask(f"{question}> ") for question in entry.questions]
        entry.action(client, settings, *answers)
    else:
        _run_command(settings, line)


def _run_command(settings: Settings, line: str) -> None:
    """Run a line as the shell would run ``brokerctl`` with it."""
    from .app import brokerctl

    try:
        words = shlex.split(line)
    except ValueError as error:
        click.echo(f"{error}", err=True)
        return
    if words[:1] == ["brokerctl"]:
        words = words[1:]
    if words[:1] in (["shell"], ["serve"]):
        click.echo(f"{words[0]} is not for in here", err=True)
        return
    try:
        with brokerctl.make_context("brokerctl", words, obj=settings.copy()) as context:
            brokerctl.invoke(context)
    except click.exceptions.Exit:
        return


def _print_menu() -> None:
    for number, entry in enumerate(MENU, 1):
        click.echo(f"{number:>3}  {entry.label}")
    click.echo("  0  close")
    click.echo("A number, or a command such as `queue list`; ? shows this again.")


def _asker() -> Callable[[str], str]:
    """Return what asks for a line: with history and completion on a terminal."""
    if not (os.isatty(0) and os.isatty(1)):
        return input
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    session: PromptSession[str] = PromptSession(
        history=FileHistory(_history_path()),
        completer=WordCompleter(_words(), sentence=True),
        complete_while_typing=False,
    )
    prompt: Callable[[str], str] = session.prompt
    return prompt


def _history_path() -> str:
    """Return the file of the history, readable by nobody else."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = os.path.join(state, "broker")
    os.makedirs(folder, 0o700, exist_ok=True)
    path = os.path.join(folder, "history")
    os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    return path


def _words() -> list[str]:
    """Return what can be completed: every noun with every verb."""
    from .app import NOUNS, brokerctl

    context = click.Context(brokerctl)
    found: list[str] = []
    for noun in NOUNS:
        if noun in ("serve", "shell"):
            continue
        command: Any = brokerctl.get_command(context, noun)
        verbs: Iterable[str] = getattr(command, "commands", {})
        found += [f"{noun} {verb}" for verb in verbs] or [noun]
    return found
