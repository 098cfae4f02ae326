"""Timers for what falls due: one for each queue, or channel, in which something does.

A claim makes ready what is due in its queue, so no promise to who asks hangs on
a timer. They are for those who do not ask: who waits, whoever waits for a
dead-letter queue, and the counters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from typing import Final, NamedTuple

from ..store import statements as sql
from ..store.handlers.deliveries import end_connection_leases, make_due_ready, note_next_due
from ..store.transaction import Transaction
from .clock import Clock

#: How long after a refused sweep (a full disk) the next is tried.
RETRY_SECONDS: Final = 1.0


class Target(NamedTuple):
    """A queue, or all subscriptions of a channel."""

    name: str
    is_channel: bool


class DueTimers:
    """Has queues swept when something in them falls due, many in one transaction.

    Args:
        loop: for the timers.
        clock: the service's time.
        sweep: has :func:`sweep` done for targets, soon.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        sweep: Callable[[Set[Target]], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._sweep = sweep
        self._timers: dict[Target, tuple[int, asyncio.TimerHandle]] = {}
        self._due: set[Target] = set()
        self._closed = False

    def note(self, tx: Transaction) -> None:
        """Take note of what a committed transaction has found to fall due."""
        for name, due_at in tx.due.items():
            self._arm(Target(name, False), due_at)
        for name, due_at in tx.channels_due.items():
            self._arm(Target(name, True), due_at)

    def try_again(self, targets: Set[Target]) -> None:
        """Have targets swept later whose sweep was refused."""
        if not self._closed:
            self._loop.call_later(RETRY_SECONDS, self._sweep, targets)

    def close(self) -> None:
        """Forget everything; twice is fine."""
        self._closed = True
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._due.clear()

    def _arm(self, target: Target, due_at: int) -> None:
        armed = self._timers.get(target)
        if armed is not None:
            if armed[0] <= due_at:
                return
            armed[1].cancel()
        if self._closed:
            return
        delay = max(0, due_at - self._clock.now_ms()) / 1000
        timer = self._loop.call_later(delay, self._fall_due, target)
        self._timers[target] = (due_at, timer)

    def _fall_due(self, target: Target) -> None:
        """Collect what falls due in this turn of the loop."""
        del self._timers[target]
        if not self._due:
            self._loop.call_soon(self._sweep_due)
        self._due.add(target)

    def _sweep_due(self) -> None:
        due, self._due = self._due, set()
        if due:
            self._sweep(due)


def sweep(tx: Transaction, targets: Set[Target]) -> None:
    """Make ready what is due in queues, a slice of each, and note when more falls due."""
    for name, is_channel in targets:
        names = [row[0] for row in tx.all(sql.QUEUES_OF_CHANNEL, (name,))] if is_channel else [name]
        for queue_name in names:
            queue = tx.find_queue(queue_name)
            if queue is not None:
                make_due_ready(tx, queue)
                note_next_due(tx, queue)


def begin(tx: Transaction) -> bool:
    """Do what a server owes to those before it, as it starts.

    End the leases of consumers whose connections are no more, and note when what is
    delayed or leased falls due.

    Returns:
        Whether there is more to do.
    """
    more = False
    for (name,) in tx.all(sql.BUSY_QUEUES, ()):
        queue = tx.find_queue(name)
        if queue is not None:
            more |= end_connection_leases(tx, queue)
            note_next_due(tx, queue)
    return more
