"""``brokerctl message``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from broker.errors import BrokerError
from broker.names import DEFAULT_LEASE_MS, MAX_INTEGER

from .output import write_record
from .settings import DURATION, LEASE, Group, Settings, WholeNumber


@click.group(cls=Group)
def message() -> None:
    """Messages that are leased, by the receipt of their lease; any, by queue and id."""


@message.command(prints=False)
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT...")
@click.option(
    "--send", nargs=2, metavar="QUEUE BODY",
    help="Send a message as well, all of it or nothing (- is stdin); prints its id.",
)  # fmt: skip
@click.pass_obj
def ack(settings: Settings, receipts: tuple[str, ...], send: tuple[str, str] | None) -> int:
    """Acknowledge messages: they are deleted from their queues."""
    if send is None:
        with settings.connect() as client:
            outcomes = client.ack_many(receipts)
        return _report(settings, outcomes)
    from .sending import read_body, write_sent

    queue, body = send
    content = read_body(body, None)
    with settings.connect() as client:
        with client.transaction() as transaction:
            transaction.ack_many(receipts)
            transaction.send(queue, content)
        write_sent(settings, transaction.results[1])
    return 0


@message.command(prints=False)
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT...")
@click.option(
    "--delay", "delay_ms", type=DURATION, metavar="DURATION",
    help="Ready again so long from now, 0 is at once (default: by the queue's backoff).",
)  # fmt: skip
@click.option("--uncounted", is_flag=True, help="Do not count the attempt.")
@click.option("--dead", is_flag=True, help="Let it die at once.")
@click.option("--reason", metavar="TEXT", help="Why; remembered with the failure.")
@click.pass_obj
def nack(
    settings: Settings,
    receipts: tuple[str, ...],
    delay_ms: int | None,
    uncounted: bool,
    dead: bool,
    reason: str | None,
) -> int:
    """Give messages back to their queues, at their old places."""
    with settings.connect() as client:
        outcomes = client.nack_many(
            receipts, delay_ms=delay_ms, uncounted=uncounted, dead=dead, reason=reason
        )
    return _report(settings, outcomes)


@message.command(prints=False)
@click.argument("receipt")
@click.option(
    "--lease", "lease_ms", type=LEASE, default=DEFAULT_LEASE_MS, metavar="DURATION",
    help="How long from now (default: 30s).",
)  # fmt: skip
@click.pass_obj
def extend(settings: Settings, receipt: str, lease_ms: int) -> None:
    """Keep a message leased for longer."""
    with settings.connect() as client:
        client.extend(receipt, lease_ms=lease_ms)


_MESSAGE_ID = click.argument("message_id", type=WholeNumber(1, MAX_INTEGER), metavar="ID")


@message.command()
@_MESSAGE_ID
@click.pass_obj
def show(settings: Settings, message_id: int) -> None:
    """Show a message and where it is: in which queues, in which state, leased by whom."""
    with settings.connect() as client:
        record = client.show_message(message_id)
    write_record(settings, record)


@message.command(prints=False)
@click.argument("queue")
@_MESSAGE_ID
@click.pass_obj
def delete(settings: Settings, queue: str, message_id: int) -> None:
    """Delete a message from a queue, in whatever state."""
    with settings.connect() as client:
        client.delete_message(queue, message_id)


@message.command(prints=False)
@click.argument("queue")
@_MESSAGE_ID
@click.pass_obj
def release(settings: Settings, queue: str, message_id: int) -> None:
    """Make a leased or delayed message ready at once, uncounted."""
    with settings.connect() as client:
        client.release_message(queue, message_id)


@message.command(prints=False)
@click.argument("queue")
@_MESSAGE_ID
@click.argument("to")
@click.pass_obj
def move(settings: Settings, queue: str, message_id: int, to: str) -> None:
    """Move a message to another queue: ready there, attempts at zero."""
    with settings.connect() as client:
        client.move_message(queue, message_id, to)


def _report(settings: Settings, outcomes: Sequence[BrokerError | None]) -> int:
    """Say of each receipt that was refused why; the first decides the exit status."""
    refused = [outcome for outcome in outcomes if outcome is not None]
    for outcome in refused:
        settings.complain(outcome)
    return refused[0].exit_status if refused else 0
