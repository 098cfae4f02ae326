"""``brokerctl queue``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from broker.commands.delivery import READY, STATES
from broker.commands.queue import QueuePause, QueueResume
from broker.errors import EXIT_EMPTY
from broker.names import MAX_PULL_COUNT

from .output import write_record, write_records, write_value
from .pulling import consume_and_write, pull_and_write, pull_options
from .sending import message_options, read_body, read_settings, send_options, write_sent
from .settings import DURATION, Group, Settings, WholeNumber

_Function = TypeVar("_Function", bound=Callable[..., Any])


@click.group(cls=Group)
def queue() -> None:
    """Queues: first in, first out within a priority."""


@queue.command()
@click.argument("name")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--if-missing", is_flag=True, help="No error if it exists.")
@click.pass_obj
def create(settings: Settings, name: str, words: tuple[str, ...], if_missing: bool) -> None:
    """Create a queue; it is mine. A missing database is made.

    Settings, as max_attempts=3 or ttl=10m, are those of `queue set`.
    """
    with settings.connect() as client:
        client.create_queue(name, settings=read_settings(words), if_missing=if_missing)
    write_value(settings, "name", name)


@queue.command("set", prints=False)
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.pass_obj
def change(settings: Settings, name: str, words: tuple[str, ...]) -> None:
    """Change settings of a queue, or of a subscription by its queue CHANNEL@USER.

    They are max_attempts, dead_letter, backoff, ttl, on_expire, max_messages,
    max_bytes, on_full, and for subscriptions expire_idle. NAME= is the default.
    """
    with settings.connect() as client:
        client.set_queue(name, read_settings(words))


@queue.command()
@click.argument("name")
@click.option("--if-empty", is_flag=True, help="Refuse if it has messages.")
@click.option("--if-exists", is_flag=True, help="No error if it is missing.")
@click.pass_obj
def delete(settings: Settings, name: str, if_empty: bool, if_exists: bool) -> None:
    """Delete a queue with its messages; prints how many those were."""
    with settings.connect() as client:
        count = client.delete_queue(name, if_empty=if_empty, if_exists=if_exists)
    write_value(settings, "deleted", count)


@queue.command("list")
@click.option("--mine", is_flag=True, help="Only those I own.")
@click.pass_obj
def list_queues(settings: Settings, mine: bool) -> None:
    """List queues with their owners and how much they hold."""
    with settings.connect() as client:
        queues = client.list_queues(mine=mine)
    columns = ("name", "owner", "ready", "delayed", "leased", "dead", "bytes", "oldest_ready_ms")
    write_records(settings, queues, "no queues", columns)


@queue.command()
@click.argument("name")
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show a queue, or a subscription by its queue CHANNEL@USER."""
    with settings.connect() as client:
        record = client.show_queue(name)
    write_record(settings, record)


@queue.command()
@click.argument("name")
@send_options
@click.option("--lines", is_flag=True, help="A message for each line of --file or stdin.")
@click.option(
    "--jsonl", is_flag=True,
    help="The same, each line a JSON object: body, and what else a pulled one has; also "
    "delay, at, ttl, key, key_ttl.",
)  # fmt: skip
@click.pass_obj
def send(
    settings: Settings,
    /,
    name: str,
    body: str | None,
    path: str | None,
    lines: bool,
    jsonl: bool,
    **options: Any,
) -> None:
    """Send BODY, or stdin where it is absent or -; prints the message's id."""
    if lines or jsonl:
        if body is not None or (lines and jsonl):
            raise click.UsageError("a BODY, --lines and --jsonl exclude each other")
        from .bulk import send_lines

        send_lines(settings, name, path, message_options(**options), as_json=jsonl)
        return
    content = read_body(body, path)
    with settings.connect() as client:
        sent = client.send(name, content, **message_options(**options))
    write_sent(settings, sent)


@queue.command()
@click.argument("name")
@pull_options
@click.pass_obj
def pull(
    settings: Settings,
    name: str,
    wait_ms: int,
    count: int | None,
    lease_ms: int | None,
    no_ack: bool,
) -> int:
    """Pull a message and write its body unchanged; exit 3 if there is none.

    It is acknowledged after its output was flushed: a broken pipe gives it back.
    """
    return pull_and_write(
        settings,
        lambda client, lease: client.pull_many(
            name, count or 1, wait_ms=wait_ms, lease_ms=lease, no_ack=no_ack
        ),
        count=count,
        lease_ms=lease_ms,
        no_ack=no_ack,
    )


@queue.command()
@click.argument("name")
@click.option(
    "--count", type=WholeNumber(1, MAX_PULL_COUNT), default=1, metavar="N",
    help="Up to so many (default: 1).",
)  # fmt: skip
@click.option(
    "--state", type=click.Choice(STATES), default=READY, show_default=True,
    help="Which to look at.",
)  # fmt: skip
@click.pass_obj
def peek(settings: Settings, name: str, count: int, state: str) -> int:
    """Look at messages without touching them; exit 3 if there is none."""
    with settings.connect() as client:
        found = client.peek(name, count, state=state)
    write_records(settings, found, "no message")
    return 0 if found else EXIT_EMPTY


@queue.command()
@click.argument("name")
@click.pass_obj
def purge(settings: Settings, name: str) -> None:
    """Delete what is ready or delayed; prints how many that were."""
    with settings.connect() as client:
        count = client.purge(name)
    write_value(settings, "purged", count)


def _pause_options(function: _Function) -> _Function:
    function = click.option("--pulls", is_flag=True, help="Only pulls.")(function)
    return click.option("--sends", is_flag=True, help="Only sends.")(function)


@queue.command(prints=False)
@click.argument("name")
@_pause_options
@click.pass_obj
def pause(settings: Settings, name: str, sends: bool, pulls: bool) -> None:
    """Refuse sends, and let pulls find nothing, until it is resumed."""
    with settings.connect() as client:
        client.execute(QueuePause(name, sends, pulls))


@queue.command(prints=False)
@click.argument("name")
@_pause_options
@click.pass_obj
def resume(settings: Settings, name: str, sends: bool, pulls: bool) -> None:
    """End a pause."""
    with settings.connect() as client:
        client.execute(QueueResume(name, sends, pulls))


@queue.command()
@click.argument("name")
@click.option(
    "--prefetch", type=WholeNumber(1, MAX_PULL_COUNT), default=1, show_default=True, metavar="N",
    help="How many to fetch ahead.",
)  # fmt: skip
@click.option(
    "--wait", "wait_ms", type=DURATION, metavar="DURATION",
    help="End when there was none for so long (default: never).",
)  # fmt: skip
@click.pass_obj
def consume(settings: Settings, name: str, prefetch: int, wait_ms: int | None) -> None:
    """Write messages as they come, each followed by a newline, until interrupted.

    Each is acknowledged after its output was flushed: a broken pipe gives it back.
    """
    consume_and_write(settings, name, prefetch=prefetch, wait_ms=wait_ms)
