"""Deliveries as a client sees them: pulled, counted, looked at."""

from __future__ import annotations

from broker import Client, Message


def leased(client: Client, queue: str, lease_ms: int = 30_000) -> Message:
    """Pull a message that must be there or come."""
    message = client.pull(queue, wait_ms=30_000, lease_ms=lease_ms)
    assert message is not None
    return message


def receipt_of(message: Message) -> str:
    """Return the receipt of a leased message."""
    assert message.receipt is not None
    return message.receipt


def counts(client: Client, queue: str) -> tuple[int, int, int, int]:
    """Return how many are ready, delayed, leased, dead."""
    shown = client.show_queue(queue)
    return shown.ready, shown.delayed, shown.leased, shown.dead


def bodies(client: Client, queue: str, state: str = "ready") -> list[bytes]:
    """Return what is in a state, in its order."""
    return [peeked.body for peeked in client.peek(queue, 100, state=state)]
