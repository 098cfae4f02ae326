"""``brokerctl message``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from broker.errors import BrokerError
from broker.names import DEFAULT_LEASE_MS

from .settings import DURATION, Group, Settings


@click.group(cls=Group)
def message() -> None:
    """Messages that are leased, by the receipt of their lease."""


@message.command(prints=False)
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT...")
@click.pass_obj
def ack(settings: Settings, receipts: tuple[str, ...]) -> int:
    """Acknowledge messages: they are deleted from their queues."""
    with settings.connect() as client:
        outcomes = client.ack_many(receipts)
    return _report(settings, outcomes)


@message.command(prints=False)
@click.argument("receipts", nargs=-1, required=True, metavar="RECEIPT...")
@click.option(
    "--delay", "delay_ms", type=DURATION, default=0, metavar="DURATION",
    help="Not delivered again before so long from now.",
)  # fmt: skip
@click.option("--uncounted", is_flag=True, help="Do not count the attempt.")
@click.pass_obj
def nack(settings: Settings, receipts: tuple[str, ...], delay_ms: int, uncounted: bool) -> int:
    """Give messages back to their queues, at their old places."""
    with settings.connect() as client:
        outcomes = client.nack_many(receipts, delay_ms=delay_ms, uncounted=uncounted)
    return _report(settings, outcomes)


@message.command(prints=False)
@click.argument("receipt")
@click.option(
    "--lease", "lease_ms", type=DURATION, default=DEFAULT_LEASE_MS, metavar="DURATION",
    help="How long from now (default: 30s).",
)  # fmt: skip
@click.pass_obj
def extend(settings: Settings, receipt: str, lease_ms: int) -> None:
    """Keep a message leased for longer."""
    with settings.connect() as client:
        client.extend(receipt, lease_ms=lease_ms)


def _report(settings: Settings, outcomes: Sequence[BrokerError | None]) -> int:
    """Say of each receipt that was refused why; the first decides the exit status."""
    refused = [outcome for outcome in outcomes if outcome is not None]
    for outcome in refused:
        settings.complain(outcome)
    return refused[0].exit_status if refused else 0
