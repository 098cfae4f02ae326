"""``brokerctl queue``."""

from __future__ import annotations

import click

from .output import write_record, write_records, write_value
from .pulling import pull_and_write, pull_options
from .sending import read_body, read_headers, send_options, write_sent
from .settings import Group, Settings


@click.group(cls=Group)
def queue() -> None:
    """Queues: first in, first out within a priority."""


@queue.command()
@click.argument("name")
@click.option("--if-missing", is_flag=True, help="No error if it exists.")
@click.pass_obj
def create(settings: Settings, name: str, if_missing: bool) -> None:
    """Create a queue; it is mine. A missing database is made."""
    with settings.connect() as client:
        client.create_queue(name, if_missing=if_missing)
    write_value(settings, "name", name)


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
    write_records(settings, queues, "no queues")


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
@click.pass_obj
def send(
    settings: Settings,
    name: str,
    body: str | None,
    path: str | None,
    priority: int,
    delay_ms: int,
    key: str | None,
    key_ttl_ms: int,
    content_type: str | None,
    headers: tuple[str, ...],
) -> None:
    """Send BODY, or stdin where it is absent or -; prints the message's id."""
    content = read_body(body, path)
    with settings.connect() as client:
        sent = client.send(
            name,
            content,
            priority=priority,
            delay_ms=delay_ms,
            key=key,
            key_ttl_ms=key_ttl_ms,
            content_type=content_type,
            headers=read_headers(headers),
        )
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
