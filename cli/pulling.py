"""What ``queue pull`` and ``channel pull`` share: nothing is acknowledged before it is written."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broker.errors import EXIT_EMPTY
from broker.names import DEFAULT_LEASE_MS, MAX_PULL_COUNT

from .output import is_terminal, json_line
from .settings import DURATION, LEASE, Settings, WholeNumber

if TYPE_CHECKING:
    from broker.client.sync import Client
    from broker.commands.delivery import Message

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: What a pipe that is ready takes for sure without blocking (PIPE_BUF).
CHUNK_BYTES = 4096
#: How long to wait for a pipe before looking after the leases.
LONGEST_POLL_MS = 1000


def pull_options(function: _Function) -> _Function:
    """Add the options of a pull to a command."""
    for decorate in reversed(
        (
            click.option(
                "--wait", "wait_ms", type=DURATION, default=0, metavar="DURATION",
                help="If there is no message, wait so long for one.",
            ),
            click.option(
                "--count", type=WholeNumber(1, MAX_PULL_COUNT), metavar="N",
                help="Up to so many messages, each followed by a newline.",
            ),
            click.option(
                "--lease", "lease_ms", type=LEASE, metavar="DURATION",
                help="Do not acknowledge: lease for so long; --json shows the receipt.",
            ),
            click.option(
                "--no-ack", is_flag=True,
                help="Delete as it is pulled: lost if this process dies before it has written.",
            ),
        )
    ):  # fmt: skip
        function = decorate(function)
    return function


def pull_and_write(
    settings: Settings,
    pull: Callable[[Client, int], Sequence[Message]],
    *,
    count: int | None,
    lease_ms: int | None,
    no_ack: bool,
) -> int:
    """Pull, write, flush, and only then acknowledge; return the exit status.

    If the output breaks off, the messages go back uncounted: rather twice than never.
    While a slow reader takes its time, the leases are extended.

    Args:
        pull: pulls with a client and a lease in milliseconds.
        count: as the option says; None is one message.
        lease_ms: as the option says; None is "acknowledge".
        no_ack: whether nothing is leased at all.
    """
    if lease_ms is not None and no_ack:
        raise click.UsageError("--lease and --no-ack exclude each other")
    with settings.connect() as client:
        lease = DEFAULT_LEASE_MS if lease_ms is None else lease_ms
        messages = pull(client, lease)
        if not messages:
            settings.remark("no message")
            return EXIT_EMPTY
        outputs = _rendered(settings, messages, separate=count is not None)
        if no_ack:
            _Writer(lease, lambda: None).write(b"".join(outputs))
            return 0
        receipts = [message.receipt for message in messages if message.receipt is not None]
        writer = _Writer(lease, _Keeper(client, receipts, lease).extend_if_needed)
        try:
            writer.write(b"".join(outputs))
        except BaseException:
            # Interrupted or not taken. What the pipe had taken may have died with its
            # reader, so it all goes back; but of what was leased on request, the
            # reader may be using the receipts it was given.
            kept = 0 if lease_ms is None else _count_whole(outputs, writer.written_bytes)
            if receipts[kept:]:
                client.nack_many(receipts[kept:], uncounted=True)
            raise
        if lease_ms is not None:
            return 0
        refused = [outcome for outcome in client.ack_many(receipts) if outcome is not None]
    if refused:
        raise refused[0]
    return 0


def consume_and_write(
    settings: Settings, queue: str, *, prefetch: int, wait_ms: int | None
) -> None:
    """Write messages as they come, and acknowledge each once it is written.

    If the output breaks off, or this is interrupted, what was not written whole goes
    back uncounted.

    Args:
        queue: to consume.
        prefetch: how many to fetch ahead.
        wait_ms: end when there was none for so long; None is never.
    """
    with settings.connect() as client:
        for message in client.consume(queue, prefetch=prefetch, wait_ms=wait_ms):
            (output,) = _rendered(settings, [message], separate=True)
            receipts = [message.receipt] if message.receipt is not None else []
            keeper = _Keeper(client, receipts, DEFAULT_LEASE_MS)
            try:
                _Writer(DEFAULT_LEASE_MS, keeper.extend_if_needed).write(output)
            except BaseException:
                message.nack(uncounted=True)
                raise
            message.ack()


def _rendered(settings: Settings, messages: Sequence[Message], *, separate: bool) -> list[bytes]:
    """Return what is to be written of each message."""
    if settings.json:
        return [f"{json_line(message)}\n".encode() for message in messages]
    if separate or is_terminal():
        return [message.body + b"\n" for message in messages]
    return [messages[0].body]


def _count_whole(outputs: Sequence[bytes], written_bytes: int) -> int:
    """Return of how many outputs the first ``written_bytes`` hold the whole."""
    end = 0
    for number, output in enumerate(outputs):
        end += len(output)
        if end > written_bytes:
            return number
    return len(outputs)


class _Keeper:
    """Extends leases once a third of them has passed."""

    def __init__(self, client: Client, receipts: list[str], lease_ms: int) -> None:
        self._client = client
        self._receipts = receipts
        self._lease_ms = lease_ms
        self._extended_at = time.monotonic()

    def extend_if_needed(self) -> None:
        """Extend, if it is time."""
        if (time.monotonic() - self._extended_at) * 3000 < self._lease_ms:
            return
        for receipt in self._receipts:
            self._client.extend(receipt, lease_ms=self._lease_ms)
        self._extended_at = time.monotonic()


class _Writer:
    """Writes to stdout, and does something else while the reader takes its time.

    Args:
        lease_ms: how long the messages are leased; several looks fit into a third of it.
        tick: what is done between two pieces.
    """

    def __init__(self, lease_ms: int, tick: Callable[[], None]) -> None:
        self._patience_ms = max(1, min(LONGEST_POLL_MS, lease_ms // 9))
        self._tick = tick
        self.written_bytes = 0

    def write(self, output: bytes) -> None:
        """Write all of ``output``.

        Raises:
            OSError: the reader is gone, or the disk is full.
            BrokerError: from ``tick``.
        """
        poll = select.poll()
        poll.register(1, select.POLLOUT)
        view = memoryview(output)
        while self.written_bytes < len(output):
            if poll.poll(self._patience_ms):
                start = self.written_bytes
                self.written_bytes += os.write(1, view[start : start + CHUNK_BYTES])
            if self.written_bytes < len(output):
                self._tick()
