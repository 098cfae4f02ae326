"""Pulls that wait: in the order they came, woken by commits and by the clock.

A waiting pull holds no row and no lock. It is executed again when a commit has
made something ready in its queue, or when something there falls due; every
claim first makes ready what is due, so a wake-up too many costs a look and one
too few could only come from here. The rules that keep it from happening:

- A batch's empty pulls are parked before the batch's own wake-ups are handled.
- A pull that is being executed again is not woken: its execution comes after
  the commit that wakes. Who is woken in its stead is the next one in line.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ..commands.channel import ChannelPull
from ..commands.request import Request
from ..names import SUBSCRIPTION_MARK, subscription_queue
from ..store.transaction import Transaction
from .clock import Clock


class Waiter:
    """One waiting pull."""

    __slots__ = ("client", "expired", "queue", "request", "retrying", "timer")

    def __init__(self, client: Any, request: Request, queue: str) -> None:
        self.client = client
        self.request = request
        self.queue = queue
        self.retrying = False
        self.expired = False
        self.timer: asyncio.TimerHandle | None = None


class Waiting:
    """The waiting pulls of all clients; each client has at most one.

    Args:
        loop: for the timers.
        clock: the service's time.
        submit: has a request executed again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        submit: Callable[[Any, Sequence[Request]], None],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._submit = submit
        self._by_client: dict[Any, Waiter] = {}
        # Dictionaries for their order and their deletion in O(1).
        self._by_queue: dict[str, dict[Waiter, None]] = {}
        self._queues_of_channel: dict[str, set[str]] = {}
        self._due_timers: dict[str, tuple[int, asyncio.TimerHandle]] = {}
        self._released = False

    def __len__(self) -> int:
        return len(self._by_client)

    def park(self, client: Any, request: Request) -> bool:
        """Keep a pull that found nothing; False if it is to be answered now."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            waiter.retrying = False
            if waiter.expired or self._released or not client.may_wait:
                self._remove(waiter)
                return False
            return True
        if self._released or not client.may_wait:
            return False
        waiter = Waiter(client, request, _queue_of(request))
        waiter.timer = self._loop.call_later(request.command.wait_ms / 1000, self._expire, waiter)
        self._by_client[client] = waiter
        self._by_queue.setdefault(waiter.queue, {})[waiter] = None
        channel, mark, _ = waiter.queue.partition(SUBSCRIPTION_MARK)
        if mark:
            self._queues_of_channel.setdefault(channel, set()).add(waiter.queue)
        return True

    def forget(self, client: Any) -> None:
        """Drop a client's pull: it was answered, or the client is gone."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            self._remove(waiter)

    def wake(self, tx: Transaction) -> None:
        """Execute again as many pulls as a committed transaction made messages ready."""
        if not self._by_client:
            return
        for queue, count in tx.woken_queues.items():
            self._wake_queue(queue, count)
        for channel, count in tx.woken_channels.items():
            for queue in list(self._queues_of_channel.get(channel, ())):
                self._wake_queue(queue, count)
        for queue, due_at in tx.due.items():
            self._arm(queue, due_at)
        for channel, due_at in tx.channels_due.items():
            for queue in self._queues_of_channel.get(channel, ()):
                self._arm(queue, due_at)

    def release(self, client: Any) -> None:
        """Answer a client's waiting pull, if it has one, with nothing."""
        waiter = self._by_client.get(client)
        if waiter is not None:
            self._expire(waiter)

    def release_all(self) -> None:
        """Answer every waiting pull with nothing, and park no more."""
        self._released = True
        for waiter in list(self._by_client.values()):
            self._expire(waiter)

    def _wake_queue(self, queue: str, count: int) -> None:
        for waiter in list(self._by_queue.get(queue, ())):
            if count <= 0:
                return
            if not waiter.retrying:
                count -= 1
                self._retry(waiter)

    def _retry(self, waiter: Waiter) -> None:
        waiter.retrying = True
        self._submit(waiter.client, [waiter.request])

    def _expire(self, waiter: Waiter) -> None:
        """Answer a pull whose time is up; one that is being executed answers by itself."""
        waiter.expired = True
        if not waiter.retrying:
            self._remove(waiter)
            waiter.client.answer([waiter.request], [()])

    def _arm(self, queue: str, due_at: int) -> None:
        """Have a queue looked at when something in it falls due, if somebody waits there."""
        if queue not in self._by_queue:
            return
        armed = self._due_timers.get(queue)
        if armed is not None:
            if armed[0] <= due_at:
                return
            armed[1].cancel()
        delay = max(0, due_at - self._clock.now_ms()) / 1000
        self._due_timers[queue] = (due_at, self._loop.call_later(delay, self._fall_due, queue))

    def _fall_due(self, queue: str) -> None:
        """Let the first in line look: its claim makes ready all that is due, which
        wakes the others, or says when to look again."""
        del self._due_timers[queue]
        waiters = self._by_queue.get(queue, ())
        for waiter in waiters:
            if not waiter.retrying:
                self._retry(waiter)
                return

    def _remove(self, waiter: Waiter) -> None:
        if waiter.timer is not None:
            waiter.timer.cancel()
        del self._by_client[waiter.client]
        waiters = self._by_queue[waiter.queue]
        del waiters[waiter]
        if waiters:
            return
        del self._by_queue[waiter.queue]
        armed = self._due_timers.pop(waiter.queue, None)
        if armed is not None:
            armed[1].cancel()
        channel, mark, _ = waiter.queue.partition(SUBSCRIPTION_MARK)
        if mark:
            queues = self._queues_of_channel[channel]
            queues.discard(waiter.queue)
            if not queues:
                del self._queues_of_channel[channel]


def _queue_of(request: Request) -> str:
    command = request.command
    if isinstance(command, ChannelPull):
        return subscription_queue(command.channel, request.principal.name, command.as_name or "")
    return str(command.queue)
