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

from .output import check_stdout, is_terminal, json_line
from .settings import DURATION, Settings

if TYPE_CHECKING:
    from broker.client.sync import Client
    from broker.commands.message import Message

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: What a pipe that is ready takes for sure without blocking (PIPE_BUF).
CHUNK_BYTES = 4096


def pull_options(function: _Function) -> _Function:
    """Add the options of a pull to a command."""
    for decorate in reversed(
        (
            click.option(
                "--wait", "wait_ms", type=DURATION, default=0, metavar="DURATION",
                help="If there is no message, wait so long for one.",
            ),
            click.option(
                "--count", type=click.IntRange(1, MAX_PULL_COUNT), metavar="N",
                help="Up to so many messages, each followed by a newline.",
            ),
            click.option(
                "--lease", "lease_ms", type=DURATION, metavar="DURATION",
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

    What could not be written goes back uncounted; while a slow reader takes its
    time, the leases are extended.

    Args:
        pull: pulls with a client and a lease in milliseconds.
        count: as the option says; None is one message.
        lease_ms: as the option says; None is "acknowledge".
        no_ack: whether nothing is leased at all.
    """
    if lease_ms is not None and no_ack:
        raise click.UsageError("--lease and --no-ack exclude each other")
    check_stdout()
    with settings.connect() as client:
        lease = DEFAULT_LEASE_MS if lease_ms is None else lease_ms
        messages = pull(client, lease)
        if not messages:
            settings.remark("no message")
            return EXIT_EMPTY
        output = _rendered(settings, messages, separate=count is not None)
        if no_ack:
            _write(output, lambda: None)
            return 0
        receipts = [message.receipt for message in messages if message.receipt is not None]
        keep = _Keeper(client, receipts, lease)
        try:
            _write(output, keep.extend_if_needed)
        except BaseException:
            # Interrupted or not taken: as if nobody had pulled.
            client.nack_many(receipts, uncounted=True)
            raise
        if lease_ms is not None:
            return 0
        refused = [outcome for outcome in client.ack_many(receipts) if outcome is not None]
    if refused:
        raise refused[0]
    return 0


def _rendered(settings: Settings, messages: Sequence[Message], *, separate: bool) -> bytes:
    if settings.json:
        return "".join(json_line(message) + "\n" for message in messages).encode()
    if separate:
        return b"".join(message.body + b"\n" for message in messages)
    return messages[0].body + (b"\n" if is_terminal() else b"")


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


def _write(output: bytes, tick: Callable[[], None]) -> None:
    """Write to stdout, calling ``tick`` while the reader takes its time.

    Raises:
        OSError: the reader is gone, or the disk is full.
        BrokerError: from ``tick``.
    """
    view = memoryview(output)
    poll = select.poll()
    poll.register(1, select.POLLOUT)
    while view:
        if poll.poll(1000):
            written = os.write(1, view[:CHUNK_BYTES])
            view = view[written:]
        tick()
